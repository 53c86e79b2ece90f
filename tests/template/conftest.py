"""A project made from the repository, and the code blocks of its pages."""

import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def project(root, tmp_path_factory):
    """A new project with a name of its own; not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "shapes"
    command = [sys.executable, root / "new_project.py", folder, "--name", "Leaf shapes"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def blocks(root):
    """The code blocks of one language, or of any, on a page."""

    def blocks_of(page, language=r"\w+"):
        text = (root / page).read_text(encoding="utf-8")
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)

    return blocks_of
