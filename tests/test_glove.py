"GloVe: gradients against automatic differentiation, the original's table of losses, bad input, the command."
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lm_nbdev import glove
from lm_nbdev.data import find_data, load_corpus
from lm_nbdev.glove import (glove_gradient, glove_loss, glove_weights, log_co_occurrence, neighbours, pair_counts,
                            sweep_dimensions, train_glove,
                            two_sided_gradient, two_sided_loss)


def problem(seed, V, d, symmetric):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(V, V))
    return ([rng.normal(size=s) for s in ((V, d), (V, 1), (V, d), (V, 1))], table + table.T if symmetric else table,
            rng.random((V, V)))


sizes = dict(seed=st.integers(0, 10**6), V=st.integers(1, 12), d=st.integers(1, 8), symmetric=st.booleans(),
             weighted=st.booleans())


@settings(max_examples=40, deadline=None)
@given(**sizes)
def test_gradients_agree_with_pytorch(seed, V, d, symmetric, weighted):
    torch = pytest.importorskip("torch")
    (W, b, C, c), table, weights = problem(seed, V, d, symmetric)
    F = weights if weighted else np.ones_like(table)
    w_t, b_t, C_t, c_t = (torch.tensor(a, requires_grad=True) for a in (W, b, C, c))
    (torch.tensor(F) * (w_t @ w_t.T + b_t + b_t.T - torch.tensor(table)) ** 2).sum().backward()
    for ours, theirs in zip(glove_gradient(W, b, table, weights=weights if weighted else None), (w_t, b_t)):
        assert_allclose(ours, theirs.grad.numpy(), rtol=1e-10, atol=1e-10)
    w_t.grad = b_t.grad = None
    (torch.tensor(F) * (w_t @ C_t.T + b_t + c_t.T - torch.tensor(table)) ** 2).sum().backward()
    for ours, theirs in zip(two_sided_gradient(W, b, C, c, table, weights=weights if weighted else None),
                            (w_t, b_t, C_t, c_t)):
        assert_allclose(ours, theirs.grad.numpy(), rtol=1e-10, atol=1e-10)


def test_gradients_agree_with_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    (W, b, C, c), table, F = problem(3, 9, 4, False)
    tied = jax.grad(lambda W, b: (F * (W @ W.T + b + b.T - table) ** 2).sum(), (0, 1))(W, b)
    for ours, theirs in zip(glove_gradient(W, b, table, weights=F), tied):
        assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    both = jax.grad(lambda W, b, C, c: (F * (W @ C.T + b + c.T - table) ** 2).sum(), (0, 1, 2, 3))(W, b, C, c)
    for ours, theirs in zip(two_sided_gradient(W, b, C, c, table, weights=F), both):
        assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), N=st.integers(0, 60), T=st.integers(2, 6), V=st.integers(1, 9),
       symmetric=st.booleans())
def test_counts_are_those_of_a_loop(seed, N, T, V, symmetric):
    inputs, X = np.random.default_rng(seed).integers(0, V, (N, T)).astype(np.int32), np.zeros((V, V), int)
    for row in inputs:
        for a, b in zip(row, row[1:]):
            X[a, b] += 1
            if symmetric: X[b, a] += 1
    assert_array_equal(pair_counts(inputs, V, symmetric=symmetric), X)


@settings(max_examples=20, deadline=None)
@given(**sizes)
def test_training_is_plain_descent(seed, V, d, symmetric, weighted):
    (W, b, C, c), table, _ = problem(seed, V, d, symmetric)
    F = glove_weights(table, 2.0) if weighted else None
    x_max, rate = (2.0 if weighted else None), 1e-4
    g, two = train_glove(table, table, init=(W, b), num_epochs=7, learning_rate=rate, x_max=x_max), train_glove(table,
        init=(W, b, C, c), two_sided=True, num_epochs=7, learning_rate=rate, x_max=x_max)
    x, y = (W, b), (W, b, C, c)
    for _ in range(7):
        x = [a - rate * g_ for a, g_ in zip(x, glove_gradient(*x, table, weights=F))]
        y = [a - rate * g_ for a, g_ in zip(y, two_sided_gradient(*y, table, weights=F))]
    for ours, plain in zip((g.W, g.b, two.W, two.b, two.C, two.c), (*x, *y)):
        assert_allclose(ours, plain, rtol=1e-9, atol=1e-9)
    assert_allclose(g.history["train"][-1], glove_loss(*x, table, weights=F), rtol=1e-9, atol=1e-9)
    assert_allclose(g.history["valid"], g.history["train"], rtol=1e-9, atol=1e-9)
    assert_allclose(two.history["train"][-1], two_sided_loss(*y, table, weights=F), rtol=1e-9, atol=1e-9)


