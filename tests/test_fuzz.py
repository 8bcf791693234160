"Hostile input: thousands of damaged and lying files, odd texts, arguments and settings. Nothing runs, nothing hangs, nothing fills the memory, and every refusal is a sentence."
import contextlib
import io
import json
import math
import os
import pickle
import pickletools
import random
import struct
import sys
import zipfile

import numpy as np
import pytest

sys.path.insert(0, os.path.dirname(__file__))
from hostile import damage, in_memory, in_time, is_sentence, nothing_runs

from lm_nbdev import architecture, backprop, data, glove, gradcheck, model
from lm_nbdev.architecture import Architecture, Params
from lm_nbdev.data import DataError, SafeUnpickler, Split, load_corpus, write_arrays
from lm_nbdev.model import Model

WORDS = "the a cat dog saw heard new york city of".split()


def arrays(rng=np.random.default_rng(0), n=20):
    out = {f"{p}_{k}": rng.integers(0, len(WORDS), (n, 3) if k == "inputs" else n).astype(np.int32) for p in data.PARTS
           for k in ("inputs", "targets")}
    return out | {"vocab": np.array(WORDS)}


def refusals(cases, call, allowed=DataError):
    "Calls `call(case)` for each case; returns how many were refused. Any other error, or a refusal that is no sentence, fails."
    refused = 0
    with in_memory():
        for i, case in enumerate(cases):
            try:
                with in_time(), nothing_runs(): call(case)
            except allowed as e:
                refused += 1
                assert is_sentence(e), f"case {i}, {case!r:.300}: {type(e).__name__}: {e}"
            except BaseException as e: raise AssertionError(f"case {i}, {case!r:.500}: {type(e).__name__}: {e}") from e
    return refused


# ------------------------------------------------------------------------------------------------------------ pickles
def honest_pickles():
    things = {"x": np.arange(6.).reshape(2, 3), "w": np.str_("and"), "n": [1, 2.5, None, True, "é", (1, "2")],
              "vocab": np.array(["a", "b"]), "big": 2 ** 40}
    for protocol in range(3): yield pickle.dumps({k: v for k, v in things.items() if k in ("n", "big")}, protocol)
    for protocol in (3, 4): yield pickle.dumps(things, protocol)
    yield data._pickle_python2(arrays())


EVIL = ["os system", "posix system", "builtins eval", "builtins exec", "builtins getattr", "builtins __import__",
        "subprocess Popen", "numpy load", "numpy fromfile", "numpy memmap", "numpy ndarray.tofile",
        "numpy.core.multiarray fromfile",
        "numpy.testing._private.utils runstring", "numpy.f2py.crackfortran eval", "numpy.lib._npyio_impl load",
        "importlib import_module", "pickle loads", "operator attrgetter", "functools partial", "copyreg _reconstructor",
        "copyreg add_extension",
        "runpy run_path", "pip main", "ctypes CDLL", "torch load", "__main__ x", "lm_nbdev.data SafeUnpickler",
        "lm_nbdev.data _call", "numpy.core.multiarray os", "numpy dtype.__class__", "numpy ndarray.__reduce__",
        "numpy dtype\x00", "numpy  dtype", "Numpy dtype"]


def read(raw): return SafeUnpickler(io.BytesIO(raw), encoding="latin1").load()


def test_every_name_is_refused_before_anything_runs():
    cases = []
    for name in EVIL:
        module, _, attribute = name.partition(" ")
        short = lambda s: b"\x8c" + bytes([len(s.encode())]) + s.encode()
        cases += [f"c{module}\n{attribute}\n(S'touch pwned'\ntR.".encode(),
                  f"(S'touch pwned'\ni{module}\n{attribute}\n.".encode(),
                  f"(c{module}\n{attribute}\nS'touch pwned'\no.".encode(),
                  b"\x80\x04" + short(module) + short(attribute) + b"\x93\x8c\x05touch\x85R.",
                  f"\x80\x02c{module}\n{attribute}\n)\x81}}b.".encode("latin1"),
                  b"\x80\x04" + short(module) + short(attribute) + b"\x93)}\x92.",
                  f"c{module}\n{attribute}\n}}U\x01xK\x01sb.".encode("latin1")]
    assert refusals(cases, read) == len(cases)
    assert not os.path.exists("pwned")


