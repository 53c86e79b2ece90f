"""Pieces of an update, and refusals for which a project has to be made by hand."""

import fcntl
import json
import os

import pytest

from scaffold.errors import ProjectError
from scaffold.merge import merge, with_line_ends_of
from tests.scaffold.updating import FILES, World, write

LABELS = ("yours", "Espalier 1", "Espalier 2")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A project of version 0.2.0, and a template of 0.3.0 with another train.py."""
    made = World(tmp_path / "world", monkeypatch)
    made.lay({**FILES, "train.py": "other\n"}, "0.3.0")
    return made


def refusal(world):
    """The message of an update that is refused, which changes nothing."""
    before = world.files()
    with pytest.raises(ProjectError) as caught:
        world.update()
    assert world.files() == before
    return str(caught.value)


def test_second_update_at_once_is_refused(world):
    """While the first holds the lock of the project."""
    handle = os.open(world.project, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    text = refusal(world)
    os.close(handle)
    assert text == (
        f"new_project error: another update of {world.project} is under way\n  fix       wait until it has ended"
    )
    assert world.update() == 0


def record(world, **entries):
    """Write entries into the record of the project."""
    path = world.project / ".espalier/project.json"
    write(path, json.dumps({**json.loads(path.read_text(encoding="utf-8")), **entries}))
    world.commit()


def test_record_with_an_unknown_option_is_of_a_newer_template(world):
    """Even if the version is the same."""
    record(world, colour="blue")
    assert refusal(world) == (
        f"new_project error: {world.project}/.espalier/project.json was made by a newer Espalier\n"
        "  got       colour\n"
        "  expected  only: example, licence, manifest, minimal, name, own, rights, version\n"
        f"  fix       bring the template up to date: git -C {world.template} pull"
    )


def test_example_that_the_template_has_not_is_told(world):
    """With a way out that leaves the rooms alone."""
    record(world, example="owls")
    head, got, expected, fix = refusal(world).splitlines()
    assert head == "new_project error: this template has not the example that the project was made from"
    assert got == "  got       owls" and expected.startswith("  expected  one of: ")
    assert fix == (
        '  fix       set "example" to null in .espalier/project.json and commit: what is in your rooms stays as it is'
    )
    record(world, example=None)
    assert world.update() == 0


def test_update_without_git_is_refused(world, monkeypatch):
    """With what to install."""
    monkeypatch.setenv("PATH", str(world.folder))
    assert refusal(world) == (
        "new_project error: git cannot be run\n"
        "  got       [Errno 2] No such file or directory: 'git'\n"
        "  fix       install git: an update is a commit"
    )


def test_hook_of_the_owner_is_not_in_the_way(world):
    """A pre-commit hook that fails judges what the owner writes."""
    hook = world.project / ".git/hooks/pre-commit"
    write(hook, "#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert world.update() == 0 and world.git("log", "-1", "--format=%s") == "Update from Espalier 0.2.0 to 0.3.0"


def test_project_in_a_larger_repository_is_updated_alone(world):
    """Files beside it stay, and the commit has its paths."""
    outer = world.folder / "outer"
    outer.mkdir()
    (world.project / ".git").rename(outer / ".git")
    world.project = world.project.rename(outer / "project")
    write(outer / "beside.txt", "beside\n")
    world.commit()
    assert world.update() == 0
    changed = world.git("show", "--format=", "--name-only").splitlines()
    assert "project/train.py" in changed and {path.split("/")[0] for path in changed} == {"project"}
    assert world.git("status", "--porcelain") == ""


def test_ignored_files_stay(world):
    """Runs, say."""
    write(world.project / "saved/run/model.pth", b"\0weights")
    assert world.update() == 0 and (world.project / "saved/run/model.pth").read_bytes() == b"\0weights"


@pytest.mark.parametrize(
    ("theirs", "base", "ours", "merged", "conflicts"),
    [
        (b"0\n1\n2\n3\n", b"1\n2\n3\n", b"1\n2\n3\n4\n", b"0\n1\n2\n3\n4\n", ()),
        (b"a\n", b"b\n", b"b\n", b"a\n", ()),
        (
            b"x\na\n",
            b"x\nb\n",
            b"x\nc\n",
            b"x\n<<<<<<< yours\na\n||||||| Espalier 1\nb\n=======\nc\n>>>>>>> Espalier 2\n",
            (2,),
        ),
    ],
)
def test_merge_has_both_changes_or_marks_them(theirs, base, ours, merged, conflicts):
    """Lines of conflicts are counted from 1."""
    result = merge(theirs, base, ours, LABELS)
    assert result is not None and (result.data, result.conflicts) == (merged, conflicts)


def test_what_is_no_text_is_not_merged():
    """Git knows it by a zero byte."""
    assert merge(b"a\0\n", b"b\0\n", b"c\0\n", LABELS) is None


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        (b"a\r\nb\r\n", b"c\nd\n", b"c\r\nd\r\n"), (b"a\nb\n", b"c\r\nd\r\n", b"c\nd\n"), (b"a\r\nb\n", b"c\n", b"c\n"),
        (b"\0\r\n", b"c\n", b"c\n"), (b"", b"c\r\n", b"c\r\n"),
    ],
)  # fmt: skip
def test_line_ends_follow_those_of_the_owner(model, data, expected):
    """Where all of his are alike, in text."""
    assert with_line_ends_of(model, data) == expected
