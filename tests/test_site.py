"The site (marked long): builds without warnings and without a network in under three minutes, its inner links lead somewhere, a browser shows it at two widths without asking the network."
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted(p.stem for p in (ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
pytestmark = pytest.mark.long
NO_NETWORK = """
import socket
def refuse(*args, **kwargs): raise OSError("the site must build without a network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    base = tmp_path_factory.mktemp("site")
    (base / "sitecustomize.py").write_text(NO_NETWORK)
    start = time.monotonic()
    run = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs",
                          base / "html"], capture_output=True, text=True, cwd=ROOT,
                         env=os.environ | {"PYTHONPATH": os.pathsep.join([str(base), str(ROOT)])})
    assert run.returncode == 0, run.stderr[-3000:]
    assert time.monotonic() - start < 180, "the site took more than three minutes"
    return base / "html"


class Page(HTMLParser):
    "The links, the loaded resources and the anchors of a page."
    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.ids = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))
    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[k] for k in ("id", "name") if attrs.get(k)}
        if tag == "a" and attrs.get("href"): self.links.append(attrs["href"])
        elif tag == "link" and attrs.get("rel") in ("stylesheet", "icon", "preload", "shortcut icon"):
            self.loaded.append(attrs.get("href"))
        elif attrs.get("src"): self.loaded.append(attrs["src"])


@pytest.fixture(scope="module")
def pages(site):
    return {p: Page(p) for p in site.rglob("*.html") if "_static" not in p.parts}


def test_every_chapter_and_every_module_has_a_page(site, pages):
    assert {p.stem for p in pages if p.parent.name == "chapters"} == set(CHAPTERS)
    modules = {p.stem for p in (ROOT / "lm_nbdev").glob("*.py")} - {"__init__", "_modidx"}
    assert {p.stem for p in pages if p.parent.name == "api"} == modules
    text = (site / "api" / "data.html").read_text(encoding="utf-8")
    assert "load_corpus" in text and "toronto&quot;, &quot;sotu" in text or "“toronto”, “sotu”" in text, (
        "docments are not in the reference")


def test_inner_links_lead_somewhere(site, pages):
    dead = []
    for path, page in pages.items():
        for link in page.links + page.loaded:
            url = urlsplit(link)
            if url.scheme or url.netloc: continue
            target = path if not url.path else (path.parent / unquote(url.path)).resolve()
            if not target.is_file(): dead.append((path.name, link))
            elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].ids:
                dead.append((path.name, link))
    assert not dead, dead[:20]


def test_nothing_is_loaded_from_elsewhere(pages):
    outside = [(p.name, r) for p, page in pages.items()
               for r in page.loaded if urlsplit(r or "").scheme not in ("", "data")]
    assert not outside, outside[:10]


def test_tables_are_tables(site):
    "A table in computed Markdown is a table, and not a paragraph with bars in it."
    for path in site.glob("chapters/*.html"):
        prose = re.sub(r"<pre.*?</pre>", "", path.read_text(encoding="utf-8"), flags=re.S)
        assert not re.search(r"<p>[^<]*\|\s*:?-+:?\s*\|", prose), path.name


def test_every_chapter_has_its_colab_link(site, pages):
    for name in CHAPTERS:
        assert any(link.startswith("https://colab.research.google.com/") and link.endswith(f"/nbs/{name}.ipynb")
                   for link in pages[site / "chapters" / f"{name}.html"].links)


@pytest.mark.parametrize("width,height", [(1280, 900), (390, 844)])
def test_pages_in_a_browser(site, width, height):
    from playwright.sync_api import sync_playwright
    pictures = ROOT / "test-artefacts"
    pictures.mkdir(exist_ok=True)
    with sync_playwright() as p:
        options = {"executable_path": "/usr/bin/chromium"} if Path("/usr/bin/chromium").exists() else {}
        browser = p.chromium.launch(args=["--no-sandbox"], **options)
        page = browser.new_page(viewport={"width": width, "height": height})
        asked, errors = [], []
        page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or asked.append(r.url))
        page.on("pageerror", lambda e: errors.append(str(e)))
        for name in ["index", *(f"chapters/{c}" for c in CHAPTERS), "api/data", "api/training", "symbols", "glossary",
                     "references"]:
            page.goto((site / f"{name}.html").as_uri())
            if page.locator(".math").count(): page.wait_for_selector("mjx-container svg", state="attached")
            assert page.locator(".math").count() == page.locator(".math mjx-container, mjx-container.math").count(), (
                f"{name}: a formula is not typeset")
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} pixels wide on a screen of {width}"
            page.screenshot(path=str(pictures / f"site-{name.replace('/', '-')}-{width}.png"))
        browser.close()
    assert not asked and not errors, (asked[:5], errors[:5])
