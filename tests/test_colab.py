"""Colab: the set-up cell, what the wheel asks for, and (marked long) every chapter from the wheel in an empty directory with a stand-in for `google.colab`."""
import importlib.util
import json
import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
# what Colab brings, and must keep
COLAB = {"numpy": "2.0.2", "matplotlib": "3.10.0", "ipywidgets": "7.7.1", "tqdm": "4.67.1"}
CFG = ConfigParser(delimiters=["="])
CFG.read(ROOT / "settings.ini", encoding="utf-8")


def set_up_cell(path):
    return next("".join(c["source"]) for c in json.loads(path.read_text(encoding="utf-8"))["cells"]
                if c.get("id") == "colab-setup")


@pytest.mark.parametrize("name", COLAB)
def test_the_wheel_accepts_what_colab_brings(name):
    wanted = {r.name: r for r in map(Requirement, CFG["DEFAULT"]["requirements"].split())}
    assert name in wanted and wanted[name].specifier.contains(COLAB[name]), (
        f"{wanted.get(name)} would change Colab's {name} {COLAB[name]}")


@pytest.fixture
def colab(monkeypatch, tmp_path):
    "A stand-in for google.colab in an empty directory; what pip and drive were asked is in the list."
    asked = []
    drive = ModuleType("google.colab.drive")
    drive.mount = lambda where: (asked.append(("mount", where)), (Path(where) / "MyDrive").mkdir(parents=True))
    package = ModuleType("google.colab")
    package.drive = drive
    google = ModuleType("google")
    google.colab = package
    for module in (google, package, drive): monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: asked.append(("pip", command)))
    monkeypatch.setenv("LM_NBDEV_DATA", "elsewhere")
    monkeypatch.chdir(tmp_path)
    return asked


def test_elsewhere_the_cell_does_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_NBDEV_DATA", raising=False)
    exec(set_up_cell(CHAPTERS[0]), {})
    assert (capsys.readouterr().out == "" and Path.cwd() == tmp_path and "LM_NBDEV_DATA" not in os.environ
            and not list(tmp_path.iterdir()))


def test_on_colab_it_installs_from_the_address_in_settings(colab, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(set_up_cell(CHAPTERS[0]), {})
    (what, command), = colab
    assert (what == "pip"
            and command[-1] == f"lm_nbdev @ git+https://github.com/{CFG['DEFAULT']['user']}/{CFG['DEFAULT']['repo']}@{CFG['DEFAULT']['branch']}")
    assert "--upgrade" not in command and "-U" not in command
    said = capsys.readouterr().out
    assert os.environ["LM_NBDEV_DATA"] in said and str(Path.cwd() / "runs") in said and "USE_DRIVE" in said
    assert Path(os.environ["LM_NBDEV_DATA"]).is_dir()


@pytest.mark.parametrize("path", CHAPTERS[:1] + CHAPTERS[-1:], ids=lambda p: p.stem)
def test_with_drive_texts_and_runs_are_kept_there(colab, path, tmp_path, capsys):
    if Path("/content").is_dir(): pytest.skip("this machine has a /content of its own")
    exec(set_up_cell(path).replace("USE_DRIVE = False", "USE_DRIVE = True"), {})
    assert colab == [("mount", str(tmp_path / "drive"))]                    # installed already: pip is not asked
    home = tmp_path / "drive" / "MyDrive" / "lm_nbdev"
    assert (Path.cwd() == home and os.environ["LM_NBDEV_DATA"] == str(home / "data")
            and "gone" not in capsys.readouterr().out)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    "A fresh environment with Colab's versions and the built wheel, and a folder with the stand-in."
    base = tmp_path_factory.mktemp("colab")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", base, ROOT], check=True)
    wheel, = base.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", base / "env"], check=True)
    python = base / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    colab = [f"{n}=={v}" for n, v in COLAB.items()]
    subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "-q", "install", *colab, "ipykernel<7",
                    "nbclient"], check=True, env=clean)
    subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "-q", "install", wheel], check=True, env=clean)
    kept = json.loads(subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True,
                                     check=True, env=clean).stdout)
    assert COLAB.items() <= {p["name"]: p["version"]
                             for p in kept}.items(), "installing the wheel changed what Colab brings"
    package = base / "standin" / "google" / "colab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from google.colab import drive\n")
    (package / "drive.py").write_text("from pathlib import Path\ndef mount(where): "
                                      "(Path(where) / 'MyDrive').mkdir(parents=True, exist_ok=True)\n")
    return base, python


RUN = """
import sys, nbformat
from nbclient import NotebookClient
nb = nbformat.read(sys.argv[1], 4)
nb.cells = [c for c in nb.cells if not c.source.startswith("#| slow")]
cell = next(c for c in nb.cells if c.id == "colab-setup")
cell.source = cell.source.replace("USE_DRIVE = False", f"USE_DRIVE = {sys.argv[2]}")
NotebookClient(nb, timeout=600, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
print(cell.outputs[0].text)
"""


@pytest.mark.long
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_every_chapter_runs_on_colab(machine, path, tmp_path):
    base, python = machine
    keep = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "OPENBLAS_NUM_THREADS", "TMPDIR")
    env = {k: v for k, v in os.environ.items() if k in keep} | {"PYTHONPATH": str(base / "standin"),
        "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    empty = tmp_path / "content"
    empty.mkdir()
    drive = CHAPTERS.index(path) % 2 == 1                                   # every second chapter with the Drive
    run = subprocess.run([python, "-c", RUN, path, str(drive)], capture_output=True, text=True, cwd=empty, env=env)
    assert run.returncode == 0, run.stderr[-3000:]
    where = empty / "drive" / "MyDrive" / "lm_nbdev" if drive else empty / "course"
    assert str(where / "data") in run.stdout and (where / "data").is_dir()
    assert {p.name for p in empty.iterdir()} == {where.relative_to(empty).parts[0]}, (
        "a chapter left files where Colab starts")
