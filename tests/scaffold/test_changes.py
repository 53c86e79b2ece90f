"""new_project.py --check-update: what a newer version brings to a project."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import new_project
from scaffold import changes, foreseen, version
from scaffold.changes import sections_since, shown
from scaffold.outcome import Outcome

ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = """# Changelog

About it.

## Unreleased

## [0.10.0] - 2027-01-02

### Added
- A thing of which there is more to say than fits into one line of thirty columns, see
  [docs/thing.md](docs/thing.md) and [the site](https://a.example/b).
- Another.

Words after it.

## 0.9.1 - 2026-12-31

### Changed
- A rate.

## 0.2.0

### Fixed
- Old.
"""
SHOWN = """
[0.10.0] - 2027-01-02

Added
- A thing of which there is
  more to say than fits into
  one line of thirty columns,
  see docs/thing.md and the
  site (https://a.example/b).
- Another.
Words after it."""
NEWS = """{project} is of Espalier 0.9.0, this template is 0.10.0. New is:

[0.10.0] - 2027-01-02

Added
- A thing of which there is more to say than fits into one line of thirty columns, see docs/thing.md
  and the site (https://a.example/b).
- Another.
Words after it.

0.9.1 - 2026-12-31

Changed
- A rate.

Whether your edits go with it cannot be told: {project} is in no git repository.
"""
UNKNOWN = "\nWhether your edits go with it cannot be told: {} is in no git repository.\n"


@pytest.fixture
def template(tmp_path, monkeypatch):
    """A template of version 0.10.0."""
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.10.0"\n', encoding="utf-8")
    for module in (changes, version):
        monkeypatch.setattr(module, "TEMPLATE", tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def write(project, files):
    """A project with these files."""
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    return project


def recorded(folder, number):
    """A project with a record of this version."""
    files = {".espalier/project.json": f'{{"version": "{number}", "name": "Demo"}}'}
    with zipfile.ZipFile(write(folder, files) / ".espalier/originals.zip", "w"):
        return folder


def check(project, capsys):
    """Exit code, what is printed, and what is an error."""
    code = new_project.main(["--check-update", str(project)])
    return code, *capsys.readouterr()


def test_check_update_of_older_project_shows_sections_between(template, tmp_path, capsys):
    """Those after its version up to the template's, the newest first, and nothing of an empty one; code 1."""
    project = recorded(tmp_path / "p", "0.9.0")
    assert check(project, capsys) == (1, NEWS.format(project=project), "")


def test_check_update_of_project_of_same_version_has_nothing_new(template, tmp_path, capsys):
    """The code is 0 then."""
    project = recorded(tmp_path / "p", "0.10.0")
    assert check(project, capsys) == (0, f"{project} is of Espalier 0.10.0, as this template: nothing is new.\n", "")


def test_check_update_of_unreleased_template_shows_what_has_no_number(template, tmp_path, capsys):
    """A template between two versions has something for a project of the version before."""
    text = CHANGELOG.replace("## Unreleased\n", "## Unreleased\n- Coming.\n")
    (template / "CHANGELOG.md").write_text(text, encoding="utf-8")
    project = recorded(tmp_path / "p", "0.10.0")
    head = f"{project} is of Espalier 0.10.0, this template is 0.10.0. New is:"
    assert check(project, capsys) == (1, f"{head}\n\nUnreleased\n- Coming.\n{UNKNOWN.format(project)}", "")


def test_check_update_without_changelog_tells_versions(template, tmp_path, capsys):
    """A template may have been copied without it."""
    (template / "CHANGELOG.md").unlink()
    project = recorded(tmp_path / "p", "0.9.0")
    said = f"{project} is of Espalier 0.9.0, this template is 0.10.0.\n{UNKNOWN.format(project)}"
    assert check(project, capsys) == (1, said, "")


def test_check_update_of_newer_project_is_refused(template, tmp_path, capsys):
    """The template is what is to be brought up to date."""
    said = f"""new_project error: the project is newer than this template
  got       a project of Espalier 0.11.0, a template of 0.10.0
  fix       bring the template up to date: git -C {template} pull
"""
    assert check(recorded(tmp_path / "p", "0.11.0"), capsys) == (2, "", said)


FIRST = {"base/base_trainer.py": "", "parse_config.py": ""}


@pytest.mark.parametrize(
    ("files", "number"),
    [
        ({"espalier/VERSION": "0.3.0\n"}, "0.3.0"),
        ({**FIRST, "engine/__init__.py": ""}, "0.1.0"),
        ({**FIRST, "espalier/__init__.py": ""}, "0.1.0"),
        ({".espalier/project.json": '{"version": "0.2.0"}', "espalier/VERSION": "0.1.0\n"}, "0.2.0"),
    ],
    ids=["signed", "engine", "unsigned", "recorded"],
)
def test_check_update_knows_projects_of_any_age(template, tmp_path, capsys, files, number):
    """By their record, by what the framework is signed with, else by how they are laid out."""
    project = write(tmp_path / "p", files)
    code, out, _ = check(project, capsys)
    assert (code, out.splitlines()[0]) == (1, f"{project} is of Espalier {number}, this template is 0.10.0. New is:")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"notes.txt": ""}, "{p} is no project made from Espalier\n  got       no .espalier/project.json in it"),
        ({".espalier/project.json": "[]"}, "the record in {p}/.espalier cannot be read\n  got       "),
        ({".espalier/project.json": "{"}, "the record in {p}/.espalier cannot be read\n  got       "),
        ({".espalier/project.json": "{}"}, "the record in {p}/.espalier cannot be read\n  got       'version'"),
        (None, "{p} is no folder\n  fix       name the folder of a project made by new_project.py"),
    ],
    ids=["stranger", "list", "cut", "empty", "nowhere"],
)
def test_check_update_of_what_is_no_project_is_refused(template, tmp_path, capsys, files, said):
    """With code 2, and no traceback."""
    project = write(tmp_path / "p", files or {})
    code, out, error = check(project, capsys)
    assert (code, out, error.startswith(f"new_project error: {said.format(p=project)}")) == (2, "", True)