def test_the_originals_table_of_losses():
    folder = find_data("original_split")
    if folder is None: pytest.skip("the original's arrays are not at hand")
    corpus = load_corpus(folder)
    table, valid = (log_co_occurrence(s.inputs, 250) for s in (corpus.train, corpus.valid))
    sweep = sweep_dimensions(table, valid, (1, 2, 10, 12, 50, 100), progress=False)
    expected = np.array([(98426, 107541), (92174, 106279), (77730, 105820), (76058, 105761), (63687, 109979),
                         (60964, 111655)])
    assert_allclose(np.column_stack([sweep.train.mean(1), sweep.valid.mean(1)]), expected, rtol=.003)


L = np.log(np.ones((5, 5)) + .5)
BAD = [(lambda: log_co_occurrence([[0, 1, 5]], 5), "0 to 4"), (lambda: log_co_occurrence([[0, -1, 2]], 5), "0 to 4"),
       (lambda: log_co_occurrence([[0, 1, 2]], 5, smoothing=0), "log 0"),
       (lambda: log_co_occurrence([[0, 1, 2]], 5, smoothing=float("nan")), "smoothing"),
       (lambda: pair_counts(np.zeros((3, 1), int), 5), "2 words"),
       (lambda: pair_counts([[.5, 1.]], 5), "whole numbers"),
       (lambda: train_glove(L[:3]), "square"), (lambda: train_glove(L * np.nan), "not finite"),
       (lambda: train_glove(L, L[:3, :3]), "3 words"), (lambda: train_glove(L, embedding_dim=0), "embedding_dim"),
       (lambda: train_glove(L, learning_rate=50.0), "diverged in epoch"),
       (lambda: train_glove(L, learning_rate=0), "learning_rate"),
       (lambda: train_glove(L, num_epochs=-1), "num_epochs"),
       (lambda: train_glove(L, init=(L, L)), "shapes"), (lambda: train_glove(L, x_max=0), "x_max"),
       (lambda: sweep_dimensions(L, L, ()), "at least one"), (lambda: neighbours(L, 0, 0), "k must"),
       (lambda: sweep_dimensions(L, L, (0,)), "at least 1")]


@pytest.mark.parametrize("call, words", BAD)
def test_bad_input_gets_one_sentence(call, words):
    with pytest.raises(ValueError, match=words) as caught: call()
    assert "\n" not in str(caught.value)


def test_a_rate_that_the_message_names_works():
    corpus = load_corpus("synthetic"); table = log_co_occurrence(corpus.train.inputs, corpus.vocab_size)
    with pytest.raises(ValueError, match="try") as caught: train_glove(table, learning_rate=1.0)
    g = train_glove(table, learning_rate=float(str(caught.value).split("try ")[1].rstrip(".")), num_epochs=50)
    assert g.history["train"][-1] < g.history["train"][0]


def test_an_interrupted_run_keeps_what_it_learned(monkeypatch):
    import lm_nbdev.glove as module
    steps, whole = [], module._update
    def update(*args):
        steps.append(1)
        if len(steps) == 5: raise KeyboardInterrupt
        whole(*args)
    monkeypatch.setattr(module, "_update", update)
    g = train_glove(L, embedding_dim=2)
    assert g.stopped == "interrupted after 4 epochs" and len(g.history["train"]) == 5 and np.isfinite(g.W).all()


def test_the_command_writes_a_picture_and_vectors(tmp_path):
    text = tmp_path / "small.txt"
    text.write_text("".join(f"the {a} {b} the {c} .\n" for a in ("cat", "dog") for b in ("sees", "hears", "finds")
                            for c in ("house", "tree", "bird", "road")) * 20, encoding="utf-8")
    call = [sys.executable, "-c", "from lm_nbdev.cli import main; main()", "glove", "--corpus", str(text), "--dims",
            "1,2,3", "--epochs", "20", "--starts", "1", "--out", str(tmp_path / "out")]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.replace(str(tmp_path), "").splitlines())) <= 80
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["map.png", "sweep.png", "vectors_2d.csv"]
    rows = (tmp_path / "out" / "vectors_2d.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "word,x,y" and len(rows) == load_corpus(str(text)).vocab_size + 1


def test_the_default_rate_is_halved_until_it_holds():
    "A full table of a text without order: momentum at 0.2 / V leaves it."
    counts = np.random.default_rng(0).poisson(6, (62, 62)); X = np.log1p(counts + counts.T)
    with pytest.raises(glove.Diverged, match="try"):
        train_glove(X, embedding_dim=11, optimizer="momentum", learning_rate=0.2 / 62)
    history = train_glove(X, embedding_dim=11, optimizer="momentum").history["train"]
    assert history[-1] < history[0] / 4
    with pytest.raises(glove.Diverged):
        glove._halving(lambda learning_rate: train_glove(X, learning_rate=learning_rate), 1e6)
