"What chapter 12 cannot show: damage, limits, the extra that is missing, processes from the command line."
import subprocess
import sys

import numpy as np
import pytest

from lm_nbdev import data, scaling
from lm_nbdev.training import TrainConfig


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    rng = np.random.default_rng(0)
    path.write_text("\n".join(" ".join(f"w{i}" for i in rng.zipf(1.5, 12).clip(1, 60)) + " ." for _ in range(800))
                    + "\n", encoding="utf-8")
    return path


@pytest.fixture
def ids(text):
    pytest.importorskip("duckdb")
    scaling.write_tokens(text, text.with_suffix(".tokens"))
    vocab, _ = scaling.count_vocabulary(text.with_suffix(".tokens"), 50)
    return scaling.write_ids(text.with_suffix(".tokens"), vocab, text.with_suffix(".ids"))


@pytest.mark.parametrize("prose", [False, True])
@pytest.mark.parametrize("size", [1, 50, 1000, 10 ** 9])
def test_pieces_are_the_whole(tmp_path, prose, size):
    text = ("It rained. Did it?! Yes,\nit did; all day\n\nThen the sun. " * 30 if prose
            else "it rained .\ndid it ?\n\nyes , it did .\n" * 30)
    path = tmp_path / "t.txt"
    path.write_text(text, encoding="utf-8")
    pieces = [t for tokens, _ in scaling.read_pieces(path, size) for t in tokens if t != data.BREAK]
    assert pieces == [t for t in data.tokenize(text, not prose) if t != data.BREAK]


def test_a_line_without_end(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    path, out = tmp_path / "t.txt", tmp_path / "out.parquet"
    with open(path, "wb") as f:
        for _ in range(100): f.write(b"word " * (1 << 18))
    with pytest.raises(data.DataError, match="longer than 32 MB"): scaling.write_tokens(path, out)
    assert [p.name for p in tmp_path.iterdir()] == ["t.txt"]


def test_half_a_parquet_file(ids, tmp_path):
    half, out, before = tmp_path / "half.parquet", tmp_path / "out.parquet", set(tmp_path.iterdir())
    for source, calls in ((ids, [lambda: scaling.count_ngrams(half, out), lambda: scaling.count_ngrams(half, out,
            engine="dask"), lambda: scaling.read_ngrams(half), lambda: scaling.write_examples(half, ["a"], out)]),
                          (ids.with_suffix(".tokens"), [lambda: scaling.count_vocabulary(half, 9),
                          lambda: scaling.count_vocabulary(half, 9, engine="dask"),
                          lambda: scaling.write_ids(half, ["a"], out)])):
        for share in (0, 0.3, 0.9):
            half.write_bytes(source.read_bytes()[: int(share * source.stat().st_size)])
            for call in calls:
                with pytest.raises(data.DataError, match="not a whole Parquet file"): call()
    with pytest.raises(FileNotFoundError): scaling.count_ngrams(tmp_path / "none", out)
    assert set(tmp_path.iterdir()) == before | {half}


@pytest.mark.parametrize("engine", ["duckdb", "dask"])
def test_a_parquet_file_with_a_damaged_middle(ids, tmp_path, engine):
    bad, out = tmp_path / "bad.parquet", tmp_path / "out.parquet"
    raw = bytearray(ids.read_bytes())
    raw[10:400] = bytes(390)
    bad.write_bytes(raw)
    before = set(tmp_path.iterdir())
    with pytest.raises(data.DataError, match="damaged|not a whole"): scaling.count_ngrams(bad, out, engine=engine)
    assert set(tmp_path.iterdir()) == before


@pytest.fixture(scope="module")
def different(tmp_path_factory):
    "Eight million rows, nearly all different."
    pytest.importorskip("duckdb")
    import pyarrow as pa
    import pyarrow.parquet as pq
    rng, n, folder = np.random.default_rng(0), 8_000_000, tmp_path_factory.mktemp("different")
    pq.write_table(pa.table({f"w{i}": rng.integers(0, 2 ** 31 - 1, n).astype(np.int32) for i in range(4)}),
                   folder / "ids.parquet")
    return folder / "ids.parquet"


def test_no_disk_left(different, tmp_path):
    with pytest.raises(data.DataError, match="disk space.*disk_limit"):
        scaling.count_ngrams(different, tmp_path / "out.parquet", memory=scaling.OVERHEAD + (100 << 20),
                             disk_limit=1 << 20)
    assert not list(tmp_path.iterdir())


def test_more_than_memory_goes_to_disk(different, tmp_path):
    "In a process of its own: what is counted takes more than is allowed, and the peak stays below."
    limit, out = scaling.OVERHEAD + (200 << 20), tmp_path / "out.parquet"
    code = f"from lm_nbdev.scaling import count_ngrams; count_ngrams({str(different)!r}, {str(out)!r}, memory={limit}); print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])"
    if not sys.platform.startswith("linux"): pytest.skip("the peak is read from /proc")
    peak = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) << 10
    import pyarrow.parquet as pq
    assert peak < limit and pq.read_metadata(out).num_rows == 8_000_000
    assert [p.name for p in tmp_path.iterdir()] == ["out.parquet"]


