"""The site: the chapters with their stored outputs, the library's reference, search. Built without a network, and read without one.

    sphinx-build -W -b html docs _docs
"""
import ast
import inspect
import json
import re
import shutil
import sys
from importlib import import_module, metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import chapters as course  # noqa: E402
from docutils import nodes  # noqa: E402
from fastcore.docments import docments  # noqa: E402

cfg = course.settings()
project, author, release = cfg["lib_name"], cfg["author"], cfg["version"]
copyright = cfg["copyright"].replace("%(author)s", author)
extensions = ["myst_nb", "sphinx.ext.mathjax"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["README.md"]
templates_path = []

nb_execution_mode = "off"
# tables in computed Markdown; no roles or directives: its words come from a text
nb_render_markdown_format = "gfm"
nb_ipywidgets_js = {}                      # controls are shown as a picture or a sentence: the site runs no kernel
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "sphinx_book_theme"
html_title = cfg["lib_name"]
html_context = {"default_mode": "auto"}
html_static_path = ["static"]
html_css_files = ["course.css"]
html_theme_options = {
    "repository_url": cfg["git_url"], "repository_branch": cfg["branch"], "path_to_docs": cfg["nbs_path"],
    "use_repository_button": True, "use_download_button": False, "use_issues_button": True, "show_navbar_depth": 1,
    "navbar_persistent": [], "show_toc_level": 2, "home_page_in_toc": True,
}
html_copy_source = False
html_show_sourcelink = False
mathjax_path = "tex-svg.js"                # one file with its fonts in it, so that formulas need no network
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "global"}}

# ---- MathJax, from the package that brings it ----
MATHJAX = next((Path(str(f.locate())) for f in metadata.files("sphinx-mathjax-offline")
                or [] if f.name == "tex-svg.js"), None)
if MATHJAX is None: raise RuntimeError("MathJax is not at hand: pip install sphinx-mathjax-offline")
shutil.copyfile(MATHJAX, HERE / "static" / "tex-svg.js")


# ---- chapters: the notebooks, dressed for reading ----
def readable(notebook, name, known):
    "A chapter as the site shows it: a link to Colab instead of a picture from there, no set-up cell, chapters that are named become links."
    cells = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if (cell.get("id") == course.SETUP or text.strip().startswith(("#| hide", "#| default_exp"))
                and "\n" not in text.strip()):
            continue
        if cell.get("id") == course.BADGE:
            text = f"[Open this chapter in Colab]({course.colab_link(name + '.ipynb', cfg)}){{.colab-button}}"
        elif cell["cell_type"] == "markdown": text = linked(text, known, name).replace("](../docs/", "](../")
        cell["source"] = course.lines(text)
        if re.search(r"^\s*### BEGIN SOLUTION", text, re.M) and cell["cell_type"] == "code":
            cell["metadata"]["tags"] = ["hide-input"]
        cells.append(cell)
    notebook["cells"] = cells
    notebook["metadata"]["mystnb"] = {"code_prompt_show": "Show an answer", "code_prompt_hide": "Hide the answer"}
    return notebook


def linked(text, known, here):
    "`chapter 4` as a link to it, outside code, links and headings."
    def link(m):
        target = known.get(int(m[2]))
        return f"[{m[1]} {m[2]}](../chapters/{target}.ipynb)" if target and target != here else m[0]
    pieces = re.split(r"(```.*?```|`[^`]*`|\$\$.*?\$\$|\[[^\]]*\]\([^)]*\)|^#[^\n]*$)", text, flags=re.S | re.M)
    return "".join(p if i % 2 else re.sub(r"\b([Cc]hapter) (\d+)\b", link, p) for i, p in enumerate(pieces))


# ---- words of a text stay words: Markdown that a cell computed brings no HTML and no picture from elsewhere ----
def only_words(app, doctree):
    # (&lt; is what GitHub's filter makes of a tag such as <script>)
    "A tag in a cell's Markdown output becomes the letters that it is; what a cell shows as HTML is left alone, for the library escapes words there."
    for node in list(doctree.findall(lambda n: isinstance(n, (nodes.raw, nodes.image)))):
        if "text_html" in node.get("classes", ()) or not inside_output(node): continue
        if isinstance(node, nodes.image) and "://" not in node["uri"] and not node["uri"].startswith("//"): continue
        text = nodes.Text(node.astext().replace("&lt;", "<") if isinstance(node, nodes.raw)
                          else f"![{node.get('alt', '')}]({node['uri']})")
        node.replace_self(text if isinstance(node.parent, nodes.TextElement) else nodes.paragraph("", "", text))


def inside_output(node):
    while node is not None:
        if "cell_output" in (node.get("classes", ()) if isinstance(node, nodes.Element) else ()): return True
        node = node.parent
    return False


def setup(app): app.connect("doctree-read", only_words)


# ---- the reference: from docstrings and docments ----
def cell(text): return " ".join(str(text).split()).replace("|", "\\|")


