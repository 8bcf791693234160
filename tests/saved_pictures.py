"""What is saved shows a picture: take the live view of controls out of stored outputs, where their PNG stands beside it.

python tests/saved_pictures.py [NOTEBOOK ...]     all of nbs/ if none is named; a saved view without a kernel is an error message in JupyterLab
"""
import sys
from pathlib import Path

import nbformat

VIEW = "application/vnd.jupyter.widget-view+json"


def live_views(nb):
    return [o for c in nb.cells for o in c.get("outputs", []) if VIEW in o.get("data", {}) and "image/png" in o["data"]]


def main(paths):
    for path in paths or sorted((Path(__file__).resolve().parent.parent / "nbs").glob("*.ipynb")):
        nb = nbformat.read(path, 4)
        views = live_views(nb)
        for output in views: del output["data"][VIEW]
        if views:
            nb.metadata.pop("widgets", None)
            nbformat.write(nb, path)
            print(f"{path}: {len(views)} controls saved as pictures")


if __name__ == "__main__": main(sys.argv[1:])
