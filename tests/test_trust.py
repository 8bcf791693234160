"No network at import, words that want to be something else, warnings as errors, the licences of what is installed."
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from lm_nbdev import analysis, data, plots, training
from lm_nbdev.report import write_report

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(p.stem for p in (ROOT / "lm_nbdev").glob("*.py") if not p.stem.startswith("_"))
NO_NETWORK = """
import socket, sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "urllib.Request"): raise RuntimeError(f"network: {event} {args}")
sys.addaudithook(refuse)
"""


@pytest.mark.parametrize("module", MODULES)
def test_importing_touches_no_network_and_warns_of_nothing(module):
    done = subprocess.run([sys.executable, "-W", "error", "-c", NO_NETWORK + f"import lm_nbdev.{module}"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cell, error",
                         [("import warnings; warnings.warn('ours', DeprecationWarning)", "DeprecationWarning"),
                          ("from lm_nbdev import model; model.np.log(0.0)", "RuntimeWarning"),
                          ("import warnings; warnings.warn_explicit('theirs', DeprecationWarning, 'a.py', 1, "
                           "'another.module')", "None"), ("1 + 1", "None")])
def test_warnings_in_a_chapter_are_errors(cell, error):
    "tests/strict, with which .ci/run runs the chapters, notices what our own cells and modules cause, inside IPython too."
    code = f"from execnb.shell import CaptureShell; s = CaptureShell(); s.run({cell!r}); print(type(s.exc).__name__ if s.exc else None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "strict"), str(ROOT)])})
    assert done.stdout.split()[-1:] == [error], done.stdout + done.stderr


def test_using_it_touches_no_network(tmp_path):
    code = NO_NETWORK + f"""
from lm_nbdev.cli import main
try: main(["train", "--corpus", "synthetic", "--epochs", "1", "--num-hid", "4", "--embedding-dim", "2", "--out", {str(tmp_path / 'run')!r}])
except SystemExit as e: assert not e.code, e.code
main(["nearest", {str(tmp_path / 'run' / 'model.safetensors')!r}, "dog"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "cat" in done.stdout + "cat", done.stderr


def test_downloads_have_hashes_and_fixed_addresses():
    for files in data.DOWNLOADS.values():
        for _, url, digest in files:
            assert re.fullmatch(r"[0-9a-f]{64}", digest) and url.startswith("https://") and re.search(r"/[0-9a-f]{40}/",
                url)


def test_every_requirement_has_a_lower_bound():
    import configparser
    settings = configparser.ConfigParser(); settings.read(ROOT / "settings.ini")
    for name, line in settings["DEFAULT"].items():
        if name == "requirements" or name.endswith("_requirements"):
            for r in line.split(): assert re.search(r">=|==|<|^lm[-_]nbdev", r), (name, r)


# what a text may hold, a word each
WORDS = ["<script>document.title='pwned'</script>", "<img/src=x/onerror=document.title='pwned'>", "]]>",
         "--></style></title><script>document.title='pwned'</script>", "\"'&amp", "{{7*7}}", "{%raw%}", "${7*7}",
         "$\\frac$", "$$", "\u202eevil", "🙂", "=1+1", "+1", "-1", "@x", "\\u003c", "javascript:alert(1)",
         "a" * 300, "the"]


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words") / "<b>$x$"; folder.mkdir()
    rng = np.random.default_rng(0)
    (folder / "<i>&.txt").write_text("\n".join(" ".join(rng.choice(WORDS, 8)) for _ in range(400)), encoding="utf-8")
    corpus = data.load_corpus(folder / "<i>&.txt")
    assert set(corpus.vocab) == {w.lower() for w in WORDS}
    result = training.train(corpus, training.TrainConfig(embedding_dim=4, num_hid=8, epochs=1, batch_size=100),
                            progress=False)
    return corpus, result


@pytest.mark.filterwarnings("error:constrained_layout")
def test_words_are_only_words(hostile_run, tmp_path):
    corpus, result = hostile_run
    corpus.examples.words, corpus.examples.classes = list(corpus.vocab), {"<b>$a$": corpus.vocab[:4],
        "$\\q$": corpus.vocab[4:8]}
    page = write_report(tmp_path / "report.html", corpus, result).read_text(encoding="utf-8")
    assert (not re.search(r"<script|<img/|onerror=document\.title='pwned'>|<i>&", page, re.I)
            and "&lt;script&gt;" in page and "49" not in re.findall(r"\{\{.*?\}\}", page))
    fig = plots.text_map(np.random.default_rng(0).normal(size=(len(corpus.vocab), 2)), corpus.vocab,
                         classes=corpus.examples.classes, title="$\\frac$")
    fig.savefig(tmp_path / "map.png")
    plots.word_frequencies(corpus.vocab, data.word_counts(corpus)).savefig(tmp_path / "f.png")
    plots.co_occurrence(np.ones((20, 20)), corpus.vocab).savefig(tmp_path / "c.png")
    plots.training_curves({"$\\frac$ <b>": result.history}).savefig(tmp_path / "t.png")
    many = [SimpleNamespace(words=corpus.vocab, surprise=np.full(len(corpus.vocab), 1.5))]
    points = np.random.default_rng(1).normal(size=(len(corpus.vocab), 2))
    for fig in (plots.seed_ranks({f"{w} – {v}": [1, 3] for w, v in zip(corpus.vocab, corpus.vocab[1:])}, 19),
                plots.pulled_apart(*corpus.vocab[-2:], {w: [i - 9, i - 8] for i, w in enumerate(corpus.vocab)}),
                plots.pulled_apart("a" * 300, "$\\frac$", {w: [i] for i, w in enumerate(corpus.vocab)}),
                plots.surprise_picture(many),
                plots.next_words(corpus.vocab, {"network": np.full(len(corpus.vocab), .05)}),
                plots.word_points(points, corpus.vocab, classes=corpus.examples.classes, chosen=3, near=[4, 5],
                                  named=range(20), title="$\\frac$")):
        # a word of 300 letters does not blow it up
        fig.savefig(tmp_path / "one.png", bbox_inches="tight")
        assert (fig.get_size_inches() < 30).all() and max(PIL.Image.open(tmp_path / "one.png").size) < 4000
    table = analysis.export_csv(tmp_path / "a.csv", [(w, -1.5) for w in corpus.vocab],
                                ["word", "x"]).read_text(encoding="utf-8")
    for line in table.splitlines()[1:]: assert line.lstrip('"')[0] not in "=+-@\t\r" and line.endswith("-1.5")
    words = {line.rsplit(" ", 4)[0]
             for line in analysis.export_word2vec(tmp_path / "a.vec",
                                                  result.model).read_text(encoding="utf-8").splitlines()[1:]}
    assert words == set(corpus.vocab)


def test_nothing_of_the_text_runs_in_a_browser(hostile_run, tmp_path):
    from playwright.sync_api import sync_playwright
    corpus, result = hostile_run
    pages = [write_report(tmp_path / "report.html", corpus, result)]
    try: from lm_nbdev.plots import interactive_map
    except ImportError: interactive_map = None
    if interactive_map is not None: pages.append(write_map(interactive_map, corpus, tmp_path / "map.html"))
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path="/usr/bin/chromium" if os.path.exists("/usr/bin/chromium")
                                    else None, args=["--no-sandbox"])
        for path in pages:
            page, seen = browser.new_page(), []
            page.on("dialog", lambda d: (seen.append("dialog"), d.dismiss()))
            page.on("request", lambda r: seen.append(r.url) if not r.url.startswith(("file:", "data:", "blob:"))
                    else None)
            page.goto(path.as_uri()); page.wait_for_timeout(300)
            assert page.title() != "pwned" and not seen, (path, page.title(), seen)
            # shown as the letters that it is
            if path.name == "report.html": assert "<script>" in page.inner_text("body")
        browser.close()


def write_map(interactive_map, corpus, path):
    points, vectors = np.random.default_rng(0).normal(size=(2, len(corpus.vocab), 2))
    return interactive_map({"<b>$x$</script>": (points, vectors, "<script>document.title='pwned'</script>")},
                           corpus.vocab, classes={"</script><script>document.title='pwned'</script>": corpus.vocab[:5]},
                           title="</title><script>document.title='pwned'</script>").save(path)


def words_as_chapters_show_them(corpus, result, path):
    "A notebook with stored outputs of the kinds that chapters have: printed, a table in Markdown, HTML of reports and maps, what a control leaves."
    from nbformat import v4, write
    from lm_nbdev.gradcheck import check_gradients
    from lm_nbdev.widgets import table_html
    V = corpus.vocab; shown = lambda **data: v4.new_output("display_data", data=data)
    report = check_gradients(result.model, corpus.train.inputs[:5], corpus.train.targets[:5], num_checks=5)
    frame = plots.interactive_map({"<b>$x$</script>": (*np.random.default_rng(0).normal(size=(2, len(V), 2)),
                                                       "<script>document.title='pwned'</script>")}, V)._repr_html_()
    bad = "![x](https://127.0.0.1:9/seen.png)"
    outputs = [v4.new_output("stream", text="\n".join(V)), shown(**{"text/plain": repr(V)}),
               shown(**{"text/html": table_html([[w, 1] for w in V])}), shown(**{"text/html": report._repr_html_()}),
               shown(**{"text/html": frame}),
               shown(**{"text/markdown": "| word | n |\n|---|---|\n" + "\n".join(f"| {w} | **{i}** |"
               for i, w in enumerate(V))}), shown(**{"text/markdown": " ".join(V) + " " + bad}),
               shown(**{"text/markdown": f"{V[0]}\n\n<div onclick=alert(1)>\n\n{bad}"}),
               shown(**{"application/vnd.jupyter.widget-view+json": {"model_id": "0", "version_major": 2,
                                                                     "version_minor": 0}, "text/plain": " ".join(V)})]
    cells = [v4.new_markdown_cell("# 00 · Words\n\n*What a text may say.*"),
             *(v4.new_code_cell("show()", outputs=[o]) for o in outputs)]
    write(v4.new_notebook(cells=cells,
                          metadata={"kernelspec": {"name": "python3", "display_name": "Python 3",
                                                   "language": "python"}}), path)


def test_words_are_only_words_on_the_site(hostile_run, tmp_path):
    "The site of a chapter that was executed on such a text, built and opened: the words are there, nothing runs, nothing is fetched."
    for need in ("myst_nb", "sphinx_book_theme"): pytest.importorskip(need)                       # the extra docs
    if not os.path.exists("/usr/bin/chromium"): pytest.skip("there is no chromium")
    from playwright.sync_api import sync_playwright
    shutil.copytree(ROOT / "docs", tmp_path / "docs",
                    ignore=shutil.ignore_patterns("chapters", "api", "index.md", "_build"))
    shutil.copy(ROOT / "settings.ini", tmp_path)
    (tmp_path / "nbs").mkdir()
    words_as_chapters_show_them(*hostile_run, tmp_path / "nbs" / "00_words.ipynb")
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-b", "html", "docs", "html"], capture_output=True,
                          text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path="/usr/bin/chromium" if os.path.exists("/usr/bin/chromium")
                                    else None, args=["--no-sandbox"])
        page, seen = browser.new_page(), []
        page.on("dialog", lambda d: (seen.append("dialog"), d.dismiss()))
        page.on("request", lambda r: seen.append(r.url) if not r.url.startswith(("file:", "data:", "blob:", "about:"))
                else None)
        page.goto((tmp_path / "html" / "chapters" / "00_words.html").as_uri()); page.wait_for_timeout(1000)
        assert "pwned" not in page.title() and not seen, (page.title(), seen)
        assert page.locator(".cell_output :is([onclick], [onerror], img[src='x'], script)").count() == 0
        outputs = [o.inner_text() for o in page.locator(".cell_output").all()]; assert len(outputs) == 9
        # as the letters that they are
        for i in (0, 1, 2, 5, 6, 8):
            assert "<script>document.title=" in outputs[i] and "<img/src=x/onerror=" in outputs[i], (i, outputs[i])
        frame = page.frame_locator("iframe").first
        assert frame.locator("#map text").count() == len(hostile_run[0].vocab)
        browser.close()
