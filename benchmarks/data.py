"""From raw_sentences.txt to split arrays: ours beside the plain loop over lists, interleaved. Writes benchmarks/data.md.

Run: .venv/bin/python benchmarks/data.py
"""
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from lm_nbdev import data


def plain(path):
    "Lists and loops, as one would first write it: the original's split of all windows of four."
    lines = [line.lower().split() for line in open(path, encoding="utf-8")]
    number = {}
    for line in lines:
        for word in line: number.setdefault(word, len(number))
    rows = []
    for line in lines:
        ids = [number[word] for word in line]
        for i in range(len(ids) - 3): rows.append(ids[i:i + 4])
    rows, tenth = np.array(rows, np.int32), len(rows) // 10
    return [(part[:, :-1], part[:, -1]) for part in np.split(rows, [len(rows) - 2 * tenth, len(rows) - tenth])]


def ours(path): return data.load_corpus(path, split="original")


if __name__ == "__main__":
    path = data.find_data("raw_sentences.txt")
    if path is None: raise SystemExit("raw_sentences.txt is not at hand; get it with: lm-nbdev download toronto")
    ours(path); times = {plain: [], ours: []}
    for _ in range(9):
        for f in times:
            start = time.perf_counter(); f(path); times[f].append(time.perf_counter() - start)
    a, b = (statistics.median(times[f]) for f in (plain, ours))
    table = (f"From `raw_sentences.txt` to split arrays, medians of 9, interleaved; {os.cpu_count()} cores, "
             f"Python {platform.python_version()}, NumPy {np.__version__}.\n\n"
             f"| | seconds | ratio |\n|---|---|---|\n| plain loop over lists | {a:.3f} | 1 |\n| `load_corpus` | "
             f"{b:.3f} | {a / b:.1f} times as fast |\n")
    Path(__file__).with_suffix(".md").write_text(table, encoding="utf-8"); print(table)
