"The command line as people use it: in a process of its own."
import os
import subprocess
import sys

import pytest

RUN = [sys.executable, "-c", "from lm_nbdev.cli import main; main()"]


def run(*args, cwd=None):
    env = {k: v for k, v in os.environ.items() if k != "LM_NBDEV_CORPUS"}
    return subprocess.run([*RUN, *map(str, args)], capture_output=True, text=True, cwd=cwd, env=env, timeout=300)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "a.txt").write_text("city of new york is big .\nthe city of new york is old .\n" * 60, encoding="utf-8")
    done = run("train", "--corpus", folder / "a.txt", "--epochs", "2", "--num-hid", "8", "--out",
               folder / "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_train_reports_and_saves(trained):
    folder, done = trained
    assert ((folder / "run" / "model.safetensors").exists()
            and "<table>" in (folder / "run" / "report.html").read_text(encoding="utf-8"))
    for part in ("train", "valid", "test", "perplexity", "model says", "text had", "nearest words"):
        assert part in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if str(folder) not in line) <= 80


def test_predict_and_nearest(trained):
    model = trained[0] / "run" / "model.safetensors"
    said = run("predict", model, "city", "of", "new")
    assert said.returncode == 0 and "york" in said.stdout and run("nearest", model, "city").returncode == 0


@pytest.mark.parametrize("args, words", [
    (("predict", "MODEL", "city", "of", "nwe"), "new"), (("predict", "MODEL", "city", "of"), "3 words"),
    (("predict", "none", "a", "b", "c"), "no model file"),
    (("predict", "TEXT", "a", "b", "c"), "not a readable model"), (("nearest", "MODEL", "ctiy"), "city"),
    (("train", "--corpus", "TEXT", "--epochs", "0"), "at least 1"),
    (("train", "--corpus", "EMPTY"), "empty"), (("train", "--corpus", "SHORT"), "too short"),
    (("train", "--corpus", "LATIN"), "not UTF-8"),
    (("train", "--corpus", "none.txt"), "no file"), (("train", "--corpus", "EVIL"), "os.system"),
    (("train", "--epochs", "many"), "integer")])
def test_one_sentence_and_exit_code_2(trained, args, words):
    folder = trained[0]
    files = {"MODEL": folder / "run" / "model.safetensors", "TEXT": folder / "a.txt", "EMPTY": folder / "e.txt",
             "SHORT": folder / "s.txt", "LATIN": folder / "l.txt", "EVIL": folder / "x.pk"}
    files["EMPTY"].write_bytes(b""); files["SHORT"].write_bytes(b"one two"); files["LATIN"].write_bytes(b"caf\xe9 .")
    files["EVIL"].write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    said = run(*(files.get(a, a) for a in args), cwd=folder)
    assert (said.returncode == 2 and words in said.stderr and len(said.stderr.splitlines()) == 1
            and "Traceback" not in said.stderr)
    assert not (folder / "pwned").exists()


def test_train_resumes_a_checkpoint_and_refuses_what_does_not_fit(trained):
    folder = trained[0]; checkpoint, text = folder / "run" / "checkpoint.safetensors", folder / "a.txt"
    done = run("train", "--corpus", text, "--resume", checkpoint, cwd=folder)
    assert done.returncode == 0 and "went through all 2 epochs" in done.stdout, done.stderr
    (folder / "cut.safetensors").write_bytes(checkpoint.read_bytes()[:-9])
    for args, word in ((("--resume", folder / "cut.safetensors"), "damaged"),
                       (("--resume", checkpoint, "--num-hid", "9"), "num_hid=8"),
                       (("--resume", checkpoint, "--best"), "one recipe"), (("--resume", folder / "none"), "no file")):
        said = run("train", "--corpus", text, *args, cwd=folder)
        assert said.returncode == 2 and word in said.stderr and len(said.stderr.splitlines()) == 1, said.stderr
    (folder / "b.txt").write_text("a city of new york is big .\nthe city of new york was old .\n" * 60,
                                  encoding="utf-8")
    assert run("train", "--corpus", folder / "b.txt", "--resume", checkpoint, cwd=folder).returncode == 2


def test_baseline_counts_compares_and_exports(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"the {a} {b} the {c} .\n" for a in ("cat", "dog")
                                            for b in ("sees", "hears", "finds") for c in ("house", "tree", "bird",
                                            "road")) * 20, encoding="utf-8")
    (tmp_path / "b.txt").write_text("one two three four five .\n" * 60, encoding="utf-8")
    assert run("train", "--corpus", "a.txt", "--epochs", "1", "--num-hid", "8", "--out", "m",
               cwd=tmp_path).returncode == 0
    done = run("baseline", "--corpus", "a.txt", "--order", "3", "--model", "m/model.safetensors", "--arpa",
               "a.arpa", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for row in ("validation", "test", "unigram", "2-gram", "3-gram", "network", "mixture"): assert row in done.stdout
    assert ((tmp_path / "a.arpa").read_text(encoding="utf-8").startswith("\\data\\")
            and max(map(len, done.stdout.splitlines())) <= 80)
    other = run("baseline", "--corpus", "b.txt", "--model", "m/model.safetensors", cwd=tmp_path)
    assert other.returncode == 2 and "different vocabularies" in other.stderr and "--corpus" in other.stderr