def test_the_ways_around_a_list_of_names():
    number_type = b"cnumpy\ndtype\nU\x02S1K\x00K\x01\x87R(K\x03U\x01|NNNK\x01K\x01K\x00tbq\x01"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    nested = b")q\x00" + b"h\x00h\x00\x86q\x00" * 60
    ways = {"an allowed name is changed": b"cnumpy.core.multiarray\nscalar\n}U\x04evilK\x01sb",
            "its defaults are changed": b"cnumpy.core.multiarray\nscalar\nN}U\x0c__defaults__)s\x86b",
            "a number type grows after its use": number_type + b"0" + array + b"(K\x01(K\x04th\x01\x89U\x04abcdtbq\x02"
            + b"0h\x01(K\x03U\x01|NNNJ\x00\x00\x00\x10K\x01K\x00tb0h\x02",
            "a number type with fields": b"cnumpy\ndtype\nU\x02S8K\x00K\x01\x87R(K\x03U\x01|NU\x01a\x85}U\x01aK\x01K\x7f\x86sK\x08K\x01K\x00tb",
            "an array is filled twice": number_type + b"0" + array
            + b"(K\x01(K\x04th\x01\x89U\x04abcdtb(K\x01(K\x09th\x01\x89U\x04abcdtb",
            "a shape beyond its bytes": number_type + b"0" + array
            + b"(K\x01(J\xff\xff\xff\x7ftJ\xff\xff\xff\x7f\x86h\x01\x89U\x04abcdtb",
            "a negative shape": number_type + b"0" + array + b"(K\x01(J\xff\xff\xff\xffJ\xfc\xff\xff\xfft"
            + b"h\x01\x89U\x04abcdtb",
            "a memory of gigabytes": b"Nr\xff\xff\xff\xff0h\x00", "a frame of gigabytes": b"\x95" + b"\xff" * 7
            + b"\x7fN" + b"\x93",
            "a string of gigabytes": b"\x8e" + b"\xff" * 7 + b"\x7fN",
            "a byte array of gigabytes": b"\x96\x00\x00\x00\x00\xff\x00\x00\x00", "a key that takes for ever": b"}"
            + nested + b"K\x01s",
            "an extension": b"\x82\x01", "a persistent name": b"Pos.system\n",
            "another persistent name": b"U\x09os.systemQ", "a long of many digits": b"I" + b"9" * 5000 + b"\n",
            "an object array of tuples": array + b"(K\x01(K\x02tcnumpy\ndtype\nU\x02O8K\x00K\x01\x87R\x89)tb",
            "a list that is a function": b"cnumpy\ndtype\nK\x01a", "an unhashable key": b"}]K\x01s",
            "too little on the stack": b"R"}
    for name, way in ways.items(): assert refusals([b"\x80\x02" + way + b"."], read) == 1, name
    import lm_nbdev.data as fresh
    assert not vars(fresh._call) and not vars(fresh._fill)
    # ten to the twentieth
    many = b"\x80\x02]q\x00" + b"".join(b"0](" + b"h" + bytes([i]) + (b"h" + bytes([i])) * 9 + b"eq" + bytes([i + 1])
                                        for i in range(20)) + b"."
    laughs = b"\x80\x02}(" + b"".join(b"U" + bytes([len(n)]) + n.encode() + many[2:-1] for n in arrays()) + b"u."
    assert refusals([laughs], lambda raw: data.corpus_from_arrays(read(raw), "x")) == 1


@pytest.mark.parametrize("seed", range(6))
def test_damaged_pickles(seed, long):
    rng, honest = random.Random(seed), list(honest_pickles())
    cases = (damage(rng, rng.choice(honest)) for _ in range(9000 if long else 500))
    assert refusals(cases, read) > 100


def test_random_steps(long):
    "Every step of the pickle machine, in any order, with the four names and others to play with."
    rng = random.Random(1)
    names = [b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\nscalar\n",
             b"cnumpy.core.multiarray\n_reconstruct\n", b"cos\nsystem\n"]
    plain = [b"U\x02i8", b"K\x00", b"K\x01", b"\x85", b"\x86", b"\x87", b"R", b"b", b"(", b"t", b"}", b"]", b"u", b"e",
             b"s", b"a", b"q\x00", b"h\x00", b"N", b"\x89", b"U\x01b", b"J\xff\xff\xff\x7f", b"0", b"2", b")"]
    codes = [op.code.encode("latin1") for op in pickletools.opcodes]
    def steps():
        return b"\x80\x02" + b"".join(rng.choice(rng.choice([names, plain, plain, plain, codes]))
                                      for _ in range(rng.randint(1, 25))) + b"."
    assert refusals((steps() for _ in range(20_000 if long else 2000)), read) > 500


