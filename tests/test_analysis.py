"Analysis: against scans and plain loops, on random networks and texts with HTML and formulas in them; bad input; the commands and the report."
import csv
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lm_nbdev.analysis import (ALL_PARTS, adjusted_rand, analogy, boldest_predictions, class_agreement, clusters,
                               fill_blank, find_occurrences, generate, hidden_unit,
                               is_new, k_means, nearest_words, neighbour_rank, novel_predictions, novelty,
                               predict_next_word, sentence_probability, sentence_starts,
                               sharpen, starts_by_counting, top_predictions, word_axis, word_distance)
from lm_nbdev.architecture import Architecture
from lm_nbdev.data import Corpus, DataError, Examples, Split, UnknownWord, load_corpus
from lm_nbdev.model import Model
from lm_nbdev.report import generated_sentences, write_report
from lm_nbdev.training import TrainConfig, train

RUN = [sys.executable, "-c", "from lm_nbdev.cli import main; main()"]
ODD = "<script>alert(1)</script> is <b>bold</b> & =cmd new .\nthe =cmd is +1 new .\n@sum is the -2 <b>bold</b> town .\nwho is the new town ?\n"


def random_corpus(seed=0, V=12, T=3, n=400):
    rng = np.random.default_rng(seed)
    parts = [Split(rng.integers(0, V, (k, T)), rng.integers(0, V, k)) for k in (n, n // 4, n // 4)]
    vocab = [f"w{i}" for i in range(V - 1)] + ["."]
    return Corpus("random", vocab, *parts, examples=Examples(contexts=[" ".join(vocab[i] for i in parts[0].inputs[0])],
                                                             words=vocab[:5], pairs=["w0 w1"]))


def random_model(corpus, seed=0, D=5, H=7, scale=1.0, activation="tanh"):
    return Model.random_init(Architecture(corpus.vocab_size, corpus.context_len, D, H, activation),
                             corpus.vocab, scale, seed)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), V=st.integers(2, 9), T=st.integers(1, 4), n=st.integers(1, 60))
def test_the_index_finds_what_a_scan_finds(seed, V, T, n):
    corpus = random_corpus(seed, V, T, n)
    for row in [*corpus.train.inputs[:5], *corpus.valid.inputs[:5], np.zeros(T, int), np.full(T, V - 1)]:
        here = (corpus.train.inputs == row).all(1)
        wanted = {corpus.vocab[i]: c for i, c in enumerate(np.bincount(corpus.train.targets[here], minlength=V)) if c}
        found = find_occurrences(corpus, corpus.words(row))
        assert dict(found) == wanted and [c for _, c in found] == sorted(wanted.values(), reverse=True)


def test_the_index_is_made_once_and_belongs_to_the_corpus():
    a, b = random_corpus(1), random_corpus(2)
    find_occurrences(a, a.words(a.train.inputs[0])); table = a.cache["occurrences train"][0]
    find_occurrences(b, b.words(b.train.inputs[0])); find_occurrences(a, a.words(a.train.inputs[1]))
    assert a.cache["occurrences train"][0] is table and b.cache["occurrences train"][0] is not table


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), T=st.integers(1, 4))
def test_novel_predictions_are_what_a_scan_leaves(seed, T):
    corpus = random_corpus(seed, 8, T, 60); model = random_model(corpus, seed)
    rows = np.concatenate([getattr(corpus, p).rows() for p in ALL_PARTS])
    context = corpus.train.inputs[0]
    followed = {corpus.vocab[t] for t in rows[(rows[:, :-1] == context).all(1), -1]}
    answers = predict_next_word(model, corpus.words(context), 100)
    assert novel_predictions(model, corpus, corpus.words(context), 100) == [a for a in answers if a[0] not in followed]
    assert novel_predictions(model, corpus, corpus.words(context), 1) == [a
        for a in answers if a[0] not in followed][:1]


