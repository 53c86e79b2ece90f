"""new_project.py: what comes along, what the project is called, its repository, and what is refused."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import cases

ROOT = Path(__file__).resolve().parents[2]
HINT = "mend that or name another folder, one that is new or empty"
NEW = "name a folder that does not exist yet"

CONFIG = """{
    // what is trained; "name": "not this one"
    "loss": {"type": "a_loss", "name": "short"},
    "name":   "Old",  // kept
    "n_gpu": 1
}
"""
PYPROJECT = """[project]
name = "espalier"
version = "3.2.1"
description = "A framework"

[project.optional-dependencies]
test = ["pytest>=8"]
dev = ["espalier[test]", "ruff"]

# espalier only
[tool.mypy]
strict = true
# /espalier only

[tool.ruff]
extend-exclude = [
    "saved",
]
"""
README = """# Espalier

<!-- espalier only -->
About Espalier.

# Not this heading
<!-- /espalier only -->

Train it:

    # a comment
    python train.py

<!-- espalier only -->
Badges.
<!-- /espalier only -->
The end.
"""
MAKEFILE = """train:
\tpython train.py

# espalier only
bench:
\tpython -m benchmarks.speed
# /espalier only

clean:
\trm -rf build
"""


# Of a template that is in use: what is about Espalier, this machine or other work, and what belongs to a project.
STAYS = [
    "saved/models/a/model_best.pth", "data/MNIST/raw/x", "data/notes.txt", "benchmarks/speed.py", "docs/benchmarks.md",
    "docs/decisions/001.md", "docs/migrating.md", ".ci/x.yml", ".github/workflows/x.yml", ".venv/bin/python",
    "my_env/pyvenv.cfg", "tests/template/test_x.py", "tests/base/test_a.py", "tests/conftest.py", "CHANGELOG.md",
    "CONTRIBUTING.md", "build/x", "examples/gan/gan.py", "new_project.py", "my_room/a.py", "notes.txt",
    "model/__pycache__/a.pyc", "model/a.pyc", "espalier.egg-info/PKG-INFO", ".pytest_cache/x", "model/.mypy_cache/x",
    "model/.ipynb_checkpoints/a.ipynb", "model/.DS_Store", "model/.weights.pth.tmp", ".git/description_of_the_template",
    "migration/plan.py",
]  # fmt: skip
COMES = [
    "data/digits/digits.npz", "model/data/a.py", "model/saved/a.py", "model/docs/a.md", "model/build/a.py",
    "model/CHANGELOG.md", "model/notes.tmp", "model/inner_env/pyvenv.cfg", "base/base_trainer.py",
    "espalier/classic/g1.py", "espalier/config/words.json", "docs/config.md", "docs/slurm/one.sbatch",
    ".pre-commit-config.yaml", ".gitignore", "train.py",
]  # fmt: skip


# What a project has that the template has not.
FILES = ROOT / "scaffold/files"
WRITTEN = {".gitattributes", ".espalier", ".espalier/project.json", ".espalier/originals.zip", "LICENSE",
           *(path.relative_to(FILES).as_posix() for path in FILES.rglob("*"))}  # fmt: skip


def make_template(folder):
    """A small template with a copy of new_project.py."""
    files = {
        "config.json": CONFIG,
        "configs/mnist.json": '{"extends": "../config.json", "name": "Mnist_LeNet"}\n',
        "configs/plain.json": '{"extends": "../config.json"}\n',
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        "Makefile": MAKEFILE,
        ".gitignore": "/saved/\n",
        "train.py": "print('trained')\n",
    }
    for name, text in files.items():
        write(folder / name, text)
    shutil.copy(ROOT / "new_project.py", folder)
    shutil.copytree(ROOT / "scaffold", folder / "scaffold", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def template(tmp_path):
    """A small template of a test's own."""
    return make_template(tmp_path / "template")


@pytest.fixture(scope="module")
def used_template(tmp_path_factory):
    """A template with files of all kinds, from which the project `out` beside it was made."""
    folder = make_template(tmp_path_factory.mktemp("used") / "template")
    for path in {*STAYS, *COMES} - {"new_project.py"}:
        write(folder / path, f"this is {path}")
    write(folder / "tests/project/test_own.py", "this is a project's")
    subprocess.run([sys.executable, folder / "new_project.py", folder.parent / "out"], check=True, capture_output=True)
    return folder


