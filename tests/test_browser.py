"""The six controls where people use them, in a headless browser: moved with keyboard and mouse, typed into.

Three pages: JupyterLab, Notebook 7, and (`pytest -m long`) the classic Notebook 6.5 with ipywidgets 7.7.1, Colab's version, from an environment of
its own (tests/environments.sh widgets7). `-k lab`, `-k notebook` or `-k classic` chooses one. Screenshots, the time that each answer took, and what the
browser's console said go to test-artefacts/ (ignored by git).
"""
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest

from lm_nbdev.data import load_corpus

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "test-artefacts"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TOKEN = "controls"
# one word of the text: no space in it, and yet it would run
MARKUP = "<img/src='x'/onerror='window.lmrun=1'>"
TYPED = "<img src=x onerror=window.lmrun=1>"
CELLS = {"start": """from lm_nbdev.widgets import *
from lm_nbdev.architecture import Architecture
from lm_nbdev.data import load_corpus
from lm_nbdev.model import Model
from lm_nbdev.training import TrainConfig
corpus = load_corpus("own.txt")
model = Model.random_init(Architecture(corpus.vocab_size, 3, 5, 7), corpus.vocab, init_wt=.5)""",
         "architecture-counter": "architecture_counter()", "glove-explorer": "glove_explorer(corpus, num_epochs=60)",
         "gradient-explorer": "gradient_explorer(model, corpus)",
         "query-panel": "query_panel(model, corpus)",
         "training-dashboard": "training_dashboard(corpus, TrainConfig(8, 8, epochs=30, batch_size=50))",
         "embedding-map": "embedding_map(model, corpus, interactive=False)", "hover": "embedding_map(model, corpus)"}
KINDS = list(CELLS)[1:]
EDITOR = {"lab": ".jp-CodeCell .cm-content", "notebook": ".jp-CodeCell .cm-content",
          "classic": ".code_cell .CodeMirror-code"}


@pytest.fixture(scope="session")
def old_python(tmp_path_factory):
    "A Python with ipywidgets 7.7.1 and Notebook 6.5, made afresh; the tests without a browser pass there."
    where = tmp_path_factory.mktemp("old")
    done = subprocess.run(["bash", "tests/environments.sh", "widgets7"], cwd=ROOT,
                          env={**os.environ, "ENVIRONMENTS": str(where)}, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    print(done.stdout[-1500:])
    return where / "widgets7" / "bin" / "python"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    "A folder with a page of controls, and a text whose words include markup."
    work = tmp_path_factory.mktemp("work")
    rng, names = np.random.default_rng(0), [f"w{i}" for i in range(30)] + [MARKUP, "<b>bold</b>"]
    (work / "own.txt").write_text("\n".join(" ".join(rng.choice(names, 9)) + " ." for _ in range(900)),
                                  encoding="utf-8")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS.values()],
                                            metadata=kernel), work / "page.ipynb")
    return work, load_corpus(work / "own.txt").vocab


@pytest.fixture(scope="module")
def chromium():
    "One Playwright for all pages of this module: a second one beside it is refused."
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None: pytest.skip("there is no chromium")
    with api.sync_playwright() as p: yield p.chromium


@pytest.fixture(scope="module", params=["lab", "notebook", pytest.param("classic", marks=pytest.mark.long)])
def page(request, chromium, text, tmp_path_factory):
    where, (work, vocab) = request.param, text
    if where != "classic":
        pytest.importorskip({"lab": "jupyterlab", "notebook": "notebook"}[where])
        pytest.importorskip("plotly")
        pytest.importorskip("anywidget")
    assert MARKUP in vocab
    python = str(request.getfixturevalue("old_python")) if where == "classic" else sys.executable
    with opened(chromium, where, python, tmp_path_factory.mktemp(where), work) as page:
        page.vocab = vocab; page.goto(address(page, "page.ipynb")); run_all(page, len(CELLS))
        for kind in KINDS[:-1]: page.wait_for_selector(f".lm-{kind} .lm-image img", state="attached")
        if where != "classic": page.wait_for_selector(".lm-hover .js-plotly-plot", state="attached")
        yield page
        KEPT.mkdir(exist_ok=True)
        (KEPT / f"{where}-times.md").write_text("| control | what | seconds |\n|---|---|---|\n"
                                                + "".join(f"| {kind} | {what} | {seconds:.3f} |\n"
                                                          for kind, what, seconds in page.times))


