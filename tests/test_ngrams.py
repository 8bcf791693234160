"Kneser-Ney: a probability for any text, the original's figures, files for other programs, mixtures and measures, bad input."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lm_nbdev.architecture import Architecture
from lm_nbdev.data import DataError, Split, find_data, load_corpus
from lm_nbdev.model import Model
from lm_nbdev.ngrams import (KneserNey, Mixture, _Coder, compare, first_part, learning_curve, metrics, metrics_table,
                             mixture_weight, mixture_weights, probabilities,
                             read_arpa, target_probabilities, write_arpa)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), N=st.integers(1, 80), T=st.integers(0, 4), V=st.sampled_from([1, 2, 5, 30, 40_000]),
       order=st.integers(1, 5))
def test_rows_are_probabilities(seed, N, T, V, order):
    rng, order = np.random.default_rng(seed), min(order, T + 1)
    words = rng.integers(0, V, 6)
    split = Split(rng.choice(words, (N, T)), rng.choice(words, N))
    kn = KneserNey(order).fit(split, V)
    x, y = np.concatenate([split.inputs[:5], rng.integers(0, V, (5, T))]), rng.integers(0, V, 5 + min(5, N))
    P = kn.predict(x)
    assert_allclose(P.sum(1), 1, rtol=0, atol=1e-12)
    assert P.min() > -1e-15
    assert_allclose(P[np.arange(len(x)), y], kn.target_probabilities(x, y), rtol=1e-9, atol=1e-15)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 6), V=st.sampled_from([2, 250, 50_000, 3 * 10**6]))
def test_codes_tell_rows_apart(seed, n, V):
    rng = np.random.default_rng(seed); rows = rng.integers(0, V, (50, n)); rows[:20] = rows[20:40]
    coder = _Coder(rows, V)
    assert (coder(rows) == coder.ids).all() and coder.size == len(np.unique(rows, axis=0))
    assert (coder.ids[:20] == coder.ids[20:40]).all()


def test_the_originals_figures():
    folder = find_data("original_split")
    if folder is None: pytest.skip("the original's arrays are not at hand")
    corpus = load_corpus(folder)
    models = [KneserNey(n).fit(corpus.train, 250) for n in (1, 2, 3, 4)]
    assert_allclose([m.evaluate(corpus.valid.inputs, corpus.valid.targets) for m in models],
                    [4.379, 3.060, 2.638, 2.521], atol=6e-4)
    assert_allclose(models[-1].evaluate(corpus.test.inputs, corpus.test.targets), 2.528, atol=6e-4)
    P = models[-1].predict(corpus.valid.inputs[:5000])
    assert abs((P.argmax(1) == corpus.valid.targets[:5000]).mean() - .387) < .02


def some_split(rng, N, T, words): return Split(rng.choice(words, (N, T)), rng.choice(words, N))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), N=st.integers(1, 60), V=st.sampled_from([1, 2, 7, 300]), order=st.integers(1, 5))
def test_arpa_there_and_back(tmp_path_factory, seed, N, V, order):
    rng = np.random.default_rng(seed)
    kn = KneserNey(order).fit(some_split(rng, N, order - 1, rng.integers(0, V, 6)), V)
    vocab = [f"w{i}é" for i in range(V)]; x = rng.integers(0, V, (30, order - 1))
    path = write_arpa(kn, vocab, tmp_path_factory.mktemp("arpa") / "a.arpa")
    back, words = read_arpa(path)
    assert words == vocab and back.order == order
    assert_allclose(back.predict(x), kn.predict(x), rtol=1e-10, atol=1e-15)
    turned, words = read_arpa(path, vocab[::-1])                        # the same words in another order
    assert_allclose(turned.predict(V - 1 - x)[:, ::-1], kn.predict(x), rtol=1e-10, atol=1e-15)
    again, _ = read_arpa(write_arpa(back, vocab, path))
    assert_allclose(again.predict(x), kn.predict(x), rtol=1e-10, atol=1e-15)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    corpus = load_corpus("synthetic", context_len=4)
    five = KneserNey(5).fit(first_part(corpus, .2).train, corpus.vocab_size)
    return corpus, five, write_arpa(five, corpus.vocab, tmp_path_factory.mktemp("arpa") / "five.arpa")


