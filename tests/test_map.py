"The interactive map in a real browser, and `lm-nbdev map`."
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from lm_nbdev.plots import interactive_map
from lm_nbdev.tsne import tsne

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync".split()
EVIL = ["<img src=x onerror=document.title='run'>", "</script><script>document.title='run'</script>",
        "it's & \"quoted\"", "<!--", "\u2028line", "{{7*7}}", "${1}"]
WORDS = EVIL + [f"word{i}" for i in range(53)]


def make_map():
    rng = np.random.default_rng(0); a, b = rng.normal(size=(60, 6)), rng.normal(size=(60, 4))
    return interactive_map({"first": (tsne(a, perplexity=8, num_iters=300).embedding, a, "note one"),
                            "se<b>cond": (b[:, :2], b, "note two")}, WORDS,
                           counts=np.arange(1000, 940, -1), classes={"odd": WORDS[8:20], "</div>": WORDS[20:24]},
                           title="<u>Map</u>")


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists(): pytest.skip("no Chromium at hand")
    with api.sync_playwright() as p:
        b = p.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS); yield b; b.close()


def until(page, condition, seconds=10):
    "Wait for it without eval, which the page's content policy forbids"
    for _ in range(20 * seconds):
        if page.evaluate(condition): return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


@pytest.fixture(params=[1280, 390])
def page(browser, tmp_path, request):
    make_map().save(tmp_path / "map.html")
    context = browser.new_context(viewport=dict(width=request.param, height=780), has_touch=request.param < 500)
    page = context.new_page(); page.asked, page.errors = [], []
    def gate(route):
        if route.request.url.startswith("file:"): route.continue_()
        else: page.asked.append(route.request.url); route.abort()
    page.route("**/*", gate)
    page.on("pageerror", lambda e: page.errors.append(str(e)))
    page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
    page.goto((tmp_path / "map.html").as_uri())
    until(page, "document.querySelectorAll('#map text').length === 60 && W > 1")
    yield page
    assert page.errors == [] and page.asked == [] and page.title() == "<u>Map</u>"
    context.close()


def at(page, i):
    "Where word i is on the screen"
    box = page.locator("#map").bounding_box(); x, y = page.evaluate(f"spot({i})")
    return box["x"] + x, box["y"] + y


def heading(page): return page.locator("#info h2").text_content() if page.locator("#info h2").count() else None


def test_words_stay_words(page):
    assert page.evaluate("[...document.querySelectorAll('#map text')].map(t => t.textContent)") == WORDS
    assert page.locator("img").count() == 0 and page.locator("script").count() == 1 and page.locator("b").count() == 0
    page.fill("#search", EVIL[0]); page.press("#search", "Enter"); assert heading(page) == EVIL[0]
    assert page.locator("option").all_text_contents()[:2] == ["first", "se<b>cond"]


