"""new_project.py --update: what is replaced, merged, kept, and refused."""

import random
import subprocess

import pytest

from tests.cases import cases
from tests.scaffold.projects import Pair
from tests.template.test_new_project import git, write

ROOMS = ("data_loader/", "model/", "trainer/", "configs/", "config.json", "data/", "tests/", "notebooks/")


@pytest.fixture
def pair(tmp_path):
    """A template of version 1.0.0 and a project of it, committed."""
    return Pair(tmp_path)


def change(folder, name, old, new):
    """Replace a text in a file."""
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    write(folder / name, text.replace(old, new))


def newer(pair):
    """Bring the template to 2.0.0: a line of base/ changed, a file of the framework new and one gone."""
    pair.set_version("2.0.0")
    change(pair.template, "base/base_trainer.py", "line 5\n", "line five\n")
    write(pair.template / "espalier/report.py", "report\n")
    (pair.template / "espalier/data/order.py").unlink()
    change(pair.template, "model/model.py", "model", "another model")


def test_project_without_an_edit_becomes_what_a_new_one_is(pair, tmp_path):
    """But for the owner's rooms; in one commit, and a second update has nothing to do."""
    newer(pair)
    before = git(pair.project, "rev-parse", "HEAD").strip()
    done = pair.update()
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout
        == """Update from Espalier 1.0.0 to 2.0.0:
  replaced   espalier/: of its 4 files 2 changed, 1 new, 1 gone
  updated    README.md
  updated    base/base_trainer.py
That is one commit. To go back: git reset --hard HEAD~1
"""
    )
    assert git(pair.project, "rev-parse", "HEAD~1").strip() == before and pair.state()[1] == ""
    pair.run(tmp_path / "fresh", "--name", "project")
    fresh = {name: data for name, data in pair.files().items() if not name.startswith(ROOMS)}
    for name, data in fresh.items():
        assert (tmp_path / "fresh" / name).read_bytes() == data, name
    assert (pair.project / "model/model.py").read_text() == "model\n"
    assert pair.update().stdout == f"{pair.project} is up to date with Espalier 2.0.0\n"


def test_edits_are_merged_and_conflicts_marked(pair):
    """Each is named by file and line; the exit code is 1; an edit of the framework is kept aside, and as a patch."""
    change(pair.project, "base/base_trainer.py", "line 5\n", "my line\n")
    change(pair.project, "docs/config.md", "config 1\n", "my config\n")
    write(pair.project / "espalier/atomic.py", "atomic\nmine\n")
    (pair.project / "utils/util.py").unlink()
    pair.commit()
    newer(pair)
    change(pair.template, "docs/config.md", "config 9\n", "config nine\n")
    change(pair.template, "utils/util.py", "util", "other util")
    done = pair.update()
    assert done.returncode == 1
    assert "  conflict   base/base_trainer.py:5\n" in done.stdout
    assert "  merged     docs/config.md\n" in done.stdout
    assert "  left out   utils/util.py: you deleted it\n" in done.stdout
    assert "  edited     espalier/atomic.py: your version is espalier_edits/1.0.0/atomic.py\n" in done.stdout
    assert (pair.project / "espalier/atomic.py").read_text() == "atomic\n"
    lines = (pair.project / "base/base_trainer.py").read_text().splitlines()[4:11]
    assert lines == ["<<<<<<< yours", "my line", "||||||| Espalier 1.0.0", "line 5", "=======", "line five",
                     ">>>>>>> Espalier 2.0.0"]  # fmt: skip
    assert (pair.project / "docs/config.md").read_text().splitlines()[::8] == ["my config", "config nine"]
    git(pair.project, "apply", "--3way", "espalier_edits/1.0.0.patch")
    assert (pair.project / "espalier/atomic.py").read_text() == "atomic\nmine\n"


def test_dry_run_says_the_same_and_changes_nothing(pair):
    """Neither files nor git's own."""
    write(pair.project / "espalier/atomic.py", "mine\n")
    pair.commit()
    newer(pair)
    listed = {path: path.read_bytes() for path in pair.project.rglob("*") if path.is_file() and path.name != "index"}
    tried = pair.update("--dry-run")
    assert {path: path.read_bytes() for path in listed} == listed
    summary = pair.update().stdout.removesuffix("That is one commit. To go back: git reset --hard HEAD~1\n")
    said = tried.stdout.replace("2.0.0, which would do this:", "2.0.0:")
    assert said.startswith(summary) and "-line 5\n+line five\n" in said.removeprefix(summary)


def not_clean(pair):
    write(pair.project / "notes.txt", "x")


def in_a_merge(pair):
    write(pair.project / ".git/MERGE_HEAD", git(pair.project, "rev-parse", "HEAD"))


def without_git(pair):
    subprocess.run(["rm", "-rf", pair.project / ".git"], check=True)


def of_a_newer_template(pair):
    pair.set_version("0.9.0")


def without_a_record(pair):
    subprocess.run(["rm", "-rf", pair.project / ".espalier"], check=True)
    pair.commit()


REFUSED = {
    not_clean: """{project} has changes that are not committed
  got       notes.txt
  fix       commit them, or put them aside with git stash -u; the update is then one commit of its own""",
    in_a_merge: """{project} is in the middle of a merge
  fix       end the merge first""",
    without_git: """{project} is in no git repository
  got       fatal: not a git repository (or any of the parent directories): .git
  fix       run git init, git add -A and git commit -m Before there: an update is one commit, to look at or undo""",
    of_a_newer_template: """the project is newer than this template
  got       a project of Espalier 1.0.0, a template of 0.9.0
  fix       bring the template up to date: git -C {template} pull""",
    without_a_record: """{project} is no project made from Espalier
  got       no .espalier/project.json in it
  fix       name the folder of a project made by new_project.py""",
}


