"Arguments nobody should give: every public function of the first chapters, every argument of the command line, the environment."
import contextlib
import io
import os
import random
import subprocess
import sys

import numpy as np
import pytest

sys.path.insert(0, os.path.dirname(__file__))
from hostile import in_memory, in_time, is_sentence, nothing_runs

from lm_nbdev import analysis, architecture, backprop, cli, data, glove, gradcheck, model, ngrams, training, tsne
from lm_nbdev.architecture import Architecture, Params
from lm_nbdev.data import Split, UnknownWord
from lm_nbdev.model import Model

WORDS = "the a cat dog saw heard new york city of".split()
X, Y = np.random.default_rng(0).integers(0, 10, (12, 3)), np.random.default_rng(1).integers(0, 10, 12)
NET = Model.random_init(Architecture(10, 3, 2, 4), WORDS, .1)
A = NET.compute_activations(X); D = backprop.loss_derivative(A.output_layer, Y); SPLIT = Split(X, Y)
LOG, W, B = glove.log_co_occurrence(X, 10), np.ones((10, 2)), np.ones((10, 1))
CORPUS = data.Corpus("x", WORDS, SPLIT, SPLIT, SPLIT)

# numbers and arrays of the wrong kind: these must be refused with a sentence, or make sense
NUMBERS = [0, -1, -2 ** 31, 2 ** 40, 2 ** 70, 10 ** 12, 1.5, float("nan"), float("inf"), -float("inf"), 1e300,
           np.int8(-1), np.float32(2.5), np.uint64(2 ** 63)]
ARRAYS = [np.zeros(0), np.zeros((0, 3), int), np.zeros((3, 0), int), np.zeros((12, 3)), np.full((12, 3), np.nan),
          np.full((12, 3), -1), np.full((12, 3), 10), np.full((12, 3), 2 ** 40), np.zeros((12, 3), bool),
          X.astype(np.uint64), X.astype(np.int8), X.astype(complex), X.astype(str), X.astype(object),
          np.zeros((12, 4), int), np.zeros((12, 3, 1), int), np.zeros(12), np.full(12, -1), np.full(12, 10),
          np.zeros((12, 1), int), np.zeros((1, 12), int), np.array(3), np.full((10, 10), np.nan),
          np.full((10, 10), np.inf), np.ones((10, 9)), np.ones(10), np.ones((10, 1)), X[::-1],
          np.asfortranarray(X), X.tolist()]

CALLS = {
    "windows": (data.windows, dict(ids=np.arange(9), length=2)),
    "split_windows": (data.split_windows, dict(rows=X, sentence=Y, how="sentence", seed=0)),
    "Corpus.words": (CORPUS.words, dict(ids=Y)), "ngram_codes": (data.ngram_codes, dict(rows=X, vocab_size=10)),
    "get_batches": (lambda **k: list(data.get_batches(SPLIT, **k)), dict(batch_size=5)),
    "make_synthetic": (data.make_synthetic, dict(num_sentences=50, context_len=3, seed=0)),
    "whole": (data.whole, dict(value=3, name="It")),
    "load_corpus": (data.load_corpus, dict(name="synthetic", vocab_size=10, context_len=3, seed=0)), 
    "pair_counts": (glove.pair_counts, dict(inputs=X, vocab_size=10)), "log_co_occurrence": (glove.log_co_occurrence,
    dict(inputs=X, vocab_size=10, smoothing=.5, scale=1.0)),
    "glove_loss": (glove.glove_loss, dict(W=W, b=B, log_co=LOG)),
    "glove_gradient": (glove.glove_gradient, dict(W=W, b=B, log_co=LOG)), "glove_weights": (glove.glove_weights,
    dict(log_co=LOG, x_max=100.0, alpha=.75)),
    "train_glove": (glove.train_glove, dict(log_co=LOG, valid_log_co=LOG, embedding_dim=2, num_epochs=3,
                                            learning_rate=.01, seed=1, x_max=None)),
    "sweep_dimensions": (lambda **k: glove.sweep_dimensions(LOG, LOG, progress=False, num_epochs=2, **k),
                         dict(dims=[1, 2], seeds=[1])),
    "half_tables": (glove.half_tables, dict(inputs=X, vocab_size=10, seed=0)),
    "neighbours": (glove.neighbours, dict(W=W, i=1, k=3)),
    "Architecture": (Architecture, dict(vocab_size=10, context_len=3, embedding_dim=2, num_hid=4)),
    "Params": (lambda **k: Params(NET.arch, **k), dict(flat=NET.params.flat)),
    "Params of a size": (lambda **k: Params(Architecture(**k)), dict(vocab_size=10, embedding_dim=2, num_hid=4)),
    "cross_entropy": (model.cross_entropy, dict(output_layer=A.output_layer, targets=Y)),
    "check_inputs": (NET.check_inputs, dict(inputs=X)), "compute_activations": (NET.compute_activations,
    dict(inputs=X)), "evaluate": (NET.evaluate, dict(inputs=X, targets=Y)),
    "loss_derivative": (backprop.loss_derivative, dict(output_layer=A.output_layer, targets=Y)),
    "back_propagate": (lambda **k: backprop.back_propagate(NET, activations=A, **k), dict(inputs=X, loss_derivative=D)),
    "check_gradients": (lambda **k: gradcheck.check_gradients(NET, **k),
                        dict(inputs=X, targets=Y, eps=1e-4, num_checks=5, seed=0, tolerance=1e-4)),
    "relative_error": (gradcheck.relative_error, dict(a=D, n=D)),
}


