"The chapters as a book: what is the same in all is the same, numbers in prose are computed or quoted, letters are in the table of symbols."
import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
SYMBOLS = (ROOT / "docs" / "symbols.md").read_text(encoding="utf-8")
each = pytest.mark.parametrize("path", CHAPTERS, ids=[p.stem for p in CHAPTERS])


def cells(path, kind):
    return [dict(c, source="".join(c["source"])) for c in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if c["cell_type"] == kind]


def prose(path):
    "Text of a chapter without code, mathematics and links."
    for c in cells(path, "markdown"):
        yield re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]+\$|\]\([^)]*\)", "", c["source"], flags=re.S)


def decimals_not_marked(text):
    """Decimal numbers in paragraphs that do not say that they are quoted. A sentence that begins with a number of its own, such as `1.2` of an exercise, states nothing,
    and versions and equations are names."""
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=[-*|] )", text):
        # what an exercise supposes is no claim
        if re.search(r"\bquoted?\b", paragraph) or re.match(r"\*\*\d+\.\*\*", paragraph): continue
        paragraph = re.sub(r"^\*\*\d+\.\d+\*\*|\b(?:eq\.|[Ee]quation|[Vv]ersion|NumPy|Python|[Pp]art|[Ee]xercise|[Tt]ask|section)\s+\d+(?:\.\d+)+", "", paragraph, flags=re.M)
        found += re.findall(r"\d+\.\d+", paragraph)
    return found


def letters(source):
    "Single letters that a markdown cell uses as symbols: *V*, **w**, and those in its formulas."
    text = re.sub(r"```.*?```|`[^`]*`", "", source, flags=re.S)
    used = set()
    for formula in re.findall(r"\$\$.*?\$\$|\$[^$\n]+\$", text, flags=re.S):
        formula = re.sub(r"\\(?:text|operatorname|mathrm|label|tag)\*?\{[^}]*\}|\\(?:begin|end)\{[^}]*\}", " ", formula)
        greek = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "eta": "η",
                 "theta": "θ", "lambda": "λ", "sigma": "σ", "mu": "μ", "tau": "τ", "pi": "π", "rho": "ρ", "phi": "φ"}
        used |= {greek[w] for w in re.findall(r"\\([a-z]+)", formula) if w in greek}
        used |= set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", formula)))
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", "", text, flags=re.S)
    used |= set(re.findall(r"(?<![\w*])\*{1,2}([^\W\d_])[₀-₉ᵢⱼₖₜₐᵦ′²³⁴]*\*{1,2}(?![\w'’])", text))
    return used


def test_set_up_cells_badges_and_marks_are_those_of_the_template():
    run = subprocess.run([sys.executable, ROOT / "docs" / "chapters.py", "--check"], capture_output=True, text=True)
    assert run.returncode == 0, f"{run.stdout}{run.stderr}mend it with: python docs/chapters.py"


@each
def test_no_decimal_number_in_prose(path):
    wrong = [n for text in prose(path) for n in decimals_not_marked(text)]
    assert not wrong, f"neither computed nor in a paragraph that says 'quoted': {wrong}"


@each
def test_letters_are_in_the_table_of_symbols(path):
    known = set(re.findall(r"[^\W\d_]",
                           " ".join(line.split("|")[1] for line in SYMBOLS.splitlines()
                                    if line.startswith("| ")))) | {"e", "d"}
    used = set().union(*(letters(c["source"]) for c in cells(path, "markdown")))
    assert used <= known, f"not in docs/symbols.md: {sorted(used - known)}"


@each
def test_outputs_are_stored_and_hold_no_error(path):
    for c in cells(path, "code"):
        assert not any(o["output_type"] == "error" for o in c["outputs"]), (
            f"an error is stored under: {c['source'][:80]}")
        code = "\n".join(line for line in c["source"].splitlines() if not line.startswith(("%", "!")))
        body = ast.parse(code).body
        shows = [n for n in body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
                 and ast.unparse(n.value.func).split(".")[-1] in ("print", "Markdown", "HTML", "display")]
        shows += [n for n in body[-1:] if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
                  and ast.unparse(n.value.func).startswith("plots.") and "use_style" not in ast.unparse(n)]
        shows += [n for n in body if isinstance(n, ast.With)
                  and ast.unparse(n.items[0].context_expr).startswith("check(")]
        if shows and not c["source"].startswith("#| slow"):
            assert c["outputs"], f"no output is stored under: {c['source'][:80]}"
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < 1e6, "a chapter must stay under 1 MB"
    assert not re.search(r"/(?:root|home|tmp|work|Users)/\w|/\.pyenv/", re.sub(r'"image/png": "[^"]*"', "",
        text)), "a path of somebody's machine is in it"


@each
def test_form_of_a_chapter(path):
    texts = [c["source"] for c in cells(path, "markdown")]
    number = int(path.stem[:2])
    assert (texts[0].startswith(f"# {number} · ") and "*By the end of this chapter" in texts[0]
            and "**What you will build:**" in texts[0])
    headings = [line for text in texts for line in text.splitlines() if line.startswith("## ")]
    assert "## Summary" in headings and any(h.startswith("## What the original") for h in headings)
    # a cell fits in one glance; longer is only what can't be divided, one class or function
    for c in cells(path, "code"):
        if len(c["source"].splitlines()) > 45:
            assert len(ast.parse(c["source"]).body) == 1, f"{len(c['source'].splitlines())} lines: {c['source'][:80]}"


@each
def test_exercises_answer(path):
    sys.path.insert(0, str(ROOT))
    from lm_nbdev.exercises import exercise_cells
    notebook = json.loads(path.read_text(encoding="utf-8"))
    found = exercise_cells(notebook)
    assert len(found) >= 4, f"{len(found)} exercises; a chapter has at least four"
    for answer, test in found:
        source = "".join(notebook["cells"][test]["source"])
        assert "with check(" in source, f"this check does not use `with check(...)`: {source[:80]}"
        assert "assert" in source or "same_as(" in source


@each
def test_words_that_do_not_help(path):
    wrong = [m for text in prose(path) for m in re.findall(r"\b(?:simply|obviously|just|trivially)\b",
                                                           text, flags=re.I)]
    assert not wrong, f"'{wrong[0]}' helps nobody who does not see it"


def test_these_checks_can_fail():
    assert (decimals_not_marked("It reached 2.772 nats.") == ["2.772"]
            and decimals_not_marked("It reached 2.772 nats (quoted).") == [])
    assert (decimals_not_marked("| quoted | 1.0 |\n| ours | 2.5 |") == ["2.5"]
            and decimals_not_marked("see eq. 4.109 and NumPy 2.0") == [])
    assert letters("Let *q* be a word, **w** a vector, *new* one too, and $$\\sigma_{max} \\cdot \\text{loss} + Q$$") >= {"q", "w", "σ", "Q"}
    assert "l" not in letters("$\\text{loss}$") and not letters("*new* **followed by** *york*'s")


def test_citation_agrees_with_settings():
    from configparser import ConfigParser
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    cfg, text = config["DEFAULT"], (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert (f"version: {cfg['version']}" in text and f"https://github.com/{cfg['user']}/{cfg['repo']}" in text
            and cfg["lib_name"] in text)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "data/README.md", "CHANGELOG.md"])
def test_links_between_files_lead_somewhere(name):
    path = ROOT / name
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (path.parent / link).exists()]
