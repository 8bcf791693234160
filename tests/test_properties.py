"What must hold for any numbers: the mathematics of the network, of counting and of vectors, beside plain loops and beside itself turned round."
import inspect
import math
import os
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lm_nbdev import backprop, glove, model, ngrams
from lm_nbdev.architecture import ACTIVATIONS, Architecture, Params
from lm_nbdev.backprop import back_propagate, loss_derivative
from lm_nbdev.data import Split
from lm_nbdev.model import Model
from lm_nbdev.ngrams import KneserNey

some = settings(max_examples=int(os.environ.get("LM_NBDEV_EXAMPLES", 40)), deadline=None, derandomize=True,
                database=None)
seeds = st.integers(0, 10 ** 6)


def net(seed, V=7, T=2, D=3, H=5, activation="logistic", dtype=np.float64):
    return Model(Params.random_init(Architecture(V, T, D, H, activation), .8, seed, dtype), [f"w{i}" for i in range(V)])


def with_biases(net, seed=1):
    rng = np.random.default_rng(seed)
    net.params.hid_bias[:], net.params.output_bias[:] = rng.normal(0, .5, net.arch.num_hid), rng.normal(0, .5,
        net.arch.vocab_size)
    return net


def batch(seed, V=7, T=2, N=11):
    rng = np.random.default_rng(seed)
    return rng.integers(0, V, (N, T)), rng.integers(0, V, N)


def bent(u, name):
    "One number through the hidden unit, as the books have it."
    if name == "logistic": return 1 / (1 + math.exp(-u))
    if name == "tanh": return (math.exp(u) - math.exp(-u)) / (math.exp(u) + math.exp(-u))
    if name == "relu": return u if u > 0 else 0.0
    return 0.5 * u * (1 + math.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u ** 3)))