def test_novelty_by_a_loop():
    corpus = random_corpus(4, 8, 2, 200); model = random_model(corpus)
    for among in ("all", "had", "never"):
        new, promised, true = np.zeros(3), np.zeros(3), np.zeros(3); count = 0
        for x, y in zip(corpus.valid.inputs, corpus.valid.targets):
            seen = dict(find_occurrences(corpus, corpus.words(x)))
            if among != "all" and bool(seen) != (among == "had"): continue
            count += 1
            for r, (w, p) in enumerate(predict_next_word(model, corpus.words(x), 3)):
                if w not in seen: new[r] += 1; promised[r] += p; true[r] += w == corpus.vocab[y]
        n = novelty(model, corpus, 3, among=among)
        if not count: assert np.isnan(n.share).all(); continue
        assert_allclose(n.share, new / count)
        assert_allclose(n.promised, promised / np.maximum(new, 1))
        assert_allclose(n.came_true, true / np.maximum(new, 1))


def test_boldest_predictions_by_a_loop():
    corpus = random_corpus(5, 9, 2, 150); model = random_model(corpus)
    best = []
    for x in np.unique(corpus.train.inputs, axis=0):
        top = [a for a in predict_next_word(model, corpus.words(x), 5) if a in novel_predictions(model, corpus,
            corpus.words(x), 100)]
        if top: best.append((" ".join(corpus.words(x)), *top[0]))
    best.sort(key=lambda t: -t[2])
    for ours, theirs in zip(boldest_predictions(model, corpus, 6), best):
        assert ours[:2] == theirs[:2] and np.isclose(ours[2], theirs[2])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), T=st.integers(1, 4), n=st.integers(2, 9), gap=st.integers(0, 8))
def test_a_gap_is_filled_by_the_probability_of_the_whole_sentence(seed, T, n, gap):
    corpus = random_corpus(seed, 7, T, 40); model = random_model(corpus, seed); rng = np.random.default_rng(seed)
    if n <= T: n = T + 1
    words = corpus.words(rng.integers(0, 7, n)); gap %= n
    answers = fill_blank(model, words[:gap] + ["___"] + words[gap + 1:], 100)
    logs = {w: sentence_probability(model, words[:gap] + [w] + words[gap + 1:]).log_probability for w in corpus.vocab}
    total = np.log(sum(np.exp(v) for v in logs.values()))
    assert [w for w, _ in answers] and len(answers) == 7
    for w, p in answers: assert_allclose(np.log(p), logs[w] - total, atol=1e-8)


def test_a_sentence_adds_up():
    corpus = random_corpus(); model = random_model(corpus)
    words = corpus.words([0, 1, 2, 3, 4, 5])
    s = sentence_probability(model, " ".join(words))
    by_hand = [dict(predict_next_word(model, words[i - 3:i], 100))[words[i]] for i in (3, 4, 5)]
    assert_allclose(s.surprise[3:], -np.log(by_hand)); assert np.isnan(s.surprise[:3]).all()
    assert_allclose(s.probability, np.prod(by_hand))
    assert_allclose(s.per_word, -np.log(by_hand).mean())
    assert "w3[" in repr(s)


def test_sentences_are_drawn_from_the_sharpened_probabilities():
    corpus = random_corpus(); model = random_model(corpus)
    for temperature, top_k in [(1.0, None), (.5, None), (2.0, 4)]:
        drawn = [generate(model, "w0 w1 w2", temperature=temperature, top_k=top_k, max_words=1, seed=s).split()[3]
                 for s in range(3000)]
        wanted = sharpen(np.array([dict(predict_next_word(model, "w0 w1 w2", 100))[w] for w in corpus.vocab]),
                         temperature, top_k)
        shares = np.array([drawn.count(w) for w in corpus.vocab]) / len(drawn)
        assert abs(shares - wanted).max() < .04 and (shares[wanted == 0] == 0).all()


def test_generate_ends_where_a_sentence_ends_and_is_repeatable():
    corpus = load_corpus("synthetic"); model = random_model(corpus, scale=.5)
    starts = {tuple(corpus.words(r)) for r in sentence_starts(corpus)[0]}
    for seed in range(60):
        words = generate(model, corpus=corpus, seed=seed, max_words=15).split()
        assert (words == generate(model, corpus=corpus, seed=seed, max_words=15).split() and tuple(words[:3]) in starts
                and len(words) <= 18)
        assert not {".", "?", "!"} & set(words[3:-1])
    first = corpus.words(sentence_starts(corpus)[0][0])
    assert generate(model, first[:1], corpus=corpus).split()[0] == first[0] and generate(model,
        first + ["."] if "." in corpus.vocab else first, max_words=1)


