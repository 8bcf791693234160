"The project as a whole: light imports, and a module order that only points upwards."
import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = "data glove architecture model backprop gradcheck training ngrams analysis tsne plots widgets scaling report exercises cli".split()
MODULES = [m for m in ORDER if (ROOT / "lm_nbdev" / f"{m}.py").exists()]


@pytest.mark.parametrize("module", ["", *(f".{m}" for m in MODULES if m not in ("plots", "widgets", "report", "cli"))])
def test_imports_are_light(module):
    code = f"import sys, lm_nbdev{module}; print([m for m in ('matplotlib', 'ipywidgets', 'pandas', 'typer', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_a_later_one(module):
    tree = ast.parse((ROOT / "lm_nbdev" / f"{module}.py").read_text(encoding="utf-8"))
    used = {n.module.split(".")[1] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)
            and (n.module or "").startswith("lm_nbdev.")}
    assert all(ORDER.index(u) < ORDER.index(module) for u in used), used
