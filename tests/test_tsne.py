"t-SNE and PCA against scikit-learn, the perplexity search on awkward points, bad input."
import os
import warnings

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lm_nbdev import tsne as module
from lm_nbdev.tsne import (affinities, class_separation, clear_tsne, kl_divergence, neighbour_probabilities,
                           neighbourhood_preservation, pca, perplexities, principal_axes, squared_distances,
                           starting_map, trustworthiness, tsne, word_maps)


def others(X):
    return squared_distances(X)[~np.eye(len(X), dtype=bool)].reshape(len(X), -1)


def digits(n):
    return pytest.importorskip("sklearn.datasets").load_digits().data[:n]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), N=st.integers(2, 40), D=st.integers(1, 30), scale=st.sampled_from([1e-6, 1.0, 1e6]),
       rank=st.integers(1, 30))
def test_pca_is_scikit_learns(seed, N, D, scale, rank):
    decomposition = pytest.importorskip("sklearn.decomposition")
    rng = np.random.default_rng(seed)
    X = scale * (rng.normal(size=(N, min(rank, D))) @ rng.normal(size=(min(rank, D), D)) + 3)
    theirs = decomposition.PCA(svd_solver="full").fit(X)
    mean, axes, variances = principal_axes(X)
    assert_allclose(mean, theirs.mean_)
    assert_allclose(variances, theirs.explained_variance_, atol=1e-9 * variances[0] + 1e-300)
    sure = variances > 1e-8 * variances[0]
    gaps = np.abs(variances[:, None] - variances) + np.eye(len(variances)) * variances[0]
    for k in np.flatnonzero(sure & (gaps.min(1) > 1e-3 * variances[0])):         # axes of their own, up to the sign
        assert abs(axes[k] @ theirs.components_[k]) > 1 - 1e-6
        assert_allclose(abs(pca(X, k + 1)[:, k]), abs(theirs.transform(X)[:, k]), atol=1e-4 * np.sqrt(variances[0]))


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), N=st.integers(5, 60), D=st.integers(1, 8),
       kind=st.sampled_from(["cloud", "copies", "grid", "far", "tiny", "twins", "heavy"]), part=st.floats(0.02, 0.98))