def test_a_full_disk_leaves_nothing(text, tmp_path):
    "A limit on the size of a file stands for the disk that is full."
    resource = pytest.importorskip("resource")
    pytest.importorskip("duckdb")
    scaling.grow_text(data.tokenize(text.read_text()), tmp_path / "long.txt", 200_000)
    scaling.write_tokens(tmp_path / "long.txt", tmp_path / "tokens")
    vocab, _ = scaling.count_vocabulary(tmp_path / "tokens", 60)
    scaling.write_ids(tmp_path / "tokens", vocab, tmp_path / "ids")
    before = {p.name for p in tmp_path.iterdir()}
    for call in ("write_tokens(f / 'long.txt', f / 'out')", f"write_ids(f / 'tokens', {vocab!r}, f / 'out')",
                 "count_ngrams(f / 'ids', f / 'out')"):
        code = f"import resource, pathlib; from lm_nbdev.scaling import *; f = pathlib.Path({str(tmp_path)!r})\nimport duckdb, pyarrow.parquet\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n" \
               f"try: {call}\nexcept ValueError as e: print(e)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "ran out of disk space" in run.stdout, (call, run.stdout, run.stderr[-600:])
        assert {p.name for p in tmp_path.iterdir()} == before, call


def test_progress_is_shown_when_asked(ids, tmp_path, capfd):
    scaling.count_ngrams(ids, tmp_path / "a"); quiet = capfd.readouterr()
    assert quiet.out == quiet.err == ""
    with scaling.local_cluster() as client:
        capfd.readouterr()
        scaling.count_ngrams(ids, tmp_path / "b", engine="dask", client=client, progress=True)
    assert "counting" in capfd.readouterr().err


def test_engines_agree_on_large_numbers_and_rare_ngrams(tmp_path):
    "Word numbers too large for one code of 63 bits, several groups of rows, and a least count."
    pytest.importorskip("duckdb")
    import pyarrow as pa
    import pyarrow.parquet as pq
    rng = np.random.default_rng(1)
    rows = rng.choice([-2, -1, 0, 1, 10 ** 6, 2 ** 31 - 2], (30_000, 4), p=[.05, .05, .3, .2, .2, .2]).astype(np.int32)
    pq.write_table(pa.table({f"w{i}": c for i, c in enumerate(rows.T)}), tmp_path / "ids", row_group_size=7_000)
    good, n = np.unique(rows[(rows >= 0).all(1)], axis=0, return_counts=True)
    with scaling.local_cluster() as client:
        for least in (1, 30, 10 ** 6):
            for engine in ("duckdb", "dask"):
                found, counts = scaling.read_ngrams(scaling.count_ngrams(tmp_path / "ids", tmp_path / engine,
                    min_count=least, engine=engine, client=client))
                np.testing.assert_array_equal(found, good[n >= least].reshape(-1, 4))
                np.testing.assert_array_equal(counts, n[n >= least])
        empty = tmp_path / "empty"
        pq.write_table(pa.table({f"w{i}": np.full(5, -1, np.int32) for i in range(4)}), empty)
        for engine in ("duckdb", "dask"):
            assert len(scaling.read_ngrams(scaling.count_ngrams(empty, tmp_path / engine, engine=engine,
                                                                client=client))[1]) == 0


def test_a_mapped_corpus_trains_as_one_in_memory(ids, tmp_path):
    pytest.importorskip("torch")
    vocab = [str(i) for i in range(50)]
    mapped = scaling.mapped_corpus(scaling.write_examples(ids, vocab, tmp_path / "examples"))
    held = scaling.replace(mapped, cache={},
                           **{p: data.Split(np.array(getattr(mapped, p).inputs), np.array(getattr(mapped, p).targets))
                              for p in ("train", "valid", "test")})
    recipe = TrainConfig(4, 8, batch_size=50, epochs=1)
    a, b = (scaling.train_torch(c, recipe, progress=False) for c in (mapped, held))
    np.testing.assert_array_equal(a.model.params.flat, b.model.params.flat)
    assert min(len(mapped.valid), len(mapped.test)) > 0