def test_kenlm_reads_the_same_probabilities(exported):
    kenlm = pytest.importorskip("kenlm")
    corpus, five, path = exported; model = kenlm.Model(str(path)); assert model.order == 5
    rng = np.random.default_rng(0)
    x = np.concatenate([corpus.test.inputs[:400], rng.integers(0, corpus.vocab_size, (400, 4))])
    y = np.concatenate([corpus.test.targets[:400], rng.integers(0, corpus.vocab_size, 400)])
    logs = []
    # from an empty context, word by word; never from <s>
    for context, word in zip(x, y):
        state, after = kenlm.State(), kenlm.State(); model.NullContextWrite(state)
        for w in context: model.BaseScore(state, corpus.vocab[w], after); state, after = after, state
        logs.append(model.BaseScore(state, corpus.vocab[word], after))
    assert_allclose(10 ** np.array(logs), five.target_probabilities(x, y), rtol=1e-5)
    for mark in ("<s>", "</s>", "<unk>"):
        state = kenlm.State(); model.NullContextWrite(state); assert model.BaseScore(state, mark, kenlm.State()) < -90


def test_arpa_reads_the_same_probabilities(exported):
    arpa = pytest.importorskip("arpa")
    corpus, five, path = exported; model = arpa.loadf(str(path))[0]
    x, y = corpus.test.inputs[:200], corpus.test.targets[:200]
    p = [model.p(tuple(corpus.words([*context, word]))) for context, word in zip(x, y)]
    assert_allclose(p, five.target_probabilities(x, y), rtol=1e-9)


def test_words_of_the_text_may_be_marks(tmp_path):
    split = Split(np.array([[0], [1], [2]]), np.array([1, 2, 0])); kn = KneserNey(2).fit(split, 3)
    back, words = read_arpa(write_arpa(kn, ["<unk>", "<s>", "a"], tmp_path / "m.arpa"))
    assert words == ["<unk>", "<s>", "a"]
    assert_allclose(back.predict([[0], [1], [2]]), kn.predict([[0], [1], [2]]), rtol=1e-12)


OTHERS = """some program wrote this

\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
0 <s> -0.30103
-0.60206 a -0.1
-0.30103 b
-99 <unk>

\\2-grams:
-0.1 <s> a
-0.2 a b

\\end\\
"""


def test_a_file_of_another_program(tmp_path):
    (tmp_path / "o.arpa").write_text(OTHERS, encoding="utf-8"); model, words = read_arpa(tmp_path / "o.arpa")
    assert words == ["<s>", "a", "b"]
    assert_allclose(model.predict([[0], [1], [2]]), [[0, 10**-.1, .5 * 10**-.30103], [0, 10**-.70206, 10**-.2],
                                                     [0, 10**-.60206, 10**-.30103]], rtol=1e-6)


@pytest.mark.parametrize("old, new, words", [("\\end\\", "", "no .end."), ("-0.2 a b", "-0.2 a c", "'c'"),
                                             ("-0.2 a b", "-0.2 a", "line 15"), ("-0.2 a b\n", "", "promises"),
                                             ("-0.30103 b", "low b", "line 10"),
                                             ("-0.30103 b", "0.5 b", "line 10"), ("-0.30103 b", "-0.3 a", "twice"),
                                             ("-0.2 a b", "-0.1 <s> a", "twice"), ("ngram 2=2", "ngram two", "line 5"),
                                             ("\\1-grams", "\\3-grams", "line 8")])
def test_a_damaged_file_is_refused(tmp_path, old, new, words):
    assert old in OTHERS; path = tmp_path / "o.arpa"; path.write_text(OTHERS.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=words) as caught: read_arpa(path)
    assert "\n" not in str(caught.value)