@pytest.fixture
def environment(tmp_path):
    """The environment of a user with a git identity, and with nothing of this machine's git configuration."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "XDG_"))}
    who = {"AUTHOR_NAME": "Ada", "AUTHOR_EMAIL": "ada@x.org", "COMMITTER_NAME": "Ada", "COMMITTER_EMAIL": "ada@x.org"}
    return {**kept, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", **{f"GIT_{key}": who[key] for key in who}}


@pytest.fixture
def new_project(template, tmp_path, environment):
    """Run the template's new_project.py with these arguments, from `tmp_path`."""

    def run_command(*args, cwd=tmp_path, **changes):
        env = {key: value for key, value in {**environment, **changes}.items() if value is not None}
        command = [sys.executable, template / "new_project.py", *args]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)

    return run_command


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def git(folder, *args):
    """The output of git, which may itself be running a hook that started these tests."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return subprocess.run(["git", *args], cwd=folder, env=env, capture_output=True, text=True, check=True).stdout


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")
            if not {".git", "__pycache__"} & {*path.parts}}  # fmt: skip


# what comes along


@pytest.mark.parametrize("path", STAYS)
def test_new_project_file_of_the_template_alone_is_left_out(used_template, path):
    """What is about the template or this machine stays behind."""
    assert (used_template / path).exists()
    assert not (used_template.parent / "out" / path).exists()


@pytest.mark.parametrize("path", COMES)
def test_new_project_file_of_a_project_is_copied(used_template, path):
    """What is in its rooms, also where it is called `data` or `saved`."""
    assert (used_template.parent / "out" / path).read_bytes() == (used_template / path).read_bytes()


def test_new_project_has_tests_of_its_own_rooms_alone(used_template):
    """Those of tests/project."""
    assert files_in(used_template.parent / "out/tests") == {"test_own.py"}


def test_new_project_framework_is_vendored_with_version_and_hashes(used_template):
    """What a later Espalier is to be compared with, and no line of it counts as the project's."""
    out = used_template.parent / "out"
    assert (out / "espalier/VERSION").read_text() == "3.2.1\n"
    rows = (out / "espalier/MANIFEST").read_text().splitlines()
    hashes = {name: hashlib.sha256((out / "espalier" / name).read_bytes()).hexdigest()
              for name in ("VERSION", "classic/g1.py", "config/words.json")}  # fmt: skip
    assert rows == [f"{digest}  {name}" for name, digest in hashes.items()]
    told = git(out, "check-attr", "linguist-vendored", "text", "--", "espalier/config/words.json", "train.py")
    assert [line.rpartition(": ")[2] for line in told.splitlines()] == ["set", "unset", "unspecified", "unspecified"]


def test_new_project_links_are_copied_as_links(new_project, template, tmp_path):
    """A link to a file, to a folder and to nothing stays a link to the same place."""
    links = {"model/file_link": "../train.py", "model/folder_link": "../configs", "data_loader": "nowhere"}
    (template / "model").mkdir()
    for name, destination in links.items():
        (template / name).symlink_to(destination)
    new_project("out")
    assert {name: str((tmp_path / "out" / name).readlink()) for name in links} == links


def test_new_project_config_behind_a_link_is_not_written(new_project, template, tmp_path):
    """Naming the project changes no file outside it."""
    (template / "configs").rename(tmp_path / "shared_configs")
    (template / "configs").symlink_to(tmp_path / "shared_configs")
    new_project("out")
    assert json.loads((tmp_path / "shared_configs/mnist.json").read_text())["name"] == "Mnist_LeNet"


def test_new_project_executable_file_stays_executable(new_project, template, tmp_path):
    """A script that could be run can be run."""
    (template / "train.py").chmod(0o755)
    new_project("out")
    assert os.access(tmp_path / "out/train.py", os.X_OK)


@pytest.mark.parametrize("target", ["out", "deep/down/out", "saved/out", "model/out"])
def test_new_project_target_inside_the_template_is_not_copied_into_itself(new_project, template, target):
    """A project made inside its template has the template's files once."""
    write(template / "model/a.py")
    before = {name for name in files_in(template) if not name.startswith(("scaffold", "new_project.py"))}
    done = new_project(target, cwd=template)
    assert done.returncode == 0
    assert files_in(template / target) == {*before, *WRITTEN}


def test_new_project_empty_target_inside_the_template_is_not_copied_into_itself(new_project, template):
    """Nor does the empty folder that was there before the project."""
    write(template / "model/a.py")
    before = {name for name in files_in(template) if not name.startswith(("scaffold", "new_project.py"))}
    (template / "model/out").mkdir()
    new_project("model/out", cwd=template)
    assert files_in(template / "model/out") == {*before, *WRITTEN}


# where it goes


