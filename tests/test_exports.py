"Exports, each opened by the program that it is meant for: gensim, onnxruntime, the Embedding Projector's format, CSV readers."
import builtins
import csv
import json
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lm_nbdev.analysis import export_csv, export_onnx, export_projector, export_word2vec, nearest_words
from lm_nbdev.architecture import ACTIVATIONS, Architecture
from lm_nbdev.data import DataError, load_corpus
from lm_nbdev.model import Model

WORDS = ["the", "=cmd|'/C_calc'!A0", "<script>", "naïve", "日本", "--", "+1", "@sum", "\"quoted\"", "a,b", "it's", "0",
         "1", "Ω", "]]>", "\u202eevil", "</script><script>", "{{7*7}}", "${1}", "-", "😀"]


def network(T=3, activation="gelu", dtype=np.float32, vocab=WORDS, scale=.7):
    return Model.random_init(Architecture(len(vocab), T, 6, 10, activation), vocab, scale, 3, dtype)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gensim_reads_word2vec(tmp_path, binary, dtype):
    gensim = pytest.importorskip("gensim.models")
    model = network(dtype=dtype)
    vectors = gensim.KeyedVectors.load_word2vec_format(str(export_word2vec(tmp_path / "v", model, binary=binary)),
                                                       binary=binary)
    assert vectors.index_to_key == WORDS
    # to the last bit, also as text
    assert_array_equal(vectors.vectors, model.params.word_embedding_weights.astype(np.float32))
    for word in WORDS:
        ours = nearest_words(model, word, 3, "cosine"); theirs = vectors.most_similar(word, topn=3)
        assert [w for w, _ in ours] == [w for w, _ in theirs]
        assert_allclose([1 - d for _, d in ours], [s for _, s in theirs], atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("T, dtype", [(1, np.float32), (3, np.float32), (4, np.float64)])
def test_onnxruntime_says_what_the_model_says(tmp_path, activation, T, dtype):
    onnxruntime = pytest.importorskip("onnxruntime"); pytest.importorskip("onnx")
    model = network(T, activation, dtype, scale=1.5)
    session = onnxruntime.InferenceSession(str(export_onnx(tmp_path / "m.onnx", model)),
                                           providers=["CPUExecutionProvider"])
    for B in (1, 2, 333):
        x = np.random.default_rng(B).integers(0, len(WORDS), (B, T))
        p, = session.run(["probabilities"], {"context": x.astype(np.int64)})
        assert p.shape == (B, len(WORDS)) and p.dtype == np.float32
        assert_allclose(p, model.compute_activations(x).output_layer, atol=1e-5)
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["vocab"]) == WORDS and int(meta["context_len"]) == T


def test_large_scores_stay_numbers_in_onnx(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime"); pytest.importorskip("onnx")
    model = network(scale=30.0)
    session = onnxruntime.InferenceSession(str(export_onnx(tmp_path / "m.onnx", model)),
                                           providers=["CPUExecutionProvider"])
    p, = session.run(None, {"context": np.arange(12).reshape(4, 3)})
    assert np.isfinite(p).all()
    assert_allclose(p, model.compute_activations(np.arange(12).reshape(4, 3)).output_layer, atol=1e-5)


def test_onnx_passes_its_own_checker(tmp_path):
    onnx = pytest.importorskip("onnx")
    made = onnx.load(str(export_onnx(tmp_path / "m.onnx", network())))
    onnx.checker.check_model(made, full_check=True)
    assert [d.dim_param or d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim] == ["batch", 3]


def test_without_onnx_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    whole = builtins.__import__
    def without(name, *args, **kwargs):
        if name.split(".")[0] == "onnx": raise ImportError(name)
        return whole(name, *args, **kwargs)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=re.escape("pip install 'lm_nbdev[export]'")):
        export_onnx(tmp_path / "m.onnx", network())
    assert list(tmp_path.iterdir()) == []


