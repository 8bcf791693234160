"""t-SNE: ours beside scikit-learn (exact and Barnes-Hut) and openTSNE, interleaved, every map judged by the same exact KL. Writes benchmarks/tsne.md.

Run: .venv/bin/python benchmarks/tsne.py
"""
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

ITERATIONS, PERPLEXITY = 1000, 30


def contestants(X, seed):
    "Name and function of each: points in, map out, 1,000 iterations in all."
    import openTSNE
    from sklearn.manifold import TSNE
    from lm_nbdev.tsne import tsne
    x32 = X.astype(np.float32)
    return {"`tsne`": lambda: tsne(X, perplexity=PERPLEXITY, num_iters=ITERATIONS, seed=seed, method="exact",
                                   progress=False).embedding,
            "openTSNE": lambda: np.asarray(openTSNE.TSNE(perplexity=PERPLEXITY, n_iter=ITERATIONS - 250,
                                                         random_state=seed).fit(X)),
            "scikit-learn, Barnes-Hut": lambda: TSNE(perplexity=PERPLEXITY, max_iter=ITERATIONS,
                                                     random_state=seed).fit_transform(x32),
            "scikit-learn, exact": lambda: TSNE(perplexity=PERPLEXITY, max_iter=ITERATIONS, random_state=seed,
                                                method="exact").fit_transform(x32)}


def measure(name, X, rounds, only=None):
    "Seconds and KL of each, round after round; scikit-learn's exact method once where it is slow."
    from lm_nbdev.tsne import affinities, kl_divergence
    P, times, kls = affinities(X, PERPLEXITY), {}, {}
    for seed in range(rounds):
        for who, run in contestants(X, seed).items():
            if only and who not in only or who.endswith("exact") and len(X) > 600 and (seed or len(X) > 1200): continue
            began = time.perf_counter(); Y = run(); times.setdefault(who, []).append(time.perf_counter() - began)
            kls.setdefault(who, []).append(kl_divergence(P, np.asarray(Y, float)))
    best = min(statistics.median(t) for who, t in times.items() if who != "`tsne`")
    lowest = min(min(k) for who, k in kls.items() if who != "`tsne`")
    ours_time, ours_kl = statistics.median(times["`tsne`"]), max(kls["`tsne`"])
    lines = [f"### {name}, {len(X):,} x {X.shape[1]}", "",
             "| | seconds (median) | KL, lowest - highest over seeds | rounds |", "|---|---|---|---|"]
    lines += [f"| {who} | {statistics.median(t):.3f} | {min(kls[who]):.4f} - {max(kls[who]):.4f} | {len(t)} |"
              for who, t in times.items()]
    return lines + ["", f"Ours takes {ours_time / best:.2f} of the fastest other's time ({best / ours_time:.1f} times "
                        f"as fast); our highest KL is {ours_kl / lowest - 1:+.1%} against their lowest.", ""]


def main(part):
    import numpy, openTSNE, sklearn
    from threadpoolctl import threadpool_info
    from sklearn.datasets import load_digits
    from lm_nbdev.data import load_corpus
    from lm_nbdev.training import train
    warnings.filterwarnings("ignore")
    corpus = load_corpus(); E = train(corpus, progress=False).model.params.word_embedding_weights.astype(float)
    rng = np.random.default_rng(0); digits = load_digits().data
    kernel = next(i["architecture"] for i in threadpool_info() if i["internal_api"] == "openblas")
    if part == "small":
        return [f"With OpenBLAS held to its {kernel} kernels (OPENBLAS_CORETYPE):",
                ""] + measure(f"Word embeddings of {corpus.name}", E, 5)
    lines = [f"1,000 iterations in all, perplexity {PERPLEXITY}, each program's own defaults otherwise, interleaved. "
             "Every map is judged by the exact KL divergence of the same affinities. "
             f"{os.cpu_count()} cores, Python {platform.python_version()}, NumPy {numpy.__version__} (OpenBLAS, "
             f"{kernel} kernels), scikit-learn {sklearn.__version__}, openTSNE {openTSNE.__version__}.", ""]
    lines += measure(f"Word embeddings of {corpus.name}", E, 5) + measure("Digits, the first thousand", digits[:1000],
        3) + measure("A normal cloud", rng.normal(size=(1000, 16)), 2)
    fast = ("`tsne`", "openTSNE", "scikit-learn, Barnes-Hut")
    return (lines + ["## Where all pairs become too many", ""] + measure("All digits", digits, 1, fast)
            + measure("A normal cloud", rng.normal(size=(3000, 16)), 1, fast[:2]))


if __name__ == "__main__":
    if len(sys.argv) > 1: print(json.dumps(main(sys.argv[1]))); raise SystemExit
    free = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    ask = lambda part, env: json.loads(subprocess.run([sys.executable, __file__, part], env=env, check=True,
                                                      capture_output=True, text=True).stdout.splitlines()[-1])
    lines = ask("all", free)
    if "OPENBLAS_CORETYPE" in os.environ: lines += ask("small", dict(os.environ))
    Path(__file__).with_suffix(".md").write_text("\n".join(lines), encoding="utf-8"); print("\n".join(lines))