@pytest.mark.parametrize("target", ["out", "./out/", "../out", "a/b/out"])
def test_new_project_relative_target_starts_from_the_working_directory(new_project, tmp_path, target):
    """The target is where the user stands, not where the template is."""
    here = tmp_path / "here"
    here.mkdir()
    new_project(target, cwd=here)
    assert (here / target / "train.py").exists()


def test_new_project_done_says_where_it_is_and_what_comes_next(new_project, tmp_path):
    """The output is where the project is, and two commands that can be copied."""
    done = new_project("out dir", "--name", "My project")
    lines = [f"My project is in {tmp_path}/out dir", "Go on with:", "  cd 'out dir'", "  make train", ""]
    assert (done.returncode, done.stdout.split("\n"), done.stderr) == (0, lines, "")


def test_new_project_existing_empty_folder_is_filled(new_project, tmp_path):
    """An empty folder may be there."""
    (tmp_path / "out").mkdir()
    assert new_project("out").returncode == 0
    assert (tmp_path / "out/train.py").exists()


def test_new_project_dot_in_an_empty_folder_takes_its_name(new_project, tmp_path):
    """`python ../template/new_project.py .` fills the folder one stands in."""
    (tmp_path / "here").mkdir()
    new_project(".", cwd=tmp_path / "here")
    assert '"name":   "here"' in (tmp_path / "here/config.json").read_text()


# what it is called


def test_new_project_config_gets_the_name_and_keeps_its_layout(new_project, tmp_path):
    """Only the config's own name changes: not a comment, not the name of a section."""
    new_project("out", "--name", "My project")
    assert (tmp_path / "out/config.json").read_text() == CONFIG.replace('"Old"', '"My project"')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"name": "a"}', '{"name": "out"}'),
        ('{\r\n  "name" :\r\n "a"\r\n}', '{\r\n  "name" :\r\n "out"\r\n}'),
        ('{"arch": "name", "x": "y", "name": "a"}', '{"arch": "name", "x": "y", "name": "out"}'),
        ('{/* "name": "b" */ "name": /* "c" */ "a"}', '{/* "name": "b" */ "name": /* "c" */ "out"}'),
        ('{"x": "\\"name\\": \\"b\\" {", "name": "a"}', '{"x": "\\"name\\": \\"b\\" {", "name": "out"}'),
        ('{"metrics": [{"name": "a"}]}', '{"metrics": [{"name": "a"}]}'),
        ('{"name": null, "x": "a"}', '{"name": null, "x": "a"}'),
        ("", ""),
    ],
)
def test_new_project_config_of_any_layout_gets_the_name(new_project, template, tmp_path, before, after):
    """The name is found wherever JSON with comments may have it, and left alone where there is none."""
    write(template / "config.json", before)
    new_project("out")
    assert (tmp_path / "out/config.json").read_bytes().decode() == after


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("mnist.json", '{"extends": "../config.json", "name": "My project_mnist"}\n'),
        ("plain.json", '{"extends": "../config.json"}\n'),
    ],
)
def test_new_project_further_config_is_called_after_project_and_file(new_project, tmp_path, config, text):
    """Runs of further configs do not mix with those of config.json; one without a name inherits it."""
    new_project("out", "--name", "My project")
    assert (tmp_path / "out/configs" / config).read_text() == text


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("My project", "my-project"),
        ("out", "out"),
        ("A_b.C--d", "a-b-c-d"),
        ("Größe 2", "grosse-2"),
        ("数字", "project"),
    ],
)
def test_new_project_package_gets_a_valid_name(new_project, tmp_path, name, package):
    """The package has a name that pip takes, and its extra refers to it."""
    new_project("out", "--name", name)
    text = PYPROJECT[: PYPROJECT.index("# espalier")].replace("espalier", package).replace("3.2.1", "0.1.0")
    text = text.replace("A framework", f"{name}, made from Espalier")
    text += '[tool.ruff]\nextend-exclude = [\n    "espalier",\n    "saved",\n]\n'
    assert (tmp_path / "out/pyproject.toml").read_text() == text


def test_new_project_has_a_readme_of_its_own_in_which_no_word_is_left_open(new_project, tmp_path):
    """That of the template says nothing of the project, and does not come along."""
    new_project("out", "--name", "My project")
    text = (tmp_path / "out/README.md").read_text()
    assert text.startswith("# My project\n") and "Made from Espalier 3.2.1," in text and "About Espalier" not in text
    assert 'python test.py -r "saved/models/My project/RUN"' in text and len(text.splitlines()) < 80
    assert not re.search(r"\{[a-z_]+\}|full only", text)