def test_beginnings_counted_from_a_bag_of_windows_are_those_of_the_text(tmp_path):
    (tmp_path / "a.txt").write_text("one two three four .\none two three five six .\nfour one two three .\nsix five "
                                    "one two three four .\n" * 10)
    corpus = load_corpus(tmp_path / "a.txt")
    rows = np.concatenate([getattr(corpus, p).rows() for p in ALL_PARTS])
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    found = {tuple(corpus.words(r)): int(c) for r, c in zip(*starts_by_counting(rows, corpus.vocab))}
    read = {tuple(corpus.words(r)): int(c) for r, c in zip(*sentence_starts(corpus))}
    assert found == read == {("one", "two", "three"): 20, ("four", "one", "two"): 10, ("six", "five", "one"): 10}


def test_neighbours_axis_and_analogy_by_hand():
    corpus = random_corpus(); model = random_model(corpus); E = model.params.word_embedding_weights; V = corpus.vocab
    d = np.linalg.norm(E - E[0], axis=1)
    assert [w for w, _ in nearest_words(model, "w0", 100)] == [V[i] for i in np.argsort(d)[1:]]
    for j in range(1, 12):
        assert (neighbour_rank(model, "w0", V[j]) == [w for w, _ in nearest_words(model, "w0", 100)].index(V[j]) + 1
                and np.isclose(word_distance(model, "w0", V[j]), d[j]))
    axis = dict(word_axis(model, "w0", "w1")); assert_allclose([axis["w0"], axis["w1"]], [1, -1])
    for i, w in enumerate(V):
        assert np.isclose(axis[w],
                          (np.linalg.norm(E[i] - E[1]) ** 2
                           - np.linalg.norm(E[i] - E[0]) ** 2) / np.linalg.norm(E[0] - E[1]) ** 2)
    E[:] = 0; E[:, 0] = 1; E[0, 1:3] = 0, 0; E[1, 1:3] = 1, 0; E[2, 1:3] = 0, 1; E[3, 1:3] = 1, 1
    assert analogy(model, "w0", "w1", "w2", 1)[0][0] == "w3"


def test_groups_and_agreement():
    rng = np.random.default_rng(0); X = np.repeat(np.eye(4) * 20, 6, 0) + rng.normal(size=(24, 4))
    label, loss = k_means(X, 4); assert adjusted_rand(label, np.repeat(range(4), 6)) == 1
    assert k_means(X, 4, seed=3)[1] == pytest.approx(loss)
    for num in (1, 5, 24): assert len(set(k_means(X, num)[0])) <= num
    assert k_means(X, 24)[1] == pytest.approx(0, abs=1e-9)
    corpus = random_corpus(V=24); model = random_model(corpus, D=4); model.params.word_embedding_weights[:] = X
    groups = clusters(model, 4)
    assert {frozenset(g) for g in groups} == {frozenset(corpus.vocab[i:i + 6]) for i in range(0, 24, 6)}
    table = class_agreement(groups, {"first": ["w0", "w1", "w2"], "all": corpus.vocab})
    assert table["first"][1:] == (.5, 1.0) and table["all"][1:] == (1.0, .25)
    sk = pytest.importorskip("sklearn.metrics")
    for seed in range(20):
        a, b = rng.integers(0, 4, 30), rng.integers(0, 3, 30)
        assert adjusted_rand(a, b) == pytest.approx(sk.adjusted_rand_score(a, b))


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "gelu"])
def test_a_hidden_unit_says_what_the_network_computes(activation):
    corpus = random_corpus(); model = random_model(corpus, activation=activation)
    h = model.compute_activations(corpus.train.inputs).hidden_layer
    for unit in range(7):
        u = hidden_unit(model, corpus, unit, 3)
        assert u.contexts[0][1] == pytest.approx(h[:, unit].max()) and len(u.listens) == 3 and len(u.raises) == 3
        assert (u.raises[0][1] == pytest.approx(model.params.hid_to_output_weights[:, unit].max())
                and u.lowers[0][1] == pytest.approx(model.params.hid_to_output_weights[:, unit].min()))


