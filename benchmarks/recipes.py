"""The recipes of `TrainConfig` and counting, alone and mixed, on the original's split, over some seeds.
Writes benchmarks/recipes.md.

Run: .venv/bin/python benchmarks/recipes.py    (needs the corpus toronto and two cores that nobody else uses; about six minutes)
"""
import os
import platform
import time
from pathlib import Path

import numpy as np

from lm_nbdev.data import load_corpus
from lm_nbdev.ngrams import KneserNey, Mixture
from lm_nbdev.training import TrainConfig, train

RECIPES = {"`TrainConfig.original()`": (TrainConfig.original, 1), "`TrainConfig()`": (TrainConfig, 3),
           "`TrainConfig.best()`": (TrainConfig.best, 2)}


def losses(model, corpus):
    return [model.evaluate(part.inputs, part.targets) for part in (corpus.valid, corpus.test)]


def spread(values): return f"{min(values):.3f}" + (f" to {max(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    corpus = load_corpus("toronto")
    start = time.perf_counter(); kn = KneserNey(4).fit(corpus.train, corpus.vocab_size)
    fitted, told = time.perf_counter() - start, [f"{loss:.3f}" for loss in losses(kn, corpus)]
    lines = [f"Cross-entropy in nats a word on the original's split; {os.cpu_count()} cores, Python "
             f"{platform.python_version()}, NumPy {np.__version__}. Written by `benchmarks/recipes.py`.", "",
             "| | seeds | validation | test | mixed with counting: validation | test | seconds |",
             "|---|---|---|---|---|---|---|",
             f"| 4-gram Kneser-Ney | | {' | '.join(told)} | | | {fitted:.2f} |"]
    for name, (recipe, seeds) in RECIPES.items():
        alone, mixed, seconds = [], [], []
        for seed in range(seeds):
            start = time.perf_counter(); result = train(corpus, recipe(seed=seed))
            seconds.append(time.perf_counter() - start)
            alone.append(losses(result.model, corpus))
            mixed.append(losses(Mixture(result.model, kn).fit(corpus.valid), corpus))
        columns = [spread(column) for table in (alone, mixed) for column in zip(*table)]
        lines.append(f"| {name} | {seeds} | {' | '.join(columns)} | {np.median(seconds):.0f} |")
        print(lines[-1], flush=True)
    lines += ["", "Seconds: the whole call of `train`, validations and the three final evaluations included (medians)."]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8"); print("\n".join(lines))