def test_new_project_makefile_and_documents_lose_what_is_about_espalier(new_project, template, tmp_path):
    """Their marked parts go, and nothing else; marks may be indented."""
    write(template / "docs/config.md", README)
    write(template / ".pre-commit-config.yaml", "a:\n  - b\n  # espalier only\n  - c\n  # /espalier only\n")
    write(template / "SECURITY.md", README)
    new_project("out", "--name", "My project")
    assert (tmp_path / "out/Makefile").read_text() == MAKEFILE[
        : MAKEFILE.index("# espalier")
    ] + "clean:\n\trm -rf build\n"
    expected = "# Espalier\n\nTrain it:\n\n    # a comment\n    python train.py\n\nThe end.\n"
    for name in ("docs/config.md", "SECURITY.md"):
        assert (tmp_path / "out" / name).read_text() == expected
    assert (tmp_path / "out/.pre-commit-config.yaml").read_text() == "a:\n  - b\n"


def test_new_project_text_that_is_not_utf8_comes_through(new_project, template, tmp_path):
    """A file in an old encoding is no reason to fail, and is not damaged."""
    text = b"# Espalier\r\n\xe9t\xe9\r\n"
    (template / "SECURITY.md").write_bytes(text)
    new_project("out")
    assert (tmp_path / "out/SECURITY.md").read_bytes() == text


@pytest.mark.parametrize("missing", ["config.json", "pyproject.toml", "Makefile"])
def test_new_project_template_without_a_named_file_is_still_copied(new_project, template, tmp_path, missing):
    """A file that the user has thrown away is not needed."""
    (template / missing).unlink()
    assert new_project("out").returncode == 0
    assert not (tmp_path / "out" / missing).exists()


BAD = ["", "  ", "...", "a/b", "a\\b", 'a"b', "it's", "a`b", "a\nb", "a\x7fb", "a\u2028b"]


@pytest.mark.parametrize("name", cases(BAD, "  ", "a/b", "it's", "a\u2028b"))
def test_new_project_bad_name_is_refused(new_project, tmp_path, name):
    """A name that would break a file or a path is refused before anything is written."""
    done = new_project("out", "--name", name)
    message = (
        "new_project error: this is no name for a project\n"
        f"  got       {name.strip()!r}\n"
        "  expected  a letter or digit, and no slash, quote or control character\n"
        '  fix       give another one with --name "My project"\n'
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert not (tmp_path / "out").exists()


def test_new_project_folder_whose_name_is_bad_needs_a_name(new_project, tmp_path):
    """A folder may be called anything when `--name` is given."""
    assert new_project("it's").returncode == 2
    assert new_project("it's", "--name", "its").returncode == 0
    assert (tmp_path / "it's/train.py").exists()


# what is refused


def test_new_project_target_is_a_file_is_refused(new_project, tmp_path):
    """A file is not replaced."""
    write(tmp_path / "out", "mine")
    done = new_project("out")
    message = f"new_project error: out is a file\n  fix       {NEW}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    ("names", "got"),
    [(["a.txt"], "a.txt"), ([".hidden"], ".hidden"), (["b", "a.txt", "c"], "3 entries, such as a.txt")],
)
def test_new_project_target_is_not_empty_is_refused(new_project, tmp_path, names, got):
    """A folder with anything in it stays as it is."""
    for name in names:
        write(tmp_path / "out" / name)
    done = new_project("../out", cwd=tmp_path / "template")
    message = f"new_project error: ../out is not empty\n  got       {got}\n  fix       {NEW}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert files_in(tmp_path / "out") == set(names)


def test_new_project_parent_is_a_file_is_refused(new_project, tmp_path):
    """A folder cannot be made under a file."""
    write(tmp_path / "file", "mine")
    done = new_project("file/out")
    got = "[Errno 20] Not a directory: 'file/out'"
    message = f"new_project error: file/out could not be made\n  got       {got}\n  fix       {HINT}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_new_project_parent_not_writable_is_refused(new_project, tmp_path):
    """A folder where the user may not write is named with the reason."""
    (tmp_path / "locked").mkdir(mode=0o500)
    done = new_project("locked/out")
    got = "[Errno 13] Permission denied: 'locked/out'"
    message = f"new_project error: locked/out could not be made\n  got       {got}\n  fix       {HINT}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


@pytest.mark.parametrize("args", [(), ("out", "more")])
def test_new_project_wrong_number_of_arguments_shows_the_usage(new_project, args):
    """Without a target there is nothing to do."""
    done = new_project(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: new_project.py")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that cannot be copied")