def bad_calls():
    c, m = random_corpus(), random_model(random_corpus())
    other, nan = random_model(random_corpus(V=9)), random_model(c); nan.params.word_embedding_weights[:] = np.nan
    longer = random_model(random_corpus(T=4)); same = random_model(c); same.params.word_embedding_weights[:] = 1
    yield from [(lambda: predict_next_word(m, "w0 w1"), "3 words"), (lambda: predict_next_word(m, "w0 w1 w99"),
        "nearest: w9"), (lambda: predict_next_word(m, "w0 w1 w2", 0), "at least 1"),
                (lambda: predict_next_word(m, "w0 w1 w2", "5"), "whole number"), (lambda: predict_next_word(nan,
                "w0 w1 w2"), "NaN"), (lambda: nearest_words(nan, "w0"), "not finite"),
                (lambda: nearest_words(m, "w0", 3, "euclid"), "cosine"), (lambda: nearest_words(m, "q"),
                "not among"), (lambda: word_distance(m, "w0", "W99x"), "not among"), (lambda: find_occurrences(c, "w0"),
                "3 words"),
                (lambda: novel_predictions(other, c, "w0 w1 w2"), "different vocabularies"), (lambda: novelty(longer,
                c), "looks at 4 words"), (lambda: novelty(m, c, among="some"),
                                          "among"), (lambda: boldest_predictions(m, c, -1), "at least 1"),
                (lambda: clusters(m, 13), "at most 12"), (lambda: clusters(m, 0),
                "at least 1"), (lambda: word_axis(same, "w0", "w1"),
                                "same place"), (lambda: neighbour_rank(m, "w0", "w0"), "different words"),
                (lambda: generate(m, "w0 w1 w2", temperature=0), "above 0"), (lambda: generate(m, "w0 w1 w2",
                temperature=float("inf")), "above 0"), (lambda: generate(m, "w0 w1 w2", top_k=0), "top_k"),
                (lambda: generate(m, "w0 w1 w2", seed=-1), "seed"), (lambda: generate(m, "w0 w1 w2", max_words=0),
                "max_words"), (lambda: generate(m), "give 3"), (lambda: generate(m, "w0", corpus=random_corpus(V=5)),
                                                                "different vocabularies"),
                (lambda: sentence_probability(m, "w0 w1 w2"), "at least 4"), (lambda: fill_blank(m, "w0 w1 w2 w3"),
                "found 0 gaps"), (lambda: fill_blank(m, "___ w1 ___ w3"),
                                  "found 2 gaps"), (lambda: fill_blank(m, "___ w1"), "at least 4"),
                (lambda: hidden_unit(m, c, 7), "0 to 6"), (lambda: hidden_unit(m, c, -1),
                "0 to 6"), (lambda: adjusted_rand([1], [1]), "at least two"), (lambda: analogy(m, "w0", "w1", "ww"),
                "not among")]


@pytest.mark.parametrize("call, words", list(bad_calls()))
def test_one_sentence(call, words):
    with pytest.raises((ValueError, UnknownWord, DataError)) as error: call()
    said = str(error.value)
    assert words in said and "\n" not in said


def test_huge_k_gives_everything():
    c = random_corpus(); m = random_model(c)
    assert (len(predict_next_word(m, "w0 w1 w2", 10**9)) == 12 and len(nearest_words(m, "w0", 10**9)) == 11
            and len(analogy(m, "w0", "w1", "w2", 10**9)) == 9)
    assert top_predictions(m, c.valid.inputs, 10**9)[0].shape == (len(c.valid), 12) and len(fill_blank(m,
        "w0 w1 ___ w2", 10**9)) == 12
    assert generate(m, "w0 w1 w2", top_k=10**9, seed=3) == generate(m, "w0 w1 w2", seed=3)
    assert is_new(c, c.train.inputs[:3], c.train.targets[:3, None]).sum() == 0


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd"); (folder / "odd.txt").write_text(ODD * 40, encoding="utf-8")
    corpus = load_corpus(folder / "odd.txt")
    result = train(corpus, TrainConfig(epochs=3, batch_size=20, num_hid=16), progress=False)
    return folder, corpus, result, result.model.save(folder / "m.safetensors")


