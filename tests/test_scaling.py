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
    path.write_text("\n".join(" ".join(f"w{i}" for i in rng.zipf(1.5, 12).clip(1, 60)) + " ." for _ in range(800)) + "\n", encoding="utf-8")
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
    text = "It rained. Did it?! Yes,\nit did; all day\n\nThen the sun. " * 30 if prose else "it rained .\ndid it ?\n\nyes , it did .\n" * 30
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
    half, out = tmp_path / "half.parquet", tmp_path / "out.parquet"
    for share in (0.3, 0.9):
        half.write_bytes(ids.read_bytes()[: int(share * ids.stat().st_size)])
        with pytest.raises(data.DataError, match="not a whole Parquet file"): scaling.count_ngrams(half, out)
    with pytest.raises(FileNotFoundError): scaling.count_ngrams(tmp_path / "none", out)
    assert not out.exists()


def test_no_disk_left(tmp_path):
    pytest.importorskip("duckdb")
    import pyarrow as pa
    import pyarrow.parquet as pq
    rng, n = np.random.default_rng(0), 8_000_000
    pq.write_table(pa.table({f"w{i}": rng.integers(0, 2 ** 31 - 1, n).astype(np.int32) for i in range(4)}), tmp_path / "ids.parquet")
    out = tmp_path / "out.parquet"
    with pytest.raises(data.DataError, match="disk space|memory"):
        scaling.count_ngrams(tmp_path / "ids.parquet", out, memory=scaling.OVERHEAD + (100 << 20), disk_limit=1 << 20)
    assert [p.name for p in tmp_path.iterdir()] == ["ids.parquet"]


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
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_two_processes_one_of_which_dies():
    pytest.importorskip("torch")
    corpus = data.load_corpus("synthetic")
    corpus = scaling.replace(corpus, train=data.Split(corpus.train.inputs[:10_050], corpus.train.targets[:10_050]), cache={})
    recipe, one, two = TrainConfig(8, 16, batch_size=50, epochs=1, eval_every=100, dtype="float64", dropout=0.1), [], []
    alone = scaling.train_torch(corpus, recipe, progress=False, callback=lambda *a: one.append(a))
    result = scaling.train_parallel(corpus, recipe, progress=False, checkpoint_every=20, drill=(1, 130), steps=two)
    assert len(one) == 201 and 0 <= len(two) - len(one) <= 21
    assert max(abs(dict(two)[s] - loss) for s, loss in one) < 1e-5
    np.testing.assert_allclose(result.model.params.flat, alone.model.params.flat, atol=1e-6)


def test_the_command_line(tmp_path):
    pytest.importorskip("torch")
    run = lambda *a: subprocess.run([sys.executable, "-c", "from lm_nbdev.cli import main; main()", "train", "--corpus", "synthetic", *a], cwd=tmp_path, capture_output=True, text=True)
    bad = run("--nproc", "2")
    assert bad.returncode == 2 and "--engine torch" in bad.stderr and "Traceback" not in bad.stderr
    good = run("--engine", "torch", "--nproc", "2", "--epochs", "1", "--embedding-dim", "4", "--num-hid", "8", "--out", "run")
    assert good.returncode == 0, good.stderr[-2000:]
    assert (tmp_path / "run" / "model.safetensors").exists()
