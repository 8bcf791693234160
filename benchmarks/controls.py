"""Controls: how long each takes to appear, and to answer a change, where nothing is trained. Writes benchmarks/controls.md.

Run: LM_NBDEV_CORPUS=toronto .venv/bin/python benchmarks/controls.py
What is measured is the CPU time of the work in Python: building the control and what a notebook asks it for; then, for each of its fields, setting another value until text and
picture are made. The way to the page comes on top: tests/test_browser.py measures it in the browser (test-artefacts/*-times.md).
"""
import os
import platform
import random
import statistics
import time
from pathlib import Path

ROUNDS = 7


def other(field, rng, vocab, T, name):
    "Another value for a field: one option, step or word away."
    if hasattr(field, "_options_values"):
        return rng.choice([o for o in field._options_values if o != field.value] or [field.value])
    if isinstance(field.value, str): return " ".join(rng.choices(vocab, k=T if name == "context" else 1))
    if hasattr(field, "base"): return field.value * 1.2 if field.value * 1.2 < 10 ** field.max else field.value / 1.2
    step = getattr(field, "step", 1) or 1
    return field.value + step if field.value + step <= field.max else field.min


def measure(make, corpus, rng):
    "Seconds to appear the first time and again (median), and the answers to each field."
    shown, answers, control = [], {}, None
    for _ in range(3):
        if control is not None: control.close()
        began = time.process_time()
        control = make()
        control._repr_mimebundle_()
        shown.append(time.process_time() - began)
    if hasattr(control, "loading") and control.loading.is_alive(): control.loading.join()
    if control.kind == "glove_explorer": control.start(); control.wait()
    for _ in range(ROUNDS):
        for name, field in control.fields.items():
            if field.disabled or getattr(field, "max", 1) == getattr(field, "min", 0): continue
            value = other(field, rng, corpus.vocab, corpus.context_len, name)
            began = time.process_time()
            field.value = value
            answers.setdefault(name, []).append(time.process_time() - began)
            # back to what was trained
            if control.kind == "glove_explorer" and name != "word":
                control.value = {"d": 2, "smoothing": .5, "learning_rate": .2}
    control.close()
    return shown[0], statistics.median(shown[1:]), answers


def main():
    import ipywidgets, matplotlib, numpy, plotly
    from lm_nbdev import widgets
    from lm_nbdev.data import load_corpus
    from lm_nbdev.glove import log_co_occurrence, train_glove
    from lm_nbdev.training import TrainConfig, train
    corpus, rng = load_corpus(), random.Random(0)
    model = train(corpus, TrainConfig(epochs=1), progress=False).model
    glove = train_glove(log_co_occurrence(corpus.train.inputs, corpus.vocab_size), embedding_dim=16)
    makers = {"`architecture_counter`": widgets.architecture_counter,
              "`glove_explorer`": lambda: widgets.glove_explorer(corpus, num_epochs=40),
              "`gradient_explorer`": lambda: widgets.gradient_explorer(model, corpus),
              "`query_panel`": lambda: widgets.query_panel(model, corpus),
              "`training_dashboard`": lambda: widgets.training_dashboard(corpus),
              "`embedding_map`": lambda: widgets.embedding_map({"network": model, "GloVe": glove}, corpus,
              interactive=False),
              "`embedding_map` with plotly": lambda: widgets.embedding_map({"network": model, "GloVe": glove}, corpus)}
    corpus.cache.clear()
    lines = ["# Controls", "", "Seconds of CPU time (all threads together, so that what else the machine does hardly "
                               f"counts) on {corpus.name} ({corpus.vocab_size:,} words), {ROUNDS} changes of each "
                               f"field, none of which trains. {os.cpu_count()} cores, "
                               f"Python {platform.python_version()}, "
             f"NumPy {numpy.__version__}, matplotlib {matplotlib.__version__}, ipywidgets {ipywidgets.__version__}, "
             f"plotly {plotly.__version__}. Run: `python benchmarks/controls.py`.", "",
             "| control | appears, first time | appears, again | answers (median) | slowest field (its median) | "
             "slowest answer |", "|---|---|---|---|---|---|"]
    for name, make in makers.items():
        first, again, answers = measure(make, corpus, rng)
        medians = {field: statistics.median(t) for field, t in answers.items()}
        slow = max(medians, key=medians.get)
        every = [t for ts in answers.values() for t in ts]
        lines.append(f"| {name} | {first:.3f} | {again:.3f} | {statistics.median(every):.3f} | "
                     f"{slow.replace('_', ' ')}: {medians[slow]:.3f} | {max(every):.3f} |")
        print(lines[-1], flush=True)
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__": main()