def typename(t):
    return "" if t in (inspect._empty, None) else t if isinstance(t, str) else getattr(t, "__name__", str(t))


def parameters(function):
    "A table of parameters from types, defaults and docments."
    try: table = docments(function, full=True, returns=True)
    except (TypeError, ValueError, OSError): return ""
    rows = []
    for name, d in table.items():
        if name in ("self", "cls"): continue
        default = "" if d.default is inspect._empty or name == "return" else f"`{d.default!r}`"
        if name == "return" and not (d.docment or typename(d.anno)): continue
        kind = f"`{typename(d.anno)}`" if typename(d.anno) else ""
        rows.append(f"| {'**gives**' if name == 'return' else f'`{name}`'} | {cell(kind)} | {cell(default)} | "
                    f"{cell(d.docment or '')} |")
    return "\n| parameter | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n" if rows else ""


def signature(thing):
    try: s = inspect.signature(thing)
    except (TypeError, ValueError): return "()"
    plain = [p.replace(annotation=inspect._empty) for n, p in s.parameters.items() if n != "self"]
    return str(s.replace(parameters=plain, return_annotation=inspect._empty))


def entry(kind, name, thing, fence="````"):
    "One function, class or method as a directive."
    text = inspect.cleandoc(inspect.getdoc(thing) or "") if thing.__doc__ and not (thing.__doc__
        or "").startswith(f"{name}(") else ""
    body = [f"{fence}{{py:{kind}}} {name}{signature(thing) if kind != 'exception' else ''}", "", text]
    if kind in ("function", "method"): body.append(parameters(thing))
    elif kind == "class":
        body.append(parameters(thing.__init__) if "__init__" in vars(thing)
                    and not hasattr(thing, "__dataclass_fields__") else fields(thing))
    if inspect.isclass(thing):
        for n, m in vars(thing).items():
            f = m.fget if isinstance(m, property) else m.__func__ if isinstance(m, (classmethod, staticmethod)) else m
            if n.startswith("_") or not inspect.isfunction(f) or not f.__doc__: continue
            body.append(entry("method", n, f, fence="```") if not isinstance(m, property)
                        else f"```{{py:property}} {n}\n\n{inspect.cleandoc(f.__doc__)}\n```\n")
    return "\n".join(body + [fence, ""])


def fields(thing):
    "A dataclass's fields, with the comments beside them."
    if not hasattr(thing, "__dataclass_fields__"): return ""
    try: table = docments(thing, full=True)
    except Exception: table = {}
    rows = []
    for name, f in thing.__dataclass_fields__.items():
        note = table[name].docment if name in table and table[name].docment else ""
        default = "" if repr(f.default).startswith("<") else f"`{f.default!r}`"
        rows.append(f"| `{name}` | `{cell(typename(f.type))}` | {cell(default)} | {cell(note)} |")
    return "\n| field | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def reference(module, chapter, title):
    "The reference page of a module."
    mod = import_module(f"{cfg['lib_name']}.{module}")
    parts = [f"# {module}", "", f"Made in [{title}](../chapters/{chapter}.ipynb).", "",
             f"```{{py:module}} {mod.__name__}\n```", ""]
    for name in mod.__all__:
        thing = getattr(mod, name)
        if getattr(thing, "__module__", None) != mod.__name__ or name.startswith("_"): continue
        kind = ("exception" if inspect.isclass(thing) and issubclass(thing, Exception) else "class"
                if inspect.isclass(thing) else "function" if inspect.isfunction(thing) else None)
        if kind: parts.append(entry(kind, name, thing))
    return "\n".join(parts)


def write(path, text):
    "Write a page only where it changed, so that a second build is quick."
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text: path.write_text(text, encoding="utf-8")


def make_pages():
    "Chapters, reference and the front page, from the notebooks."
    paths, made, modules = course.chapters(), set(), []
    known = {int(p.stem[:2]): p.stem for p in paths}
    for path in paths:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        title = "".join(notebook["cells"][0]["source"]).split("\n")[0].lstrip("# ")
        found = re.search(r"#\| default_exp (\w+)",
                          "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"))
        if found: modules.append((found[1], path.stem, title))
        write(HERE / "chapters" / path.name,
              json.dumps(readable(notebook, path.stem, known), ensure_ascii=False, indent=1))
        made.add(HERE / "chapters" / path.name)
    for module, chapter, title in modules:
        write(HERE / "api" / f"{module}.md", reference(module, chapter, title))
        made.add(HERE / "api" / f"{module}.md")
    for old in [*(HERE / "chapters").glob("*"), *(HERE / "api").glob("*")]:
        if old not in made: old.unlink()
    listed = "\n".join(f"chapters/{p.stem}" for p in paths)
    write(HERE / "index.md", (HERE / "front.txt").read_text(encoding="utf-8").format(chapters=listed,
        modules="\n".join(f"api/{m}" for m, _, _ in modules)))
    shutil.copyfile(HERE / "map.png", HERE / "static" / "map.png")


make_pages()