# ------------------------------------------------------------------------------------------------- arrays in other shapes
def npy(a, **header):
    f = io.BytesIO(); np.lib.format.write_array(f, np.asarray(a), allow_pickle=False)
    if not header: return f.getvalue()
    told = repr({"descr": "<i4", "fortran_order": False, "shape": (3,)} | header).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(told)) + told + b"\0" * 12


def test_arrays_that_lie_about_their_shape():
    lies = [npy([1], shape=(2 ** 40,)), npy([1], shape=(2 ** 62, 4)), npy([1], shape=(-1,)), npy([1], descr="|O"),
            npy([1], descr="<V0"), npy([1], descr="|S0", shape=(2 ** 40,)), npy([1], descr=[("a", "<i4")] * 2),
            npy([1], shape="x"), npy([1], shape=((3,),)),
            npy([1], descr="<M8[ns]", shape=(1,)), b"\x93NUMPY\1\0\xff\xff{", b"", b"\x93NUMPY", b"\x93NUMPY\x09\0",
            npy([1], descr="(3,)i4", shape=(1,)), npy([1], fortran_order=7), npy([1], shape=(True,)),
            npy([1], shape=(3.0,))]
    refused = refusals(lies, lambda raw: data._from_npy({"vocab": io.BytesIO(raw)}, "a folder"))
    assert refused >= len(lies) - 2                          # the last but one are odd, but harmless


def test_damaged_npy_zip_and_mat(tmp_path, long):
    rng, cases = random.Random(2), []
    for suffix in ("zip", "mat", "pk"): write_arrays(arrays(), tmp_path / f"whole.{suffix}")
    whole = {s: (tmp_path / f"whole.{s}").read_bytes() for s in ("zip", "mat", "pk")}
    def load(case):
        path = tmp_path / f"a.{case[0]}"; path.write_bytes(case[1]); load_corpus(path)
    def cases():
        for suffix, n in (("zip", 900), ("mat", 500), ("pk", 600)):
            for _ in range(n * (10 if long else 1)): yield suffix, damage(rng, whole[suffix])
    assert refusals(cases(), load) > 500
    raw = npy(np.arange(60, dtype=np.int32).reshape(20, 3))
    assert refusals((damage(rng, raw) for _ in range(10_000 if long else 1000)),
                    lambda case: data._from_npy({"train_inputs": io.BytesIO(case)}, "a folder")) > 300


def test_files_that_unpack_to_gigabytes(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as z:
        for member in ("data/vocab.npy", "raw_sentences.txt"):
            with z.open(member, "w", force_zip64=True) as f:
                for _ in range(600): f.write(b"\0" * 2 ** 20)
    assert refusals([tmp_path / "bomb.zip"], load_corpus) == 1
    import zlib
    deep = zlib.compressobj(9); packed = b"".join(deep.compress(b"\0" * 2 ** 20) for _ in range(600)) + deep.flush()
    write_arrays(arrays(), tmp_path / "a.mat")
    head = (tmp_path / "a.mat").read_bytes()[:128]
    cells = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 2 ** 15, 2 ** 15) + struct.pack("<IIQ", 1,
        4, 0x61746164)
    for body in (struct.pack("<II", 15, len(packed)) + packed, struct.pack("<II", 14, len(cells)) + cells):
        (tmp_path / "bomb.mat").write_bytes(head + body)
        assert refusals([tmp_path / "bomb.mat"], load_corpus) == 1


@pytest.mark.parametrize("change", [dict(vocab=["a", "a"] + WORDS[2:]), dict(vocab=["two words"] + WORDS[1:]),
                                    dict(vocab=[""] + WORDS[1:]), dict(vocab=[]), dict(vocab=[1, 2, 3]),
                                    dict(vocab="abc"), dict(vocab=None), dict(vocab={"a": 1}),
                                    dict(train_inputs=np.zeros((20, 0), int)),
    dict(train_inputs=np.zeros((20, 3))), dict(train_targets=np.zeros(19, int)),
                                    dict(valid_inputs=np.zeros((20, 2), int)), dict(test_targets=np.full(20, -1)),
                                    dict(test_targets=np.full(20, 10)), dict(train_inputs=None),
                                    dict(train_inputs="abc"), dict(train_inputs=[[1], [2, 3]]),
    dict(train_inputs={}), dict(train_inputs=np.zeros((20, 3), "M8[s]")),
                                    dict(train_inputs=np.array([[None] * 3] * 20)),
                                    dict(train_inputs=np.zeros((20, 3, 1), int)),
                                    dict(train_inputs=np.full((20, 3), 2 ** 63, np.uint64))])
