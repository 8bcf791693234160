"Sudden death: kill -9 at random moments, servers that lie, full disks, folders that can't be written, two writers at once. Afterwards every file is whole, old or new."
import contextlib
import hashlib
import http.server
import inspect
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, os.path.dirname(__file__))
from hostile import is_sentence

from lm_nbdev import analysis, data, training
from lm_nbdev.architecture import Architecture
from lm_nbdev.data import DataError
from lm_nbdev.model import Model
from lm_nbdev.report import write_report

WORDS = [f"w{i}" for i in range(60)]


# children of a process without threads, whatever the tests before have loaded
CLEAN = multiprocessing.get_context("forkserver")
CLEAN.set_forkserver_preload(["lm_nbdev.cli", "lm_nbdev.report", "lm_nbdev.training", "pooch", "safetensors.numpy"])


def _begin(ready, work, args):
    null = os.open(os.devnull, os.O_RDWR); os.dup2(null, 1); os.dup2(null, 2)
    ready.send(True); ready.close()
    try: work(*args); code = 0
    except OSError: code = 3
    except (ValueError, KeyError): code = 4
    except BaseException: code = 5
    os._exit(code)


def child(work, *args):
    "A process that has begun this work, with its output thrown away; it ends with 0, or with 3 for an OSError, 4 for a refusal, 5 for anything else."
    here, there = CLEAN.Pipe(duplex=False)
    process = CLEAN.Process(target=_begin, args=(there, work, args))
    process.start()
    there.close()
    here.recv()
    here.close()
    return process


def ended(process): process.join(); return process.exitcode


def kill_while(moments, work, *args):
    "Start the work and kill it with no warning after each of these times; how often it was really in the middle."
    caught = 0
    for seconds in moments:
        process = child(work, *args); time.sleep(seconds); process.kill()
        caught += ended(process) == -signal.SIGKILL
    return caught


def two_models():
    return [Model.random_init(Architecture(60, 3, 16, 64), WORDS, .1, seed=s) for s in (1, 2)]


def forever(work, *calls):
    while True:
        for args in calls: work(*args)


# what the children do
def save(m, path): m.save(path)
def save_often(m, path): [m.save(path) for _ in range(150)]
def fetch(downloads, folder): data.DOWNLOADS = downloads; data.download("toronto", folder, progress=False)
def fit(corpus, config, path, every, go_on=False):
    training.train(corpus, config, progress=False, checkpoint=path, checkpoint_every=every, resume=path if go_on
                   and path.exists() else None)
def write_table(p, s): analysis.export_csv(p, [(f"v{s}", i) for i in range(300)], ["word", "x"])
def write_vectors(p, s): analysis.export_word2vec(p, two_models()[s])
def write_data(p, s): data.write_arrays(arrays(s), p)
def on_a_full_disk(limit, work, *args):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    work(*args)
def as_nobody(work, *args):
    if os.getuid() == 0: os.setgid(65534); os.setuid(65534)               # a user who may look, but not write
    work(*args)


def arrays(s):
    return {f"{p}_{k}": np.full((40, 3) if k == "inputs" else 40, s, np.int32) for p in data.PARTS for k in ("inputs",
        "targets")} | {"vocab": np.array(WORDS)}


