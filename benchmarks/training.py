"""One training step, ours beside the straightforward version, PyTorch and JAX; from raw file to 2.772; evaluation. Writes benchmarks/training.md.

Run: .venv/bin/python benchmarks/training.py        (needs the `compare` extra; two cores that nobody else uses; about four minutes)
"""
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from lm_nbdev.architecture import Architecture, Params
from lm_nbdev.backprop import back_propagate, loss_derivative
from lm_nbdev.data import find_data, load_corpus
from lm_nbdev.model import Model, cross_entropy, forward
from lm_nbdev.training import FusedStep, Momentum, TrainConfig, Turns, train

V, T, RATE, PAUSE = 250, 3, 0.01, 0.1
BLAS_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def fused(start, X, Y):
    "As `train` runs it: bursts of steps, in turns on two threads where other programs hold one up."
    p = start.astype(np.float32)
    step, rule = FusedStep(p, len(Y[0])), Momentum(p.flat.size)
    turns = Turns(two=step.threads == 1)
    def one(x, y): step(x, y); rule.update(p.flat, step.grad.flat, RATE)
    def run():
        batches = zip(X, Y)
        with threadpool_limits(1, "blas"), np.errstate(all="ignore"):
            while turns.run(one, batches): pass
    return run


def clear(start, X, Y):
    "Chapters 3 and 4 as they are written, float64, BLAS on all cores."
    model = Model(start.copy(), [str(i) for i in range(V)]); v = [start * 0]
    def run():
        for x, y in zip(X, Y):
            acts = model.compute_activations(x)
            v[0] = 0.9 * v[0] + (1 / len(y)) * back_propagate(model, x, acts, loss_derivative(acts.output_layer, y))
            model.params = model.params - RATE * v[0]
    return run


def plain_step(p, v, x, y, rate):
    "The original's step: float64, a matrix of zeros and ones for the targets and one for each position's words, five arrays."
    B, eye = len(y), np.eye(V); E, W1, b1, W2, b2 = p
    e = E[x].reshape(B, -1); h = 1 / (1 + np.exp(-(e @ W1.T + b1)))
    z = h @ W2.T + b2; z -= z.max(1, keepdims=True); q = np.exp(z); q /= q.sum(1, keepdims=True)
    d = (q - eye[y]) / B; back = d @ W2 * h * (1 - h); de = back @ W1; D = E.shape[1]
    g = [sum(eye[x[:, t]].T @ de[:, t * D:(t + 1) * D] for t in range(T)), back.T @ e, back.sum(0), d.T @ h, d.sum(0)]
    for i in range(5): v[i] = 0.9 * v[i] + g[i]; p[i] = p[i] - rate * v[i]
    return -np.log(q[np.arange(B), y] + 1e-30).mean()


def plain(start, X, Y):
    p = [a.copy() for a in start.arrays().values()]; v = [np.zeros_like(a) for a in p]
    def run():
        for x, y in zip(X, Y): plain_step(p, v, x, y, RATE)
    return run


def products(start, X, Y):
    "Nothing but the six matrix products, float32, on one core or all, whichever is faster: the floor."
    p, B = start.astype(np.float32), len(Y[0]); H, TD = p.embed_to_hid_weights.shape
    e, h, z = (np.ones((B, n), np.float32) for n in (TD, H, V))
    a, b, c, d, f, g = (np.empty(s, np.float32) for s in ((B, H), (B, V), (V, H), (B, H), (H, TD), (B, TD)))
    def six():
        np.dot(e, p.embed_to_hid_weights.T, out=a); np.dot(h, p.hid_to_output_weights.T, out=b); np.dot(z.T, h, out=c)
        np.dot(z, p.hid_to_output_weights, out=d); np.dot(h.T, e, out=f); np.dot(h, p.embed_to_hid_weights, out=g)
    def run(threads):
        def go():
            with threadpool_limits(threads, "blas"):
                for _ in X: six()
        return go
    times = interleave({n: run(n) for n in (1, 2)}, 3)
    return run(min(times, key=lambda n: statistics.median(times[n])))


def pytorch(start, X, Y, compiled=False):
    import torch
    leaves = [torch.tensor(a.astype(np.float32)).requires_grad_() for a in start.arrays().values()]
    rule = torch.optim.SGD(leaves, RATE, 0.9)
    def loss(x, y):
        E, W1, b1, W2, b2 = leaves
        return torch.nn.functional.cross_entropy(torch.sigmoid(E[x].reshape(len(y), -1) @ W1.T + b1) @ W2.T + b2, y)
    f, batches = torch.compile(loss) if compiled else loss, [(torch.tensor(x), torch.tensor(y)) for x, y in zip(X, Y)]
    def run():
        for x, y in batches: rule.zero_grad(); f(x, y).backward(); rule.step()
    return run