@pytest.mark.parametrize("what", REFUSED)
def test_project_that_is_not_ready_is_refused(pair, what):
    """In one message; nothing is changed."""
    what(pair)
    done = pair.update()
    assert (done.returncode, done.stdout) == (2, "")
    expected = REFUSED[what].format(project=pair.project, template=pair.template)
    assert done.stderr == f"new_project error: {expected}\n"


# random histories


def owner(draw, pair, number):
    """Edit, delete, add and move files as an owner does; each line written is told from every other."""
    names = sorted(name for name in pair.files() if not name.startswith(".espalier/"))
    for step in range(draw.randint(0, 6)):
        name, line = draw.choice(names), f"owner {number} {step}\n".encode()
        path, kind = pair.project / name, draw.choice(["edit", "edit", "edit", "delete", "add", "move"])
        if not path.is_file() or path.suffix not in (".py", ".md", ".json", "") or name == ".gitignore":
            continue
        if kind == "edit":
            lines = path.read_bytes().splitlines(keepends=True)
            lines.insert(draw.randint(0, len(lines)), line)
            path.write_bytes(b"".join(lines))
        elif kind == "add":
            (path.parent / f"own_{number}_{step}.py").write_bytes(line)
        elif kind == "move":
            path.rename(path.with_name(f"moved_{number}_{step}.py"))
        elif b"owner" not in path.read_bytes():
            path.unlink()
    pair.commit()


def developer(draw, pair, number):
    """Change, add and remove files of the template."""
    pair.set_version(f"{number + 2}.0.0")
    folders = ("base", "espalier", "docs", "utils", "model")
    for step in range(draw.randint(1, 5)):
        files = sorted(path for folder in folders for path in (pair.template / folder).rglob("*") if path.is_file())
        path, kind = draw.choice(files), draw.choice(["edit", "edit", "add", "remove"])
        if kind == "add":
            write(path.parent / f"own_{number}_{step}.py", f"template {number} {step}\n")
        elif kind == "remove" and path.parts[-2:] not in (("docs", "config.md"),) and len(files) > 5:
            path.unlink()
        elif path.exists():
            lines = path.read_text().splitlines(keepends=True)
            lines.insert(draw.randint(0, len(lines)), f"template {number} {step}\n")
            write(path, "".join(lines))


def lines_of_owner(files):
    return {line.strip() for data in files.values() for line in data.splitlines() if line.startswith(b"owner ")}


def solve(pair):
    """Take both sides of each conflict, as an owner may."""
    for name, data in pair.files().items():
        if b"<<<<<<< yours" in data:
            marks = (b"<<<<<<<", b"|||||||", b"=======", b">>>>>>>")
            (pair.project / name).write_bytes(
                b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(marks))
            )
    pair.commit("solved")


@pytest.mark.parametrize("seed", cases(range(200), *range(5)))
def test_random_history_loses_no_line_of_the_owner(tmp_path, seed):
    """Through two updates: one commit each, rooms untouched, conflicts told, and then nothing is left to do."""
    draw, pair = random.Random(seed), Pair(tmp_path)
    for number in range(2):
        owner(draw, pair, number)
        developer(draw, pair, number)
        before, head = pair.files(), pair.state()[0]
        done = pair.update()
        after = pair.files()
        assert done.returncode == (1 if any(b"<<<<<<< yours" in data for data in after.values()) else 0), done
        assert pair.state()[1] == "" and git(pair.project, "rev-parse", "HEAD~1").strip() == head
        assert lines_of_owner(before) <= lines_of_owner(after)
        rooms = [{name: data for name, data in each.items() if name.startswith(ROOMS)} for each in (before, after)]
        assert rooms[0] == rooms[1]
        assert pair.update().stdout == f"{pair.project} is up to date with Espalier {number + 2}.0.0\n"
        solve(pair)


# interruptions

NUM_STEPS = 38  # that the update of the test below has
KILLED = """
import os, pathlib, subprocess, sys
sys.path.insert(0, os.getcwd())
from scaffold import apply, update
left = int(sys.argv[1])

def counted(function):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return function(*args, **kwargs)
    return call

for owner, name in ((pathlib.Path, "rename"), (pathlib.Path, "unlink"), (subprocess, "run")):
    setattr(owner, name, counted(getattr(owner, name)))
update._apply_apart = lambda folder, handles: apply.apply(folder)
update.update(pathlib.Path(sys.argv[2]))
"""


@pytest.mark.parametrize("at", cases(range(1, NUM_STEPS + 1), 20, 28, 33, 36, 38))
def test_update_that_is_killed_leaves_the_old_state_or_the_new(tmp_path, at):
    """Before any git command or move of a file; the next update undoes what was begun, and comes to the same end."""
    pair = Pair(tmp_path)
    write(pair.project / "base/base_trainer.py", (pair.project / "base/base_trainer.py").read_text() + "mine\n")
    pair.commit()
    before, head = pair.files(), pair.state()[0]
    newer(pair)
    killed = pair.run(str(at), pair.project, code=KILLED)
    assert killed.returncode == 9, killed.stderr
    done = pair.update()
    assert (done.returncode, done.stderr) == (0, "")
    assert pair.state()[1] == "" and git(pair.project, "rev-parse", "HEAD~1").strip() == head
    assert not (pair.project / ".espalier/.update").exists()
    text = (pair.project / "base/base_trainer.py").read_text()
    assert text == before["base/base_trainer.py"].decode().replace("line 5\n", "line five\n")