KN, POINTS = ngrams.KneserNey(3).fit(SPLIT, 10), np.random.default_rng(0).normal(size=(20, 4))
CALLS |= {
    "KneserNey": (lambda **k: ngrams.KneserNey(**k).fit(SPLIT, 10), dict(order=3)),
    "KneserNey.fit": (lambda **k: ngrams.KneserNey(3).fit(SPLIT, **k), dict(vocab_size=10)),
    "KneserNey.predict": (KN.predict, dict(inputs=X)), "KneserNey.evaluate": (KN.evaluate, dict(inputs=X, targets=Y)),
    "mixture_weights": (ngrams.mixture_weights, dict(P=np.random.default_rng(0).random((2, 12)))),
    "target_probabilities": (lambda **k: ngrams.target_probabilities(NET, **k), dict(inputs=X, targets=Y)),
    "predict_next_word": (lambda **k: analysis.predict_next_word(NET, "the a cat", **k), dict(k=3)),
    "nearest_words": (lambda **k: analysis.nearest_words(NET, "the", **k), dict(k=3)),
    "pca": (tsne.pca, dict(X=POINTS, num_dims=2)), "affinities": (tsne.affinities, dict(X=POINTS, perplexity=5.0)),
    "tsne": (tsne.tsne, dict(X=POINTS, num_dims=2, perplexity=5.0, num_iters=20, seed=0)),
    "TrainConfig": (lambda **k: training.train(CORPUS, training.TrainConfig(**k), progress=False),
                    dict(embedding_dim=2, num_hid=4, batch_size=5, epochs=1, learning_rate=.01, momentum=.9,
                         weight_decay=.01, dropout=.1, init_wt=.1, eval_every=2, patience=2, seed=0)),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_wrong_arguments(name):
    call, good = CALLS[name]
    call(**good)
    with in_memory():
        for argument in good:
            for bad in NUMBERS + ARRAYS:
                # a long run is what was asked for
                if (argument in ("num_epochs", "epochs", "num_iters") and np.ndim(bad) == 0
                        and float("inf") > bad > 10 ** 6):
                    continue
                try:
                    with in_time(), nothing_runs(): call(**{**good, argument: bad})
                except (ValueError, FileNotFoundError, UnknownWord) as e: assert str(e), (argument, bad)
                except TypeError as e:                                              # a number where an array belongs, or the other way round: Python's own sentence
                    assert np.ndim(bad) != np.ndim(good[argument]) or np.asarray(bad).dtype.kind in "OUcbM", (argument,
                        bad, e)
                except BaseException as e:
                    raise AssertionError(f"{name}({argument}={bad!r:.200}): {type(e).__name__}: {e}") from e


@pytest.mark.parametrize("name, argument, bad", [
    ("evaluate", "targets", np.full(12, -1)), ("evaluate", "targets", Y[:, None]), ("evaluate", "targets", Y + .5),
    ("cross_entropy", "targets", np.full(12, -1)), ("loss_derivative", "targets", np.full(12, -1)),
    ("loss_derivative", "targets", np.full(12, 10)), ("back_propagate", "inputs", np.full((12, 3), -1)),
    ("back_propagate", "loss_derivative", D[:1]), ("glove_loss", "b", np.ones(10)),
    ("glove_gradient", "b", np.ones(10)), ("neighbours", "i", -1), ("neighbours", "k", 2.5),
    ("Corpus.words", "ids", [-1]), ("ngram_codes", "rows", -X - 1), ("train_glove", "num_epochs", float("inf")),
    ("train_glove", "embedding_dim", 10 ** 9),
    ("get_batches", "batch_size", float("nan")), ("get_batches", "batch_size", 2.5), ("windows", "length", 0),
    ("Params of a size", "num_hid", 10 ** 10), ("pair_counts", "vocab_size", 10 ** 6),
    ("load_corpus", "context_len", 60), ("check_gradients", "num_checks", float("inf"))])
def test_what_used_to_pass_or_to_break(name, argument, bad):
    call, good = CALLS[name]
    with pytest.raises(ValueError) as e: call(**{**good, argument: bad})
    assert is_sentence(e.value)


def test_word_numbers_of_every_type_give_the_same():
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64):
        x, y = X.astype(kind), Y.astype(kind)
        assert NET.evaluate(x, y) == NET.evaluate(X, Y)
        np.testing.assert_array_equal(glove.pair_counts(x, 10), glove.pair_counts(X, 10))
        np.testing.assert_array_equal(data.ngram_codes(x, 10), data.ngram_codes(X, 10))