# --------------------------------------------------------------------------------------------------------- the network
@some
@given(seeds, st.floats(-1e3, 1e3), st.floats(0, 300))
def test_softmax(seed, shift, size):
    z = np.random.default_rng(seed).normal(0, size, (4, 6)); p = model.softmax(z)
    assert_allclose(p.sum(1), 1); assert (p >= 0).all()
    assert_allclose(model.softmax(z + shift), p, rtol=1e-9, atol=1e-300)
    assert_allclose(np.log(model.softmax(z / (1 + size))),
                    z / (1 + size) - np.log(np.exp(z / (1 + size)).sum(1, keepdims=True)))
    order = np.random.default_rng(seed).permutation(6)
    assert_allclose(model.softmax(z[:, order]), p[:, order], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_slopes(name):
    u = np.linspace(-3, 3, 61) + .013; h = model.activate(u, name)
    assert_allclose(h, [bent(x, name) for x in u], rtol=1e-12, atol=1e-15)
    assert_allclose(backprop.activation_slope(u, h, name), [(bent(x + 1e-6, name) - bent(x - 1e-6, name)) / 2e-6
                                                            for x in u], atol=1e-9)
    assert backprop.activation_slope(u.astype(np.float32), h.astype(np.float32),
                                     name).dtype == model.activate(u.astype(np.float32), name).dtype == np.float32
    assert model.activate(np.array([-800.0, 800.0]), "logistic").tolist() == [0, 1]
    if name == "relu": assert backprop.activation_slope(np.zeros(1), np.zeros(1), name) == 0
    with pytest.raises(ValueError, match="bend"): model.activate(u, "bend")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_forward_pass_is_the_formula(name):
    m = with_biases(net(3, activation=name)); p = m.params; x, y = batch(4); a = m.compute_activations(x)
    total = 0
    for n in range(len(x)):
        e = [p.word_embedding_weights[x[n, t], d] for t in range(2) for d in range(3)]
        h = [bent(sum(p.embed_to_hid_weights[j, i] * e[i] for i in range(6)) + p.hid_bias[j], name) for j in range(5)]
        z = [sum(p.hid_to_output_weights[v, j] * h[j] for j in range(5)) + p.output_bias[v] for v in range(7)]
        s = sum(map(math.exp, z))
        assert_allclose(a.embedding_layer[n], e)
        assert_allclose(a.hidden_layer[n], h)
        assert_allclose(a.output_layer[n], [math.exp(v) / s for v in z])
        total -= math.log(math.exp(z[y[n]]) / s)
    assert_allclose([model.cross_entropy(a.output_layer, y), m.evaluate(x, y)], total / len(x))
    assert m.compute_activations(x[0]).output_layer.shape == (1, 7)


@some
@given(seeds, st.integers(1, 60), st.sampled_from([2, 7, 50_000]), st.integers(1, 4))
def test_examples_without_repeats(seed, N, V, T):
    rng = np.random.default_rng(seed); words = rng.integers(0, V, 3)
    x, y = rng.choice(words, (N, T)), rng.choice(words, N)
    contexts, which, targets, counts = model.distinct_examples(x, y, V)
    assert Counter({(*contexts[w].tolist(), int(t)): int(c)
                    for w, t, c in zip(which, targets, counts)}) == Counter((*r.tolist(), int(t)) for r, t in zip(x, y))
    assert (len(np.unique(contexts, axis=0)) == len(contexts) and len(targets) == len(counts) == len(which)
            and (np.diff(which) >= 0).all() and which[0] == 0)


@some
@given(seeds, st.integers(1, 12))
def test_evaluation_does_not_see_the_order_or_the_chunks(seed, chunk):
    m = with_biases(net(seed)); x, y = batch(seed, N=30); order = np.random.default_rng(seed).permutation(30)
    plain = -np.log(m.compute_activations(x).output_layer[np.arange(30), y]).mean()
    assert_allclose([m.evaluate(x, y), m.evaluate(x[order], y[order]),
                     model.weighted_cross_entropy(m.params, *model.distinct_examples(x, y, 7), chunk)],
                    plain, rtol=1e-12)
    assert_allclose(m.evaluate(np.tile(x, (3, 1)), np.tile(y, 3)), plain, rtol=1e-12)


def test_a_probability_that_vanished_counts_as_the_smallest():
    for kind in (np.float32, np.float64):
        m = net(1, dtype=kind); m.params.output_bias[3] = -2000
        assert_allclose([m.evaluate([[0, 0]], [3]), model.cross_entropy(m.compute_activations([[0, 0]]).output_layer,
                                                                        [3])], -np.log(np.finfo(kind).tiny), rtol=1e-5)


@some
@given(seeds, st.sampled_from(ACTIVATIONS))
def test_other_names_for_the_words_change_nothing_else(seed, name):
    m = with_biases(net(seed, activation=name))
    x, y = batch(seed)
    order = np.random.default_rng(seed).permutation(7)
    place = np.argsort(order)
    p = m.params.copy()
    for array in (p.word_embedding_weights, p.hid_to_output_weights, p.output_bias): array[:] = array[order]
    other = Model(p, [m.vocab[i] for i in order]); a, b = m.compute_activations(x), other.compute_activations(place[x])
    assert_allclose(b.output_layer, a.output_layer[:, order])
    assert_allclose(other.evaluate(place[x], place[y]), m.evaluate(x, y))
    g, h = (back_propagate(n, i, act, loss_derivative(act.output_layer, t))
            for n, i, act, t in ((m, x, a, y), (other, place[x], b, place[y])))
    assert_allclose(h.word_embedding_weights, g.word_embedding_weights[order], atol=1e-12)
    assert_allclose(h.embed_to_hid_weights, g.embed_to_hid_weights, atol=1e-12)
    assert_allclose(h.output_bias, g.output_bias[order], atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_every_gradient_is_the_change_of_the_loss(name, seed):
    m = with_biases(net(seed, activation=name), seed); x, y = batch(seed + 9); a = m.compute_activations(x)
    d = loss_derivative(a.output_layer, y); before = a.output_layer.copy(); g = back_propagate(m, x, a, d)
    loss = lambda: -np.log(m.compute_activations(x).output_layer[np.arange(len(x)), y]).sum()
    for i in range(m.params.flat.size):
        kept, sides = m.params.flat[i], []
        for push in (1e-5, -1e-5): m.params.flat[i] = kept + push; sides.append(loss())
        m.params.flat[i] = kept
        assert_allclose(g.flat[i], (sides[0] - sides[1]) / 2e-5, atol=2e-7)
    assert_array_equal(a.output_layer, before); assert_allclose(d.sum(1), 0, atol=1e-12)
    for n in range(len(x)): assert_allclose(d[n], [a.output_layer[n, v] - (v == y[n]) for v in range(7)])
    parts = [back_propagate(m, x[i:i + 1], m.compute_activations(x[i:i + 1]), d[i:i + 1]) for i in range(len(x))]
    assert_allclose(sum((q.flat for q in parts), 0), g.flat, atol=1e-12)
    assert back_propagate(net(1, dtype=np.float32), x, net(1, dtype=np.float32).compute_activations(x),
                          d.astype(np.float32)).dtype == np.float32


def test_refusals_of_the_network():
    m = net(0); x, y = batch(0); a = m.compute_activations(x); d = loss_derivative(a.output_layer, y)
    for bad in (np.zeros((3, 1), int), np.zeros((3, 2)), np.full((3, 2), 7), np.full((3, 2), -1), np.zeros(3, int),
                np.zeros((3, 2, 1), int)):
        with pytest.raises(ValueError, match="Contexts must"): m.check_inputs(bad)
    assert (m.check_inputs(np.zeros((0, 2), int)).shape == (0, 2) and m.check_inputs([[0, 6]]).tolist() == [[0, 6]]
            and m.check_inputs([6, 0]).tolist() == [[6, 0]])
    for bad in (y[:-1], y - 7, y + 7, np.full(len(x), 7), y.astype(float), y[:, None], np.zeros(0, int)):
        with pytest.raises(ValueError, match="[Tt]argets"): m.evaluate(x, bad)
        with pytest.raises(ValueError, match="[Tt]argets"): loss_derivative(a.output_layer, bad)
    assert m.evaluate(x, np.full(len(x), 6)) > 0 and m.evaluate(x, np.zeros(len(x), int)) > 0
    with pytest.raises(ValueError, match="at least one"): m.evaluate(x[:0], y[:0])
    with pytest.raises(ValueError, match="derivative must have shape"): back_propagate(m, x, a, d[:-1])
    with pytest.raises(ValueError, match="derivative must have shape"):
        back_propagate(m, x, m.compute_activations(x[:1]), d)
    with pytest.raises(ValueError, match="made for 7 words, but the vocabulary has 6"): Model(m.params, m.vocab[:-1])
    class Text: vocab, vocab_size, name = m.vocab[:], 7, "some text"
    model.same_vocabulary(m, Text)
    for words, said in ((m.vocab[::-1], "7 words each, but not the same"), (m.vocab[1:], "7 and 6 words")):
        Text.vocab, Text.vocab_size = words, len(words)
        with pytest.raises(ValueError, match="The model and the corpus some text have different vocabularies "
                                             f".{said}.: load the text"):
            model.same_vocabulary(m, Text)
    with pytest.raises(ValueError, match="shape"): loss_derivative(a.output_layer[0], y[:1])
    with pytest.raises(ValueError, match="probabilities"): model.cross_entropy(a.output_layer[0], y[:1])
    with pytest.raises(ValueError, match="probabilities"): model.cross_entropy(np.ones((11, 7), int), y)


@some
@given(seeds, st.sampled_from(ACTIVATIONS), st.sampled_from([np.float32, np.float64]))
def test_a_saved_model_comes_back_to_the_last_bit(tmp_path_factory, seed, name, kind):
    m = with_biases(net(seed, activation=name, dtype=kind)); m.metadata = {"a": 1, "b": [1, None]}
    path = tmp_path_factory.mktemp("m") / "deep" / "m.safetensors"
    assert m.save(path, b=2, c="é") == path
    back = Model.load(path)
    assert (back.params.flat.tobytes() == m.params.flat.tobytes() and back.params.dtype == kind
            and back.vocab == m.vocab and back.arch == m.arch and back.metadata == {"a": 1, "b": 2, "c": "é"}
            and m.metadata == {"a": 1, "b": [1, None]})
    assert [p.name for p in path.parent.iterdir()] == ["m.safetensors"]
    assert str(m.arch.num_params) in repr(back) and m.ids("w1 w0").tolist() == [1, 0]


def test_models_start_random_and_from_a_seed():
    arch = Architecture(7, 2, 3, 5); a, b, c = (Model.random_init(arch, ["x"] * 7, .5, s) for s in (0, 0, 1))
    assert_array_equal(a.params.flat, b.params.flat)
    assert (a.params.flat != c.params.flat).any() and a.params.dtype == np.float64 and Model.random_init(arch,
        ["x"] * 7, dtype=np.float32).params.dtype == np.float32
    assert not a.params.hid_bias.any() and not a.params.output_bias.any() and a.metadata == {}
    assert_allclose(Model.random_init(Architecture(200, 2, 30, 50), ["x"] * 200, .5).params.hid_to_output_weights.std(),
                    .5, rtol=.05)
    assert_allclose(Model.random_init(Architecture(200, 2, 30, 50), ["x"] * 200).params.hid_to_output_weights.std(),
                    .01, rtol=.05)


@some
@given(seeds, seeds, st.floats(-3, 3))
def test_parameters_add_up(s, t, k):
    a, b = net(s).params, net(t).params; kept = a.flat.copy()
    assert_allclose((a + b - b).flat, a.flat, atol=1e-12)
    assert_array_equal((a * k).flat, (k * a).flat)
    assert_allclose(((a + b) * k).flat, (a * k + b * k).flat, atol=1e-12)
    assert_array_equal((a - a).flat, 0 * a.flat)
    assert_array_equal((a + b).flat, (b + a).flat)
    c = a.copy(); c.word_embedding_weights[0, 0] = 99; assert a.flat[0] == kept[0] and c.flat[0] == 99
    assert_array_equal(a.flat, kept)
    assert_array_equal(np.concatenate([v.ravel() for v in a.arrays().values()]), a.flat)
    assert ({n: v.shape for n, v in a.arrays().items()} == a.arch.param_shapes
            and sum(a.arch.param_counts.values()) == a.arch.num_params == a.flat.size)
    with pytest.raises(ValueError): a + Params(Architecture(7, 2, 3, 6))


# ------------------------------------------------------------------------------------------------------------ counting
def plain_kneser_ney(rows, V, order):
    "A dictionary for each context, as Chen and Goodman (1999), eq. 24, reads; returns p(context, word)."
    tables, grams = [], Counter(tuple(r[-order:]) for r in rows)
    for k in range(order, 0, -1):
        n = Counter(min(c, 5) for c in grams.values()); D = [0, .5, 1, 1.5]
        if all(n[i] for i in (1, 2, 3, 4)):
            Y = n[1] / (n[1] + 2 * n[2])
            D = [0] + [d if (d := i - (i + 1) * Y * n[i + 1] / n[i]) > 0 else u for i, u in ((1, .5), (2, 1), (3, 1.5))]
        by = defaultdict(dict)
        for g, c in grams.items(): by[g[:-1]][g[-1]] = c
        tables.insert(0, ({h: {w: (c - D[min(c, 3)]) / sum(f.values()) for w, c in f.items()} for h, f in by.items()},
                          {h: sum(D[min(c, 3)] for c in f.values()) / sum(f.values()) for h, f in by.items()}))
        grams = Counter(g[1:] for g in grams)
    def p(context, word):
        out = 1 / V
        for k, (share, passed) in enumerate(tables):
            h = tuple(context[len(context) - k:])
            if h in share: out = share[h].get(word, 0) + passed[h] * out
        return out
    return p


@some
@given(seeds, st.integers(1, 120), st.integers(0, 3), st.integers(1, 4), st.sampled_from([2, 5, 9]))
def test_kneser_ney_is_the_dictionaries(seed, N, T, order, V):
    rng = np.random.default_rng(seed); order = min(order, T + 1); p = 1 / np.arange(1, V + 1)
    draw = lambda *shape: rng.choice(V, shape, p=p / p.sum())
    split = Split(draw(N, T), draw(N))
    kn = KneserNey(order).fit(split, V)
    plain = plain_kneser_ney(split.rows().tolist(), V, order)
    x = np.concatenate([split.inputs[:10], rng.integers(0, V, (6, T))]); P = kn.predict(x)
    assert_allclose(P, [[plain(c, w) for w in range(V)] for c in x.tolist()], rtol=1e-10, atol=1e-14)
    assert_allclose(P.sum(1), 1, atol=1e-12)
    y = rng.integers(0, V, len(x))
    assert_allclose(kn.target_probabilities(x, y), P[np.arange(len(x)), y], rtol=1e-10, atol=1e-15)
    assert_allclose(kn.evaluate(x, y), -np.log(P[np.arange(len(x)), y]).mean())
    order_ = rng.permutation(V); place = np.argsort(order_)
    assert_allclose(KneserNey(order).fit(Split(place[split.inputs].reshape(N, T), place[split.targets]),
                                         V).predict(place[x].reshape(len(x), T)), P[:, order_], rtol=1e-10, atol=1e-14)


def test_discounts_and_refusals_of_counting():
    counts = np.array([1] * 50 + [2] * 20 + [3] * 10 + [4] * 6 + [5, 9]); Y = 50 / 90
    assert_allclose(ngrams.discounts(counts), [0, 1 - 2 * Y * 20 / 50, 2 - 3 * Y * 10 / 20, 3 - 4 * Y * 6 / 10])
    for missing in (1, 2, 3, 4): assert ngrams.discounts(counts[counts != missing]).tolist() == [0, .5, 1, 1.5]
    assert ngrams.discounts(np.array([1] * 5 + [2] * 50 + [3] * 800 + [4] * 5))[2] == 1
    for order in (0, -1, 2.5, "4", None):
        with pytest.raises(ValueError, match="order"): KneserNey(order)
    x, y = batch(0); kn = KneserNey(2)
    with pytest.raises(ValueError, match="call fit"): kn.predict(x)
    with pytest.raises(ValueError, match="no examples"): kn.fit(Split(x[:0], y[:0]), 7)
    with pytest.raises(ValueError, match="contexts of 3 words"): KneserNey(4).fit(Split(x, y), 7)
    for V in (int(max(x.max(), y.max())), 1):
        with pytest.raises(ValueError, match="Word numbers"): kn.fit(Split(x, y), V)
    with pytest.raises(ValueError, match="Word numbers"): kn.fit(Split(x - 1, y), 7)
    kn.fit(Split(x, y), 7)
    for bad in (x - 1, x + 7, x * 1.0, x[:, :0], x[..., None]):
        with pytest.raises(ValueError, match="Contexts"): kn.predict(bad)
    for bad in (y - 7, y + 7, y * 1.0, y[1:], y[:, None]):
        with pytest.raises(ValueError, match="Targets"): kn.target_probabilities(x, bad)
    with pytest.raises(ValueError, match="no examples"): kn.evaluate(x[:0], y[:0])
    assert kn.predict(x[0]).shape == (1, 7)


@some
@given(seeds, st.floats(.05, .95))
def test_mixtures(seed, share):
    rng = np.random.default_rng(seed); P = rng.random((3, 200)) * np.array([[share], [1 - share], [.5]])
    w = ngrams.mixture_weights(P); assert_allclose(w.sum(), 1); assert (w >= 0).all()
    best = -np.log(w @ P).mean()
    for other in [*np.eye(3), *rng.dirichlet(np.ones(3), 40)]: assert best <= -np.log(other @ P).mean() + 1e-6
    assert_allclose(ngrams.mixture_weight(P[0], P[1]) + ngrams.mixture_weight(P[1], P[0]), 1, atol=1e-4)


# ------------------------------------------------------------------------------------------------------------- vectors
@some
@given(seeds, st.integers(0, 40), st.integers(2, 4), st.booleans())
def test_pairs_are_counted(seed, N, T, symmetric):
    x, _ = batch(seed, T=T, N=N); plain = np.zeros((7, 7), int)
    for row in x.tolist():
        for a, b in zip(row, row[1:]):
            plain[a, b] += 1
            if symmetric: plain[b, a] += 1
    assert_array_equal(glove.pair_counts(x, 7, symmetric=symmetric), plain)
    assert_allclose(glove.log_co_occurrence(x, 7, symmetric=symmetric), np.log(plain + .5))
    assert_allclose(glove.log_co_occurrence(x, 7, symmetric=symmetric, smoothing=.1, scale=3), np.log(3 * plain + .1))
    order = np.random.default_rng(seed).permutation(7)
    assert_array_equal(glove.pair_counts(np.argsort(order)[x], 7, symmetric=symmetric), plain[np.ix_(order, order)])


def table(seed, V=5):
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 1, (V, V)), rng.normal(0, 1, (V, 2)), rng.normal(0, 1, (V, 1)), rng.random((V, V)),
            rng.normal(0, 1, (V, 2)), rng.normal(0, 1, (V, 1)))


