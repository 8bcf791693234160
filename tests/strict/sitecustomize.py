"""With this folder on PYTHONPATH every Python that starts takes a warning that the course's own code causes as an error: in its modules, and in a chapter's cells.
With COVERAGE_PROCESS_START it also counts lines (tests/coverage.sh); an exported cell that a chapter runs counts as the lines of the module that it is."""
import os
import sys
import warnings

warnings.filterwarnings("error", module=r"lm_nbdev\.|__main__$")
# a font that lacks a letter of somebody's text
warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)


def cells_are_modules(folder):
    "Exported cells are compiled under the name of their module and with its line numbers."
    import ast
    import re
    from pathlib import Path
    from IPython.core.compilerop import CachingCompiler
    plain = lambda code: re.sub(r"\A(\s*#\|.*\n)+", "", code + "\n").replace("from lm_nbdev.", "from .").strip()
    place, cache, parse = {}, CachingCompiler.cache, CachingCompiler.ast_parse
    for path in Path(folder).glob("*.py"):
        line = 1
        for piece in re.split(r"(?m)^(?=# %% )", path.read_text(encoding="utf-8")):
            if piece.startswith("# %% ../nbs"):
                head, code = piece.split("\n", 1)
                place[plain(code)] = str(path), line + 1 + len(code) - len(code.lstrip("\n"))
            line += piece.count("\n")
    def named(self, code, *args, **kwargs):
        name = cache(self, code, *args, **kwargs)
        return place.get(plain(code), (name,))[0]
    def numbered(self, code, *args, **kwargs):
        tree, at = parse(self, code, *args, **kwargs), place.get(plain(code))
        if at: ast.increment_lineno(tree, at[1] - 1 - code[:code.index(plain(code)[:9])].count("\n"))
        return tree
    CachingCompiler.cache, CachingCompiler.ast_parse = named, numbered


if os.environ.get("COVERAGE_PROCESS_START"):
    import coverage
    if any("nbdev_test" in word for word in sys.orig_argv): cells_are_modules(os.environ["LM_NBDEV_MODULES"])
    coverage.process_startup()
