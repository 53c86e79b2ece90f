"""Projects of version 0.1, which have no record: what they were made from is found out."""

import os
import shutil
import subprocess
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaffold.first.archive import Archive
from scaffold.first.origin import origin_of_first
from scaffold.origin import origin_of

ARCHIVE = Archive()
EDITED = ("train.py", "base/base_trainer.py", "parse_config.py", "README.md", "pyproject.toml", "Makefile")
LAST_WITH_ENGINE, LAST = 303, 728  # states of the template


def git(folder, *args):
    """Run git as nobody in particular."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@x.org")
    subprocess.run(["git", *who, *args], cwd=folder, env=env, capture_output=True, check=True)


def texts_of(state, name):
    """The files of a project of that state whose text is known."""
    paths = [path for path in ARCHIVE.spans if ARCHIVE.hash_at(path, state)]
    texts = {path: ARCHIVE.text(path, state, name) for path in paths}
    package = name.lower().encode()
    return {path: text.replace(b"espalier-project-name", package) for path, text in texts.items() if text is not None}


def made(folder, state, name="Demo"):
    """A project of that state, as far as its texts are known; returns them."""
    texts = texts_of(state, name)
    room = "engine" if state <= LAST_WITH_ENGINE else "espalier"
    for path, data in {**texts, f"{room}/__init__.py": b"", f"{room}/own.py": b"x = 1\n"}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return texts


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=st.integers(0, LAST), edited=st.sets(st.sampled_from(EDITED)), end=st.booleans())
def test_origin_of_project_without_history_is_what_came(tmp_path, state, edited, end):
    """Whatever the owner added, for any state of the template; the line ends may be those of another system."""
    shutil.rmtree(tmp_path / "p", ignore_errors=True)
    texts = made(tmp_path / "p", state)
    for path in {*edited} & {*texts}:
        (tmp_path / "p" / path).write_bytes(texts[path] + b"\n# mine\n" if end else b"# mine\n" + texts[path])
    record = origin_of(tmp_path / "p")
    assert (record.version, record.options.name, record.options.licence) == ("0.1.0", "Demo", "MIT")
    assert {path: record.originals.get(path) for path in texts} == texts


def test_origin_of_project_with_other_line_ends_has_them(tmp_path):
    """A file whose line ends git changed is as it came."""
    texts = made(tmp_path, LAST)
    changed = texts["train.py"].replace(b"\n", b"\r\n")
    (tmp_path / "train.py").write_bytes(changed)
    assert origin_of(tmp_path).originals["train.py"] == changed


@pytest.mark.parametrize("below", ["", "projects/one"], ids=["top", "below"])
def test_origin_of_project_with_history_is_its_first_commit(tmp_path, below):
    """Also in a larger repository; the archive is not asked."""
    project = tmp_path / below
    made(project, 300)
    files = {"train.py": b"as it came\n", "tests/base/test_a.py": b"theirs", "engine/update.py": b"u = 1\n"}
    for path, data in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes(data)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "Start My own: thing from Espalier")
    (project / "train.py").write_text("mine")
    (project / "engine/update.py").write_text("mine")
    (project / "mine.py").write_text("")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "Edits")
    record = origin_of(project)
    assert record.options.name == "My own: thing"
    assert (record.originals["train.py"], record.tests) == (b"as it came\n", {"tests/base/test_a.py": b"theirs"})
    assert record.framework == "engine"
    assert record.signed["update.py"] == sha256(b"u = 1\n").hexdigest()
    assert "mine.py" not in record.originals
    assert not [path for path in record.originals if path.startswith(("engine/", "tests/", "model/", "data_loader/"))]


def test_origin_of_project_committed_otherwise_is_found_by_its_files(tmp_path):
    """A first commit of the owner's own may have edits in it."""
    texts = made(tmp_path, 200)
    (tmp_path / "train.py").write_bytes(texts["train.py"] + b"# mine\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "Initial commit")
    assert origin_of(tmp_path).originals["train.py"] == texts["train.py"]


def test_origin_knows_a_framework_without_manifest(tmp_path):
    """Known files by their hash, edited ones by name alone, and the owner's own not at all."""
    made(tmp_path, 300)
    (tmp_path / "engine/update.py").write_text("mine")
    record = origin_of_first(tmp_path)
    assert record.framework == "engine"
    assert record.signed["update.py"] == ""
    assert "own.py" not in record.signed


def test_origin_of_deleted_file_is_what_it_was(tmp_path):
    """So an update knows that it was deleted."""
    texts = made(tmp_path, LAST)
    (tmp_path / "report.py").unlink()
    assert origin_of(tmp_path).originals["report.py"] == texts["report.py"]


def test_origin_of_own_file_under_a_name_of_another_state_is_none(tmp_path):
    """report.py came later: in a project from before it is the owner's."""
    made(tmp_path, 0)
    (tmp_path / "report.py").write_text("mine")
    assert "report.py" not in origin_of(tmp_path).originals


@pytest.mark.parametrize(
    ("text", "name"),
    [(b'[project]\nname = "x"\ndescription = "Ada\'s, made from Espalier"\n', "Ada's"), (b"", "Demo"), (None, "Demo")],
    ids=["pyproject", "empty", "gone"],
)
def test_origin_finds_the_name(tmp_path, text, name):
    """In pyproject.toml, else in the heading of README.md."""
    made(tmp_path, LAST)
    (tmp_path / "pyproject.toml").unlink()
    if text is not None:
        (tmp_path / "pyproject.toml").write_bytes(text)
    assert origin_of(tmp_path).options.name == name


def test_origin_of_project_without_name_is_called_as_its_folder(tmp_path):
    """With neither file left."""
    made(tmp_path / "folder", LAST)
    (tmp_path / "folder/pyproject.toml").unlink()
    (tmp_path / "folder/README.md").unlink()
    assert origin_of(tmp_path / "folder").options.name == "folder"