def test_arrays_that_do_not_fit_together(change):
    assert refusals([arrays() | change], lambda a: data.corpus_from_arrays(a, "x")) == 1


# -------------------------------------------------------------------------------------------------------------- texts
PIECES = ["the cat saw the dog . ", "\n", "\r\n", "\r", "\n\n", "\t", " ", "кошка видит собаку . ", "猫 看见 狗 。",
          "🙂 👩‍👩‍👧 ", "‮evil‬ ", "\ufeff", "\u200b", "\x1b[31m ", "<script>alert(1)</script> ", "]]> ", "\" ' & ",
          "=1+1 ", "İ ß ﬁ ǅ Σ ς ", "e\u0301 ", "\u2028", "\x85", "\xa0",
          "?", "!", "...", "3,5.7 ", "don't ’ ", "_ ", "x" * 3000, "$x$ $\\frac$ ", "\\ ", "%s {0} ", "../../etc ",
          "a b c d e f . " * 5, "\x0b\x0c\x1c", "ا ب ت "]


def test_texts(tmp_path, long):
    rng, path = random.Random(3), tmp_path / "a.txt"
    def text():
        body = "".join(rng.choice(PIECES) for _ in range(rng.choice([0, 1, 3, 30, 300])))
        raw = body.encode(rng.choice(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-32"]))
        return (damage(rng, raw) if rng.random() < .4 else bytes(rng.randrange(256) for _ in range(rng.randrange(200)))
                if rng.random() < .2 else raw)
    def load(raw):
        path.write_bytes(raw)
        corpus = load_corpus(path, vocab_size=rng.choice([1, 2, 10, 250, 10 ** 12]),
                             context_len=rng.choice([1, 2, 3, 5]),
                             split=rng.choice([None, "original", "random", "sentence"]))
        assert len(set(corpus.vocab)) == len(corpus.vocab) and all(w.split() == [w] for w in corpus.vocab)
        assert corpus.words(corpus.train.inputs[:5]) is not None
        for context in corpus.examples.contexts: assert len(corpus.ids(context)) == corpus.context_len
        if len(corpus.train): assert corpus.examples.words and corpus.examples.contexts
    assert 100 < refusals((text() for _ in range(8000 if long else 800)), load)


@pytest.mark.parametrize("start, again, words", [("", "x", "without a space"), ("", "ab cd ef gh ", "20,000,000 words"),
    ("🙂 ", "ab cd, ef gh. ", "20,000,000 words"), ("", "\0", "NUL"), ("", " ", "without a space|empty")])
def test_a_line_of_100_mb(start, again, words, tmp_path):
    (tmp_path / "a.txt").write_bytes(start.encode() + again.encode() * (10 ** 8 // len(again)))
    with in_memory(), in_time(60), pytest.raises(DataError, match=words): load_corpus(tmp_path / "a.txt")


def test_a_long_text_in_pieces_gives_the_same_tokens(monkeypatch):
    rng = random.Random(4)
    for _ in range(500):
        text = "".join(rng.choice(["a", "b ", " \n", "\n\n", ". ", "? ", "!", ".", "x'y ", "3.5 ", "\r\n"])
                       for _ in range(rng.randint(0, 300)))
        for prepared in (True, False):
            try: pieces = list(data._pieces(text, 50))
            except DataError: continue
            assert "".join(pieces) == text and [t for p in pieces for t in data.tokenize(p,
                prepared)] == data.tokenize(text, prepared)


# ------------------------------------------------------------------------------------------------------------- models
def small_model(activation="logistic", dtype=np.float64):
    return Model.random_init(Architecture(len(WORDS), 3, 2, 4, activation), WORDS, .1, dtype=dtype)


def model_file(change_header=None, change_arrays=None):
    "A model's bytes, with something changed, and put together as the format wants it."
    net = small_model()
    header = {"format": "lm_nbdev model 1", "vocab": json.dumps(net.vocab),
              "architecture": json.dumps({"vocab_size": 10, "context_len": 3, "embedding_dim": 2, "num_hid": 4,
                                          "activation": "logistic"}), "metadata": "{}"} | (change_header or {})
    from safetensors.numpy import save
    return save({k: v for k, v in ({n: a.copy() for n, a in net.params.arrays().items()} | (change_arrays
        or {})).items() if v is not None}, {k: v for k, v in header.items() if v is not None})


def architecture_of(**change):
    return {"architecture": json.dumps({"vocab_size": 10, "context_len": 3, "embedding_dim": 2, "num_hid": 4,
                                        "activation": "logistic"} | change)}


MODEL_LIES = [dict(vocab="[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"), dict(vocab='"abcdefghij"'), dict(vocab="[]"),
              dict(vocab="[" * 10 ** 5), dict(vocab="{}"), dict(vocab=None), dict(metadata=None), dict(metadata="[1]"),
              dict(metadata="7"), dict(metadata="nonsense"), dict(format="other"), dict(format=None),
              dict(architecture=None),
              dict(architecture="[]"), dict(architecture="{}"), dict(architecture="9" * 5000),
              *[architecture_of(**{k: v}) for k in ("vocab_size", "context_len", "embedding_dim", "num_hid")
                for v in (10 ** 12, 0, -1, 2.5, None, "10", [10], True, 10 ** 400)],
              architecture_of(activation="x"), architecture_of(activation=None),
              architecture_of(activation=["logistic"]), architecture_of(more=1)]


def test_models_that_lie(tmp_path):
    path = tmp_path / "m.safetensors"
    def load(raw): path.write_bytes(raw); return Model.load(path)
    load(model_file())
    cases = [model_file(change) for change in MODEL_LIES]
    for name, view in small_model().params.arrays().items():
        for other in (None, view.astype(np.float16), view.astype(np.float32), view.astype(np.int64), view * np.nan,
                      view * np.inf if view.any() else view + np.inf, np.zeros(view.shape + (1,)),
                      np.zeros((2 ** 10,))):
            cases.append(model_file(None, {name: other}))
    cases.append(model_file(None, {"one_more": np.zeros(3)}))
    for header in ({"x": {"dtype": "F64", "shape": [2 ** 60], "data_offsets": [0, 2 ** 63]}},
                   {"x": {"dtype": "F64", "shape": [2 ** 40], "data_offsets": [0, 8]}},
                   {"x": {"dtype": "F64", "shape": [-1], "data_offsets": [8, 0]}}, {"x": 3}, [], None):
        raw = json.dumps(header).encode()
        cases += [struct.pack("<Q", len(raw)) + raw + b"\0" * 8, struct.pack("<Q", 2 ** 63) + raw,
                  struct.pack("<Q", 99_000_000) + raw]
    assert refusals(cases, load) == len(cases)


def test_damaged_models(tmp_path, long):
    rng, whole, path = random.Random(5), model_file(), tmp_path / "m.safetensors"
    head = 8 + struct.unpack("<Q", whole[:8])[0]
    def load(raw):
        path.write_bytes(raw); net = Model.load(path)
        assert (np.isfinite(net.params.flat).all() and len(net.vocab) == net.arch.vocab_size
                and net.params.flat.size == net.arch.num_params)
    def cases():
        for i in range(15_000 if long else 1500):
            yield damage(rng, whole[:head]) + whole[head:] if i % 2 else damage(rng, whole)
    assert refusals(cases(), load) > 500


def test_partially_trained_that_lies(tmp_path):
    net, path = small_model(), tmp_path / "p.pk"
    honest = net.params.arrays() | {"vocab": WORDS}
    def load(change): path.write_bytes(pickle.dumps(honest | change, 4)); return model.load_partially_trained(path)
    assert load({}).vocab == WORDS
    cases = [{name: other} for name, a in net.params.arrays().items() for other in (None, "x", [1, 2], a.astype(str),
        a.astype(np.int64), a * np.nan, a.ravel()[:0], a[..., None], a[:1], np.array(1.0), np.zeros((10, 0)),
        np.zeros((0, 6)))]
    cases += [dict(vocab=v) for v in (None, "abc", [1] * 10, WORDS[1:], {}, np.zeros(10))]
    assert refusals(cases, load) == len(cases)
    for name in honest:
        path.write_bytes(pickle.dumps({k: v for k, v in honest.items() if k != name}, 4))
        with pytest.raises(DataError, match="does not hold"): model.load_partially_trained(path)
    for other in (None, [1], "abc", list(honest)):
        path.write_bytes(pickle.dumps(other, 4))
        with pytest.raises(DataError, match="does not hold"): model.load_partially_trained(path)
