"""What the documents and `make help` name is there, in the repository and in a project made from it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

MADE = {".git", ".venv", "saved"}  # by commands
# Files that a command writes, or a reader would.
EXAMPLES = {"MIGRATION.md", "best.json", "bundle.json", "index.json", "metrics.json", "new.json", "other.json",
            "out_of_fold.json", "run.json", "samples.npz", "search_space.json", "test.json", "trial.json",
            "validation.json", "writers.json"}  # fmt: skip
OF_OTHERS = {"docs/migrating.md"}  # which speaks of the files of other projects
TOOLS = {"mypy", "pip", "pytest", "venv"}  # that `python -m` finds
FILE = re.compile(r"[\w.][\w./-]*(/|\.(py|md|json|toml|sbatch|npz|png))")


@pytest.fixture(scope="module", params=["repository", "project"])
def folder(request, root):
    """The repository, and a project made from it."""
    return root if request.param == "repository" else request.getfixturevalue("project")


@pytest.fixture(scope="module")
def documents(folder):
    """The Markdown files by path, with their text."""
    found = {each.relative_to(folder): each for each in folder.rglob("*.md")}
    found = {
        path: each
        for path, each in found.items()
        if not path.parts[0].startswith(".")
        and path.parts[0] not in MADE
        and path.parts[:2] != ("scaffold", "files")  # which lie elsewhere in a project
    }
    assert len(found) > 8
    return {path.as_posix(): each.read_text(encoding="utf-8") for path, each in found.items()}


@pytest.fixture(scope="module")
def targets(folder):
    """What `make help` offers."""
    return [line.split()[0] for line in made(folder, "help").splitlines()]


def made(folder, *arguments):
    """What `make` prints; a `make` that runs the tests passes its own options on, and they are left out."""
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout


def test_documents_link_to_what_is_there(folder, documents):
    """Every relative link of every document leads to a file."""
    links = [(name, link) for name, text in documents.items() for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)]
    relative = [(name, link) for name, link in links if "://" not in link]
    assert len(relative) > 10
    assert [each for each in relative if not (folder / each[0]).parent.joinpath(each[1]).exists()] == []


def test_documents_name_files_that_are_there(folder, documents):
    """So does every path in backticks; a bare name may stand for a file of any folder."""
    known = {path.name for path in folder.rglob("*") if not MADE & {*path.relative_to(folder).parts}}
    missing = []
    for name in sorted(documents.keys() - OF_OTHERS):
        if name.startswith("docs/decisions/"):  # which speak of the code of their time, and of what was given up
            continue
        text = documents[name]
        if name == "CHANGELOG.md":  # of the newest version alone
            text = re.split(r"^## ", text, flags=re.MULTILINE)[1]
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        words = {word.strip(",;:") for words in re.findall(r"`([^`]+)`", prose) for word in words.split()}
        for word in sorted(filter(FILE.fullmatch, words)):
            is_there = any((start / word).exists() for start in (folder, (folder / name).parent))
            is_bare = "/" not in word.rstrip("/") and (word in known or word in EXAMPLES)
            if not (is_there or is_bare or Path(word).parts[0] in MADE):
                missing.append((name, word))
    assert missing == []


def test_make_help_offers_what_can_be_done(folder, targets):
    """Every module and file that a target's commands name is there."""
    assert {"setup", "train", "test", "lint", "clean", "help"} <= {*targets}
    missing = []
    for target in targets:
        lines = re.sub(r" (>|-o) \S+", "", made(folder, "-n", "-B", target))  # but for what it writes
        modules = re.findall(r"python3? -m ([\w.]+)", lines)
        missing += [(target, name) for name in modules if name not in TOOLS and not is_module(folder, name)]
        files = re.findall(r"(?<!\S)\w[\w/.-]*\.(?:py|txt|json|toml)(?!\S)", lines)
        missing += [(target, name) for name in files if not (folder / name).exists()]
    assert missing == []


def test_documents_name_targets_that_there_are(documents, targets):
    """Of `make`, in the running text and in blocks."""
    named = {(name, target) for name in documents.keys() - OF_OTHERS
             for target in re.findall(r"(?:`|^)make ([a-z-]+)", documents[name], re.MULTILINE)}  # fmt: skip
    assert len(named) > 2 and {(name, target) for name, target in named if target not in targets} == set()


def is_module(folder, name):
    path = folder / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_makefile_says_what_its_targets_are(folder, targets):
    """Every phony target is offered by `make help`, and there is no other."""
    text = (folder / "Makefile").read_text()
    phony = [name for line in re.findall(r"^\.PHONY:(.*)", text, re.MULTILINE) for name in line.split()]
    assert sorted(phony) == sorted(targets)