@some
@given(seeds, st.booleans())
def test_losses_and_gradients_of_vectors(seed, weighted):
    X, W, b, F, C, c = table(seed); f = F if weighted else None
    plain = lambda W, b, C, c: sum((F[i, j] if weighted else 1) * (W[i] @ C[j] + b[i, 0] + c[j, 0] - X[i, j]) ** 2
                                   for i in range(5) for j in range(5))
    assert_allclose(glove.glove_loss(W, b, X, weights=f), plain(W, b, W, b))
    assert_allclose(glove.two_sided_loss(W, b, C, c, X, weights=f), plain(W, b, C, c))
    def pushed(loss, arrays, i):
        out = np.zeros(arrays[i].shape)
        for k in np.ndindex(out.shape):
            kept = arrays[i][k]
            arrays[i][k] = kept + 1e-5
            up = loss(*arrays)
            arrays[i][k] = kept - 1e-5
            out[k] = (up - loss(*arrays)) / 2e-5
            arrays[i][k] = kept
        return out
    for i, g in enumerate(glove.glove_gradient(W, b, X, weights=f)):
        assert_allclose(g, pushed(lambda W, b: plain(W, b, W, b), [W, b], i), atol=1e-6)
    for i, g in enumerate(glove.two_sided_gradient(W, b, C, c, X, weights=f)):
        assert_allclose(g, pushed(plain, [W, b, C, c], i), atol=1e-6)
    g = glove.Glove(W, b, {})
    assert_allclose([g.loss(X, f), glove.Glove(W, b, {}, C, c).loss(X, f)], [plain(W, b, W, b), plain(W, b, C, c)])
    assert_allclose(g.log_table(), W @ W.T + b + b.T)
    R = np.linalg.qr(np.random.default_rng(seed).normal(size=(2, 2)))[0]
    assert_allclose(glove.glove_loss(W @ R, b, X, weights=f), glove.glove_loss(W, b, X, weights=f))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adagrad"])
