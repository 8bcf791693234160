"""The six controls in JupyterLab, in a headless browser: moved with keyboard and mouse, typed into; one page, one server.

LM_NBDEV_PAGE=notebook opens the same page in Notebook 7. Screenshots go to test-artefacts/ (ignored by git)."""
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAGE = os.environ.get("LM_NBDEV_PAGE", "lab")
KINDS = ["architecture-counter", "glove-explorer", "gradient-explorer", "query-panel", "training-dashboard", "embedding-map"]
CELLS = ["""from lm_nbdev.widgets import *
from lm_nbdev.architecture import Architecture
from lm_nbdev.data import load_corpus
from lm_nbdev.model import Model
from lm_nbdev.training import TrainConfig
corpus = load_corpus("own.txt")
model = Model.random_init(Architecture(corpus.vocab_size, 3, 5, 7), corpus.vocab, init_wt=.5)""",
         "architecture_counter()", "glove_explorer(corpus, num_epochs=60)", "gradient_explorer(model, corpus)", "query_panel(model, corpus)",
         "training_dashboard(corpus, TrainConfig(8, 8, epochs=30, batch_size=50))", "embedding_map(model, corpus, interactive=False)"]


def free_port():
    with socket.socket() as s: s.bind(("127.0.0.1", 0)); return s.getsockname()[1]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("jupyterlab" if PAGE == "lab" else "notebook")
    if CHROMIUM is None: pytest.skip("there is no chromium")
    home = tmp_path_factory.mktemp("home"); work = home / "work"; work.mkdir()
    rng, names = np.random.default_rng(0), [f"w{i}" for i in range(30)] + ["<img_src=x_onerror=document.title='RUN'>", "<img/src=x/onerror=document.title='RUN'>"]
    (work / "own.txt").write_text("\n".join(" ".join(rng.choice(names, 9)) + " ." for _ in range(900)), encoding="utf-8")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS], metadata=kernel), work / "page.ipynb")
    settings = home / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"; settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    env = {**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
           **{f"JUPYTER_{n.upper()}_DIR": str(home / n) for n in ("config", "data", "runtime")}}
    port, token = free_port(), "controls"
    command = [sys.executable, "-m", "jupyterlab" if PAGE == "lab" else "notebook", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", "--allow-root", f"--ServerApp.root_dir={work}"]
    log = open(home / "server.log", "w"); server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        wait_for(port, token, server, home / "server.log")
        with playwright.sync_playwright() as p:
            browser = p.chromium.launch_persistent_context(str(home / "profile"), executable_path=CHROMIUM, headless=True, viewport={"width": 1500, "height": 1000},
                args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            page = browser.new_page(); page.outside, page.errors = [], []
            def only_here(route):
                if f"127.0.0.1:{port}" in route.request.url or route.request.url.startswith(("data:", "blob:")): route.continue_()
                else: page.outside.append(route.request.url); route.abort()
            page.route("**/*", only_here)
            page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
            page.set_default_timeout(60_000)
            page.goto(f"http://127.0.0.1:{port}/{'lab/tree' if PAGE == 'lab' else 'notebooks'}/page.ipynb?token={token}")
            run_all(page)
            yield page
            browser.close()
    finally: server.terminate(); server.wait(30); log.close()


def wait_for(port, token, server, log):
    for _ in range(600):
        assert server.poll() is None, log.read_text()[-2000:]
        try: urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status?token={token}", timeout=2); return
        except OSError: time.sleep(.2)
    raise AssertionError("the server did not start: " + log.read_text()[-2000:])


def run_all(page):
    page.wait_for_function(f"document.querySelectorAll('.jp-Cell').length == {len(CELLS)}")
    if PAGE == "lab": page.wait_for_function("/Python 3 \\(ipykernel\\) \\| Idle/.test(document.querySelector('#jp-main-statusbar')?.textContent)")
    else: page.wait_for_timeout(4000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all'], .lm-Menu-item:has-text('Run All Cells')").first.click()
    page.wait_for_function(f"[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].filter(e => /\\[\\d+\\]/.test(e.textContent)).length == {len(CELLS)}", timeout=120_000)
    for kind in KINDS: page.wait_for_selector(f".lm-{kind}", state="attached")


def part(page, kind, css):
    control = page.locator(f".lm-{kind}").first
    control.scroll_into_view_if_needed()
    return control.locator(css).first


def becomes_another(page, kind, before, css=".lm-image img"):
    "Wait until a picture or text differs from what it was."
    read = lambda: part(page, kind, css).get_attribute("src") if "img" in css else part(page, kind, css).inner_text()
    deadline = time.time() + 30
    while time.time() < deadline:
        if (now := read()) != before: return now
        page.wait_for_timeout(100)
    raise AssertionError(f"{kind} {css} did not change")


def kept(page, kind):
    folder = ROOT / "test-artefacts"; folder.mkdir(exist_ok=True)
    page.locator(f".lm-{kind}").first.screenshot(path=str(folder / f"{PAGE}-{kind}.png"))


def test_architecture_counter(page):
    kind = "architecture-counter"; picture = part(page, kind, ".lm-image img").get_attribute("src"); text = part(page, kind, ".lm-total").inner_text()
    handle = part(page, kind, ".lm-H .noUi-handle")
    if PAGE == "lab": handle.focus(); page.keyboard.press("ArrowRight")            # Notebook 7 itself takes the arrow keys
    else: field = part(page, kind, ".lm-H .widget-readout"); field.click(); page.keyboard.press("Control+A"); page.keyboard.type("129"); page.keyboard.press("Enter")
    picture = becomes_another(page, kind, picture); assert becomes_another(page, kind, text, ".lm-total").split()[0] != text.split()[0]
    box = part(page, kind, ".lm-D .noUi-handle").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2); page.mouse.down(); page.mouse.move(box["x"] + 60, box["y"] + 5, steps=5); page.mouse.up()
    becomes_another(page, kind, picture); kept(page, kind)


def test_glove_explorer(page):
    kind = "glove-explorer"; picture = part(page, kind, ".lm-image img").get_attribute("src")
    part(page, kind, ".lm-train").click(); becomes_another(page, kind, picture)
    word = part(page, kind, ".lm-word input"); near = part(page, kind, ".lm-near").inner_text()
    word.fill("<img/src=x/onerror=document.title='run'>")
    assert "<img/src=x" in becomes_another(page, kind, near, ".lm-near"); kept(page, kind)


def test_gradient_explorer(page):
    kind = "gradient-explorer"; picture = part(page, kind, ".lm-image img").get_attribute("src"); values = part(page, kind, ".lm-values").inner_text()
    part(page, kind, ".lm-array select").select_option("hid_bias"); becomes_another(page, kind, values, ".lm-values")
    picture = becomes_another(page, kind, picture); before = part(page, kind, ".lm-values").inner_text()
    part(page, kind, ".lm-bug select").select_option(label="the hidden bias takes the first example only, not the sum over the batch")
    assert "NOT" in becomes_another(page, kind, before, ".lm-values"); kept(page, kind)


def test_query_panel(page):
    kind = "query-panel"; field = part(page, kind, ".lm-context input"); picture = part(page, kind, ".lm-image img").get_attribute("src")
    field.fill(""); field.press_sequentially("w1 w2 w3x")
    page.wait_for_function("document.querySelector('.lm-query-panel .lm-message').textContent.includes('w3x')")
    part(page, kind, ".lm-suggest:visible").click()
    page.wait_for_function("!document.querySelector('.lm-query-panel .lm-message').textContent"); becomes_another(page, kind, picture)
    words = len(field.input_value().split()); part(page, kind, ".lm-next:visible").focus(); page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelector('.lm-query-panel .lm-context input').value.trim().split(' ').length == {words + 1}")
    other = part(page, kind, ".lm-apart").inner_text(); part(page, kind, ".lm-word input").fill("w5"); becomes_another(page, kind, other, ".lm-apart"); kept(page, kind)


def test_training_dashboard(page):
    kind = "training-dashboard"; picture = part(page, kind, ".lm-image img").get_attribute("src")
    part(page, kind, ".lm-start").click(); picture = becomes_another(page, kind, picture)
    part(page, kind, ".lm-pause").click(); page.wait_for_function("/paused|went/.test(document.querySelector('.lm-training-dashboard .lm-state').textContent)")
    part(page, kind, ".lm-start").click(); part(page, kind, ".lm-stop").click()
    page.wait_for_function("/request|went/.test(document.querySelector('.lm-training-dashboard .lm-state').textContent)"); kept(page, kind)
    part(page, kind, ".lm-reset").click(); page.wait_for_function("/ready/.test(document.querySelector('.lm-training-dashboard .lm-state').textContent)")


def test_embedding_map(page):
    kind = "embedding-map"; picture = part(page, kind, ".lm-image img").get_attribute("src")
    part(page, kind, ".lm-search input").fill("w7"); picture = becomes_another(page, kind, picture); assert "w7" in part(page, kind, ".lm-list").inner_text()
    part(page, kind, ".lm-layout-button").click(); picture = becomes_another(page, kind, picture)
    page.wait_for_function("document.querySelector('.lm-embedding-map .lm-note').textContent.includes('t-SNE, perplexity')"); kept(page, kind)


def test_nothing_from_outside_nothing_run(page):
    "After all that: no request left this machine, no word ran, and the page reports no error of ours."
    assert page.outside == [] and "RUN" not in page.title().upper().split("PAGE")[0]
    theirs = ("favicon", "reading 'schema'", "404", "Failed to load resource", "sourcemap")
    assert [e for e in page.errors if not any(t in e for t in theirs)] == []
