"What goes wrong outside: a server that sends wrong bytes, and Ctrl-C in the middle of training."
import hashlib
import http.server
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from lm_nbdev import data, training


@pytest.fixture
def server(tmp_path):
    site = tmp_path / "site"; site.mkdir(); (site / "a.bin").write_bytes(b"the right bytes")
    handler = lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=str(site))
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown(); httpd.server_close()


@pytest.mark.parametrize("expected, whole", [(b"the right bytes", True), (b"other bytes", False)])
def test_download_keeps_the_right_bytes_only(server, expected, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DOWNLOADS",
                        {"toronto": [("a.bin", f"{server}/a.bin", hashlib.sha256(expected).hexdigest())]})
    out = tmp_path / "out"
    if whole: assert [p.read_bytes() for p in data.download("toronto", out, progress=False)] == [b"the right bytes"]
    else:
        with pytest.raises(data.DataError, match="nothing was changed"): data.download("toronto", out, progress=False)
        assert not list(out.glob("*"))


@pytest.mark.parametrize("step", [7, 150])
def test_ctrl_c_keeps_the_best_model_and_a_checkpoint(step, tmp_path):
    corpus, config = data.load_corpus("synthetic"), training.TrainConfig(eval_every=50, num_hid=16, epochs=1)
    # in the background a shell lets Ctrl-C be ignored
    before, whole = signal.getsignal(signal.SIGINT), training.train(corpus, config, progress=False)
    def press(p):
        if p.step == step: signal.raise_signal(signal.SIGINT)
    result = training.train(corpus, config, progress=False, callback=press, callback_every=1, checkpoint=tmp_path / "c")
    assert f"interrupted at step {step}" in result.stopped and signal.getsignal(signal.SIGINT) is before
    if step > 50: assert np.isclose(result.final["valid"], min(result.history["valid_ce"]), rtol=1e-5)
    again = training.train(corpus, config, progress=False, resume=tmp_path / "c")
    assert np.array_equal(again.model.params.flat, whole.model.params.flat) and again.final == whole.final


def test_ctrl_c_outside_the_main_thread(tmp_path):
    corpus, said = data.load_corpus("synthetic"), []
    def press(p): raise KeyboardInterrupt
    work = threading.Thread(target=lambda: said.append(training.train(corpus, training.TrainConfig(num_hid=8),
                                                                      progress=False, callback=press).stopped))
    work.start(); work.join()
    assert "interrupted at step 100" in said[0]


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one_whole(tmp_path, monkeypatch):
    corpus, config, path = data.load_corpus("synthetic"), training.TrainConfig(num_hid=8, epochs=1), tmp_path / "c"
    training.train(corpus, config, progress=False, checkpoint=path, callback=lambda p: True)
    before, real = path.read_bytes(), Path.write_bytes
    def full(self, data): real(self, data[:len(data) // 2]); raise OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError): training.train(corpus, config, progress=False, resume=path, checkpoint=path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("seed", range(3))
def test_resumed_at_random_steps_is_equal_to_the_last_bit(seed, tmp_path):
    rng, corpus = np.random.default_rng(seed), data.load_corpus("synthetic")
    kind = list(training.OPTIMIZERS)[rng.integers(7)]
    # two halves
    config = training.TrainConfig(num_hid=512, batch_size=1700, epochs=3, optimizer=kind, learning_rate=.005,
                                  dropout=.3, embedding_dropout=.1, eval_every=17, seed=seed)
    whole, path, at = training.train(corpus, config, progress=False), tmp_path / "c", 0
    for _ in range(3):
        at += rng.integers(1, 20)
        training.train(corpus, config, progress=False, resume=path if path.exists() else None, checkpoint=path,
                       callback=lambda p: p.step >= at, callback_every=1)
    again = training.train(corpus, progress=False, resume=path)
    assert (again.history["step"] == whole.history["step"] and again.history["valid_ce"] == whole.history["valid_ce"]
            and again.history["train_ce"] == whole.history["train_ce"])
    assert np.array_equal(again.model.params.flat, whole.model.params.flat) and again.config == config
