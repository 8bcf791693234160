"""Counting 4-grams of growing texts with DuckDB, Dask and the course's own code, each in a process of its own whose peak of memory is read
from the system; and the step of the fused NumPy code beside the torch twin. Writes benchmarks/scaling.md.

The texts are the sentences of toronto, repeated; in each copy every seventh word (at random, seeded by the copy) is replaced by another from the
vocabulary, so that the number of different 4-grams grows with the text. Run: .venv/bin/python benchmarks/scaling.py [million tokens, ...]
"""
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT = 1 << 30

COUNT = """
import json, sys, time
import numpy as np
from pathlib import Path
engine, folder = sys.argv[1], Path(sys.argv[2])
if __name__ == "__main__":
    start = time.perf_counter()
    if engine == "own":
        import pyarrow.parquet as pq
        from lm_nbdev.data import ngram_codes, windows
        ids = pq.read_table(folder / "ids.parquet", columns=["w0"])["w0"].to_numpy()
        n = len(np.unique(ngram_codes(windows(ids, 4)[0], 250), return_counts=True)[0])
    else:
        from lm_nbdev.scaling import count_ngrams
        import pyarrow.parquet as pq
        out = count_ngrams(folder / "ids.parquet", folder / f"{engine}.parquet", engine=engine, memory=%d)
        n = pq.read_metadata(out).num_rows
    peak = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])        # ru_maxrss would start at the parent's
    print(json.dumps([time.perf_counter() - start, peak, n]))
""" % LIMIT


def make_ids(folder, millions):
    "The text as the Parquet file of `write_ids`, written copy by copy."
    import pyarrow as pa
    import pyarrow.parquet as pq
    from lm_nbdev import scaling
    from lm_nbdev.data import encode, find_data, most_frequent, read_text, tokenize
    tokens = tokenize(read_text(find_data("raw_sentences.txt")))
    base, names, done, rest, copy = encode(tokens, most_frequent(tokens, 250)), [f"w{i}" for i in range(4)], 0, np.empty(0, np.int32), 0
    with pq.ParquetWriter(folder / "ids.parquet", pa.schema([(n, pa.int32()) for n in names]), compression="zstd") as writer:
        while done < millions * 1e6:
            rng, ids = np.random.default_rng(copy), base.copy()
            change = (rng.random(len(ids)) < 1 / 7) & (ids >= 0)
            ids[change] = rng.integers(0, 250, change.sum())
            ids = ids[:int(millions * 1e6 - done) + 8]
            rest = scaling._write_rows(writer, names, np.concatenate([rest, ids]))
            done += (ids >= 0).sum(); copy += 1
        scaling._write_rows(writer, names, np.concatenate([rest, np.full(3, -2, np.int32)]))
    return int(done)


def measure(sizes):
    import json
    lines = []
    for millions in sizes:
        with tempfile.TemporaryDirectory() as folder:
            tokens, script = make_ids(Path(folder), millions), Path(folder) / "count.py"
            script.write_text(COUNT)
            for engine in ("own", "duckdb", "dask"):
                start = time.perf_counter()
                run = subprocess.run([sys.executable, script, engine, folder], capture_output=True, text=True)
                if run.returncode:
                    print(engine, millions, run.stderr[-400:]); lines.append(f"| {millions} | {engine} | failed | | | |"); continue
                seconds, peak, n = json.loads(run.stdout.splitlines()[-1])
                lines.append(f"| {millions} | {engine} | {seconds:.1f} | {tokens / seconds / 1e6:.2f} | {peak / 1024:.0f} | {n:,} |"); print(lines[-1], flush=True)
    return lines


def steps():
    from lm_nbdev.architecture import Architecture
    from lm_nbdev.scaling import measure_step
    lines = []
    for V in (250, 5_000, 50_000):
        arch, times = Architecture(V, 3, 64, 128, "gelu"), {"numpy": [], "torch": []}
        for _ in range(3):
            for engine in times: times[engine].append(measure_step(arch, engine=engine, batch_size=200, repeats=3))
        a, b = (float(np.median(times[e])) * 1e3 for e in times)
        lines.append(f"| {V:,} | {a:.2f} | {b:.2f} | {'NumPy' if a < b else 'torch'}, {max(a, b) / min(a, b):.1f} times |"); print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    import dask
    import duckdb
    import torch
    sizes = [int(a) for a in sys.argv[1:]] or [1, 10, 50]
    head = f"{os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}, DuckDB {duckdb.__version__}, Dask {dask.__version__}, torch {torch.__version__}. One run each."
    table = (f"{head}\n\nCounting 4-grams over 250 words from the Parquet file of `write_ids`; the engines were allowed {LIMIT >> 20} MB. The text: toronto's sentences repeated, every seventh word of a copy replaced at random. "
             "Peak: of the process itself as the system saw it (for Dask without its two workers; the course's own code has no limit).\n\n"
             "| million tokens | engine | seconds | million tokens a second | peak MB | different 4-grams |\n|---|---|---|---|---|---|\n" + "\n".join(measure(sizes)) +
             "\n\nOne gradient, D = 64, H = 128, batch 200, float32, milliseconds, medians of three interleaved rounds.\n\n| V | fused NumPy | torch twin | faster |\n|---|---|---|---|\n" + "\n".join(steps()) + "\n")
    Path(__file__).with_suffix(".md").write_text(table, encoding="utf-8")
