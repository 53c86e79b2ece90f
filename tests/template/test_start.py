"""What new_project.py makes when it is asked for an example, little, a licence, or no repository."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.cases import cases

EXAMPLES = ["custom_dataset", "detection", "gan", "imbalanced", "pointclouds", "segmentation", "shards", "tabular",
            "text", "timeseries", "transfer_learning"]  # fmt: skip
LICENCES = {"MIT": "MIT License", "Apache-2.0": "Apache License", "BSD-3-Clause": "BSD 3-Clause License"}
DIGITS = {"gan", "shards", "transfer_learning"}
BEGIN = re.compile(r"\]\(([^)#\s]+)")


@pytest.fixture(scope="session")
def started(root, tmp_path_factory):
    """Make a project with these arguments; the finished process and its folder."""

    def make(*arguments):
        folder = tmp_path_factory.mktemp("started") / "project"
        command = [sys.executable, root / "new_project.py", folder, "--name", "My project", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60), folder

    return make


def texts_of(folder):
    """The texts of a project's own files, without those of the framework and its documents."""
    paths = (
        path for path in folder.rglob("*") if path.suffix in (".py", ".json", ".md", ".toml", "") and path.is_file()
    )
    named = {path.relative_to(folder): path for path in paths}
    others = ("espalier", "docs", ".espalier", ".git", "base", "tests", "saved", ".venv")
    return {name.as_posix(): path.read_text() for name, path in named.items() if name.parts[0] not in others}


def test_example_that_there_is_not_is_told_with_those_that_there_are(started):
    """And the one that is meant."""
    done, folder = started("--example", "txt")
    message = (
        "new_project error: there is no such example\n"
        "  got       txt\n"
        f"  expected  one of: {', '.join(EXAMPLES)}\n"
        "  closest   text\n"
        "  fix       choose one of these: docs/gallery.md shows them; or leave --example out\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert not folder.exists()


def test_every_example_can_be_started_from(root):
    """None in the folder is missing from the list."""
    assert [path.name for path in sorted((root / "examples").iterdir()) if (path / "config.json").is_file()] == EXAMPLES


def test_licence_that_there_is_not_is_told_with_those_that_there_are(started):
    """And the one that is meant."""
    done, folder = started("--licence", "apache")
    message = (
        "new_project error: there is no text of this licence here\n"
        "  got       apache\n"
        "  expected  one of: MIT, Apache-2.0, BSD-3-Clause, none\n"
        "  closest   Apache-2.0\n"
        "  fix       choose one of these, or take none and write your own into LICENSE\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert not folder.exists()


@pytest.mark.parametrize("name", cases(list(LICENCES), "Apache-2.0"))
def test_licence_is_the_owners_and_ours_stays_with_our_code(started, root, name):
    """In any case of its letters, in LICENSE, pyproject.toml and README."""
    done, folder = started("--licence", name.lower(), "--no-git")
    assert done.returncode == 0, done.stderr
    text = (folder / "LICENSE").read_text()
    assert LICENCES[name] in text and re.search(r"Copyright (\(c\) )?20\d\d \w", text) and "{copyright}" not in text
    assert f'license = {{text = "{name}"}}' in (folder / "pyproject.toml").read_text()
    assert f"{name}, see [LICENSE](LICENSE)." in (folder / "README.md").read_text()
    assert (folder / "espalier/LICENSE").read_bytes() == (root / "LICENSE").read_bytes()


def test_licence_none_leaves_no_file(started):
    """Nor a line in pyproject.toml; ours stays with our code."""
    _, folder = started("--licence", "NONE", "--no-git")
    assert not (folder / "LICENSE").exists() and (folder / "espalier/LICENSE").exists()
    assert "license" not in (folder / "pyproject.toml").read_text()
    assert "(LICENSE)" not in (folder / "README.md").read_text()


def test_minimal_project_has_what_trains_and_evaluates_alone(started):
    """No document, no other command, no further config; and git is left out where it is not wanted."""
    _, folder = started("--minimal", "--no-git")
    assert {path.name for path in folder.iterdir()} == {
        ".espalier", ".gitattributes", ".gitignore", "LICENSE", "Makefile", "README.md", "base", "config.json", "data",
        "data_loader", "espalier", "logger", "model", "parse_config.py", "pyproject.toml", "test.py", "tests",
        "train.py", "trainer", "utils",
    }  # fmt: skip
    named = re.findall(r"\b(?:tune|report|predict|export|serve)\.py|docs/|configs/", "".join(texts_of(folder).values()))
    assert named == []


def check_texts(folder, example):
    """Links resolve, nothing is left of the template's digits or of the folder of examples, and ruff finds nothing."""
    texts = texts_of(folder)
    readme = texts["README.md"]
    assert ("python test.py" in readme) == (example != "gan") and "only -->" not in readme and "# full" not in readme
    assert [link for link in BEGIN.findall(readme) if "://" not in link and not (folder / link).exists()] == []
    foreign = "MnistModel|MnistDataLoader|examples[./]" + ("" if example in DIGITS else "|[Dd]igits")
    found = {name: re.findall(foreign, text) for name, text in texts.items()}
    assert {name: each for name, each in found.items() if each} == {}
    assert (folder / "data/digits").exists() == (example in DIGITS)
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(["ruff", *command, "--quiet", "."], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("ruff") is None, reason="ruff is of the extra dev")
@pytest.mark.parametrize("name", cases(EXAMPLES, "text", "imbalanced"))
def test_example_reads_as_the_owners_own(started, name):
    """With all and minimal; the record says what it was made from."""
    for arguments in ((), ("--minimal",)):
        done, folder = started("--example", name, "--no-git", *arguments)
        assert done.returncode == 0, done.stderr
        check_texts(folder, name)
        assert f'"example": "{name}"' in (folder / ".espalier/project.json").read_text()


PYTHON = '#!/bin/sh\nexec "{}" "$@"\n'
SHORT = ("trainer.epochs=1", "trainer.limit_train_batches=4", "trainer.limit_valid_batches=1", "n_gpu=0")


@pytest.mark.slow
@pytest.mark.parametrize("minimal", [False, True], ids=["whole", "minimal"])
@pytest.mark.parametrize("name", [None, *EXAMPLES])
def test_started_project_passes_its_tests_and_trains(started, name, minimal):
    """`make test` makes the data where there is none; transfer_learning learns its letters for one epoch only."""
    done, folder = started(*(("--example", name) if name else ()), *(("--minimal",) if minimal else ()), "--no-git")
    assert done.returncode == 0, done.stderr
    if name == "transfer_learning":
        source = folder / "configs/source.json"
        source.write_text(source.read_text().replace('"epochs": 8', '"epochs": 1, "limit_train_batches": 4'))
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").write_text(PYTHON.format(sys.executable))
    (folder / ".venv/bin/python").chmod(0o755)
    for stamp in (".installed", ".installed-test"):
        (folder / ".venv" / stamp).touch()
    installed = [
        word for stamp in ("bin/activate", ".installed", ".installed-test") for word in ("-o", f".venv/{stamp}")
    ]
    made = subprocess.run(["make", *installed, "test"], cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    command = [sys.executable, "train.py", "-c", "config.json", *SHORT]
    trained = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert trained.returncode == 0, trained.stderr[-2000:]
