"""new_project.py --migrate: what is replaced, what stays, how it is undone; and the command itself."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.migration.small import HELPERS, KEPT, OURS, ROOT, THEIRS, changed, commit, git, state, undo, write_all


def test_migrate_framework_rooms_become_those_of_the_template(migrate, project, template):
    """Every file of our rooms is there, data too, and no cache."""
    code, *_ = migrate(project)
    ours = {
        name: text for name, text in state(template).items() if name.startswith(("base", "espalier", "logger", "utils"))
    }
    found = state(project)
    assert code == 0
    assert {name: found[name] for name in ours} == ours
    assert not (project / "utils/__pycache__").exists()


def test_migrate_signs_the_framework_as_a_new_project_has_it(migrate, project):
    """Its version, and the hash of each file of ours, but of none of the project's own."""
    migrate(changed(project, {"espalier/mine.py": "x = 1\n"}))
    room = project / "espalier"
    assert (room / "VERSION").read_text() == "3.2.1\n"
    rows = dict(reversed(line.split("  ")) for line in (room / "MANIFEST").read_text().splitlines())
    ours = [name.removeprefix("espalier/") for name in OURS if name.startswith("espalier/")]
    assert list(rows) == sorted(["VERSION", *ours])
    assert rows == {name: hashlib.sha256((room / name).read_bytes()).hexdigest() for name in rows}


def test_migrate_rooms_of_the_user_stay_byte_for_byte(migrate, project):
    """Nothing outside of the framework rooms changes, and the project's own files in them neither."""
    odd = {"utils/visual.py": "x = 1\r\n", "model/model.py": "y = 2", "notes.txt": "é", "base/base_loss.py": ""}
    before = state(changed(project, odd))
    migrate(project)
    stays = [name for name in before if name not in OURS]
    assert {name: state(project)[name] for name in stays} == {name: before[name] for name in stays}


def test_migrate_own_files_in_our_rooms_are_named(migrate, project):
    """The report says that they are as they were."""
    *_, report = migrate(changed(project, {"utils/visual.py": "x = 1\n"}))
    rows = "Unchanged.\n\n- `logger/logger_config.json`\n- `utils/visual.py`\n"
    assert f"## Files of the project's own in these rooms\n\n{rows}" in report


def test_migrate_output_has_a_line_for_each_group(migrate, project):
    """The terminal shows counts, where the report is, and the commands that come next."""
    code, out, _ = migrate(project)
    lines = [
        f"{project}: a project of the classic template, generation G3 (since November 2020)",
        "  replaced    8 files of the framework",
        "  added       11 files of the framework",
        "  unchanged   files of the project's own in these rooms: 1",
        "  to edit     0 places, before training",
        "  to know     0 notes",
        f"What to edit, what to know and what was done is in {project}/MIGRATION.md",
        f"Go on in {project} with:",
        '    git add -A && git commit -m "Migrate to Espalier"',
        "or undo it, the second with -f in place of -n:",
        "    git checkout -- .",
        "    git clean -n -- base espalier logger utils .espalier MIGRATION.md",
    ]
    assert (code, out.splitlines()) == (0, lines)


def test_migrate_dry_run_changes_nothing_and_shows_the_report(migrate, project):
    """What it prints is what the migration then does."""
    before = state(project)
    code, out, report = migrate(project, is_dry=True)
    assert (code, state(project), report) == (0, before, "")
    assert out.startswith("This would be done; nothing is changed.\n")
    *_, report = migrate(project)
    assert out.endswith(f"MIGRATION.md would say:\n\n{report}\n")


G1 = {
    "parse_config.py": "class ConfigParser:\n    def __init__(self, args, options='', timestamp=True): ...\n"
    "    def initialize(self, name, module, *args): ...\n",
    "utils/util.py": "def read_json(fname): ...\n",
    "train.py": "from parse_config import ConfigParser\nconfig = ConfigParser(1, 2)\nconfig.initialize('arch', None)\n",
}
PREPARES = {"base/base_trainer.py": THEIRS["base/base_trainer.py"] + "\n    def _prepare_device(self, n): ...\n"}
NO_HELPER = {"utils/util.py": THEIRS["utils/util.py"].replace("def prepare_device", "def _no")}


@pytest.mark.parametrize(
    ("files", "generation"),
    [
        ({**G1, **PREPARES}, "G1 (April to September 2019)"),
        ({**PREPARES, **NO_HELPER}, "G2 (September 2019 to November 2020)"),
        ({"notes.txt": ""}, "G3 (since November 2020)"),
        (PREPARES, "unclear; of the marks it has BaseTrainer._prepare_device, ConfigParser.from_args, "
                   "ConfigParser.init_obj, utils.prepare_device"),
    ],
)  # fmt: skip
def test_migrate_generation_is_told(migrate, project, files, generation):
    """The report says which template the project came from, or that its marks do not agree."""
    code, _, report = migrate(changed(project, files))
    assert code == 0
    assert (
        f"Generation: {generation}. The commit before: `{git(project, 'rev-parse', '--short', 'HEAD').strip()}`."
        in report
    )


