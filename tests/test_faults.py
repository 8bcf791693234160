"What goes wrong outside: a server that sends wrong bytes, and Ctrl-C in the middle of training."
import hashlib
import http.server
import threading

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
    monkeypatch.setattr(data, "DOWNLOADS", {"toronto": [("a.bin", f"{server}/a.bin", hashlib.sha256(expected).hexdigest())]})
    out = tmp_path / "out"
    if whole: assert [p.read_bytes() for p in data.download("toronto", out, progress=False)] == [b"the right bytes"]
    else:
        with pytest.raises(data.DataError, match="nothing was changed"): data.download("toronto", out, progress=False)
        assert not list(out.glob("*"))


def test_ctrl_c_keeps_the_best_model(monkeypatch):
    corpus, real = data.load_corpus("synthetic"), data.get_batches
    def interrupted(*args):
        for i, batch in enumerate(real(*args)):
            if i == 150: raise KeyboardInterrupt
            yield batch
    monkeypatch.setattr(training, "get_batches", interrupted)
    result = training.train(corpus, training.TrainConfig(eval_every=50), progress=False)
    assert "interrupted at step 150" in result.stopped
    assert np.isclose(result.final["valid"], min(result.history["valid_ce"]), rtol=1e-5)
