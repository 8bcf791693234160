"Controls without a browser: a thousand random events each, threads and figures that do not grow, text that stays text."
import html
import importlib.util
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import ipywidgets as ipw
import nbformat
import numpy as np
import pytest
from matplotlib import pyplot as plt

from lm_nbdev import widgets
from lm_nbdev.architecture import Architecture
from lm_nbdev.data import UnknownWord, load_corpus
from lm_nbdev.glove import log_co_occurrence, train_glove
from lm_nbdev.model import Model
from lm_nbdev.training import TrainConfig, train

ROOT = Path(__file__).resolve().parent.parent
EVIL = "<img src=x onerror=document.title='RUN'>"
PLOTLY = bool(importlib.util.find_spec("plotly") and importlib.util.find_spec("anywidget")) and ipw.__version__ >= "8"
BAD = EVIL.replace(" ", "_")                # one word of a prepared text
ODD = ["$x$", "'\"&amp;", "</script>", "<script>x</script>", "]]>", "\u202eevil", "🙂", "{{7*7}}", "=1+1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    "A small text whose words include markup, dollars and quotes."
    rng, names = np.random.default_rng(0), [f"w{i}" for i in range(30)] + [BAD, *ODD]
    text = "\n".join(" ".join(rng.choice(names, 9)) + " ." for _ in range(900))
    path = tmp_path_factory.mktemp("text") / "own.txt"
    path.write_text(text, encoding="utf-8")
    return load_corpus(path)


@pytest.fixture(scope="module")
def model(corpus):
    return Model.random_init(Architecture(corpus.vocab_size, corpus.context_len, 5, 7), corpus.vocab, init_wt=.5)


def make(kind, corpus, model):
    glove = train_glove(log_co_occurrence(corpus.train.inputs, corpus.vocab_size), embedding_dim=2, num_epochs=5)
    return {"architecture_counter": lambda: widgets.architecture_counter(),
            "glove_explorer": lambda: widgets.glove_explorer(corpus, num_epochs=40),
            "gradient_explorer": lambda: widgets.gradient_explorer(model, corpus, batch_size=5),
            "query_panel": lambda: widgets.query_panel(model, corpus),
            "training_dashboard": lambda: widgets.training_dashboard(corpus, TrainConfig(8, 8, epochs=2,
            batch_size=200)),
            "embedding_map": lambda: widgets.embedding_map({"network": model, "GloVe": glove}, corpus,
                                                           interactive=False),
            "embedding_map with plotly": lambda: loaded(widgets.embedding_map({"network": model, "GloVe": glove},
            corpus))}[kind]()


def loaded(control):
    "With plotly's map in place, where there is plotly (it needs ipywidgets 8)."
    control.loading.join(60)
    assert (control.graph is not None) == PLOTLY
    return control


KINDS = ["architecture_counter", "glove_explorer", "gradient_explorer", "query_panel", "training_dashboard",
         "embedding_map", "embedding_map with plotly"]


def everything(widget):
    yield widget
    for child in getattr(widget, "children", ()): yield from everything(child)


def random_value(field, rng, corpus):
    if isinstance(field, (ipw.Dropdown, ipw.ToggleButtons)): return rng.choice(field._options_values)
    if isinstance(field, ipw.FloatLogSlider): return 10 ** rng.uniform(field.min, field.max)
    if isinstance(field, ipw.FloatSlider): return rng.uniform(field.min, field.max)
    if isinstance(field, (ipw.IntSlider, ipw.BoundedIntText)): return rng.randint(field.min, field.max)
    words = rng.choices(corpus.vocab, k=rng.randint(0, 5))
    return " ".join(words + rng.choice([[], ["zzz"], [""], [EVIL], ["w"], ["\U0001f600"]]))


# so that a thousand events stay short
SMALL = {"d": 40, "D": 60, "H": 90, "T": 5, "embedding_dim": 20, "num_hid": 30, "epochs": 3}


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_random_events(kind, corpus, model, monkeypatch):
    control, rng, errors = make(kind, corpus, model), random.Random(0), []
    monkeypatch.setattr(widgets, "tsne", lambda X, **kw: widgets_tsne(X, **{**kw, "num_iters": 5}))
    real, drawn = widgets.png_bytes, []
    def now_and_then(fig):                       # every figure is made, every fortieth is rendered: rendering is what takes the time
        if len(drawn) % 40 == 0: png = real(fig)
        else: png = drawn[-1]
        drawn.append(png); return png
    monkeypatch.setattr(widgets, "png_bytes", now_and_then)
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.append(args))
    for name, high in SMALL.items():
        if name in control.fields: control.fields[name].max = high
    buttons = [w for w in everything(control.view) if isinstance(w, ipw.Button)]
    control.picture
    figures, widgets_before = len(plt.get_fignums()), sum(1 for _ in everything(control.view))
    for n in range(1000):
        if buttons and rng.random() < .25: rng.choice(buttons).click()
        else:
            name = rng.choice(list(control.fields))
            if rng.random() < .5: control.fields[name].value = random_value(control.fields[name], rng, corpus)
            else: control.value = {name: random_value(control.fields[name], rng, corpus)}
        ours = [t for t in threading.enumerate() if t.name.startswith("lm_nbdev ")
                and not getattr(t, "ending").is_set()]
        assert len(ours) <= 1
    assert len(plt.get_fignums()) == figures and sum(1 for _ in everything(control.view)) == widgets_before
    assert control.picture.startswith(b"\x89PNG")
    control.close()
    deadline = time.time() + 30
    while any(t.name.startswith("lm_nbdev ") for t in threading.enumerate()) and time.time() < deadline: time.sleep(.05)
    assert not [t for t in threading.enumerate() if t.name.startswith("lm_nbdev ")] and not errors