def jax_scan(start, X, Y):
    import jax
    import jax.numpy as jnp
    state = {k: jnp.asarray(a, jnp.float32) for k, a in start.arrays().items()}
    state = [(state, {k: a * 0 for k, a in state.items()})]
    batches = jnp.asarray(X.astype(np.int32)), jnp.asarray(Y.astype(np.int32))
    def loss(p, x, y):
        h = jax.nn.sigmoid(p["word_embedding_weights"][x].reshape(len(y), -1) @ p["embed_to_hid_weights"].T
                           + p["hid_bias"])
        return -jnp.take_along_axis(jax.nn.log_softmax(h @ p["hid_to_output_weights"].T + p["output_bias"]),
                                    y[:, None], 1).mean()
    def step(state, batch):
        p, v = state; l, g = jax.value_and_grad(loss)(p, *batch); v = jax.tree.map(lambda v, g: 0.9 * v + g, v, g)
        return (jax.tree.map(lambda p, v: p - RATE * v, p, v), v), l
    whole = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches))
    def run(): state[0], _ = jax.block_until_ready(whole(state[0], batches))
    return run


CONTESTANTS = {"fused step": fused, "clear path (chapters 3, 4)": clear, "straightforward float64": plain,
               "PyTorch eager": pytorch,
               "PyTorch compiled": lambda *a: pytorch(*a, compiled=True), "JAX compiled over a scan": jax_scan,
               "matrix products alone": products}


def interleave(runs, rounds):
    "Seconds of each, one after the other, in each round. A pause before each: threads of BLAS and OpenMP go on spinning for some 25 ms after their work and would hold a core against the next."
    times = {name: [] for name in runs}
    for run in runs.values(): run()
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def steps(names, D, H, B, rounds):
    "Median microseconds a step of each contestant, all from the same start on the same batches."
    rng, n = np.random.default_rng(0), max(20, 4_000_000 // (B * H))
    X, Y = rng.integers(0, V, (n, B, T)), rng.integers(0, V, (n, B))
    start = Params.random_init(Architecture(V, T, D, H), 0.1, 0)
    times = interleave({name: CONTESTANTS[name](start, X, Y) for name in names}, rounds)
    return {name: 1e6 * statistics.median(t) / n for name, t in times.items()}


LOOP = "a loop of Python (not a step)"


def neighbours(names):
    """The step at 16/128 and 100 alone, then with a process that computes without pause on each core. Beside it a loop
    of Python's own, one thread without any library: what sharing the cores costs whatever computes."""
    def loop(rounds): return 1e6 * statistics.median(interleave({0: lambda: sum(range(5_000_000))}, rounds)[0])
    alone = steps(names, 16, 128, 100, 7) | {LOOP: loop(7)}
    others = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(10000))"]) for _ in range(os.cpu_count())]
    try: busy = steps(names, 16, 128, 100, 9) | {LOOP: loop(9)}
    finally:
        for p in others: p.kill(); p.wait()
    return {name: (alone[name], busy[name]) for name in alone}


def plain_to(goal, path, most=40_000):
    "The original's recipe, straightforwardly, from the raw file until validation is at most `goal`: seconds, steps."
    start, rng, index, rows = time.perf_counter(), np.random.default_rng(0), {}, []
    for line in open(path, encoding="utf-8"):
        ids = [index.setdefault(w, len(index)) for w in line.lower().split()]
        for i in range(len(ids) - 3): rows.append(ids[i:i + 4])
    data = np.array(rows); rows_train, rows_valid = data[:372_550], data[372_550:372_550 + 46_568]
    p = [a.copy() for a in Params.random_init(Architecture(V, T, 16, 128), 0.01, 0).arrays().values()]
    v = [np.zeros_like(a) for a in p]
    params, step = Params(Architecture(V, T, 16, 128)), 0
    while step < most:
        order = rng.permutation(len(rows_train))
        for i in range(0, len(order) - 99, 100):
            b = rows_train[order[i:i + 100]]; plain_step(p, v, b[:, :3], b[:, 3], 0.1); step += 1
            if step % 1000: continue
            for view, a in zip(params.arrays().values(), p): view[:] = a
            ce = np.mean([cross_entropy(forward(params, c[:, :3]).output_layer, c[:, 3])
                          for c in np.array_split(rows_valid, 20)])
            if ce <= goal: return time.perf_counter() - start, step, ce
    raise RuntimeError(f"not under {goal} after {most} steps")