def test_the_report_has_groups_and_sentences_and_escapes_every_word(odd):
    folder, corpus, result, _ = odd
    page = write_report(folder / "r.html", corpus, result,
                        word_map="<p>a map of </p><script>draw('=cmd')</script>").read_text(encoding="utf-8")
    assert ("Groups of words" in page and "Sentences it writes" in page
            and page.count('<p class="s">') == len(generated_sentences(result.model, corpus)))
    assert ("<script" not in page and "<b>" not in page and "&lt;script&gt;alert(1)" in page
            and 'sandbox="allow-scripts"' in page and "http" not in page)
    # without one given, it draws its own
    assert "map of words: arrow keys" in write_report(folder / "r.html", corpus, result).read_text(encoding="utf-8")
    for sentence in generated_sentences(result.model, corpus):
        assert len(sentence) > 3 and np.isnan(sentence[0][1]) and sentence[3][1] >= 0


def run(*args, cwd):
    env = {k: v for k, v in os.environ.items() if k != "LM_NBDEV_CORPUS"}
    return subprocess.run([*RUN, *map(str, args)], capture_output=True, text=True, cwd=cwd, env=env, timeout=120)


def test_generate_writes_sentences(odd):
    folder, corpus, _, model = odd
    done = run("generate", model, "the", "=cmd", "is", "-n", 4, "--seed", 3, cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and all(line.startswith("the =cmd is") and set(line.split()) <= set(corpus.vocab)
                                   for line in lines)
    assert lines == run("generate", model, "the", "=cmd", "is", "-n", 4, "--seed", 3, cwd=folder).stdout.splitlines()
    own = run("generate", model, "who", "--corpus", "odd.txt", "-n", 2, cwd=folder)
    assert own.returncode == 0 and all(line.startswith("who is the") for line in own.stdout.splitlines())


@pytest.mark.parametrize("args, words", [(("generate", "MODEL", "the", "=cmd", "is", "--temperature", "0"), "above 0"),
                                         (("generate", "MODEL", "teh", "=cmd", "is"), "nearest: the"),
    (("generate", "MODEL", "the", "--corpus", "synthetic"), "different vocabularies"),
                                         (("generate", "MODEL", "town", "--corpus", "odd.txt"), "No sentence"),
                                         (("generate", "MODEL", "the", "=cmd", "is", "-n", "0"), "--number"),
    (("generate", "none"), "no model file"), (("generate", "MODEL", "the", "=cmd", "is", "--top-k", "0"), "top_k"),
                                         (("export", "MODEL", "--format", "xls"), "word2vec"),
                                         (("export", "MODEL"), "--format"),
    (("export", "MODEL", "--format", "csv", "--table", "all"), "clusters"), (("export", "none", "--format", "csv"),
        "no model file"), (("export", "MODEL", "--format", "projector", "--corpus", "synthetic"),
                           "different vocabularies")])
def test_one_sentence_and_exit_code_2(odd, args, words):
    said = run(*(odd[3] if a == "MODEL" else a for a in args), cwd=odd[0])
    assert (said.returncode == 2 and words in said.stderr and len(said.stderr.splitlines()) == 1
            and "Traceback" not in said.stderr), said.stderr


@pytest.mark.parametrize("format, names", [("word2vec", ["x"]), ("word2vec-binary", ["x"]),
                                           ("projector",
                                            ["x/metadata.tsv", "x/projector_config.pbtxt", "x/tensors.tsv"]),
                                           ("csv", ["x"])])
def test_export_writes_where_it_is_told(odd, tmp_path, format, names):
    done = run("export", odd[3], "--format", format, "--out", tmp_path / "x", cwd=odd[0])
    assert done.returncode == 0, done.stderr
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == names


@pytest.mark.parametrize("table, width", [("vectors", 17), ("nearest", 4), ("distances", None), ("clusters", 2)])
def test_tables_hold_no_formulas(odd, table, width):
    folder, corpus, result, model = odd
    assert run("export", model, "--format", "csv", "--table", table, cwd=folder).returncode == 0
    rows = list(csv.reader(open(folder / f"m.{table}.csv", newline="", encoding="utf-8")))
    assert {len(r) for r in rows} == {width or corpus.vocab_size + 1} and "'=cmd" in {c for r in rows for c in r}
    # only numbers may begin so
    for cell in (c for r in rows for c in r if c[:1] in tuple("=+-@")): float(cell)
