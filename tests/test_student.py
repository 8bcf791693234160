"The student edition: what is taken out, that every empty or odd answer gets a sentence, that the answers put back pass, and that nbgrader grades it."
import ast
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from lm_nbdev.exercises import STUB, exercise_cells, student_edition

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
QUICK = ("02_architecture",)


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    out = tmp_path_factory.mktemp("student") / "class"
    return out, student_edition(out, chapters=ROOT / "nbs")


def lm(*args, **kw):
    return subprocess.run([sys.executable, "-c", "from lm_nbdev.cli import main; main()", *map(str, args)],
                          capture_output=True, text=True, **kw)


def test_the_command_counts_and_never_overwrites(tmp_path):
    first = lm("student", tmp_path / "class", cwd=tmp_path)
    total = sum(len(exercise_cells(json.loads(p.read_text(encoding="utf-8")))) for p in CHAPTERS)
    assert (first.returncode == 0 and f"{total} exercises in {len(CHAPTERS)} chapters" in first.stdout
            and total >= 4 * len(CHAPTERS))
    mine = tmp_path / "class" / CHAPTERS[0].name
    mine.write_text("my answers")
    again = lm("student", tmp_path / "class", cwd=tmp_path)
    assert (again.returncode == 2 and again.stderr.count("\n") == 1 and "already holds notebooks" in again.stderr
            and mine.read_text() == "my answers")


@pytest.mark.parametrize("args", [("{}/file.txt",), ("{}/new", "--chapters", "{}/nowhere"),
                                  ("{}/new", "--chapters", "{}/bad")])
def test_impossible_requests_get_a_sentence(tmp_path, args):
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "00_x.ipynb").write_text("no notebook")
    run = lm("student", *(a.format(tmp_path) for a in args))
    assert (run.returncode == 2 and run.stderr.count("\n") == 1 and "Traceback" not in run.stderr
            and not (tmp_path / "new").exists())


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_only_the_answers_are_missing(edition, path):
    full, empty = (json.loads((folder / path.name).read_text(encoding="utf-8")) for folder in (path.parent, edition[0]))
    nbformat.validate(nbformat.from_dict(empty))
    assert len(full["cells"]) == len(empty["cells"])
    assert exercise_cells(full), "this chapter has no exercises"
    answers, tests = zip(*exercise_cells(full))
    for i, (a, b) in enumerate(zip(full["cells"], empty["cells"])):
        was, now = "".join(a["source"]), "".join(b["source"])
        if i in answers:
            assert "### BEGIN" not in now and STUB in now and ast.parse(now) and not b["outputs"]
            solution = re.search(r"### BEGIN SOLUTION\n(.*?)\n\s*### END", was, re.S)[1].strip()
            assert solution not in now and now != was
            assert b["metadata"]["nbgrader"]["solution"] and not b["metadata"]["nbgrader"]["grade"]
        else: assert was == now
        if i in tests:
            assert not b["outputs"] and b["metadata"]["nbgrader"]["grade"] and b["metadata"]["nbgrader"]["points"] == 1
    ids = [c["metadata"]["nbgrader"]["grade_id"] for c in empty["cells"] if "nbgrader" in c["metadata"]]
    assert len(ids) == len(set(ids)) == 2 * len(answers)


ODD = {"none": "return None", "text": 'return "word"', "shape": "import numpy as np; return np.zeros((7, 1, 5))",
       "kind": "return object()", "raises": 'raise RuntimeError("oops")', "dict": "return {'x': 1}"}