@contextmanager
def opened(chromium, where, python, home, work, **settings):
    "A browser without a past, which reaches this machine's server and nothing else."
    port = free_port()
    with serving(where, python, home, work, port, **settings):
        browser = chromium.launch_persistent_context(str(home / "profile"), executable_path=CHROMIUM, headless=True,
                                                     viewport={"width": 1500, "height": 1300},
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update", "--disable-sync"])
        page = browser.new_page()
        page.where, page.port, page.outside, page.errors, page.times = where, port, [], [], []
        def only_here(route):
            if f"127.0.0.1:{port}" in route.request.url or route.request.url.startswith(("data:", "blob:")):
                route.continue_()
            else: page.outside.append(route.request.url); route.abort()
        page.route("**/*", only_here)
        page.on("console", lambda m: page.errors.append(f"{m.text} ({m.location.get('url', '')})")
                if m.type == "error" else None)
        page.on("pageerror", lambda e: page.errors.append(f"{e.message} {e.stack or ''}"))
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def address(page, name):
    return f"http://127.0.0.1:{page.port}/{'lab/tree' if page.where == 'lab' else 'notebooks'}/{name}?token={TOKEN}"


def free_port():
    with socket.socket() as s: s.bind(("127.0.0.1", 0)); return s.getsockname()[1]


class serving:
    "A Jupyter server with nobody's settings, from start to end."
    def __init__(self, where, python, home, work, port, **more):
        settings = home / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
        # all cells are on the page
        whole = settings.parent / "notebook-extension"
        whole.mkdir()
        (whole / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
        self.env = {**os.environ, **more, "HOME": str(home),
                    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
                    **{f"JUPYTER_{n.upper()}_DIR": str(home / n) for n in ("config", "data", "runtime")}}
        theirs = (["--NotebookApp.port_retries=0", f"--NotebookApp.token={TOKEN}", f"--NotebookApp.notebook_dir={work}"]
                  if where == "classic" else ["--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}",
                                              f"--ServerApp.root_dir={work}"])
        self.command = [python, "-m", "jupyterlab" if where == "lab" else "notebook", "--no-browser", "--ip=127.0.0.1",
                        f"--port={port}", "--allow-root", *theirs]
        self.log, self.url = home / "server.log", f"http://127.0.0.1:{port}/api/status?token={TOKEN}"

    def __enter__(self):
        self.file = open(self.log, "w")
        self.process = subprocess.Popen(self.command, env=self.env, stdout=self.file, stderr=self.file)
        for _ in range(600):
            try: urllib.request.urlopen(self.url, timeout=2); return self
            except OSError: time.sleep(.2)
            if self.process.poll() is not None: break
        self.__exit__()
        raise AssertionError("the server did not start: " + self.log.read_text()[-2000:])

    def __exit__(self, *_): self.process.terminate(); self.process.wait(30); self.file.close()


def run_all(page, n, cells=None, seconds=120):
    "Run all cells and wait until n code cells have a number; the page has `cells` cells."
    if page.where == "classic":
        page.wait_for_function("window.Jupyter && Jupyter.notebook && Jupyter.notebook._fully_loaded && "
                               "Jupyter.notebook.kernel && Jupyter.notebook.kernel.is_connected()")
        page.locator("#celllink").click(); page.locator("#run_all_cells a").click()
        prompts = ".code_cell .input_prompt"
    else:
        page.wait_for_function(f"document.querySelectorAll('.jp-Cell').length == {cells or n}")
        if page.where == "lab":
            page.wait_for_function("/Python 3 \\(ipykernel\\) \\| "
                                   "Idle/.test(document.querySelector('#jp-main-statusbar')?.textContent)")
        else: page.wait_for_timeout(4000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator(".lm-Menu-item[data-command='runmenu:run-all'], .lm-Menu-item:has-text('Run All Cells')").first.click()
        prompts = ".jp-CodeCell .jp-InputPrompt"
    page.wait_for_function(f"[...document.querySelectorAll('{prompts}')].filter(e => "
                           f"/\\[\\d+\\]/.test(e.textContent)).length == {n}", timeout=1000 * seconds)


def part(page, kind, css):
    control = page.locator(f".lm-{kind}").first
    control.scroll_into_view_if_needed()
    return control.locator(css).first


def read(page, kind, css):
    return part(page, kind, css).get_attribute("src") if "img" in css else part(page, kind, css).inner_text()


# From the browser's own event to the change on the page, in the browser's clock
WATCH = """([root, css, before]) => {
  window.lmbegan = window.lmtook = null;
  const began = () => { if (window.lmbegan === null) window.lmbegan = performance.now(); };
  for (const t of ['keydown', 'mousedown', 'input', 'change']) document.addEventListener(t, began, {capture: true, once: true});
  const read = () => { const e = document.querySelector(root)?.querySelector(css); return e && (css.includes('img') ? e.getAttribute('src') : e.innerText); };
  const see = new MutationObserver(() => { const now = read(); if (now && now !== before && window.lmbegan !== null) { window.lmtook = performance.now() - window.lmbegan; see.disconnect(); } });
  see.observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
}"""


def answers(page, kind, what, act, css=".lm-image img", before=None):
    "Do something, wait until a picture or text of the control differs, note how long that took; what it is now."
    before = read(page, kind, css) if before is None else before
    page.evaluate(WATCH, [f".lm-{kind}", css, before])
    act()
    deadline = time.time() + 30
    while page.evaluate("window.lmtook") is None:
        assert time.time() < deadline, f"{kind} {css} did not change when {what}"
        page.wait_for_timeout(50)
    page.times.append((kind.split(":")[0], what, page.evaluate("window.lmtook") / 1000))
    return read(page, kind, css)


def until(page, kind, css, words):
    "Wait until a text of a control holds one of some words."
    page.wait_for_function("([root, css, words]) => words.some(w => "
                           "document.querySelector(root).querySelector(css).innerText.includes(w))",
                           arg=[f".lm-{kind}", css, words])


def kept(page, kind):
    KEPT.mkdir(exist_ok=True)
    page.wait_for_timeout(300)
    page.locator(f".lm-{kind}").first.screenshot(path=str(KEPT / f"{page.where}-{kind}.png"))


def slide(page, kind, css, pixels):
    "Drag a slider's handle."
    box = part(page, kind, css + (" .ui-slider-handle" if page.where == "classic" else " .noUi-handle")).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + pixels, box["y"] + 5, steps=5)
    page.mouse.up()


def one_up(page, kind, css, number):
    "A slider one step up by keyboard: the arrow key; Notebook 7 itself takes the arrow keys, so there the number is typed."
    if page.where == "notebook":
        field = part(page, kind, css + " .widget-readout")
        field.click()
        page.keyboard.press("Control+A")
        page.keyboard.type(str(number))
        page.keyboard.press("Enter")
    else:
        part(page, kind, css + (" .ui-slider-handle" if page.where == "classic" else " .noUi-handle")).focus()
        page.keyboard.press("ArrowRight")


def test_each_appears_when_its_cell_is_run_again(page):
    for i, kind in enumerate(KINDS, 1):
        if kind == "hover": continue
        cell = page.locator(EDITOR[page.where]).nth(i); cell.scroll_into_view_if_needed(); cell.click()
        page.evaluate("kind => document.querySelectorAll('.lm-' + kind).forEach(e => e.setAttribute('data-old', '1'))",
                      kind)
        answers(page, kind + ":not([data-old])", "appears", lambda: page.keyboard.press("Shift+Enter"),
                before="nothing")


def test_architecture_counter(page):
    kind = "architecture-counter"; text = read(page, kind, ".lm-total")
    answers(page, kind, "H by keyboard", lambda: one_up(page, kind, ".lm-H", 129))
    assert read(page, kind, ".lm-total").split()[0] != text.split()[0]
    answers(page, kind, "D by mouse", lambda: slide(page, kind, ".lm-D", 60)); kept(page, kind)


def test_glove_explorer(page):
    kind = "glove-explorer"
    answers(page, kind, "training 60 epochs", part(page, kind, ".lm-train").click)
    word = part(page, kind, ".lm-word input")
    assert MARKUP in answers(page, kind, "a word typed", lambda: word.fill(MARKUP), ".lm-near"); kept(page, kind)
    word.fill(TYPED); until(page, kind, ".lm-message", [TYPED.split()[0]])
    word.fill("w1"); until(page, kind, ".lm-near", ["nearest to w1"])


def test_gradient_explorer(page):
    kind = "gradient-explorer"
    answers(page, kind, "another array", lambda: part(page, kind, ".lm-array select").select_option("hid_bias"))
    bug = lambda: part(page, kind, ".lm-bug select").select_option(label="the hidden bias takes the first example "
                                                                         "only, not the sum over the batch")
    assert "NOT" in answers(page, kind, "a bug planted", bug, ".lm-values"); kept(page, kind)
    answers(page, kind, "another step by keyboard", lambda: one_up(page, kind, ".lm-eps", "0.001"))
    # it brings its own row
    part(page, kind, ".lm-array select").select_option("output_bias"); until(page, kind, ".lm-entry", ["output bias"])
    row = part(page, kind, ".lm-row input")
    row.fill(str(page.vocab.index(MARKUP)))
    row.press("Enter")
    until(page, kind, ".lm-entry", [MARKUP])


def test_query_panel(page):
    kind = "query-panel"; field = part(page, kind, ".lm-context input")
    field.fill(""); field.press_sequentially("w1 w2 w3x"); until(page, kind, ".lm-message", ["w3x"])
    answers(page, kind, "a suggestion clicked", part(page, kind, ".lm-suggest:visible").click,
            ".lm-occurrences", before="")
    page.wait_for_function("!document.querySelector('.lm-query-panel .lm-message').textContent")
    words = len(field.input_value().split()); part(page, kind, ".lm-next:visible").focus()
    answers(page, kind, "a next word by keyboard", lambda: page.keyboard.press("Enter"))
    page.wait_for_function("document.querySelector('.lm-query-panel .lm-context input').value.trim().split(' "
                           f"').length == {words + 1}")
    answers(page, kind, "a word typed", lambda: part(page, kind, ".lm-word input").fill("w5"), ".lm-apart")
    part(page, kind, ".lm-next:visible").wait_for()
    until(page, kind, ".lm-occurrences", ["in training"])
    kept(page, kind)
    part(page, kind, ".lm-other input").fill(MARKUP); until(page, kind, ".lm-apart", [MARKUP])
    field.fill("<im")
    page.wait_for_function("w => [...document.querySelectorAll('.lm-query-panel .lm-suggest')].some(b => "
                           "b.innerText == w)", arg=MARKUP)
    part(page, kind, ".lm-suggest:visible").click()
    field.fill(f"w1 {MARKUP} {MARKUP}")
    until(page, kind, ".lm-occurrences", [MARKUP])
    field.fill(f"w1 w2 {TYPED}"); until(page, kind, ".lm-message", ["<img"])


def test_training_dashboard(page):
    kind = "training-dashboard"; field = part(page, kind, ".lm-context input")
    field.fill(f"w1 w2 {TYPED}"); until(page, kind, ".lm-message", ["<img"]); field.fill(f"w1 w2 {MARKUP}")
    answers(page, kind, "training started", part(page, kind, ".lm-start").click)
    until(page, kind, ".lm-state", ["best validation"])
    part(page, kind, ".lm-pause").click()
    until(page, kind, ".lm-state", ["paused", "went"])
    until(page, kind, ".lm-said", [MARKUP]); kept(page, kind)
    part(page, kind, ".lm-start").click()
    part(page, kind, ".lm-stop").click()
    until(page, kind, ".lm-state", ["request", "went"])
    part(page, kind, ".lm-reset").click(); until(page, kind, ".lm-state", ["ready"])
    answers(page, kind, "a recipe chosen", lambda: part(page, kind, ".lm-recipe select").select_option("original"),
            ".lm-num-hid .widget-readout")


def test_embedding_map(page):
    kind = "embedding-map"; search = part(page, kind, ".lm-search input")
    answers(page, kind, "a word searched", lambda: search.fill("w7")); assert "w7" in read(page, kind, ".lm-list")
    answers(page, kind, "laid out by t-SNE", part(page, kind, ".lm-layout-button").click)
    until(page, kind, ".lm-note", ["t-SNE, perplexity"]); kept(page, kind)
    search.fill(MARKUP)
    until(page, kind, ".lm-list", [MARKUP])
    search.fill(TYPED)
    until(page, kind, ".lm-message", ["<img"])
    search.fill("")


# Where a word's point is on the page, by plotly's own axes
PLACE = """word => { const g = document.querySelector('.lm-hover .js-plotly-plot'), l = g._fullLayout, t = g._fullData[0], i = t.hovertext.findIndex(h => h.split('<br>')[0] == word), r = g.getBoundingClientRect();
  return [r.x + l.xaxis._offset + l.xaxis.l2p(t.x[i]), r.y + l.yaxis._offset + l.yaxis.l2p(t.y[i]), l.xaxis.range[1] - l.xaxis.range[0]]; }"""


def test_map_with_plotly(page):
    "Hover, click back to Python, and the wheel, where plotly is; the picture stays where it is not."
    kind = "hover"
    if page.where == "classic":
        assert (page.locator(".lm-hover").count() == 0
                and page.locator(".lm-embedding-map").nth(1).locator(".lm-image img").count() == 1)
        return
    part(page, kind, ".js-plotly-plot")
    page.wait_for_function("document.querySelector('.lm-hover .js-plotly-plot')._fullData?.[0]?.hovertext?.length > 0")
    for word, shown in (("w7", "w7"),
                        (MARKUP.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;"),
                         MARKUP)):
        page.wait_for_timeout(600)                                   # two clicks at once are a double click
        x, y, _ = page.evaluate(PLACE, word); page.mouse.move(x - 60, y - 60); page.mouse.move(x, y, steps=3)
        page.wait_for_function("w => [...document.querySelectorAll('.lm-hover .hoverlayer .hovertext')].some(e => "
                               "e.textContent.includes(w))", arg=shown)
        answers(page, kind, "a point clicked", lambda: page.mouse.click(x, y), ".lm-list")
        page.wait_for_function("w => document.querySelector('.lm-hover .lm-search input').value == w", arg=shown)
        until(page, kind, ".lm-list", [f"nearest to {shown}"])
    x, y, before = page.evaluate(PLACE, "w7")
    page.mouse.move(x, y)
    page.wait_for_timeout(200)
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"(() => {{ const r = document.querySelector('.lm-hover "
                           f".js-plotly-plot')._fullLayout.xaxis.range; return r[1] - r[0] < {.95 * before}; }})()")
    part(page, kind, ".lm-search input").fill("w7"); until(page, kind, ".lm-list", ["nearest to w7"])
    x, y, _ = page.evaluate(PLACE, "w7")
    page.mouse.move(x - 30, y - 30)
    page.mouse.move(x, y, steps=3)
    page.wait_for_timeout(500)
    kept(page, kind)


# known errors of the pages themselves, whatever is shown in them
THEIRS = {"lab": (), "notebook": ("reading 'schema'",), "classic": ()}


def test_nothing_from_outside_nothing_run(page):
    "After all that: no request left this machine, no word ran, and the page reports no error of ours."
    assert page.outside == []
    assert page.evaluate("window.lmrun === undefined && document.querySelectorAll('img[src=x]').length == 0")
    KEPT.mkdir(exist_ok=True); (KEPT / f"{page.where}-console.txt").write_text("\n".join(page.errors))
    assert [e for e in page.errors if not any(t in e for t in THEIRS[page.where])] == []
    for markup in (MARKUP, TYPED):                                  # they would run if one were let in
        page.evaluate("m => { window.lmrun = 0; document.body.insertAdjacentHTML('beforeend', m); }", markup)
        page.wait_for_function("window.lmrun == 1")


# ---- each control in its chapter ----
CHAPTERS = {"01_glove": ["glove-explorer"], "02_architecture": ["architecture-counter"],
            "05_gradient_checking": ["gradient-explorer"], "06_training": ["training-dashboard"],
            "08_analysis": ["query-panel"], "09_tsne": ["embedding-map"],
            "11_playground": [k for k in KINDS if k != "hover"]}


@pytest.fixture(scope="module")
def chapters(chromium, tmp_path_factory):
    "JupyterLab in a copy of the chapters, on the corpus that needs no file."
    pytest.importorskip("jupyterlab")
    work = tmp_path_factory.mktemp("chapters") / "nbs"
    shutil.copytree(ROOT / "nbs", work)
    with opened(chromium, "lab", sys.executable, tmp_path_factory.mktemp("home"), work,
                LM_NBDEV_CORPUS="synthetic") as page:
        page.work = work
        yield page


def turned(page, kind):
    "One thing done to a control by keyboard or mouse: its picture or text must change."
    if kind == "architecture-counter": answers(page, kind, "H by keyboard", lambda: one_up(page, kind, ".lm-H", 129))
    if kind == "glove-explorer": answers(page, kind, "trained", part(page, kind, ".lm-train").click)
    if kind == "gradient-explorer":
        answers(page, kind, "another step by keyboard", lambda: one_up(page, kind, ".lm-eps", "0.001"))
    if kind == "query-panel":
        part(page, kind, ".lm-next:visible").focus()
        answers(page, kind, "a next word by keyboard", lambda: page.keyboard.press("Enter"))
    if kind == "training-dashboard":
        answers(page, kind, "training started", part(page, kind, ".lm-start").click)
        until(page, kind, ".lm-state", ["best validation"])
        part(page, kind, ".lm-stop").click(); until(page, kind, ".lm-state", ["request", "went"])
    if kind == "embedding-map":
        word = page.vocab[5]
        part(page, kind, ".lm-search input").fill(word)
        until(page, kind, ".lm-list", [f"nearest to {word}"])


@pytest.mark.long
@pytest.mark.parametrize("name", CHAPTERS)
def test_controls_in_their_chapters(chapters, name):
    page, cells = chapters, nbformat.read(ROOT / "nbs" / f"{name}.ipynb", 4).cells
    page.vocab, page.errors[:], page.outside[:] = load_corpus("synthetic").vocab, [], []
    page.goto(address(page, f"{name}.ipynb") + "&reset")
    run_all(page, sum(c.cell_type == "code" and bool(c.source.strip()) for c in cells), len(cells), seconds=300)
    for kind in CHAPTERS[name]:
        page.wait_for_selector(f".lm-{kind} :is(.lm-image, .js-plotly-plot)", state="attached")
        turned(page, kind)
        page.where = f"chapter-{name}"
        kept(page, kind)
        page.where = "lab"
    ours = [e for e in page.errors if "lm-" in e or "plotly" in e or "widget" in e]
    # the badge in the text is all that a chapter asks for
    assert all(url.endswith("/colab-badge.svg") for url in page.outside) and not ours
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error'], "
                        ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr'] .ansi-red-fg").count() == 0
