"""The tutorials and how-tos, done from their first line to their last."""

import pytest

from tests.migration.small import THEIRS, commit, git, write_all
from tests.template.walk import Walk

IN_A_PROJECT = [
    "tutorials/own-data", "tutorials/transfer-learning", "tutorials/search-and-compare", "tutorials/several-gpus",
    "tutorials/notebook-to-project", "howto/resume", "howto/colab", "howto/remote-vscode", "howto/slurm",
    "howto/exact-numbers", "howto/out-of-memory", "howto/shapes",
]  # fmt: skip
IN_A_CLONE = ["index", "tutorials/first-project"]


@pytest.fixture
def walk_beside(root, run, tmp_path):
    """Someone in a clone of the repository, beside which there is room."""
    (tmp_path / "clone").mkdir()
    for each in root.glob("[!.]*"):  # not .git: what is committed there is not ours to add to
        (tmp_path / "clone" / each.name).symlink_to(each)
    return Walk(tmp_path / "clone", run)


@pytest.fixture
def walk(walk_beside, root):
    """Follow a page in a new project, or, of one that makes a project, beside the repository."""

    def follow(page, in_clone=False):
        if not in_clone:
            walk_beside.give(["python", "new_project.py", "../first", "--name", "First"])
            walk_beside.give(["cd", "../first"])
        walk_beside.follow(root / "docs" / f"{page}.md")

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


@pytest.mark.slow
def test_page_on_migrating_brings_over_a_classic_project(walk_beside, root):
    """Both commands, as the page has them."""
    old = walk_beside.folder / "../oldproject"
    write_all(old, THEIRS)
    git(old, "init", "-q")
    commit(old)
    walk_beside.follow(root / "docs/howto/migrate.md")
    assert "Migrate to Espalier" in git(old, "log", "--format=%s") and (old / "espalier").is_dir()


def test_every_page_for_learners_is_followed(root):
    """By a test of this file, or one that names it."""
    folders = [root / "docs" / name for name in ("tutorials", "howto")]
    pages = {f"{folder.name}/{page.stem}" for folder in folders for page in folder.glob("*.md")}
    texts = [path.read_text(encoding="utf-8") for path in (root / "tests").rglob("test_*.py")]
    assert [page for page in sorted(pages) if not any(page in text for text in texts)] == []