# --------------------------------------------------------------------------------------------------------- command line
def said(*args):
    "Exit code, stdout and stderr of the command, run here."
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: cli.main([str(a) for a in args]); code = None
        except SystemExit as e: code = e.code
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("args")
    (folder / "a.txt").write_text("the cat saw the dog .\nthe dog heard a cat in new york city .\n" * 40,
                                  encoding="utf-8")
    corpus = data.load_corpus(folder / "a.txt")
    Model.random_init(Architecture(corpus.vocab_size, 3, 2, 4), corpus.vocab, .1).save(folder / "m.safetensors")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "bad.safetensors").write_bytes(b"\1" * 30)
    (folder / "folder").mkdir()
    (folder / "evil.pk").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    return folder


STRANGE = ["", " ", "-", "--", "-1", "0", "1", "2", "1e9", "nan", "inf", "9" * 30, "1.5", "None", "true",
           "\udcff\udcfe", "\x1b[31mred", "‮", "🙂", "<script>", "a" * 5000, "/", "..", ".", "~", "~nobody", "/dev/null",
           "/dev/zero", "/proc/self/mem", "/etc/shadow/x", "none.txt", "none.safetensors", "%s%n", "$(touch pwned)",
           "`id`", "; ls", "\n", "\t",
           "the", "cat", "the cat saw", "ctiy", "--help", "-k", "MODEL", "TEXT", "EMPTY", "BAD", "FOLDER", "EVIL",
           "https://127.0.0.1:9/x.txt", "file:///etc/passwd"]
COMMANDS = {"predict": 4, "nearest": 2, "check": 1, "glove": 0, "download": 1, "train": 0, "nonesuch": 2, "": 0}
OPTIONS = {"nearest": ["-k"], "check": ["--corpus", "--batch", "--num-checks", "--seed"],
           "glove": ["--corpus", "--dims", "--epochs", "--starts", "--x-max", "--out"],
           "train": ["--corpus", "--embedding-dim", "--num-hid", "--epochs", "--seed", "--out"],
           "download": ["--folder"]}