def test_everything_fits_the_width(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.fill("#search", "word7")
    page.press("#search", "Enter")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_no_two_labels_overlap(page):
    boxes = page.evaluate("[...document.querySelectorAll('#map text')].filter(t => t.style.display !== 'none').map(t "
                          "=> { const r = t.getBoundingClientRect(); return [r.left, r.right, r.top + 4, "
                          "r.bottom - 4]; })")
    assert len(boxes) > 5 and not any(a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
                                      for i, a in enumerate(boxes) for b in boxes[:i])


def test_hover_tells_the_nearest_point_and_its_neighbours(page):
    rng, box = np.random.default_rng(1), page.locator("#map").bounding_box()
    points = np.array([at(page, i) for i in range(60)])
    for i in rng.permutation(60)[:12]:
        x, y = points[i] + rng.uniform(-9, 9, 2)
        x, y = min(max(x, box["x"] + 1), box["x"] + box["width"] - 1), min(max(y, box["y"] + 1),
            box["y"] + box["height"] - 1)
        page.mouse.move(x, y)
        nearest = int(np.linalg.norm(points - [x, y], axis=1).argmin())
        assert heading(page) == WORDS[nearest]                                   # whatever word is drawn on top
        assert (f"{1000 - nearest:,} times" in page.locator("#info").text_content()
                and f"number {nearest + 1} of 60" in page.locator("#info").text_content())
    a = np.random.default_rng(0).normal(size=(60, 6))
    d = np.linalg.norm(a - a[nearest], axis=1)
    order = np.argsort(d)[1:9]
    said = page.locator("#info li button").all_text_contents()
    assert said == [f"{WORDS[j]} {d[j]:.2f}" for j in order]
    page.mouse.move(box["x"] + 2, box["y"] - 5); assert heading(page) is None


def test_search_marks_and_centres(page):
    page.fill("#search", "WORD1")
    assert page.locator("#note").text_content() == "11 words" and heading(page) == "word1"
    page.press("#search", "Enter"); box = page.locator("#map").bounding_box(); x, y = at(page, WORDS.index("word1"))
    assert abs(x - box["x"] - box["width"] / 2) < 2 and abs(y - box["y"] - box["height"] / 2) < 2
    assert page.locator("#map text.strong").count() == 11
    page.fill("#search", "zzz"); assert page.locator("#note").text_content() == "no such word"
    page.press("#search", "Escape"); assert heading(page) is None and page.input_value("#search") == ""


def test_zoom_by_wheel_buttons_and_keys_keeps_the_place(page):
    shown = lambda: page.evaluate("[...document.querySelectorAll('#map text')].filter(t => t.style.display "
                                  "!== 'none').length")
    x, y = at(page, 10); before = page.evaluate("view.k")
    page.mouse.move(x, y); page.mouse.wheel(0, -240); until(page, f"view.k > {before} * 1.3")
    assert np.allclose(at(page, 10), (x, y), atol=1)                             # what is under the pointer stays there
    page.click("#all"); assert page.evaluate("view.k") == 1
    page.click("#in"); page.click("#in"); assert page.evaluate("view.k") > 2; page.click("#out"); page.click("#all")
    page.focus("#map")
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("view.k > 1 && view.x > 0")
    page.keyboard.press("0"); assert page.evaluate("view.k === 1 && view.x === 0") and shown() > 5


def test_drag_moves_and_a_click_pins(page):
    x, y = at(page, 12); box = page.locator("#map").bounding_box(); far = box["x"] + 5, box["y"] + 5
    page.mouse.move(x, y); page.mouse.down(); page.mouse.move(x + 30, y + 20, steps=4); page.mouse.up()
    assert np.allclose(at(page, 12), (x + 30, y + 20), atol=1)
    page.click("#all")
    x, y = at(page, 12)
    nearest = page.evaluate("([x, y]) => nearest(x, y, 44)", [x - box["x"], y - box["y"]])
    page.mouse.click(x, y)
    page.mouse.move(*far)
    page.mouse.move(far[0], box["y"] - 3)
    assert heading(page) == WORDS[nearest]
    page.focus("#map"); page.keyboard.press("Escape"); assert heading(page) is None


def test_touch_taps_and_pinches(page):
    if not page.evaluate("navigator.maxTouchPoints"): return                     # the wide page has no touch
    box = page.locator("#map").bounding_box(); page.touchscreen.tap(*at(page, 30)); assert heading(page) is not None
    before, (x, y) = page.evaluate("view.k"), (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    client = page.context.new_cdp_session(page)
    touch = lambda kind, d: client.send("Input.dispatchTouchEvent", dict(type=kind, touchPoints=[] if kind == "touchEnd"
        else [dict(x=x - d, y=y, id=0), dict(x=x + d, y=y, id=1)]))
    touch("touchStart", 30)
    for d in range(35, 95, 10): touch("touchMove", d)
    touch("touchEnd", 0); assert page.evaluate("view.k") > 2 * before


def test_switching_models_moves_the_words_and_changes_the_neighbours(page):
    page.fill("#search", "word7"); page.press("#search", "Enter"); page.click("#all")
    before, said = page.evaluate("at.map(p => [...p])"), page.locator("#info li button").all_text_contents()
    page.select_option("#model", "1"); until(page, "JSON.stringify(at) === JSON.stringify(D.maps[1].xy)")
    assert (not np.allclose(page.evaluate("at"), before) and page.locator("#info li button").all_text_contents() != said
            and heading(page) == "word7")


def test_a_neighbour_is_a_button(page):
    page.fill("#search", "word7")
    page.press("#search", "Enter")
    first = page.locator("#info li button").first
    name = first.text_content().rsplit(" ", 1)[0]
    first.focus(); page.keyboard.press("Enter"); assert heading(page) == name


def test_it_works_as_cell_output(browser, tmp_path):
    cell = make_map()._repr_html_()
    assert "sandbox=\"allow-scripts\"" in cell and unescape(re.search('srcdoc="([^"]*)"', cell)[1]) == make_map().html
    (tmp_path / "notebook.html").write_text(f"<!doctype html><meta charset=utf-8><title>book</title>{cell}",
                                            encoding="utf-8")
    page = browser.new_page(); page.goto((tmp_path / "notebook.html").as_uri()); frame = page.frame_locator("iframe")
    frame.locator("#search").fill("word5")
    assert frame.locator("#info h2").text_content() == "word5" and page.title() == "book"
    page.close()


@pytest.mark.parametrize("maps, words", [({}, "at least one"), ({"a": (np.zeros((3, 2)), np.zeros((60, 2)), "")},
    "60 points"), ({"a": (np.zeros((60, 3)), np.zeros((60, 2)), "")}, "2 numbers"),
                                         ({"a": (np.full((60, 2), np.nan), np.zeros((60, 2)), "")}, "finite")])
def test_bad_maps_get_one_sentence(maps, words):
    with pytest.raises(ValueError, match=words): interactive_map(maps, WORDS)


RUN = [sys.executable, "-c", "from lm_nbdev.cli import main; main()"]


def run(*args, cwd):
    return subprocess.run([*RUN, *map(str, args)], capture_output=True, text=True, cwd=cwd,
                          env={k: v for k, v in os.environ.items() if k != "LM_NBDEV_CORPUS"}, timeout=300)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    (folder / "a.txt").write_text("".join(f"the {a} {b} the {c} .\n" for a in ("cat", "dog")
                                          for b in ("sees", "hears", "finds") for c in ("house", "tree", "bird",
                                          "road")) * 20, encoding="utf-8")
    (folder / "b.txt").write_text("one <img src=x onerror=alert(1)> two </script> three .\n" * 60, encoding="utf-8")
    for name in "ab":
        assert run("train", "--corpus", folder / f"{name}.txt", "--epochs", "1", "--num-hid", "8", "--out",
                   folder / name, cwd=folder).returncode == 0
    return folder


def test_the_command_writes_a_page_or_a_picture(trained):
    a, b = trained / "a" / "model.safetensors", trained / "b" / "model.safetensors"
    done = run("map", a, "--corpus", trained / "a.txt", "--out", trained / "m.html", cwd=trained)
    assert done.returncode == 0, done.stderr
    text = (trained / "m.html").read_text(encoding="utf-8")
    assert ("KL" in done.stdout and "cat" in text and "GloVe, 2 numbers" in text
            and max(map(len, done.stdout.replace(str(trained), "").splitlines())) <= 80)
    assert run("map", a, "--corpus", trained / "a.txt", "--no-glove", "--out", trained / "m.png",
               cwd=trained).returncode == 0 and (trained / "m.png").read_bytes()[:4] == b"\x89PNG"
    assert run("map", b, "--corpus", trained / "b.txt", "--out", trained / "e.html", cwd=trained).returncode == 0
    text = (trained / "e.html").read_text(encoding="utf-8"); assert "<img" not in text and text.count("</script>") == 1


def test_the_command_says_what_is_wrong(trained):
    a = trained / "a" / "model.safetensors"
    for args, words in ((("map", a, "--corpus", trained / "b.txt"), "different vocabularies"),
                        (("map", a, "--corpus", trained / "a.txt", "--perplexity", "30"), "below a third"),
                        (("map", trained / "none"), "no model file")):
        said = run(*args, cwd=trained)
        assert said.returncode == 2 and words in said.stderr and len(said.stderr.splitlines()) == 1


def test_the_report_holds_a_map_in_a_frame_of_its_own(trained, browser):
    path = trained / "b" / "report.html"; text = path.read_text(encoding="utf-8")
    assert "A map of the words" in text and "<script" not in text and "<img src=x" not in text
    page = browser.new_page(); asked = []
    page.on("request", lambda r: asked.append(r.url) if not r.url.startswith(("file:", "data:", "about:")) else None)
    page.goto(path.as_uri())
    frame = page.frame_locator("iframe.map"); frame.locator("#search").fill("three")
    assert frame.locator("#info h2").text_content() == "three" and asked == [] and page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth")
    page.close()