from lm_nbdev.tsne import tsne as widgets_tsne   # the real one, for the shortened one above


@pytest.mark.parametrize("kind", KINDS)
def test_text_stays_text(kind, corpus, model):
    "A word that is markup reaches the page escaped, in every text of every control."
    control = make(kind, corpus, model)
    for name in ("context", "word", "other", "search"):
        if name in control.fields:
            control.value = {name: " ".join([BAD] * corpus.context_len) if name == "context" else BAD}
    if kind == "glove_explorer": control.start(); control.wait(30)
    if kind == "training_dashboard": control.start(); control.wait(60)
    shown = [w.value for w in everything(control.view) if isinstance(w, ipw.HTML)]
    assert not any("<img src=x" in s or "<img_src" in s for s in shown)
    if kind in ("query_panel", "glove_explorer", "training_dashboard", "embedding_map"):
        assert any("&lt;img_src=x" in s for s in shown)
    if kind == "embedding_map with plotly" and PLOTLY:
        assert not any("<img" in t for t in control.graph.data[0].hovertext + tuple(control.graph.data[0].text))
    labels = [w.description for w in everything(control.view) if not isinstance(w, ipw.Button)
              and hasattr(w, "description")]
    assert not any("img" in s for s in labels)                      # ipywidgets 7 shows labels as HTML
    control.close()


@pytest.mark.parametrize("kind", ["query_panel", "glove_explorer", "embedding_map"])
def test_odd_words_are_shown_as_they_are(kind, corpus, model):
    control = make(kind, corpus, model)
    if kind == "glove_explorer": control.start(); control.wait(30)
    for word in ODD:
        for name in ("word", "other", "search"):
            if name in control.fields: control.value = {name: word}
        shown = " ".join(w.value for w in everything(control.view) if isinstance(w, ipw.HTML))
        assert html.escape(word) in shown and not re.search("<script|</script|]]>", shown), (word, shown)
        assert control.picture.startswith(b"\x89PNG")
    control.close()


def test_unknown_words_are_answered_in_place(corpus, model):
    panel = widgets.query_panel(model, corpus)
    panel.value = {"context": "w1 w2 w33x w4"}
    assert "w33x" in panel.message.value and panel.suggest[0].description.startswith("w3")
    panel.suggest[0].click()
    assert panel.message.value == "" and "w33x" not in panel.value["context"]


def test_state_from_code(corpus, model):
    for kind in KINDS:
        control = make(kind, corpus, model)
        state = control.value
        control.value = state
        assert control.value == state
        with pytest.raises(ValueError, match="no setting"): control.value = {"nothing": 1}
        control.close()
    with pytest.raises(ValueError, match="different vocabularies"):
        widgets.query_panel(Model.random_init(Architecture(3), list("abc")), corpus)
    with pytest.raises(ValueError, match="words"): widgets.embedding_map(train_glove(np.zeros((9, 9)), num_epochs=1))


def test_the_same_cell_again_leaves_no_thread(corpus):
    config = TrainConfig(8, 8, epochs=100, batch_size=20)
    for _ in range(4):
        dashboard = widgets.training_dashboard(corpus, config); dashboard.start()
        # as Out[n] keeps them
        kept = getattr(test_the_same_cell_again_leaves_no_thread, "kept", []); kept.append(dashboard)
        test_the_same_cell_again_leaves_no_thread.kept = kept
    alive = lambda: [t for t in threading.enumerate() if t.name.startswith("lm_nbdev ")]
    deadline = time.time() + 30
    while len(alive()) > 1 and time.time() < deadline: time.sleep(.05)
    assert len(alive()) == 1
    dashboard.close(); dashboard.wait(30)
    assert not alive()


def test_pause_stop_keeps_the_best_and_reset(corpus):
    dashboard = widgets.training_dashboard(corpus, TrainConfig(8, 8, epochs=100, batch_size=20))
    dashboard.start()
    while len(dashboard.curves["valid_ce"]) < 2: time.sleep(.02)
    dashboard.pause(); time.sleep(.3)
    steps = len(dashboard.curves["step"]); time.sleep(.3)
    assert len(dashboard.curves["step"]) == steps and dashboard.status == "paused" and dashboard.running
    dashboard.start()
    while len(dashboard.curves["step"]) == steps: time.sleep(.02)
    dashboard.stop(); dashboard.wait(30)
    result = dashboard.result
    assert "request" in result.stopped and dashboard.model is result.model
    np.testing.assert_allclose(result.final["valid"], min(dashboard.curves["valid_ce"]), rtol=1e-5)
    dashboard.reset()
    assert dashboard.result is None and dashboard.curves["step"] == [] and dashboard.status == "ready"


def test_a_terminal_is_told():
    code = "import sys; from lm_nbdev.widgets import *; print(repr(architecture_counter())); print('jupyter_server' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "needs a notebook" in out and out.strip().endswith("False")


def test_what_is_saved_is_a_picture(corpus, model):
    for kind in KINDS:
        control = make(kind, corpus, model)
        bundle = control._repr_mimebundle_()
        assert (bundle["image/png"].startswith("iVBOR") and "notebook" in bundle["text/plain"]
                and bundle["application/vnd.jupyter.widget-view+json"]["model_id"])
        control.close()
    from saved_pictures import live_views
    for path in sorted((ROOT / "nbs").glob("*.ipynb")):
        nb = nbformat.read(path, 4)
        assert not live_views(nb), f"{path.name} was saved with live controls: python tests/saved_pictures.py"
