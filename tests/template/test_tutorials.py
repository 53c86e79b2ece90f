"""The tutorials and how-tos, done from their first line to their last."""

import shutil

import pytest

from tests.template.walk import Walk

IN_A_PROJECT = []
IN_A_CLONE = ["tutorials/first-project"]


@pytest.fixture
def walk(root, run, project, tmp_path):
    """Follow a page in a new project, or, of one that makes a project, beside the repository."""

    def follow(page, in_clone):
        if in_clone:
            (tmp_path / "clone").mkdir()
            for each in root.iterdir():
                (tmp_path / "clone" / each.name).symlink_to(each)
        else:
            shutil.copytree(project, tmp_path / "project")
        walk = Walk(tmp_path / ("clone" if in_clone else "project"), run)
        walk.follow(root / "docs" / f"{page}.md")
        return walk

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
    walk(page, in_clone=False)
