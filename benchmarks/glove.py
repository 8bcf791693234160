"""Counting neighbours and training GloVe: ours beside the plain versions, interleaved. Writes benchmarks/glove.md.

Run: .venv/bin/python benchmarks/glove.py
"""
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from lm_nbdev.data import load_corpus
from lm_nbdev.glove import log_co_occurrence, train_glove


def plain_log_co_occurrence(inputs, V):
    "The original's loop over contexts."
    X = np.zeros((V, V))
    for a, b, c in inputs:
        X[a, b] += 1; X[b, a] += 1; X[b, c] += 1; X[c, b] += 1
    return np.log(X + 0.5)


def plain_train(log_co, log_valid, W, b, epochs, rate):
    "The original's loop in float64: gradient, step, both losses, each from its own table."
    one = np.ones((len(W), 1))
    error = lambda table: W @ W.T + b @ one.T + one @ b.T - table
    for _ in range(epochs):
        E = error(log_co); dW, db = 4 * E @ W, 4 * E.sum(1, keepdims=True)
        W, b = W - rate * dW, b - rate * db
        losses = (error(log_co) ** 2).sum(), (error(log_valid) ** 2).sum()
    return losses


def ours_train(log_co, log_valid, W, b, epochs, rate):
    "`train_glove` from the same start, in float32."
    g = train_glove(log_co, log_valid, init=(W.astype(np.float32), b.astype(np.float32)), num_epochs=epochs,
                    learning_rate=rate)
    return g.history["train"][-1], g.history["valid"][-1]


def interleave(functions, rounds):
    "Seconds of each function, one after the other, several rounds; medians."
    times = [[] for _ in functions]
    for _ in range(rounds):
        for f, t in zip(functions, times):
            start = time.perf_counter(); f(); t.append(time.perf_counter() - start)
    return [statistics.median(t) for t in times]


if __name__ == "__main__":
    corpus = load_corpus(); V, epochs = corpus.vocab_size, 100
    inputs = np.concatenate([corpus.train.inputs, corpus.valid.inputs, corpus.test.inputs])
    assert np.array_equal(plain_log_co_occurrence(inputs, V), log_co_occurrence(inputs, V))
    a, b = interleave([lambda: plain_log_co_occurrence(inputs, V), lambda: log_co_occurrence(inputs, V)], 7)
    lines = [f"Corpus {corpus.name}, {V} words; medians, interleaved; {os.cpu_count()} cores, "
             f"Python {platform.python_version()}, NumPy {np.__version__}.", "",
             f"Counting, {len(inputs):,} contexts, tables identical to the last digit:", "", "| | ms | ratio |",
             "|---|---|---|",
             f"| plain loop | {1e3 * a:.1f} | 1 |",
             f"| `log_co_occurrence` | {1e3 * b:.2f} | {a / b:.0f} times as fast |", "",
             f"Training, {epochs} epochs with both losses after each; plain: float64, three tables an epoch; ours: "
             "float32, one table:", "",
             "| d | plain, ms an epoch | `train_glove` | ratio | its two products alone | losses differ by |",
             "|---|---|---|---|---|---|"]
    table, valid = log_co_occurrence(corpus.train.inputs, V), log_co_occurrence(corpus.valid.inputs, V)
    for d in (1, 2, 11, 50, 256):
        rng = np.random.default_rng(1); start = (0.1 * rng.standard_normal((V, d)), 0.1 * rng.standard_normal((V, 1)))
        job = (table, valid, *start, epochs, 0.2 / V)
        gap = max(abs(x / y - 1) for x, y in zip(ours_train(*job), plain_train(*job)))
        assert gap < 1e-3
        S, E = np.ones((V, d + 2), np.float32), np.ones((V, V), np.float32); G, mirror = np.empty_like(S), S + 0
        a, b, products = interleave([lambda: plain_train(*job), lambda: ours_train(*job),
                                     lambda: [(np.dot(S, mirror.T, out=E), np.dot(E, mirror, out=G))
                                              for _ in range(epochs)]], 7)
        lines.append(f"| {d} | {1e3 * a / epochs:.3f} | {1e3 * b / epochs:.3f} | {a / b:.1f} times as fast | "
                     f"{1e3 * products / epochs:.3f} | {gap:.0e} |")
    lines += ["",
              "At d = 256 most of the time goes into two matrix products, the table and the way back, that an epoch "
              "needs however it is arranged;",
              f"the plain version's time over the products' alone, {a / products:.1f}, is the most that was to be had "
              "there.", ""]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines), encoding="utf-8"); print("\n".join(lines))