def test_the_projector_finds_its_files(tmp_path):
    corpus = load_corpus("synthetic"); model = network(vocab=corpus.vocab)
    folder = export_projector(tmp_path / "p", model, corpus)
    config = (folder / "projector_config.pbtxt").read_text(encoding="utf-8")
    paths = dict(re.findall(r'(\w+_path): "([^"]+)"', config))
    tensors = [list(map(float, line.split("\t")))
               for line in (folder / paths["tensor_path"]).read_text(encoding="utf-8").splitlines()]
    assert_array_equal(np.array(tensors, np.float32), model.params.word_embedding_weights)
    head, *rows = [line.split("\t")
                   for line in (folder / paths["metadata_path"]).read_text(encoding="utf-8").rstrip("\n").split("\n")]
    assert head == ["word", "count", "class"] and [r[0] for r in rows] == corpus.vocab and len(tensors) == len(rows)
    assert sum(int(r[1]) for r in rows) == len(corpus.train)
    classes = {w: c for c, words in corpus.examples.classes.items() for w in words}
    assert all(r[2] == classes.get(r[0], "-") for r in rows)


def test_one_column_of_metadata_has_no_header(tmp_path):          # the projector's rule: with a single column, every line is a label
    folder = export_projector(tmp_path, network())
    assert (folder / "metadata.tsv").read_text(encoding="utf-8").split("\n")[:-1] == WORDS


def test_csv_comes_back_whole_and_holds_no_formula(tmp_path):
    table = [(w, i, i / 3, None, np.float32(-i), -1.5e-30)
             for i, w in enumerate(WORDS + ["\t=1", "line\nbreak", "", "＝1"])]
    path = export_csv(tmp_path / "t.csv", table, ["=word", "i", "third", "none", "minus", "tiny"])
    rows = list(csv.reader(open(path, newline="", encoding="utf-8")))
    assert rows[0][0] == "'=word" and len(rows) == len(table) + 1
    for (word, i, third, _, minus, tiny), row in zip(table, rows[1:]):
        assert row[0] == ("'" + word if word[:1] in tuple("=+-@\t＝") else word) and row[3] == ""
        assert (int(row[1]) == i and np.isclose(float(row[2]), third, rtol=1e-8) and float(row[4]) == minus
                and float(row[5]) == tiny)
    raw = list(csv.reader(open(export_csv(tmp_path / "t.csv", table, safe=False), newline="", encoding="utf-8")))
    assert [r[0] for r in raw] == [t[0] for t in table]


def test_csv_in_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(export_csv(tmp_path / "t.csv", [("a", .1, np.int64(3)), ("né", -2.5, 4)], ["w", "x", "n"]))
    assert list(frame["w"]) == ["a", "né"] and list(frame["x"]) == [.1, -2.5] and list(frame["n"]) == [3, 4]


@pytest.mark.parametrize("word", ["new york", "tab\there", "line\nbreak", "", "wide　space"])
def test_words_that_a_format_can_not_hold(tmp_path, word):
    model = network(vocab=WORDS[:-1] + [word])
    for write in (export_word2vec, export_projector):
        with pytest.raises(DataError, match="white space"): write(tmp_path / "x", model)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_old_file(tmp_path):
    path = export_csv(tmp_path / "t.csv", [("old",)])
    with pytest.raises(ValueError, match="names 2 columns"): export_csv(path, [("a", 1), ("b",)], ["w", "n"])
    class Broken:
        def __str__(self): raise RuntimeError
    with pytest.raises(RuntimeError): export_csv(path, [("a",), (Broken(),)])
    assert path.read_text(encoding="utf-8").strip() == "old" and len(list(tmp_path.iterdir())) == 1
    model = network(); model.params.word_embedding_weights[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"): export_word2vec(path, model)


def test_a_model_of_another_text_gets_no_counts(tmp_path):
    with pytest.raises(DataError, match="different vocabularies"):
        export_projector(tmp_path / "p", network(), load_corpus("synthetic"))
    assert not (tmp_path / "p").exists()
