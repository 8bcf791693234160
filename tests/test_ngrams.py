"Kneser-Ney: a probability for any text, the original's figures, bad input."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lm_nbdev.data import Split, find_data, load_corpus
from lm_nbdev.ngrams import KneserNey, _Coder, mixture_weight


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), N=st.integers(1, 80), T=st.integers(0, 4), V=st.sampled_from([1, 2, 5, 30, 40_000]), order=st.integers(1, 5))
def test_rows_are_probabilities(seed, N, T, V, order):
    rng, order = np.random.default_rng(seed), min(order, T + 1)
    words = rng.integers(0, V, 6)
    split = Split(rng.choice(words, (N, T)), rng.choice(words, N))
    kn = KneserNey(order).fit(split, V)
    x, y = np.concatenate([split.inputs[:5], rng.integers(0, V, (5, T))]), rng.integers(0, V, 5 + min(5, N))
    P = kn.predict(x)
    assert_allclose(P.sum(1), 1, rtol=1e-11)
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
    assert_allclose([m.evaluate(corpus.valid.inputs, corpus.valid.targets) for m in models], [4.379, 3.060, 2.638, 2.521], atol=6e-4)
    assert_allclose(models[-1].evaluate(corpus.test.inputs, corpus.test.targets), 2.528, atol=6e-4)
    P = models[-1].predict(corpus.valid.inputs[:5000])
    assert abs((P.argmax(1) == corpus.valid.targets[:5000]).mean() - .387) < .02


S = Split(np.array([[0, 1], [1, 2]]), np.array([2, 0]))
BAD = [(lambda: KneserNey(0), "order"), (lambda: KneserNey(2.5), "order"), (lambda: KneserNey(4).fit(S, 3), "contexts of 3 words"), (lambda: KneserNey(2).fit(S, 2), "0 to 1"),
       (lambda: KneserNey(2).fit(Split(S.inputs[:0], S.targets[:0]), 3), "no examples"), (lambda: KneserNey(2).predict(S.inputs), "fit first"), (lambda: KneserNey(2).fit(S, 3).predict([[0, 7]]), "0 to 2"),
       (lambda: KneserNey(3).fit(S, 3).predict([[0], [1]]), "rows of 2 words"), (lambda: KneserNey(3).fit(S, 3).target_probabilities(S.inputs, [9, 9]), "0 to 2"),
       (lambda: KneserNey(3).fit(S, 3).evaluate(S.inputs[:0], S.targets[:0]), "no examples"), (lambda: mixture_weight([.5], [.5, .5]), "same number")]


@pytest.mark.parametrize("call, words", BAD)
def test_bad_input_gets_one_sentence(call, words):
    with pytest.raises(ValueError, match=words) as caught: call()
    assert "\n" not in str(caught.value)