def test_command_lines(place, long, monkeypatch):
    rng = random.Random(6)
    files = {"MODEL": place / "m.safetensors", "TEXT": place / "a.txt", "EMPTY": place / "empty.txt",
             "BAD": place / "bad.safetensors", "FOLDER": place / "folder", "EVIL": place / "evil.pk"}
    monkeypatch.chdir(place / "folder"); monkeypatch.delenv("LM_NBDEV_CORPUS", raising=False)
    monkeypatch.setattr(data, "DOWNLOADS", {"toronto": [("a", "http://127.0.0.1:9/a", "0" * 64)]})
    monkeypatch.setattr(data, "default_corpus", lambda: str(files["EMPTY"]))
    import lm_nbdev.training as training
    monkeypatch.setattr(training, "train",
                        lambda *a, **k: (_ for _ in ()).throw(ValueError("Training is not what is tested here.")))
    monkeypatch.setattr(glove, "sweep_dimensions",
                        lambda *a, **k: (_ for _ in ()).throw(ValueError("Fitting is not what is tested here.")))
    codes = []
    with in_memory():
        for i in range(6000 if long else 600):
            command = rng.choice(list(COMMANDS))
            args = [command] * bool(command) + [rng.choice(STRANGE + ["MODEL"] * 9)
                                                for _ in range(max(0, COMMANDS[command]
                                                                   + rng.choice([0, 0, 0, -1, 1])))]
            for option in OPTIONS.get(command, []):
                if rng.random() < .5: args += [option, rng.choice(STRANGE)]
            if command in ("check", "glove", "train") and rng.random() < .5: args += ["--corpus", "TEXT"]
            # all of a disk as a corpus is a long way
            if "/" in args[1:] or ".." in args[1:]: continue
            if command == "download" and "toronto" in args: continue
            try:
                with in_time(): code, out, err = said(*(files.get(a, a) for a in args))
            except BaseException as e: raise AssertionError(f"{args}: {type(e).__name__}: {e}") from e
            codes.append(code)
            assert (code in (0, 1, 2) and "Traceback" not in out + err and "\x1b" not in out + err and "‮" not in out
                    + err), (args, code, err)
            if code: assert err.strip() and len(err.strip().splitlines()) == 1 and len(err) < 3000, (args, code, err)
    assert not (place / "pwned").exists() and not (place / "folder" / "pwned").exists()
    assert {0, 2} <= set(codes)


@pytest.mark.parametrize("change", [dict(LM_NBDEV_CORPUS="nonesuch"), dict(LM_NBDEV_CORPUS="/dev/null"),
                                    dict(LM_NBDEV_CORPUS=" "), dict(LM_NBDEV_CORPUS="x" * 5000),
                                    dict(LM_NBDEV_CORPUS="EVIL"),
                                    dict(LM_NBDEV_DATA="x" * 5000, LM_NBDEV_CORPUS="toronto"),
    dict(LM_NBDEV_DATA="/dev/null", LM_NBDEV_CORPUS="toronto"), dict(HOME="", LM_NBDEV_CORPUS="nonesuch"),
                                    dict(XDG_CACHE_HOME="\n", LM_NBDEV_CORPUS="nonesuch"),
                                    dict(LM_NBDEV_CORPUS="~nobody/x")])
def test_settings_from_the_environment(change, place):
    env = {k: v for k, v in os.environ.items() if not k.startswith("LM_NBDEV")} | {k: v.replace("EVIL",
        str(place / "evil.pk")) for k, v in change.items()}
    done = subprocess.run([sys.executable, "-c", "from lm_nbdev.cli import main; main()", "train", "--epochs", "1"],
                          capture_output=True, text=True, cwd=place, env=env, timeout=60)
    assert (done.returncode in (1, 2) and len(done.stderr.splitlines()) == 1
            and "Traceback" not in done.stderr), done.stderr
    assert not (place / "pwned").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16"])
def test_a_terminal_that_cannot_show_the_words(encoding, tmp_path):
    words = ["кошка", "🙂", "\x1b[31mred", "‮evil", "a", "b", "c", "d", "e", "f"]
    Model.random_init(Architecture(10, 3, 2, 4), words, .1).save(tmp_path / "m.safetensors")
    done = subprocess.run([sys.executable, "-c", "from lm_nbdev.cli import main; main()", "nearest",
                           tmp_path / "m.safetensors", "a"], capture_output=True,
                          env=os.environ | {"PYTHONIOENCODING": encoding}, timeout=60)
    shown = done.stdout.decode(encoding)
    assert (done.returncode == 0 and not done.stderr and len(shown.splitlines()) == 9 and "\x1b" not in shown
            and "‮" not in shown)
    assert ("кошка" if encoding.startswith("utf") else "\\u043a") in shown
