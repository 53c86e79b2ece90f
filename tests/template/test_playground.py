"""The notebook that a project has, from its first cell to its last."""

import json
import shutil
import sys
from pathlib import Path

import pytest

NOTEBOOK = "notebooks/playground.ipynb"


@pytest.fixture
def cells(root):
    """Its cells."""
    return json.loads((root / NOTEBOOK).read_text(encoding="utf-8"))["cells"]


def test_notebook_is_stored_without_outputs(cells):
    """As nobody has run it."""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == 8
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * 8


def test_project_has_the_notebook(project, root):
    """The same, beside a page that names it."""
    assert (project / NOTEBOOK).read_bytes() == (root / NOTEBOOK).read_bytes()
    assert NOTEBOOK in (project / "docs/notebooks.md").read_text(encoding="utf-8")


def execute(notebook, folder):
    """Run a notebook with its kernel in a folder; returns it with its outputs."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.read(notebook, as_version=4)
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell for cell in book.cells if cell.cell_type == "code"]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["in its folder", "beside project.zip"])
def test_notebook_runs_from_top_to_bottom(project, tmp_path, monkeypatch, place):
    """Where it lies in its project, and alone with the project in an archive, as in Colab; three figures are drawn."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    mine = tmp_path / "mine"
    shutil.copytree(project, mine)
    folder = mine / "notebooks"
    if place == "beside project.zip":
        folder = tmp_path / "cloud"
        folder.mkdir()
        shutil.make_archive(str(folder / "project"), "zip", tmp_path, "mine")
        mine.rename(tmp_path / "hidden")
        mine = folder / "project/mine"
    code = execute(project / NOTEBOOK, folder)
    drawn = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(drawn) == 3
    (run,) = (mine / "saved/models/Leaf shapes").iterdir()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 6