def test_new_project_copying_fails_leaves_nothing(new_project, template, tmp_path):
    """When a file cannot be copied, it is named, and the folders that were made are gone again."""
    (template / "model").mkdir()
    os.mkfifo(template / "model/a.pipe")
    done = new_project("new/out")
    got = f"`{template}/model/a.pipe` is a named pipe"
    message = f"new_project error: new/out could not be made\n  got       {got}\n  fix       {HINT}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that cannot be copied")
def test_new_project_copying_fails_keeps_a_folder_that_was_there(new_project, template, tmp_path):
    """A folder of the user's is not removed."""
    (template / "model").mkdir()
    os.mkfifo(template / "model/a.pipe")
    (tmp_path / "out").mkdir()
    assert new_project("out").returncode == 2
    assert (tmp_path / "out").is_dir()


# its repository


def test_new_project_done_is_committed(new_project, tmp_path):
    """The project starts with one commit on main that holds everything."""
    new_project("out", "--name", "My project")
    assert git(tmp_path / "out", "log", "--format=%an %s") == "Ada Start My project from Espalier\n"
    assert git(tmp_path / "out", "status", "--short", "--branch") == "## main\n"
    assert set(git(tmp_path / "out", "ls-files").splitlines()) >= {".gitignore", "config.json", "configs/mnist.json"}


def test_new_project_inside_another_repository_gets_its_own(new_project, tmp_path):
    """A surrounding repository is left alone."""
    git(tmp_path, "init")
    new_project("out")
    assert git(tmp_path / "out", "rev-parse", "--show-toplevel").strip() == str(tmp_path / "out")


def test_new_project_run_from_a_hook_leaves_that_repository_alone(new_project, tmp_path):
    """The variables with which git runs a hook do not lead our git to the other repository."""
    (tmp_path / "other").mkdir()
    git(tmp_path / "other", "init")
    other = tmp_path / "other/.git"
    new_project("out", GIT_DIR=str(other), GIT_INDEX_FILE=str(other / "index"), GIT_WORK_TREE=str(tmp_path / "other"))
    assert not (other / "index").exists()
    assert git(tmp_path / "out", "log", "--format=%s") == "Start out from Espalier\n"


BY_HAND = "then run git add -A and git commit -m 'Start out from Espalier' there."


def test_new_project_git_is_missing_still_makes_the_project(new_project, tmp_path):
    """Without git there is a project, and one sentence says how to get its history."""
    (tmp_path / "no_commands").mkdir()
    done = new_project("out", PATH=str(tmp_path / "no_commands"))
    sentence = f"There is no history, as git is not installed: install it and run git init there, {BY_HAND}"
    assert (done.returncode, done.stdout.splitlines()[1], done.stderr) == (0, sentence, "")
    assert (tmp_path / "out/train.py").exists()


@pytest.fixture
def anonymous(environment):
    """A user whom git does not know, and does not guess; returns what that changes in the environment."""
    write(Path(environment["HOME"]) / ".gitconfig", "[user]\n  useConfigOnly = true\n")
    return {key: None for key in environment if key.startswith(("GIT_AUTHOR", "GIT_COMMITTER", "EMAIL"))}


def test_new_project_no_identity_still_makes_the_project(new_project, tmp_path, anonymous):
    """Without a name for the commit there is a project, and one sentence says how to commit it."""
    done = new_project("out", **anonymous)
    sentence = f"Nothing is committed, as git does not know you: set user.name and user.email, {BY_HAND}"
    assert (done.returncode, done.stdout.splitlines()[1], done.stderr) == (0, sentence, "")
    assert (tmp_path / "out/train.py").exists()


def test_new_project_commit_refused_gives_the_reason_of_git(new_project, environment, tmp_path):
    """A hook of the user's that refuses the commit is quoted."""
    hook = tmp_path / "hooks/pre-commit"
    write(hook, "#!/bin/sh\necho 'no commits on Sundays' >&2\nexit 1\n")
    hook.chmod(0o755)
    write(Path(environment["HOME"]) / ".gitconfig", f"[core]\n  hooksPath = {hook.parent}\n")
    done = new_project("out")
    sentence = f"Nothing is committed, as git commit failed (no commits on Sundays): mend that, {BY_HAND}"
    assert (done.returncode, done.stdout.splitlines()[1], done.stderr) == (0, sentence, "")


# what it needs


def test_new_project_interpreter_without_packages_shows_its_help():
    """It runs before anything is installed; what it imports, tests/test_architecture.py says."""
    command = [sys.executable, "-E", "-s", "-S", ROOT / "new_project.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: new_project.py [-h] [--name NAME] [--example NAME]")