def test_migrate_names_of_the_first_generation_are_no_reason_to_keep(migrate, project):
    """`config.initialize` and `ConfigParser(parser, options)` are answered by ours."""
    *_, report = migrate(changed(project, {**G1, **PREPARES}))
    assert "## Kept" not in report


# again, and back


@pytest.mark.parametrize("files", [{"notes.txt": ""}, HELPERS, KEPT["attribute"][0]], ids=["plain", "helpers", "kept"])
@pytest.mark.parametrize("is_committed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_migrate_twice_does_nothing_the_second_time(migrate, project, files, is_committed):
    """A migrated project is left alone, committed or not."""
    migrate(changed(project, files))
    if is_committed:
        commit(project)
    before = state(project)
    code, out, _ = migrate(project)
    assert (code, out) == (0, f"{project} is migrated: nothing to do\n")
    assert state(project) == before


def test_migrate_undo_brings_the_old_state_back(migrate, project):
    """The two commands that are shown restore every file, and spare those that git does not know."""
    changed(project, HELPERS)
    write_all(project, {"utils/my [notes].py": "x = 1\n", "espalier/old.py": "y = 2\n"})
    before = state(project)
    _, out, report = migrate(project)
    commands = out.splitlines()[-2:]
    assert "\n".join(commands) in report
    undo(project, commands)
    assert state(project) == before


def test_migrate_project_below_the_top_of_its_repository(migrate, project, tmp_path):
    """A repository may hold several projects; its other folders may have changes."""
    shutil.rmtree(project / ".git")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    write_all(tmp_path, {"old/utils/mine.txt": "", "other/x.py": ""})
    before = state(project)
    code, out, _ = migrate(project)
    undo(project, out.splitlines()[-2:])
    assert (code, state(project)) == (0, before)


def test_migrate_failure_in_the_middle_says_how_to_undo_it(migration, migrate, project, monkeypatch):
    """A full disk leaves a project that two commands restore."""
    before, write_bytes = state(project), Path.write_bytes

    def fail(path, data):
        if path.name == "monitor.py":
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail)
    code, message, _ = migrate(project)
    commands = ["    git checkout -- .", "    git clean -n -- base espalier logger utils .espalier MIGRATION.md"]
    assert (code, message.splitlines()) == (2, [
        f"new_project error: {project} is migrated in part: espalier/training/monitor.py could not be written",
        "  got       [Errno 28] No space left on device",
        "  fix       undo it there, the second with -f in place of -n, then try again:",
        *commands,
    ])  # fmt: skip
    undo(project, commands)
    assert state(project) == before


def test_migrate_file_that_git_ignores_is_named(migrate, project):
    """A new file that `git add -A` would leave out is told."""
    *_, report = migrate(changed(project, {".gitignore": "espalier/\n"}))
    assert "## Ignored by git\n\nAdd these with `git add -f`, or they are missing in a clone.\n\n- `espalier/" in report


# the command


def run_command(template, *args):
    command = [sys.executable, template / "new_project.py", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=template.parent)


def test_migrate_command_needs_no_target(template, project):
    """--migrate names the project, and --dry-run changes nothing."""
    before = state(project)
    done = run_command(template, "--migrate", project, "--dry-run")
    assert (done.returncode, done.stderr, state(project)) == (0, "", before)
    assert done.stdout.startswith("This would be done; nothing is changed.\n")


def test_migrate_output_that_nobody_reads_on_ends_quietly(template, project):
    """`--migrate OLD | head` shows no traceback."""
    command = [sys.executable, template / "new_project.py", "--migrate", project, "--dry-run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


OF_A_START = "is for a new project, and cannot be given with --migrate"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["out", "--migrate", "old"], f"target {OF_A_START}"),
        (["--dry-run", "out"], "give either target, --check-update, --update or --migrate"),
        ([], "give either target, --check-update, --update or --migrate"),
        (["--migrate", "a", "--name", "b"], f"--name {OF_A_START}"),
        (["--migrate", "a", "--update", "b"], "argument --update: not allowed with argument --migrate"),
        (["--migrate", "a", "--no-git"], f"--no-git {OF_A_START}"),
    ],
)
def test_migrate_options_that_do_not_go_together_are_refused(template, args, told):
    """One either makes a project or migrates one."""
    done = run_command(template, *args)
    assert done.returncode == 2
    assert done.stderr.endswith(f"error: {told}\n")


@pytest.mark.slow
def test_migrate_with_the_real_template_keeps_helpers_in_reach(project):
    """The hook of the framework finds what the migration moved."""
    changed(project, HELPERS)
    done = subprocess.run(
        [sys.executable, ROOT / "new_project.py", "--migrate", project], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    code = "from utils.util import seed_all; from utils import plot, dice; print(seed_all(1), plot(), dice())"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1 2 3\n", "")