@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("x_max", [None, 3.0])
def test_training_vectors_is_the_plain_loop(optimizer, two_sided, x_max):
    X, W, b, _, C, c = table(5)
    other = table(6)[0]
    arrays = [.1 * a for a in ((W, b, C, c) if two_sided else (W, b))]
    kept = [a.copy() for a in arrays]
    F = None if x_max is None else glove.glove_weights(X, x_max)
    if F is not None: assert_allclose(F, [[min(1, (math.exp(v) / 3) ** .75) for v in row] for row in X])
    got = glove.train_glove(X, other, num_epochs=6, learning_rate=.003, init=tuple(arrays), optimizer=optimizer,
                            two_sided=two_sided, x_max=x_max)
    loss, gradient = (glove.two_sided_loss, glove.two_sided_gradient) if two_sided else (glove.glove_loss,
        glove.glove_gradient)
    memory = [np.full_like(a, optimizer == "adagrad") for a in kept]
    train, valid = [loss(*kept, X, weights=F)], [loss(*kept, other, weights=F)]
    for _ in range(6):
        for a, g, m in zip(kept, gradient(*kept, X, weights=F), memory):
            if optimizer == "momentum": m *= .9; m += g; step = m
            elif optimizer == "adagrad": m += g * g; step = g / np.sqrt(m)
            else: step = g
            a -= .003 * step
        train.append(loss(*kept, X, weights=F)); valid.append(loss(*kept, other, weights=F))
    assert_allclose(got.history["train"], train); assert_allclose(got.history["valid"], valid)
    for a, k in zip([got.W, got.b] + ([got.C, got.c] if two_sided else []), kept): assert_allclose(a, k, atol=1e-12)
    assert not got.stopped and got.W.dtype == np.float64 and (got.C is None) == (not two_sided)


