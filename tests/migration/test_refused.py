"""Projects that cannot be migrated, and what is no obstacle."""

import shutil

import pytest

from tests.migration.small import NAME_ONE, OURS, changed, commit, git, state, write_all


def without(name):
    """Take a file away, and commit that."""
    return lambda project: (project / name).unlink() or commit(project)


def with_files(*names, is_committed=True):
    """Add files with something in them."""
    return lambda project: write_all(project, dict.fromkeys(names, "x = 1\n")) or (is_committed and commit(project))


def with_link(project):
    shutil.move(project / "utils", project / "elsewhere")
    (project / "utils").symlink_to("elsewhere")
    commit(project)


def untracked_trainer(project):
    git(project, "rm", "-q", "--cached", "base/base_trainer.py")
    git(project, "commit", "-q", "-m", "gone")


def with_parser_elsewhere(project):
    (project / "parse_config.py").rename(project / "utils/parse_config.py")
    commit(project)


TAKEN = "names of the framework's are taken by files of the project's own"
RENAME = "  fix       rename them, and commit that"
UNCLEAN = "the project has changes that are not committed"
STASH = "  fix       commit or stash them, so that all can be undone"
REFUSED = {
    "nothing there": (shutil.rmtree, "{project} is no folder", [f"  fix       {NAME_ONE}"]),
    "another kind": (without("base/base_trainer.py"), "{project} is not from the classic template",
                     ["  got       no base/base_trainer.py", f"  fix       {NAME_ONE}"]),
    "too old": (without("parse_config.py"), "{project} is from the classic template before April 2019",
                ["  got       no parse_config.py", "  expected  the template of April 2019 or later",
                 "  fix       docs/migrating.md shows how to bring it over by hand"]),
    "parser elsewhere": (with_parser_elsewhere, "{project} has no parse_config.py",
                         ["  got       ConfigParser is in utils/parse_config.py",
                          "  fix       add a parse_config.py with `from utils.parse_config import ConfigParser`, "
                          "commit, and run this again"]),
    "changed": (with_files("utils/util.py", is_committed=False), UNCLEAN, ["  got       utils/util.py", STASH]),
    "not in git": (untracked_trainer, UNCLEAN, ["  got       base/base_trainer.py", STASH]),
    "own module of our name": (with_files("espalier/config/schema.py", "espalier/checkpoints/folder.py"), TAKEN,
                               ["  got       espalier/checkpoints/folder.py, espalier/config/schema.py", RENAME]),
    "own package of our name": (with_files("utils/util/a.py"), TAKEN, ["  got       utils/util", RENAME]),
    "own module of a room's name": (with_files("espalier.py"), TAKEN, ["  got       espalier.py", RENAME]),
    "file of a room's name": (with_files("espalier"), TAKEN, ["  got       espalier", RENAME]),
    "report of their own": (with_files("MIGRATION.md"), TAKEN, ["  got       MIGRATION.md", RENAME]),
    "link": (with_link, "{project}/utils is a link",
             ["  fix       put what it leads to in its place, and commit that"]),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "head", "answers"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("is_dry", [False, True])
def test_migrate_project_that_cannot_be_is_refused(migrate, project, spoil, head, answers, is_dry):
    """The message says why and what to do, and nothing is changed."""
    spoil(project)
    before = state(project) if project.exists() else None
    code, message, _ = migrate(project, is_dry)
    head = head.replace("{project}", str(project))
    assert (code, message.splitlines()) == (2, [f"new_project error: {head}", *answers])
    assert (state(project) if project.exists() else None) == before


def test_migrate_project_without_history_is_refused(migrate, project):
    """Without git nothing could be undone; its own words are quoted."""
    shutil.rmtree(project / ".git")
    code, message, _ = migrate(project)
    assert (code, message.splitlines()[0]) == (2, f"new_project error: {project} is in no git repository")
    assert "  fix       make it one, so that all can be undone: git init && git add -A && git commit\n" in message


def test_migrate_template_itself_is_refused(migrate, template):
    """The template is no project of the classic one."""
    git(template, "init", "-q")
    code, message, _ = migrate(template)
    shutil.rmtree(template / ".git")
    expected = [f"new_project error: {template} is part of the template itself", f"  fix       {NAME_ONE}"]
    assert (code, message.splitlines()) == (2, expected)


def test_migrate_project_of_ours_is_refused(migrate, project):
    """A project that was scaffolded here has nothing to migrate."""
    code, message, _ = migrate(changed(project, OURS))
    expected = [f"new_project error: {project} has this framework already", f"  fix       {NAME_ONE}"]
    assert (code, message.splitlines()) == (2, expected)


def test_migrate_untracked_files_elsewhere_do_not_matter(migrate, project):
    """Only what would be written over has to be in git."""
    write_all(project, {"scratch.py": "x = 1\n", "utils/scratch.py": "x = 1\n"})
    assert migrate(project)[0] == 0


def test_migrate_empty_module_of_our_name_is_replaced(migrate, project):
    """An empty espalier/__init__.py of a package of the project's own is no obstacle."""
    assert migrate(changed(project, {"espalier/__init__.py": "", "espalier/mine.py": "x = 1\n"}))[0] == 0


def test_migrate_link_out_of_the_project_is_not_followed(migrate, project, tmp_path):
    """A linked file of the user's rooms is neither read nor written."""
    write_all(tmp_path, {"shared.py": "torch.load('a')\n"})
    (project / "shared.py").symlink_to(tmp_path / "shared.py")
    commit(project)
    code, _, report = migrate(project)
    assert (code, "shared.py" in report) == (0, False)
