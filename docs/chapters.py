"""The part of every chapter that is the same in all: the Colab badge, the set-up cell, nbgrader's marks on the exercises. And the README's table of chapters.

    python docs/chapters.py            writes them into nbs/ and README.md
    python docs/chapters.py --check    changes nothing; says what differs, exit code 1 if anything does

Addresses come from settings.ini, so that one edit there and one run of this script moves them all.
"""
import json
import re
import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from lm_nbdev.exercises import mark_exercises  # noqa: E402

BADGE, SETUP = "colab-badge", "colab-setup"          # the two cells' identifiers
SETUP_CELL = '''
USE_DRIVE = False                        # True: keep texts and runs in your Google Drive
DRIVE_FOLDER = "MyDrive/lm_nbdev"        # where in the Drive

try: import google.colab
except ImportError: pass                 # not on Colab: this cell does nothing
else:
    import importlib.util, os, subprocess, sys
    from pathlib import Path
    if importlib.util.find_spec("lm_nbdev") is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q",
                        "{address}"], check=True)
    start = Path("/content") if Path("/content").is_dir() else Path.cwd()
    folder = start / "course"
    if USE_DRIVE:
        from google.colab import drive
        drive.mount(str(start / "drive"))
        folder = start / "drive" / DRIVE_FOLDER
    (folder / "data").mkdir(parents=True, exist_ok=True)
    os.environ["LM_NBDEV_DATA"] = str(folder / "data")
    os.chdir(folder)                     # so that runs/ is written here
    print(f"lm_nbdev is installed; texts are looked for in {{folder / 'data'}}, runs are written to {{folder / 'runs'}}"
          + ("." if USE_DRIVE else " (gone when Colab stops; USE_DRIVE = True keeps them)."))
'''.strip()


def settings():
    "The settings of the project, as a mapping."
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def colab_link(name, cfg):
    "Where Colab opens a chapter."
    return f"https://colab.research.google.com/github/{cfg['user']}/{cfg['repo']}/blob/{cfg['branch']}/{cfg['nbs_path']}/{name}"


def badge(name, cfg):
    "The badge's markdown."
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab_link(name, cfg)})"


def setup_cell(cfg):
    "The set-up cell's source."
    return SETUP_CELL.format(address=f"{cfg['lib_name']} @ git+{cfg['git_url']}@{cfg['branch']}")


def chapters():
    "The chapters' paths, in order."
    return sorted((ROOT / settings()["nbs_path"]).glob("[0-9][0-9]_*.ipynb"))


def dressed(notebook, path):
    "A chapter with badge, set-up cell and marks as they should be (changed in place)."
    cfg = settings()
    old = {c.get("id"): c for c in notebook["cells"] if c.get("id") in (BADGE, SETUP)}
    rest = [c for c in notebook["cells"] if c.get("id") not in (BADGE, SETUP)]
    same = old.get(SETUP, {}).get("source", "")
    count = old.get(SETUP, {}).get("execution_count") if "".join(same) == setup_cell(cfg) else None
    first = {"cell_type": "markdown", "id": BADGE, "metadata": {}, "source": lines(badge(path.name, cfg))}
    second = {"cell_type": "code", "execution_count": count, "id": SETUP, "metadata": {}, "outputs": [],
              "source": lines(setup_cell(cfg))}
    notebook["cells"] = rest[:1] + [first, second] + rest[1:]
    mark_exercises(notebook, path.stem)
    return notebook


def minutes(notebook):
    "About how long a chapter takes to read, in steps of five minutes: 200 words of prose a minute, 30 lines of code."
    words = sum(len("".join(c["source"]).split()) for c in notebook["cells"] if c["cell_type"] == "markdown")
    code = sum(len([line for line in "".join(c["source"]).splitlines() if line.strip()]) for c in notebook["cells"]
               if c["cell_type"] == "code" and c.get("id") != SETUP)
    return max(5, 5 * round((words / 200 + code / 30) / 5))


def table():
    "The README's table of chapters."
    cfg, rows = settings(), []
    for path in chapters():
        notebook = json.loads(path.read_text(encoding="utf-8"))
        title = "".join(notebook["cells"][0]["source"]).split("\n")[0].lstrip("# ")
        number, name = title.split(" · ", 1)
        what, _, rest = name.partition(": ")
        code = "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")
        module = re.search(r"#\| default_exp (\w+)", code)
        rows.append(f"| {number} | [{what}]({cfg['nbs_path']}/{path.name}) | {rest} | {minutes(notebook)} min | "
                    f"{f'`{module[1]}`' if module else ''} | [Colab]({colab_link(path.name, cfg)}) |")
    return "| | chapter | | reading | module | run it |\n|---|---|---|---|---|---|\n" + "\n".join(rows)


def readme():
    "The README with its table of chapters as it should be; unchanged where it has no place for one."
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"(<!-- chapters -->\n).*?(<!-- /chapters -->)", lambda m: m[1] + table() + "\n" + m[2],
                  text, flags=re.S)


def lines(text):
    "A source as notebooks keep it: a list of lines."
    return text.splitlines(keepends=True)


def main(check):
    wrong = []
    for path in chapters():
        text = path.read_text(encoding="utf-8")
        new = json.dumps(dressed(json.loads(text), path), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        if json.loads(new) == json.loads(text): continue
        wrong.append(path.name)
        if not check: path.write_text(new, encoding="utf-8")
    new = readme()
    # a time that is five minutes off is no mistake
    plain = lambda text: re.sub(r"\| \d+ min \|", "", text) if check else text
    if plain(new) != plain((ROOT / "README.md").read_text(encoding="utf-8")):
        wrong.append("README.md")
        if not check: (ROOT / "README.md").write_text(new, encoding="utf-8")
    if wrong: print(("differ from the template: " if check else "written: ") + ", ".join(wrong))
    return 1 if wrong and check else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
