"""The tutorials and how-tos, done from their first line to their last."""

import pytest

from tests.template.walk import Walk

IN_A_PROJECT = [
    "tutorials/own-data", "tutorials/transfer-learning", "tutorials/search-and-compare", "tutorials/several-gpus",
    "tutorials/notebook-to-project", "howto/resume", "howto/colab", "howto/remote-vscode", "howto/slurm",
    "howto/exact-numbers", "howto/out-of-memory", "howto/shapes",
]  # fmt: skip
IN_A_CLONE = ["index", "tutorials/first-project"]


@pytest.fixture
def walk(root, run, tmp_path):
    """Follow a page in a new project, or, of one that makes a project, beside the repository."""

    def follow(page, in_clone=False):
        (tmp_path / "clone").mkdir()
        for each in root.iterdir():
            (tmp_path / "clone" / each.name).symlink_to(each)
        walk = Walk(tmp_path / "clone", run)
        if not in_clone:
            walk.give(["python", "new_project.py", "../first", "--name", "First"])
            walk.give(["cd", "../first"])
        walk.follow(root / "docs" / f"{page}.md")

    return follow


@pytest.mark.slow
@pytest.mark.parametrize("page", IN_A_CLONE)
def test_page_that_makes_a_project_works(walk, page):
    """From the clone to the last command."""
    walk(page, in_clone=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", IN_A_PROJECT)
def test_page_works_in_a_new_project(walk, page):
    """Every file, command and output."""
    walk(page)
