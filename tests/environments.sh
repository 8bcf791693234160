#!/usr/bin/env bash
# The lowest and the newest versions that settings.ini allows, nbdev 3 on a migrated copy, and Colab's widgets: tests/environments.sh [lowest|newest|nbdev3|widgets7 ...]
# Each environment is made afresh in a temporary folder (or in $ENVIRONMENTS, where it is kept).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD; where=${ENVIRONMENTS:-$(mktemp -d)}; [ -n "${ENVIRONMENTS:-}" ] || trap 'rm -rf "$where"' EXIT
python=${PYTHON:-python3}; unset LM_NBDEV_CORPUS

requirements() { "$python" - "$1" <<'P'
import configparser, sys
s = configparser.ConfigParser(); s.read("settings.ini"); d = s["DEFAULT"]
tests = [r for r in d["dev_requirements"].split() if r.split(">")[0] in ("pytest", "hypothesis", "scipy", "nbformat", "plotly", "anywidget")]
print("\n".join(r.replace(">=", "==") if sys.argv[1] == "lowest" else r for r in d["requirements"].split() + tests))
P
}

quiet="-o filterwarnings=default"       # an old matplotlib is warned about by a new pyparsing: not ours to mend
versions() {                     # the fast tests of everything that computes, reads, writes or draws
    if [ "$1" = newest ]; then quiet=; fi
    "$python" -m venv --clear "$where/$1"; requirements "$1" > "$where/$1.txt"
    "$where/$1/bin/pip" install -q -r "$where/$1.txt"
    "$where/$1/bin/pip" install -q --no-deps "$root"; "$where/$1/bin/pip" check
    "$where/$1/bin/pip" list --format=freeze | grep -iE '^(numpy|matplotlib|ipywidgets|tqdm|typer|click|pooch|safetensors|jinja2|threadpoolctl|textalloc|pytest|hypothesis|scipy|nbformat|plotly|anywidget)=='
    rm -rf "$where/$1.tests"; mkdir "$where/$1.tests"; cp -r tests nbs settings.ini pytest.ini data "$where/$1.tests"
    (cd "$where/$1.tests" && PYTHONPATH= LM_NBDEV_CI= "$where/$1/bin/python" -m pytest -q --durations=5 -p no:cacheprovider $quiet tests/test_data.py tests/test_properties.py tests/test_fuzz.py tests/test_arguments.py tests/test_cli.py tests/test_trust.py tests/test_widgets.py -k "not browser and not on_the_site and not in_a_chapter and not thousand")
}

clean() { sed -zE 's,\n*Docs: [^"\n]*,,; s,^""""""\n*,,' "$1" | sed '/^# %% /d'; }       # without the link to its page that nbdev 3 puts first

nbdev3() {                       # the same modules from the same notebooks
    "$python" -m venv --clear "$where/nbdev3"; "$where/nbdev3/bin/pip" install -q 'nbdev>=3' numpy
    rm -rf "$where/copy"; mkdir "$where/copy"; cp -r nbs lm_nbdev settings.ini setup.py pyproject.toml README.md LICENSE "$where/copy"
    (cd "$where/copy"; "$where/nbdev3/bin/pip" list --format=freeze | grep -E '^(nbdev|fastcore|execnb)=='
     PATH="$where/nbdev3/bin:$PATH" "$where/nbdev3/bin/nbdev-migrate-config"; rm -f settings.ini; cat pyproject.toml
     cp -r lm_nbdev before; PATH="$where/nbdev3/bin:$PATH" "$where/nbdev3/bin/nbdev-export"
     for f in before/*.py; do case $f in */_modidx.py) ;; *) diff <(clean "$f") <(clean "lm_nbdev/$(basename "$f")") ;; esac; done
     echo "nbdev 3 exports the same modules")
}

widgets7() {                     # ipywidgets 7.7.1 with the notebook page of its time: every control driven from Python; in the page: pytest -m long tests/test_browser.py
    "$python" -m venv --clear "$where/widgets7"
    { requirements newest | grep -v '^ipywidgets'; printf '%s\n' ipywidgets==7.7.1 'notebook>=6.5,<7'; } > "$where/widgets7.txt"
    "$where/widgets7/bin/pip" install -q -r "$where/widgets7.txt"
    "$where/widgets7/bin/pip" install -q --no-deps "$root"; "$where/widgets7/bin/pip" check
    "$where/widgets7/bin/pip" list --format=freeze | grep -iE '^(ipywidgets|widgetsnbextension|notebook|nbclassic|ipykernel|jupyter_client|numpy|matplotlib)=='
    rm -rf "$where/widgets7.tests"; mkdir "$where/widgets7.tests"; cp -r tests nbs settings.ini pytest.ini "$where/widgets7.tests"
    (cd "$where/widgets7.tests" && PYTHONPATH= LM_NBDEV_CI= "$where/widgets7/bin/python" -m pytest -q -p no:cacheprovider $quiet tests/test_widgets.py)
}

for part in "${@:-lowest newest nbdev3 widgets7}"; do for p in $part; do echo "--- $p"; case $p in nbdev3) nbdev3 ;; widgets7) widgets7 ;; *) versions "$p" ;; esac; done; done
