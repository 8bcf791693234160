"Gradients against PyTorch and JAX, planted bugs, bad input, the command `check`."
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lm_nbdev.architecture import Architecture
from lm_nbdev.backprop import back_propagate, loss_derivative
from lm_nbdev.gradcheck import BUGS, check_gradients, faulty_gradient, numerical_entries
from lm_nbdev.model import Model

problems = st.tuples(st.integers(2, 12), st.integers(1, 6), st.integers(1, 6), st.integers(1, 9), st.integers(1, 12),
                     st.sampled_from(["logistic", "tanh", "relu", "gelu"]), st.integers(0, 10**6))


def make(V, T, D, H, B, activation, seed):
    "A random network and a batch of B contexts, drawn from at most three words, so that words repeat"
    rng = np.random.default_rng(seed)
    model = Model.random_init(Architecture(V, T, D, H, activation), [f"w{i}" for i in range(V)], init_wt=1.0, seed=seed)
    return model, rng.choice(rng.integers(0, V, 3), (B, T)), rng.integers(0, V, B)


def ours(model, x, y):
    a = model.compute_activations(x)
    return back_propagate(model, x, a, loss_derivative(a.output_layer, y)).arrays()


@settings(max_examples=60, deadline=None)
@given(problems)
def test_pytorch_gives_the_same_gradients(problem):
    torch = pytest.importorskip("torch"); F = torch.nn.functional
    model, x, y = make(*problem)
    p = {name: torch.tensor(a, requires_grad=True) for name, a in model.params.arrays().items()}
    bend = {"logistic": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu, "gelu": lambda u: F.gelu(u,
        approximate="tanh")}[model.arch.activation]
    e = F.embedding(torch.tensor(x), p["word_embedding_weights"]).flatten(1)
    z = F.linear(bend(F.linear(e, p["embed_to_hid_weights"], p["hid_bias"])), p["hid_to_output_weights"],
                 p["output_bias"])
    F.cross_entropy(z, torch.tensor(y), reduction="sum").backward()
    for name, g in ours(model, x, y).items():
        assert_allclose(g, p[name].grad.numpy(), rtol=1e-10, atol=1e-10, err_msg=name)


@settings(max_examples=10, deadline=None)
@given(problems)
def test_jax_gives_the_same_gradients(problem):
    jax = pytest.importorskip("jax"); jax.config.update("jax_enable_x64", True)
    model, x, y = make(*problem)
    bend = {"logistic": jax.nn.sigmoid, "tanh": jax.numpy.tanh, "relu": jax.nn.relu,
            "gelu": jax.nn.gelu}[model.arch.activation]
    def loss(p):
        h = bend(p["word_embedding_weights"][x].reshape(len(x), -1) @ p["embed_to_hid_weights"].T + p["hid_bias"])
        z = h @ p["hid_to_output_weights"].T + p["output_bias"]
        return (jax.nn.logsumexp(z, axis=1) - z[np.arange(len(y)), y]).sum()
    theirs = jax.grad(loss)({name: jax.numpy.asarray(a) for name, a in model.params.arrays().items()})
    for name, g in ours(model, x, y).items(): assert_allclose(g, theirs[name], rtol=1e-10, atol=1e-10, err_msg=name)


@settings(max_examples=200, deadline=None)
@given(problems)
def test_right_gradients_pass(problem):
    model, x, y = make(*problem)
    report = check_gradients(model, x, y, num_checks=60, seed=1)
    assert report.ok, report


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("activation", ["logistic", "gelu"])
def test_every_planted_bug_is_caught(bug, activation):
    rng = np.random.default_rng(0)
    model = Model.random_init(Architecture(40, 3, 4, 12, activation), [f"w{i}" for i in range(40)], init_wt=0.1, seed=0)
    x, y = rng.integers(0, 40, (50, 3)), rng.integers(0, 40, 50)
    report = check_gradients(model, x, y, bug=bug)
    assert not report.ok and max(report.max_relative_error.values()) > .1
    right = ours(model, x, y); _, wrong = faulty_gradient(model, x, y, bug)
    assert {n for n, a in wrong.arrays().items() if not np.allclose(a,
        right[n])} == set(report.failed) - {"softmax_inputs"}
    assert max(map(len, str(report).splitlines())) <= 80


def test_complex_step_is_exact():
    model, x, y = make(9, 3, 4, 5, 8, "gelu", 4)
    for name, g in ours(model, x, y).items():
        where = tuple(i.ravel() for i in np.indices(g.shape))
        assert_allclose(numerical_entries(model, x, y, name, where, eps=1e-30, method="complex")[0], g[where],
                        rtol=1e-12, atol=1e-14)


def bad_calls():
    model, x, y = make(9, 3, 4, 5, 8, "logistic", 4)
    nan = Model(model.params.copy(), model.vocab); nan.params.output_bias[0] = np.nan
    where = (np.array([0]),)
    return [(lambda: check_gradients(model, x[:0], y[:0]), "empty"), (lambda: check_gradients(model, x, y, eps=0),
        "eps"), (lambda: check_gradients(model, x, y, eps=float("nan")), "eps"),
            (lambda: check_gradients(nan, x, y), "not finite"),
            (lambda: check_gradients(model, x, y[:3]), "one for each"),
            (lambda: check_gradients(model, x, y + 99), "from 0 to 8"),
            (lambda: check_gradients(model, x, y, num_checks=0), "num_checks"),
            (lambda: check_gradients(model, x, y, bug="none"), "no bug called"),
            (lambda: check_gradients(model, x, y, bug="transpose"), "H = T"),
            (lambda: numerical_entries(model, x, y, "hid_bias", where, method="guess"), "method")]


@pytest.mark.parametrize("call, words", bad_calls())
def test_bad_input_gets_one_sentence(call, words):
    with pytest.raises(ValueError, match=words) as caught: call()
    assert "\n" not in str(caught.value)


def test_the_command(tmp_path):
    from lm_nbdev.data import load_corpus
    corpus = load_corpus("synthetic")
    good = Model.random_init(Architecture(corpus.vocab_size, 3, 4, 6), corpus.vocab,
                             init_wt=.1).save(tmp_path / "good.safetensors")
    other = Model.random_init(Architecture(5, 3, 4, 6), list("abcde"), init_wt=.1).save(tmp_path / "other.safetensors")
    run = lambda path, *more: subprocess.run([sys.executable, "-c", "from lm_nbdev.cli import main; main()", "check",
                                              str(path), "--corpus", "synthetic", *more],
                                             capture_output=True, text=True)
    done = run(good); assert done.returncode == 0 and "all agree" in done.stdout, done.stderr
    done = run(other)
    assert done.returncode == 2 and "different vocabularies" in done.stderr and done.stderr.count("\n") == 1
    done = run(good, "--batch", "0"); assert done.returncode == 2 and "empty" in done.stderr
    code = f"import lm_nbdev.gradcheck as g, lm_nbdev.cli as c; b = g.back_propagate; g.back_propagate = lambda *a: 2 * b(*a); c.main(['check', {str(good)!r}, '--corpus', 'synthetic'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "WRONG" in done.stdout and done.stderr.count("\n") == 1