def trial(notebook, empty):
    "The chapter with, before each answer, the empty cell and odd answers, each followed by the check."
    out, expected = [], []
    pairs = dict(exercise_cells(notebook))
    for i, cell in enumerate(notebook["cells"]):
        if i in pairs:
            test = notebook["cells"][pairs[i]]
            body = ast.parse("".join(cell["source"])).body
            names = [n.name for n in body if isinstance(n, ast.FunctionDef)
                     and f'"{n.name}"' in re.findall(r"check\(([^)]*)\)", "".join(test["source"]))[0]]
            tries = {"empty": "".join(empty["cells"][i]["source"])}
            if names:
                tries |= {k: "\n".join(f"def {n}(*args, **kwargs): {code}" for n in names) for k, code in ODD.items()}
            else:
                assert any(isinstance(n, ast.ClassDef)
                           for n in body), f"an exercise is a function or a class: {cell['source'][:60]}"
            for kind, source in tries.items():
                for text, tags in ((source, []), ("".join(test["source"]), ["raises-exception"])):
                    new = nbformat.v4.new_code_cell(text, metadata={"tags": tags})
                    out.append(new)
                expected.append((kind, names, out[-1]))
        # nothing depends on slow cells
        if not cell["source"].startswith("#| slow"): out.append(copy.deepcopy(cell))
    return nbformat.v4.new_notebook(cells=out, metadata=notebook["metadata"]), expected


@pytest.mark.parametrize("path", [pytest.param(p, marks=[] if p.stem in QUICK else pytest.mark.long) for p in CHAPTERS],
                         ids=lambda p: p.stem)
def test_empty_and_odd_answers_get_a_sentence_and_the_solutions_pass(edition, path):
    from nbclient import NotebookClient
    full, empty = (nbformat.read(folder / path.name, 4) for folder in (path.parent, edition[0]))
    notebook, expected = trial(full, empty)
    # the solutions come last, and must pass
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "nbs")}}).execute()
    assert len(expected) >= 4
    for kind, names, cell in expected:
        errors = [o for o in cell.outputs if o.output_type == "error"]
        # the one exercise whose answer is None
        if kind == "none" and not errors and names == ["equal_dim"]: continue
        assert errors, f"{names}: the check accepts {ODD.get(kind, 'an empty cell')}"
        error, = errors
        assert error.ename == "NotYet" and "\n" not in error.evalue and error.traceback == [f"✗ {error.evalue}"], (
            f"{names}, {kind}: {error.ename}: {error.evalue[:300]}")
        assert len(error.evalue) > 15
        if kind == "empty": assert "still empty" in error.evalue
        if kind == "raises": assert "oops" in error.evalue


@pytest.mark.long
def test_nbgrader_grades_a_right_and_a_wrong_submission(tmp_path):
    from nbgrader.api import Gradebook
    name = "02_architecture"
    course = tmp_path / "course"
    assert lm("student", course, "--nbgrader").returncode == 0
    # nbgrader calls alembic by its name
    env = os.environ | {"HOME": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
                        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    def nbgrader(*args):
        run = subprocess.run([sys.executable, "-m", "nbgrader", *args], capture_output=True, text=True,
                             cwd=course, env=env)
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    nbgrader("generate_assignment", name)
    released = nbformat.read(course / "release" / name / f"{name}.ipynb", 4)
    source = nbformat.read(course / "source" / name / f"{name}.ipynb", 4)
    assert "BEGIN SOLUTION" not in str(released) and sum(STUB in c.source for c in released.cells) >= 4
    right, wrong = copy.deepcopy(released), copy.deepcopy(released)
    answers = {c.metadata.nbgrader.grade_id: c.source for c in source.cells
               if c.metadata.get("nbgrader", {}).get("solution")}
    for c in right.cells:
        if c.metadata.get("nbgrader", {}).get("solution"): c.source = answers[c.metadata.nbgrader.grade_id]
    first = next(c for c in wrong.cells if c.metadata.get("nbgrader", {}).get("solution"))
    first.source = first.source.replace(STUB, "return 'many'")
    for who, notebook in (("right", right), ("wrong", wrong)):
        folder = course / "submitted" / who / name
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    nbgrader("autograde", name)
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        score = {who: book.find_submission(name, who) for who in ("right", "wrong")}
        assert score["right"].score == score["right"].max_score == len(answers) and score["wrong"].score == 0
    shutil.rmtree(course)