def test_sections_since_compares_numbers_not_texts():
    """0.10 is newer than 0.9, and than 0.9.1."""
    heads = [section.splitlines()[0] for section in sections_since("0.9.1", CHANGELOG)]
    assert heads == ["## [0.10.0] - 2027-01-02"]
    assert len(sections_since("0.1.0", CHANGELOG)) == 3


def test_shown_wraps_rows_and_shortens_links():
    """A link is its text where that is its address."""
    assert "\n".join(shown(sections_since("0.9.1", CHANGELOG)[0], 30)) == SHOWN


def test_shown_has_every_word_of_our_changelog():
    """No word of it is lost, and no line is longer than the terminal, but one that is a single word."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    lines = shown(text, 80)
    words = changes.plain(" ".join(text.split())).replace("#", "").split()
    assert " ".join(lines).replace("#", "").split() == words
    assert [line for line in lines if len(line) > 80 and " " in line.strip("- ")] == []


def test_check_update_goes_well_with_head(tmp_path):
    """Who reads the first lines alone gets no traceback."""
    project = recorded(tmp_path / "p", "0.0.1")
    command = [sys.executable, "new_project.py", "--check-update", project]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_check_update_foresees_what_becomes_of_edits(tmp_path, capsys, monkeypatch):
    """The counts are those of a dry run; nothing of the project changes."""
    outcome = Outcome([("replaced", "espalier/"), ("merged", "a"), ("merged", "b"), ("added", "c")], ["b:3"])
    monkeypatch.setattr(foreseen, "foresee", lambda project: outcome)
    project = recorded(tmp_path / "p", "0.0.1")
    code, out, _ = check(project, capsys)
    command = f"python new_project.py --update {project}"
    last = [
        "With your project: 2 merged, 1 added; conflicts: 1.",
        f"{command} does it in one commit; with --dry-run it tells all of it first.",
    ]
    assert (code, out.splitlines()[-2:]) == (1, last)
