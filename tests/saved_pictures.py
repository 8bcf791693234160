"""What is saved shows a picture: take the live view of controls out of stored outputs, where their PNG stands beside it, and progress bars, which have none, altogether.

python tests/saved_pictures.py [NOTEBOOK ...]     all of nbs/ if none is named; a saved view without a kernel is an error message in JupyterLab
"""
import sys
from pathlib import Path

import nbformat

VIEW = "application/vnd.jupyter.widget-view+json"


def live_views(nb):
    return [o for c in nb.cells for o in c.get("outputs", []) if VIEW in o.get("data", {})]


def main(paths):
    for path in paths or sorted((Path(__file__).resolve().parent.parent / "nbs").glob("*.ipynb")):
        nb = nbformat.read(path, 4)
        views = live_views(nb)
        for output in views: del output["data"][VIEW]
        for cell in nb.cells:                            # what was a bar has nothing left but "0%"
            if "outputs" in cell:
                cell.outputs = [o for o in cell.outputs if not any(o is v and "image/png" not in v["data"]
                                                                   for v in views)]
        if views:
            nb.metadata.pop("widgets", None)
            nbformat.write(nb, path)
            print(f"{path}: {len(views)} live views taken out")


if __name__ == "__main__": main(sys.argv[1:])