def test_a_failed_export_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.arpa"
    kn = KneserNey(2).fit(S, 3)
    write_arpa(kn, ["a", "b", "c"], path)
    before = path.read_bytes()
    for bad in (["a b", "c", "d"], ["a", "a", "b"], ["a", "b"], ["", "b", "c"]):
        with pytest.raises(DataError): write_arpa(kn, bad, path)
    import lm_nbdev.ngrams
    def full(*_): raise OSError("No space left on device")
    monkeypatch.setattr(lm_nbdev.ngrams, "open", lambda *a, **k: (open(*a, **k).close(), full()), raising=False)
    with pytest.raises(OSError): write_arpa(kn, ["a", "b", "d"], path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.arpa"]


def small_models(rng, V=12, T=2):
    split = some_split(rng, 300, T, np.arange(V)); kn = KneserNey(3).fit(split, V)
    return split, kn, Model.random_init(Architecture(V, T, 3, 5), [f"w{i}" for i in range(V)], init_wt=1.0, seed=1,
                                        dtype=np.float32)


def test_a_mixture_is_a_model():
    rng = np.random.default_rng(0); split, kn, net = small_models(rng); held = some_split(rng, 400, 2, np.arange(12))
    mix = Mixture(net, kn, KneserNey(1).fit(split, 12)).fit(held)
    assert_allclose(mix.weights.sum(), 1); assert_allclose(mix.predict(held.inputs).sum(1), 1, rtol=0, atol=1e-12)
    assert_allclose(mix.target_probabilities(held.inputs, held.targets),
                    mix.predict(held.inputs)[np.arange(400), held.targets], rtol=1e-6)
    for step in np.eye(3):                                            # no way out of the minimum
        w = .98 * mix.weights + .02 * step
        assert Mixture(*mix.models, weights=w).evaluate(held.inputs, held.targets) >= mix.evaluate(held.inputs,
            held.targets) - 1e-7
    inner = Mixture(Mixture(net, kn), kn, weights=[.5, .5])             # of a mixture
    assert_allclose(inner.predict(held.inputs), .25 * probabilities(net, held.inputs) + .75 * kn.predict(held.inputs),
                    rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_the_weight_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed); p, q = rng.random((2, 50))
    grid = np.linspace(0, 1, 2001); loss = [-np.log(w * p + (1 - w) * q + 1e-300).mean() for w in grid]
    w = mixture_weight(p, q)
    assert -np.log(w * p + (1 - w) * q).mean() <= min(loss) + 1e-5


def test_measures_against_the_plain_way(monkeypatch):
    import lm_nbdev.ngrams
    rng = np.random.default_rng(3)
    split, kn, net = small_models(rng)
    held = some_split(rng, 500, 2, np.arange(12))
    x, y = held.inputs, held.targets
    for model in (net, kn, Mixture(net, kn)):
        P = probabilities(model, x)
        order = np.argsort(-P, 1, kind="stable")
        first = P.max(1)
        right = order[:, 0] == y
        m = metrics(model, x, y, bins=4)
        assert_allclose([m.cross_entropy, m.top1, m.top5], [-np.log(P[np.arange(500), y]).mean(), right.mean(),
                                                            (order[:, :5] == y[:, None]).any(1).mean()], rtol=1e-6)
        assert_allclose(m.cross_entropy, model.evaluate(x, y), rtol=1e-6)
        assert_allclose([m.bits, m.perplexity], [m.cross_entropy / np.log(2), np.exp(m.cross_entropy)])
        for b in range(4):
            here = np.minimum((first * 4).astype(int), 3) == b
            assert_allclose(m.share[b], here.mean())
            if here.any():
                assert_allclose([m.confidence[b], m.accuracy[b]], [first[here].mean(), right[here].mean()], rtol=1e-6)
        with monkeypatch.context() as patch:                            # in chunks of 7 contexts
            patch.setattr(lm_nbdev.ngrams, "_chunk", lambda V: 7)
            again = metrics(model, x, y, bins=4)
            assert_allclose([again.cross_entropy, again.top1, again.top5, again.calibration_error],
                            [m.cross_entropy, m.top1, m.top5, m.calibration_error], rtol=1e-5)
            assert_allclose(target_probabilities(model, x, y), P[np.arange(500), y], rtol=1e-5)
    assert max(map(len, metrics_table({"a name that is much too long for its column": m}).splitlines())) <= 80


def test_equal_probabilities_are_ranked_in_order():
    class Uniform:
        vocab_size, context_len = 10, 1
        def predict(self, x): return np.full((len(x), 10), .1)
    m = metrics(Uniform(), np.zeros((10, 1), int), np.arange(10))
    assert (m.top1, m.top5) == (.1, .5) and m.calibration_error < 1e-12


def test_learning_from_parts():
    corpus = load_corpus("synthetic")
    net = Model.random_init(Architecture(corpus.vocab_size, 3, 2, 2), corpus.vocab, seed=0)
    curve = learning_curve(corpus, [.01, .1], lambda part: net)
    assert (curve["examples"] == [round(s * len(corpus.train)) for s in (.01, .1)]
            and curve["counting"][0] > curve["counting"][1] and curve["network"][0] == curve["network"][1])
    assert all(m <= min(a, b) + 1e-3 for m, a, b in zip(curve["mixture"], curve["network"], curve["counting"]))
    assert compare(corpus, net, order=2)["counting"].order == 2


S = Split(np.array([[0, 1], [1, 2]]), np.array([2, 0]))
BAD = [(lambda: KneserNey(0), "order"), (lambda: KneserNey(2.5), "order"),
       (lambda: KneserNey(4).fit(S, 3), "contexts of 3 words"), (lambda: KneserNey(2).fit(S, 2), "0 to 1"),
       (lambda: KneserNey(2).fit(Split(S.inputs[:0], S.targets[:0]), 3), "no examples"),
       (lambda: KneserNey(2).predict(S.inputs), "fit first"),
       (lambda: KneserNey(2).fit(S, 3).predict([[0, 7]]), "0 to 2"),
       (lambda: KneserNey(3).fit(S, 3).predict([[0], [1]]), "rows of 2 words"),
       (lambda: KneserNey(3).fit(S, 3).target_probabilities(S.inputs, [9, 9]), "0 to 2"),
       (lambda: KneserNey(3).fit(S, 3).evaluate(S.inputs[:0], S.targets[:0]), "no examples"),
       (lambda: mixture_weight([.5], [.5, .5]), "same number"),
       (lambda: mixture_weights(np.ones((2, 0))), "at least one"),
       (lambda: Mixture(), "at least one"), (lambda: Mixture(KneserNey(1).fit(S, 3), KneserNey(1).fit(S, 4)),
                                             "3 and 4"),
       (lambda: Mixture(KneserNey(1).fit(S, 3), weights=[.5]), "sum to 1"),
       (lambda: Mixture(KneserNey(1).fit(S, 3)).fit(Split(S.inputs[:0], S.targets[:0])), "at least one"),
       (lambda: metrics(KneserNey(3).fit(S, 3), S.inputs[:0], S.targets[:0]), "at least one"),
       (lambda: metrics(KneserNey(3).fit(S, 3), S.inputs, S.targets[:1]), "as many"),
       (lambda: metrics(KneserNey(3).fit(S, 3), S.inputs, [5, 5]), "0 to 2"),
       (lambda: metrics(KneserNey(3).fit(S, 3), S.inputs, S.targets, bins=0), "at least 1"),
       (lambda: first_part(load_corpus("synthetic"), 1.5), "at most 1"),
       (lambda: write_arpa(KneserNey(2), ["a"], "never.arpa"), "fit first")]


@pytest.mark.parametrize("call, words", BAD)
def test_bad_input_gets_one_sentence(call, words):
    with pytest.raises(ValueError, match=words) as caught: call()
    assert "\n" not in str(caught.value)