def test_starts_rates_and_refusals_of_vectors():
    X = np.abs(table(1)[0]); X = X + X.T
    a, b = (glove.train_glove(X, embedding_dim=3, num_epochs=0, seed=s) for s in (1, 2))
    assert (a.W.shape == (5, 3) and a.b.shape == (5, 1) and a.W.dtype == np.float32 and (a.W != b.W).any()
            and len(a.history["train"]) == 1 and "valid" not in a.history)
    assert_allclose(glove.train_glove(np.zeros((300, 300)), embedding_dim=30, num_epochs=0).W.std(), .1, rtol=.1)
    for optimizer, rate in (("sgd", .2 / 5), ("momentum", .2 / 5), ("adagrad", .05)):
        assert_allclose(glove.train_glove(X, num_epochs=3, optimizer=optimizer).W,
                        glove.train_glove(X, num_epochs=3, optimizer=optimizer, learning_rate=rate).W)
    with pytest.raises(ValueError, match="diverged.*too large, try 0.04"):
        glove.train_glove(X, learning_rate=9, num_epochs=200)
    W = np.ones((5, 2), np.float32); B = np.ones((5, 1), np.float32)
    assert glove.train_glove(X, init=(W, B), num_epochs=1).W.dtype == np.float32 and (W == 1).all()
    for bad in ((W,), (W, B, W, B), (W[:4], B), (W, B[:4]), (W[:, :0], B), (W, B[:, 0]), (W * np.nan, B),
                (W.astype(complex), B)):
        with pytest.raises(ValueError, match="init"): glove.train_glove(X, init=bad)
    for bad in (X[:4], X[0], X * np.nan, X * np.inf, X.astype(complex), X[:0, :0], X.astype(str)):
        with pytest.raises(ValueError, match="log_co"): glove.train_glove(bad)
    with pytest.raises(ValueError, match="valid_log_co is for 4 words"): glove.train_glove(X, X[:4, :4])
    for name, bad in (("learning_rate", 0), ("learning_rate", -1), ("learning_rate", math.nan),
                      ("learning_rate", math.inf), ("num_epochs", -1), ("num_epochs", 1.5), ("embedding_dim", 0),
                      ("optimizer", "adam"), ("x_max", 0)):
        with pytest.raises(ValueError, match=name): glove.train_glove(X, **{name: bad})
    for name, bad in (("smoothing", -1), ("smoothing", math.inf), ("scale", 0), ("scale", math.inf)):
        with pytest.raises(ValueError, match=name): glove.log_co_occurrence(np.zeros((1, 2), int), 2, **{name: bad})
    with pytest.raises(ValueError, match="3 of 4 pairs never occur"):
        glove.log_co_occurrence(np.zeros((1, 2), int), 2, smoothing=0)
    assert glove.log_co_occurrence(np.zeros((2, 2), int), 1, smoothing=0) == np.log(4)
    assert glove.glove_num_params(250, 11) == 3000 and glove.glove_num_params(250, 11, True) == 6000
    for bad in (np.zeros((3, 1), int), np.zeros((3, 2)), np.zeros(3, int), np.full((1, 2), 2), np.full((1, 2), -1)):
        with pytest.raises(ValueError, match="Contexts are|Word numbers"): glove.pair_counts(bad, 2)
    with pytest.raises(ValueError, match="W must be"): glove.glove_loss(W, B[:, 0], X)
    with pytest.raises(ValueError, match="W must be"): glove.glove_gradient(W, B[:, 0], X)
    both = glove.train_glove(X, two_sided=True, num_epochs=0)
    assert both.C.shape == (5, 2) and (both.C != both.W).any() and (both.c != both.b).any()
    with pytest.raises(ValueError, match="too many"): glove.train_glove(X, embedding_dim=2 ** 24)
    defaults = {n: p.default for n, p in inspect.signature(glove.sweep_dimensions).parameters.items()}
    assert defaults["dims"] == (1, 2, 8, 10, 11, 12, 15, 20, 50, 100, 250) and defaults["seeds"] == (1, 2, 3)