# never more attention for what is farther
def test_every_point_reaches_the_perplexity_where_it_can(seed, N, D, kind, part):
    rng = np.random.default_rng(seed)
    X = {"cloud": lambda: rng.normal(size=(N, D)),
         "copies": lambda: rng.normal(size=(N, D))[rng.integers(0, max(3, N // 3), N)],
         "grid": lambda: rng.integers(0, 3, (N, D)).astype(float),
         "far": lambda: rng.normal(size=(N, D)) + 1e6 * rng.integers(0, 2, (N, 1)),
         "tiny": lambda: 1e-9 * rng.normal(size=(N, D)),
         "twins": lambda: np.repeat(rng.normal(size=(N // 2 + 2, D)), 2, 0)[:N] + 1e-12 * rng.normal(size=(N, D)),
         "heavy": lambda: np.exp(6 * rng.normal(size=(N, D)))}[kind]()
    D2 = others(X)
    wanted = 1.01 + part * (N - 1 - 1.02)
    P, possible = neighbour_probabilities(D2, wanted)
    assert_allclose(P.sum(1), 1)
    assert abs(perplexities(P)[possible] - wanted).max(initial=0) < 1e-5
    ties = (D2 - D2.min(1, keepdims=True) <= 1e-9 * D2.min(1, keepdims=True)).sum(1)
    assert_array_equal(possible, ties < wanted)
    assert_allclose(perplexities(P)[~possible], ties[~possible])
    nearer = np.argsort(D2, axis=1)
    assert (np.diff(np.take_along_axis(P, nearer, 1)) <= 1e-15).all()


def test_more_duplicates_than_neighbours_are_named_in_one_sentence():
    X = np.vstack([np.random.default_rng(0).normal(size=(60, 4)), np.full((20, 4), 9.0)])
    with pytest.warns(UserWarning, match="20 of 80 points have 10 or more others") as caught: P = affinities(X, 10)
    assert "\n" not in str(caught[0].message) and np.isfinite(P).all()
    with warnings.catch_warnings():
        # 19 others at distance 0: just possible
        warnings.simplefilter("error"); affinities(X, 20)
    with pytest.warns(UserWarning): m = tsne(X, perplexity=10, num_iters=300)
    assert np.isfinite(m.embedding).all()
    spread = np.linalg.norm(m.embedding[60:] - m.embedding[60:].mean(0), axis=1).max()
    assert spread < 0.2 * np.linalg.norm(m.embedding - m.embedding.mean(0), axis=1).max()         # copies stay together


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), N=st.integers(2, 30), D=st.integers(1, 6), shift=st.sampled_from([0.0, 1e3, 1e7]))
def test_distances_are_those_of_a_loop(seed, N, D, shift):
    X = np.random.default_rng(seed).normal(size=(N, D)) + shift
    X[1] = X[0]
    loop = np.array([[((a - b) ** 2).sum() for b in X] for a in X])
    ours = squared_distances(X)
    assert_allclose(ours, loop, rtol=1e-6, atol=1e-12 * max(1, shift)); assert ours[0, 1] == 0 and (ours >= 0).all()


# theirs stops at 1e-5 of the entropy, in float32
def test_affinities_are_scikit_learns():
    t_sne, metrics = pytest.importorskip("sklearn.manifold._t_sne"), pytest.importorskip("sklearn.metrics")
    X = digits(200)
    from scipy.spatial.distance import squareform
    theirs = squareform(t_sne._joint_probabilities(metrics.pairwise_distances(X, squared=True).astype(np.float32), 20.0,
                                                   0))
    assert_allclose(affinities(X, 20), theirs, atol=2e-7)


@pytest.mark.parametrize("num_dims", [1, 2, 3])
def test_the_fast_path_follows_the_clear_one(num_dims):
    X = np.random.default_rng(1).normal(size=(90, 6))
    P, start = affinities(X, 12), starting_map(X, num_dims, "random", 3)
    for iterations in (1, 8, 40):
        fast = module._descend(P, start, iterations, 3.0, 90 / 3.0, False)[0]
        assert_allclose(fast, clear_tsne(P, start, iterations), atol=2e-3 * abs(fast).max())


def test_kl_is_not_higher_than_scikit_learns():
    manifold = pytest.importorskip("sklearn.manifold")
    rng = np.random.default_rng(0)
    for X, perplexity in ((digits(300), 30), (rng.normal(size=(250, 16)), 30),
                          (rng.normal(size=(120, 5)) + 4 * rng.integers(0, 3, (120, 1)), 15)):
        P = affinities(X, perplexity)
        theirs = min(kl_divergence(P, manifold.TSNE(perplexity=perplexity, method=m, random_state=0,
            max_iter=1000).fit_transform(X.astype(np.float32))) for m in ("exact", "barnes_hut"))
        ours = tsne(X, perplexity=perplexity)
        assert ours.kl <= 1.01 * theirs, (ours.kl, theirs)
        assert_allclose(ours.kl, kl_divergence(P, ours.embedding))


def test_seeds_starts_and_history():
    X = np.random.default_rng(2).normal(size=(60, 5))
    state = np.random.get_state()[1].copy()
    a, b, c = (tsne(X, perplexity=8, num_iters=200, seed=s) for s in (0, 0, 1))
    assert_array_equal(a.embedding, b.embedding); assert not np.allclose(a.embedding, c.embedding)
    assert_array_equal(np.random.get_state()[1], state)                          # NumPy's own generator is left alone
    assert (a.history["iteration"] == [0, 50, 100, 150] and a.history["kl"][-1] < a.history["kl"][0]
            and a.kl <= a.history["kl"][-1] + 1e-3)
    assert_allclose(a.embedding.mean(0), 0, atol=1e-4)
    start = np.random.default_rng(0).normal(size=(60, 2)); kept = start.copy()
    tsne(X, perplexity=8, num_iters=20, init=start); assert_array_equal(start, kept)


def test_an_interrupt_keeps_the_map(monkeypatch):
    calls, whole = [], module._Forces.__call__
    def forces(self, *args):
        calls.append(1)
        if len(calls) == 60: raise KeyboardInterrupt
        return whole(self, *args)
    monkeypatch.setattr(module._Forces, "__call__", forces)
    m = tsne(np.random.default_rng(2).normal(size=(60, 5)), perplexity=8)
    assert m.stopped == "interrupted after 59 iterations" and np.isfinite(m.embedding).all() and m.kl > 0


def test_many_points_are_handed_over_and_it_says_so(monkeypatch):
    pytest.importorskip("openTSNE")
    X = digits(400); monkeypatch.setattr(module, "MAX_EXACT", 300)
    m = tsne(X, perplexity=20, num_iters=400)
    assert m.method == "openTSNE" and m.embedding.shape == (400, 2) and "openTSNE" in repr(m)
    assert m.kl < 1.0 and m.history["iteration"] == sorted(m.history["iteration"]) and m.history["iteration"][-1] <= 400
    assert tsne(X, perplexity=20, num_iters=50, method="exact").method == "exact"


def test_without_opentsne_one_sentence_names_the_extra(monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, "openTSNE", None); monkeypatch.setattr(module, "MAX_EXACT", 30)
    with pytest.raises(ValueError, match=r"lm_nbdev\[tsne\]") as caught:
        tsne(np.random.default_rng(0).normal(size=(60, 3)), perplexity=8)
    assert "\n" not in str(caught.value)


X = np.random.default_rng(0).normal(size=(30, 4))
HOLED = X.copy(); HOLED[7, 2] = np.nan
BAD = [(dict(X=X, perplexity=10), "below a third"), (dict(X=X, perplexity=30), "10 for 30 points"),
       (dict(X=X, perplexity=1), "above 1"), (dict(X=X, perplexity=float("nan")), "perplexity"),
       (dict(X=X[:3], perplexity=1.1), "at least 4 points"), (dict(X=HOLED, perplexity=5), "Point 7"),
       (dict(X=X * 0 + 3, perplexity=5), "All 30 points are equal"), (dict(X=X[:, 0], perplexity=5), "N rows"),
       (dict(X=np.array([["a"] * 3] * 9), perplexity=2), "real numbers"),
       (dict(X=X, perplexity=5, num_dims=4), "1, 2 or 3"), (dict(X=X, perplexity=5, num_iters=0), "num_iters"),
       (dict(X=X, perplexity=5, exaggeration=0.5), "exaggeration"),
       (dict(X=X, perplexity=5, learning_rate=-1), "learning_rate"), (dict(X=X, perplexity=5, learning_rate=1e9),
       "too large"), (dict(X=X, perplexity=5, init="pcaa"), "init"), (dict(X=X, perplexity=5, init=X), "shape"),
       (dict(X=X, perplexity=5, method="fast"), "method"), (dict(X=np.zeros((0, 3)), perplexity=5), "N rows")]


@pytest.mark.parametrize("kwargs, words", BAD)
def test_bad_input_gets_one_sentence(kwargs, words):
    with pytest.raises(ValueError, match=words) as caught: tsne(**kwargs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_dims", [0, 5, -1])
def test_pca_of_too_many_dimensions(num_dims):
    with pytest.raises(ValueError, match="from 1 to 4"): pca(X, num_dims)


def test_the_smallest_maps():
    for N in (4, 5, 7, 12):
        for X in (np.arange(N)[:, None] * 1.0, np.eye(N), np.random.default_rng(N).normal(size=(N, 3))):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore"); m = tsne(X, perplexity=N / 3 - 0.05)
            assert np.isfinite(m.embedding).all() and np.isfinite(m.kl)


def test_neighbourhoods_of_all_digits_survive_as_well_as_in_scikit_learn():
    manifold = pytest.importorskip("sklearn.manifold")
    X = digits(1797)
    ours = tsne(X, progress=False).embedding
    theirs = manifold.TSNE(random_state=0, max_iter=1000).fit_transform(X.astype(np.float32))
    for k, slack in ((5, 0), (10, 0), (30, 0.005)):
        assert neighbourhood_preservation(X, ours, k) >= neighbourhood_preservation(X, theirs, k) - slack, k
    assert trustworthiness(X, ours, 10) >= manifold.trustworthiness(X, theirs, n_neighbors=10) - 1e-3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), N=st.integers(5, 50), k=st.integers(1, 10))
def test_measures_against_scikit_learn_and_loops(seed, N, k):
    manifold, neighbors = pytest.importorskip("sklearn.manifold"), pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 5))
    Y = X[:, :2] + 0.5 * rng.normal(size=(N, 2))
    k = min(k, (N - 1) // 2)
    assert_allclose(trustworthiness(X, Y, k), manifold.trustworthiness(X, Y, n_neighbors=k), atol=1e-9)
    a, b = (neighbors.NearestNeighbors(n_neighbors=k).fit(Z).kneighbors(return_distance=False) for Z in (X, Y))
    assert_allclose(neighbourhood_preservation(X, Y, k), np.mean([len(set(p) & set(q)) / k for p, q in zip(a, b)]))
    vocab = [f"w{i}" for i in range(N)]; classes = {"a": vocab[:4], "b": vocab[2:5], "one": vocab[:1]}
    shares = [len({f"w{j}" for j in b[vocab.index(w)]} & set(words) - {w}) / min(k, len(words) - 1)
              for words in classes.values() if len(words) > 1 for w in words]
    assert_allclose(class_separation(Y, vocab, classes, k), np.mean(shares))


def test_measures_want_points_that_fit():
    for call, words in ((lambda: trustworthiness(X, X, 15), "k must be from 1 to 14"),
                        (lambda: neighbourhood_preservation(X, X, 30), "k must"),
                        (lambda: neighbourhood_preservation(X, X[:9], 3), "9"),
                        (lambda: trustworthiness(HOLED, X, 3), "Point 7")):
        with pytest.raises(ValueError, match=words): call()


def test_a_model_of_another_vocabulary():
    from lm_nbdev.data import load_corpus
    with pytest.raises(ValueError, match="same vocabulary") as caught: word_maps(load_corpus("synthetic"), {"mine": X})
    assert "\n" not in str(caught.value)