def test_adaptive_softmax_in_two_processes_and_from_a_checkpoint(tmp_path):
    pytest.importorskip("torch")
    corpus = data.load_corpus("synthetic")
    corpus = scaling.replace(corpus, train=data.Split(corpus.train.inputs[:5_000], corpus.train.targets[:5_000]),
                             cache={})
    recipe, path, steps = (TrainConfig(8, 16, batch_size=50, epochs=1, eval_every=30, dtype="float64"),
                           tmp_path / "c.safetensors", [])
    alone = scaling.train_torch(corpus, recipe, progress=False, softmax="adaptive", checkpoint=path)
    again = scaling.train_torch(corpus, recipe, progress=False, softmax="adaptive", resume=path)
    two = scaling.train_parallel(corpus, recipe, progress=False, softmax="adaptive", checkpoint_every=20,
                                 drill=(1, 50), steps=steps)
    assert again.final == alone.final and len(steps) > 100
    np.testing.assert_allclose(two.model.params.flat, alone.model.params.flat, atol=1e-6)
    np.testing.assert_allclose(two.model.predict(corpus.valid.inputs[:9]).sum(1), 1)
    from lm_nbdev.training import train
    for wrong in (lambda: train(corpus, recipe, resume=path, progress=False),
                  lambda: scaling.train_torch(corpus, recipe, resume=path, progress=False),
                  lambda: scaling.train_torch(corpus, recipe, softmax="adaptive", cutoffs=[5], resume=path),
                  lambda: scaling.train_torch(corpus, recipe, softmax="adaptive", cutoffs=[9, 5])):
        with pytest.raises(ValueError, match="output layer|cutoffs"): wrong()
    for wrong in (path, tmp_path / "none"):
        with pytest.raises((data.DataError, FileNotFoundError)): scaling.AdaptiveModel.load(wrong)


def test_kenlm_reads_the_pruned_model(tmp_path):
    kenlm = pytest.importorskip("kenlm")
    from lm_nbdev.ngrams import write_arpa
    corpus = data.load_corpus("synthetic")
    rows, counts = np.unique(corpus.train.rows().astype(np.int64), axis=0, return_counts=True)
    kn = scaling.kneser_ney_from_counts(rows, counts, corpus.vocab_size, [1, 1, 1, 3])
    reader = kenlm.Model(str(write_arpa(kn, corpus.vocab, tmp_path / "kn.arpa")))
    for x, y in zip(corpus.valid.inputs[:200], corpus.valid.targets[:200]):
        theirs = list(reader.full_scores(" ".join(corpus.words([*x, y])), bos=False, eos=False))[-1][0]
        assert abs(10 ** theirs - kn.target_probabilities(x[None], np.array([y]))[0]) < 1e-5


def test_without_the_extra():
    code = "import sys; sys.modules['duckdb'] = sys.modules['torch'] = None\nimport lm_nbdev.scaling as s\n" \
           "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n in ('duckdb', 'torch') else find(n)\n" \
           "try: s.train_torch(None)\nexcept ValueError as e: print(e)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'lm_nbdev[scale]'" in said


def test_importing_loads_no_engine():
    code = "import sys, lm_nbdev.scaling; print([m for m in ('torch', 'duckdb', 'dask', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "[]"


def test_two_processes_one_of_which_dies():
    pytest.importorskip("torch")
    corpus = data.load_corpus("synthetic")
    corpus = scaling.replace(corpus, train=data.Split(corpus.train.inputs[:10_050], corpus.train.targets[:10_050]),
                             cache={})
    recipe, one, two = TrainConfig(8, 16, batch_size=50, epochs=1, eval_every=100, dtype="float64", dropout=0.1), [], []
    alone = scaling.train_torch(corpus, recipe, progress=False, callback=lambda *a: one.append(a))
    result = scaling.train_parallel(corpus, recipe, progress=False, checkpoint_every=20, drill=(1, 130), steps=two)
    assert len(one) == 201 and 0 <= len(two) - len(one) <= 21
    assert max(abs(dict(two)[s] - loss) for s, loss in one) < 1e-5
    np.testing.assert_allclose(result.model.params.flat, alone.model.params.flat, atol=1e-6)


def test_the_command_line(tmp_path):
    pytest.importorskip("torch")
    run = lambda *a: subprocess.run([sys.executable, "-c", "from lm_nbdev.cli import main; main()", "train", "--corpus",
                                     "synthetic", *a], cwd=tmp_path, capture_output=True, text=True)
    bad = run("--nproc", "2")
    assert bad.returncode == 2 and "--engine torch" in bad.stderr and "Traceback" not in bad.stderr
    good = run("--engine", "torch", "--nproc", "2", "--epochs", "1", "--embedding-dim", "4", "--num-hid", "8",
               "--out", "run")
    assert good.returncode == 0, good.stderr[-2000:]
    assert (tmp_path / "run" / "model.safetensors").exists()