def test_the_borders_of_training_vectors():
    X = np.abs(table(1)[0]); zero = np.zeros((3, 3))
    assert_allclose(glove.glove_weights(X), glove.glove_weights(X, 100, .75))
    assert (glove.glove_weights(X) != glove.glove_weights(X, 101, .75)).any()
    assert glove.train_glove(X, init=(np.ones((5, 1)), np.ones((5, 1))), num_epochs=1,
                             learning_rate=.001).W.shape == (5, 1) and glove.train_glove(np.ones((1, 1)),
        num_epochs=1).W.shape == (1, 2)
    # a perfect start does not diverge
    done = glove.train_glove(zero, init=(zero[:, :2], zero[:, :1]), num_epochs=2)
    assert done.history["train"] == [0, 0, 0] and (done.W == 0).all()
    glove._check_loss(9.99, 1, 3, .01, 5)
    for loss, first in ((10.1, 1), (.1, 0), (math.nan, 1)):
        with pytest.raises(ValueError, match="epoch 3 .* rate of 0.01 is too large, try 0.0025"):
            glove._check_loss(loss, first, 3, .01, 5)
    S, F, rest = glove._symmetric_part(X, np.zeros((5, 5)))
    assert_allclose(S, (X + X.T) / 2)
    assert (F == 0).all() and rest == 0


