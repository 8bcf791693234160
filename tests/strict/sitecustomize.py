"""With this folder on PYTHONPATH every Python that starts takes a warning that the course's own code causes as an error: in its modules, and in a chapter's cells.
With COVERAGE_PROCESS_START it also counts lines (tests/coverage.sh)."""
import os
import warnings

warnings.filterwarnings("error", module=r"lm_nbdev\.|__main__$")
warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)          # a font that lacks a letter of somebody's text

if os.environ.get("COVERAGE_PROCESS_START"):
    import coverage
    coverage.process_startup()