def test_saving_a_model(tmp_path, long):
    rng, models, path = random.Random(0), two_models(), tmp_path / "m.safetensors"
    kept = {m.params.flat.tobytes() for m in models}; models[0].save(path)
    for moment in [rng.uniform(0, .04) for _ in range(200)]:
        assert kill_while([moment], forever, save, *((m, path) for m in models)) == 1
        assert Model.load(path).params.flat.tobytes() in kept
    assert {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")} == {"m.safetensors"}


def test_writing_tables_vectors_and_arrays(tmp_path, long):
    rng, writers = random.Random(1), {"a.csv": write_table, "a.vec": write_vectors, "a.zip": write_data,
                                      "a.pk": write_data, "a.mat": write_data}
    for name, write in writers.items():
        path = tmp_path / name; wholes = set()
        read = ((lambda: data.read_arrays(path)["train_targets"].tobytes()) if name[-3:] in ("zip", ".pk", "mat")
                else path.read_bytes)
        for s in (0, 1): write(path, s); wholes.add(read())
        assert len(wholes) == 2
        for _ in range(100 if long else 20):
            kill_while([rng.uniform(0, .05)], forever, write, (path, 0), (path, 1))
            assert read() in wholes, name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("death") / "a.txt"
    path.write_text("the cat saw the dog .\nthe dog heard a cat in new york city .\n" * 60, encoding="utf-8")
    corpus = data.load_corpus(path)
    return corpus, training.train(corpus, training.TrainConfig(embedding_dim=2, num_hid=4, epochs=1, batch_size=50),
                                  progress=False)


def test_writing_the_report(tmp_path, trained, long):
    corpus, result = trained; path = tmp_path / "report.html"; write_report(path, corpus, result)
    rng = random.Random(2)
    for _ in range(60 if long else 12):
        kill_while([rng.uniform(0, 1.2)], write_report, path, corpus, result)
        page = path.read_text(encoding="utf-8")
        assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")


def test_training_and_saving_by_command(tmp_path, long):
    "The model and the report of an earlier run stay whole while a later one is killed."
    from lm_nbdev import cli
    (tmp_path / "a.txt").write_text("the cat saw the dog .\nthe dog heard a cat in new york city .\n" * 60,
                                    encoding="utf-8")
    args = ["train", "--corpus", str(tmp_path / "a.txt"), "--num-hid", "4", "--embedding-dim", "2", "--epochs", "2",
            "--out", str(tmp_path / "run")]
    # SystemExit
    assert ended(child(cli.main, args)) == 5 and {p.name for p in (tmp_path / "run").iterdir()} >= {"model.safetensors",
        "report.html"}
    rng = random.Random(3)
    for _ in range(60 if long else 12):
        kill_while([rng.uniform(0, 2)], cli.main, args)
        assert (Model.load(tmp_path / "run" / "model.safetensors").arch.num_hid == 4
                and (tmp_path / "run" / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>"))


def test_two_writers_at_once(tmp_path):
    models, path = two_models(), tmp_path / "m.safetensors"; kept = {m.params.flat.tobytes() for m in models}
    children = [child(save_often, m, path) for m in models]
    threads = [threading.Thread(target=save_often, args=(m, path)) for m in models]
    for t in threads: t.start()
    while any(t.is_alive() for t in threads):
        if path.exists(): assert Model.load(path).params.flat.tobytes() in kept
    for t in threads: t.join()
    assert [ended(c) for c in children] == [0, 0] and Model.load(path).params.flat.tobytes() in kept and [p.name
        for p in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize("limit", [0, 100, 3000])
def test_a_full_disk(tmp_path, limit, trained):
    "Writes fail after so many bytes, as on a full disk: an OSError, the old files whole, nothing left over."
    corpus, result = trained
    models = two_models()
    (tmp_path / "a.csv").write_text("old")
    (tmp_path / "r.html").write_text("old")
    models[0].save(tmp_path / "m.safetensors")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}; assert len(before) == 3
    for name, *work in (("m.safetensors", save, models[1], tmp_path / "m.safetensors"),
                        ("a.csv", analysis.export_csv, tmp_path / "a.csv", [("w", i) for i in range(3000)]),
                        ("r.html", write_report, tmp_path / "r.html", corpus, result)):
        assert ended(child(on_a_full_disk, limit, *work)) == 3, name
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        locked = Path(folder) / "locked"
        locked.mkdir()
        models = two_models()
        models[0].save(locked / "m.safetensors")
        locked.chmod(0o555)
        assert ended(child(as_nobody, save, models[1], locked / "m.safetensors")) == 3
        assert (Model.load(locked / "m.safetensors").params.flat.tobytes() == models[0].params.flat.tobytes()
                and len(list(locked.iterdir())) == 1)
    with pytest.raises(OSError): two_models()[0].save("/dev/null/m.safetensors")


BODY = os.urandom(200_000)


class Liar(http.server.BaseHTTPRequestHandler):
    "A server on the loopback that does what its path says."
    def log_message(self, *_): pass
    def do_GET(self):
        way = self.path.strip("/").split(".")[0]
        with contextlib.suppress(OSError):
            self.send_response(500 if way == "broken" else 302 if way == "round" else 200)
            if way == "round": self.send_header("Location", self.path)
            if way != "silent":
                self.send_header("Content-Length",
                                 {"long": "300000", "short": "1000", "nonsense": "many", "minus": "-5",
                                  "huge": str(10 ** 15)}.get(way, str(len(BODY))))
            self.end_headers()
            if way in ("cut", "stall"):
                self.wfile.write(BODY[:90_000])
                self.wfile.flush()
                time.sleep(30 if way == "stall" else 0)
                return
            if way == "slow":
                for i in range(0, len(BODY), 4000):
                    self.wfile.write(BODY[i:i + 4000])
                    self.wfile.flush()
                    time.sleep(.004)
                return
            self.wfile.write(b"x" + BODY[1:] if way == "wrong" else b"" if way == "empty" else BODY)


@pytest.fixture(scope="module")
def server():
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar); httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown(); httpd.server_close()


@pytest.mark.parametrize("way", ["good", "silent", "slow", "cut", "stall", "long", "short", "nonsense", "minus", "huge",
                                 "wrong", "empty", "broken", "round", "gone"])
def test_servers_that_lie(server, way, tmp_path, monkeypatch):
    url = "http://127.0.0.1:9" if way == "gone" else server
    monkeypatch.setattr(data, "DOWNLOADS",
                        {"toronto": [("a.bin", f"{url}/{way}.bin", hashlib.sha256(BODY).hexdigest())]})
    start = time.time()
    try:
        assert [p.read_bytes() for p in data.download("toronto", tmp_path / "out", progress=False, timeout=1)] == [BODY]
    except DataError as e:
        assert way not in ("good", "silent", "slow") and is_sentence(e) and not list((tmp_path / "out").glob("*"))
    else: assert way in ("good", "silent", "slow", "long", "nonsense", "minus", "huge")
    assert time.time() - start < 5


def test_a_download_that_is_killed(server, tmp_path, monkeypatch, long):
    downloads = {"toronto": [("a.bin", f"{server}/slow.bin", hashlib.sha256(BODY).hexdigest())]}
    monkeypatch.setattr(data, "DOWNLOADS", downloads)
    rng = random.Random(4)
    for _ in range(100 if long else 25):
        kill_while([rng.uniform(0, .3)], fetch, downloads, tmp_path)
        assert not (tmp_path / "a.bin").exists() or (tmp_path / "a.bin").read_bytes() == BODY
    assert data.download("toronto", tmp_path, progress=False)[0].read_bytes() == BODY


if "checkpoint" in inspect.signature(training.train).parameters:
    @pytest.mark.parametrize("optimizer", ["adamw", "momentum"])
    def test_training_that_is_killed_goes_on_bit_for_bit(tmp_path, trained, optimizer, long):
        corpus, _ = trained; rng, path = random.Random(5), tmp_path / "c.safetensors"
        config = training.TrainConfig(embedding_dim=4, num_hid=16, epochs=12, batch_size=20, optimizer=optimizer,
                                      dropout=.1, eval_every=7)
        whole = training.train(corpus, config, progress=False)
        caught = 0
        for _ in range(100 if long else 12):
            hit = kill_while([rng.uniform(0, .2)], fit, corpus, config, path, 3, True); caught += hit
            if path.exists(): assert training.read_checkpoint(path)["state"]["step"] > 0
            # it was through: from the start again
            if not hit: path.unlink(missing_ok=True)
        end = training.train(corpus, config, progress=False, checkpoint=path, checkpoint_every=3,
                             resume=path if path.exists() else None)
        assert (caught >= 3 and end.model.params.flat.tobytes() == whole.model.params.flat.tobytes()
                and end.history["valid_ce"] == whole.history["valid_ce"] and end.final == whole.final)

    def test_two_trainings_into_one_file(tmp_path, trained):
        corpus, _ = trained
        path = tmp_path / "c.safetensors"
        config = training.TrainConfig(embedding_dim=4, num_hid=16, epochs=6, batch_size=20)
        children = [child(fit, corpus, config, path, 2) for _ in range(2)]
        while children[0].is_alive():
            if path.exists(): training.read_checkpoint(path)
        assert ([ended(c) for c in children] == [0, 0] and [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
                and training.read_checkpoint(path))