def test_a_sweep_and_neighbours():
    X = table(2)[0]; Y = table(3)[0]
    s = glove.sweep_dimensions(X, Y, [2, 1, 2], seeds=(1, 5), progress=False, num_epochs=4, learning_rate=.01)
    assert s.dims == [2, 1] and s.seeds == [1, 5] and s.train.shape == s.valid.shape == (2, 2)
    for i, d in enumerate(s.dims):
        for j, seed in enumerate(s.seeds):
            g = glove.train_glove(X, Y, embedding_dim=d, seed=seed, num_epochs=4, learning_rate=.01)
            assert ((s.train[i, j], s.valid[i, j]) == (g.history["train"][-1], g.history["valid"][-1])
                    and s.losses_on(Y)[i, j] == s.models[d, seed].loss(Y))
    assert glove.Sweep([1, 2, 3], [1, 2], None, np.array([[5., 7], [4, 4.5], [4.4, 9]]), {}).best() == (2, [2, 3])
    assert glove.Sweep([1, 2], [1], None, np.array([[5.], [6]]), {}).best(np.array([[9.], [6]])) == (2, [2])
    lines = s.table(scaled=s.valid).splitlines()
    assert (len(lines) == 3 and f"{s.train[0].mean():,.0f}" in lines[1] and "scaled" in lines[0]
            and f"{np.ptp(s.train[0]):,.0f}" in lines[1])
    for dims, seeds_ in (([], [1]), ([1], [])):
        with pytest.raises(ValueError, match="at least one"):
            glove.sweep_dimensions(X, Y, dims, seeds=seeds_, progress=False)
    W = np.random.default_rng(0).normal(size=(9, 3)); W[4] = 0
    for metric in ("distance", "cosine"):
        far = (lambda a, b: np.linalg.norm(a - b) if metric == "distance"
               else 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        who, how = glove.neighbours(W, 2, 5, metric)
        rest = sorted((far(W[j], W[2]), j) for j in range(9) if j not in (2, 4) or (j == 4 and metric == "distance"))
        if metric == "distance":
            assert who.tolist() == [j for _, j in rest[:5]] and len(glove.neighbours(W, 2, 99)[0]) == 8
        assert_allclose([h for j, h in zip(who, how) if j != 4], [far(W[j], W[2]) for j in who if j != 4])
    assert len(glove.neighbours(W, 0, 1)[0]) == 1 and len(glove.neighbours(W, 0)[0]) == 8 and glove.neighbours(W,
        8, 1)[0][0] != 8
    for bad in (dict(k=0), dict(metric="x"), dict(i=9), dict(i=-1)):
        with pytest.raises(ValueError): glove.neighbours(**{"W": W, "i": 0, **bad})
    x = np.random.default_rng(1).integers(0, 7, (41, 3))
    a, b = glove.half_tables(x, 7)
    assert_allclose(np.exp(a).sum() + np.exp(b).sum(), 40 * 4 + 49)
    assert (a != glove.half_tables(x, 7, seed=1)[0]).any() and (a != b).any()


# ---------------------------------------------------------------------------------------------------------------- maps
@settings(max_examples=8, deadline=None)
@given(seeds)
def test_a_map_does_not_see_how_the_points_are_turned(seed):
    from lm_nbdev.tsne import affinities, pca
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, 5)) * [5, 3, 2, 1, .5]
    R = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    order = rng.permutation(30)
    P = affinities(X, 5)
    assert_allclose(P.sum(), 1)
    assert_allclose(P, P.T)
    assert_allclose(affinities(X @ R + 7, 5), P, rtol=1e-5, atol=1e-12)
    assert_allclose(affinities(X[order], 5), P[np.ix_(order, order)], rtol=1e-5, atol=1e-12)
    assert_allclose(np.abs(pca(X @ R + 7, 3)), np.abs(pca(X, 3)), rtol=1e-6, atol=1e-9)