def ours_to(path, goal):
    start = time.perf_counter()
    corpus = load_corpus(path, split="original")
    result = train(corpus, TrainConfig(epochs=1, batch_size=250), progress=False)
    assert result.history["valid_ce"][-1] <= goal, result.history
    return time.perf_counter() - start, result.history["step"][-1], result.history["valid_ce"][-1]


def evaluation(rounds=5):
    "All training examples through the default network: milliseconds with and without the use of repeats, both in float32, 512 at a time."
    corpus = load_corpus("toronto")
    s = corpus.train
    model = Model.random_init(Architecture(V, T, 16, 128), corpus.vocab, 0.3, 0, np.float32)
    every = lambda: sum(len(s.targets[i:i + 512]) * cross_entropy(forward(model.params,
        s.inputs[i:i + 512]).output_layer, s.targets[i:i + 512]) for i in range(0, len(s), 512)) / len(s)
    assert abs(every() - model.evaluate(s.inputs, s.targets)) < 1e-6
    with threadpool_limits(1, "blas"):
        times = interleave({"every example": every, "each context once": lambda: model.evaluate(s.inputs, s.targets)},
                           rounds)
    return {k: 1e3 * statistics.median(t) for k, t in times.items()}


def measure():
    "Everything, in this process."
    names = list(CONTESTANTS)
    sizes = {f"{D}/{H}, batch {B}": steps(names, D, H, B, 7) for D, H in ((16, 128), (64, 512)) for B in (100, 500)}
    kernel = next((l.get("architecture") for l in threadpool_info() if l["internal_api"] == "openblas"), "?")
    return {"kernel": kernel, "steps": sizes,
            "neighbours": neighbours(["fused step", "JAX compiled over a scan", "PyTorch eager", "matrix products alone"]),
            "evaluation": evaluation()}


def table(m):
    sizes = list(m["steps"]); lines = ["| | " + " | ".join(sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for name in CONTESTANTS:
        lines.append(f"| {name} | " + " | ".join(f"{m['steps'][s][name]:,.0f} "
                                                 f"({m['steps'][s]['fused step'] / m['steps'][s][name]:.2f}x)"
                                                 for s in sizes) + " |")
    lines += ["", "Microseconds a step; in brackets the fused step's time as a multiple of this one's.", "",
              "With a busy process on each core (16/128, batch 100):", "", "| | alone | busy | slower by |",
              "|---|---|---|---|"]
    lines += [f"| {k} | {a:,.0f} | {b:,.0f} | {b / a:.1f} |" for k, (a, b) in m["neighbours"].items()]
    lines += ["", "The loop of Python, the products and the fused step at this size run on one thread, which gets about half "
                  "of a core when two other processes want both; JAX spreads its work over several threads and gets more "
                  "than one share."]
    a, b = m["evaluation"].values()
    return lines + ["", f"Evaluation of all training examples, one core: {a:.0f} ms one by one, "
                        f"{b:.0f} ms with each context once: {a / b:.1f} times as fast, equal to 1e-6."]


if __name__ == "__main__":
    if sys.argv[1:] == ["--measure"]: print(json.dumps(measure())); sys.exit()
    if sys.argv[1:]: sys.exit(__doc__)
    import jax
    import torch
    lines = [f"Medians, interleaved; {os.cpu_count()} cores, Python {platform.python_version()}, "
             f"NumPy {np.__version__}, PyTorch {torch.__version__}, JAX {jax.__version__}. Logistic units, "
             "momentum, V = 250.", ""]
    clean = {k: v for k, v in os.environ.items() if k not in BLAS_SETTINGS}
    environments = [clean] + ([dict(os.environ)] if clean != dict(os.environ) else [])
    for environment in environments:
        m = json.loads(subprocess.run([sys.executable, __file__, "--measure"], env=environment, check=True,
                                      stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
        lines += [f"## NumPy's OpenBLAS with its {m['kernel']} kernel"
                  + (" (as it chooses by itself)" if environment is clean else " (as the environment here asks)"), "",
                  *table(m), ""]
    goal, path = 2.772, str(find_data("raw_sentences.txt")); first, second = ours_to(path, goal), plain_to(goal, path)
    again = ours_to(path, goal); ours = min(first[0], again[0])
    lines += ["## From the raw file to validation 2.772", "", "| | seconds | steps | validation |", "|---|---|---|---|",
              f"| the original's recipe, straightforward float64, batch 100 | {second[0]:.1f} | {second[1]:,} | "
              f"{second[2]:.3f} |",
              f"| `TrainConfig(epochs=1, batch_size=250)` | {ours:.1f} | {first[1]:,} | {first[2]:.3f} |", "",
              f"1/{second[0] / ours:.0f} of the time, reading the file and three final evaluations included.", ""]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines), encoding="utf-8"); print("\n".join(lines))