def test_the_embedding_is_the_same_when_the_points_are_turned():
    from lm_nbdev.tsne import tsne
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(i * 6, 1, (15, 4)) for i in range(3)])
    R = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    a, b = (tsne(x, perplexity=8, num_iters=250, seed=0) for x in (X, X @ R))
    assert abs(a.kl - b.kl) < .05 * max(a.kl, .1) + .02
    near = lambda Y: np.argsort(((Y[:, None] - Y[None]) ** 2).sum(-1), 1)[:, 1] // 15
    assert ((near(a.embedding) == near(b.embedding)).mean() > .95
            and (near(a.embedding) == np.repeat([0, 1, 2], 15)).all())


# a context and its target as one number: 55,109 ** 4 is the first that 63 bits do not hold
@pytest.mark.parametrize("V", [9, 55_108, 55_109, 60_000, 2 ** 31 - 1])
def test_examples_without_repeats_for_any_number_of_words(V):
    from collections import Counter
    from lm_nbdev.model import distinct_examples
    rng = np.random.default_rng(0)
    ids = np.array([0, 1, 2, V // 2, V - 3, V - 2, V - 1])
    x, y = rng.choice(ids, (400, 3)), rng.choice(ids, 400)
    contexts, which, targets, counts = distinct_examples(x, y, V)
    assert (len(np.unique(contexts, axis=0)) == len(contexts) == len(np.unique(x, axis=0))
            and (np.diff(which) >= 0).all() and (targets >= 0).all())
    assert {(*map(int, contexts[w]), int(t)): int(n) for w, t, n in zip(which, targets,
        counts)} == Counter((*map(int, c), int(t)) for c, t in zip(x, y))
