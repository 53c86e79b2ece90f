"""Bringing a project to the version of this template."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scaffold import apply
from scaffold.changes import check_not_newer
from scaffold.errors import ProjectError
from scaffold.first.upgrade import upgrade_project
from scaffold.framework import Framework
from scaffold.git import git_environment
from scaffold.make import render
from scaffold.origin import origin_of
from scaffold.outcome import Outcome
from scaffold.reconcile import SharedFiles
from scaffold.record import FOLDER, FRAMEWORK, Record, read_record, write_record
from scaffold.repository import GitError, Repository
from scaffold.tree import PLAIN, PROGRAM, File, Tree
from scaffold.version import TEMPLATE, version_of_template

UNDER_WAY = f"{FOLDER}/.update"  # in the project, as it has to be on its disk
AGAIN = "mend that and run the same again; the project is as it was"


def update(project: Path, dry_run: bool = False) -> int:
    """Bring a project to the version of this template, in one commit; 1 if conflicts are left to solve.

    Raises:
        ProjectError: it is no project, it is not ready for that, or it could not be done; nothing has changed then.
    """
    project = project.resolve()
    try:
        return _update(project, dry_run)
    except GitError as error:
        raise ProjectError(f"{project} could not be updated", got=str(error), fix=AGAIN) from error
    except OSError as error:
        raise ProjectError(f"{project} could not be updated", got=str(error), fix=AGAIN) from error
    except KeyboardInterrupt as error:
        raise ProjectError(f"{project} was not updated", got="interrupted", fix="run the same again") from error


def _update(project: Path, dry_run: bool) -> int:
    if project.is_dir():
        _undo_interrupted(project, dry_run)
    old = origin_of(project)
    repository = Repository(project)
    repository.check_ready()
    check_not_newer(old.version)
    tree, outcome = Tree(project, repository.tracked_modes()), Outcome()
    _plan(tree, repository, old, outcome)
    version = version_of_template()
    if not tree.changes:
        print(f"{project} is up to date with Espalier {version}")
        return 0
    title = f"Update from Espalier {old.version} to {version}"
    if not dry_run:
        _commit(repository, tree, f"{title}\n\n{outcome}\n")
    _tell(title, outcome, dry_run)
    return 1 if outcome.conflicts else 0


def _plan(tree: Tree, repository: Repository, old: Record, outcome: Outcome) -> None:
    """Render the project anew and put what is different into the tree."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder).resolve() / "project"
        fresh.mkdir()
        render(fresh, old.options, fresh)
        new = read_record(fresh)
        assert new is not None
        framework = {path.relative_to(fresh / FRAMEWORK).as_posix(): _file(path) for path in _files(fresh / FRAMEWORK)}
        Framework(tree, old, repository.versions_of, outcome).replace(framework)
        shared = SharedFiles(tree, old, new, outcome)
        shared.update()
        tests = {path.relative_to(fresh).as_posix(): path.read_bytes() for path in _files(fresh / "tests")}
        upgrade_project(tree, repository.tracked_modes(), old, tests, outcome)
        write_record(fresh, new.version, old.options, shared.own)
        if read_record(fresh) != old:
            for path in _files(fresh / FOLDER):
                tree.write(path.relative_to(fresh).as_posix(), _file(path))


def _commit(repository: Repository, tree: Tree, message: str) -> None:
    """Make the commit apart, then check it out."""
    folder = repository.project / UNDER_WAY
    folder.parent.mkdir(exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise ProjectError("another update of this project is under way", fix="wait for it") from error
    try:
        (folder / ".gitignore").write_text("*\n", encoding="ascii")
        commit = repository.commit(tree.changes, message, folder)
        paths = {repository.prefix + path: file for path, file in tree.changes.items()}
        digests = {path: apply.digest(folder / "new" / path) for path, file in paths.items() if file is not None}
        gone = [path for path, file in paths.items() if file is None]
        apply.write_journal(folder, apply.Journal(str(repository.top), repository.head, commit, gone, digests))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _apply_apart(folder)


def _apply_apart(folder: Path) -> None:
    """Have it done by a process that goes on when this one is ended, by Ctrl-C too."""
    command = [sys.executable, "-I", apply.__file__, str(folder)]
    process = subprocess.Popen(
        command, env=git_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True, text=True, errors="replace",
    )  # fmt: skip
    while process.returncode is None:
        try:
            _, reason = process.communicate()
        except KeyboardInterrupt:
            continue
    if process.returncode:
        raise OSError(reason.strip() or f"the program that does it ended with {process.returncode}")


def _undo_interrupted(project: Path, dry_run: bool) -> None:
    folder = project / UNDER_WAY
    if not folder.is_dir() or folder.is_symlink():
        return
    if dry_run:
        raise ProjectError(
            f"an update of {project} was interrupted", fix="run it without --dry-run: that undoes what was begun first"
        )
    journal = apply.read_journal(folder)
    if journal is not None and Repository(project).head == journal.before:
        apply.undo(folder, journal)
        print("An update was interrupted: what it had begun is undone.")
    shutil.rmtree(folder, ignore_errors=True)


def _tell(title: str, outcome: Outcome, dry_run: bool) -> None:
    if outcome.patch:
        print("Your edits of the framework:", outcome.patch.decode("utf-8", "replace"), sep="\n\n")
    print(f"{title}{', which would do this' if dry_run else ''}:", outcome, sep="\n")
    if _is_template_dirty():
        print(f"Warning: {TEMPLATE} has changes that are not committed; they came along.")
    if dry_run:
        return
    if outcome.conflicts:
        print("Conflicts are left: edit those files between the markers <<<<<<< and >>>>>>>, and commit.")
    print("That is one commit. To go back: git reset --hard HEAD~1")


def _is_template_dirty() -> bool:
    """Whether the template is a git checkout with changes."""
    if not (TEMPLATE / ".git").exists():
        return False
    command = ["git", "status", "--porcelain"]
    return bool(subprocess.run(command, cwd=TEMPLATE, env=git_environment(), capture_output=True).stdout)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _file(path: Path) -> File:
    return File(path.read_bytes(), PROGRAM if os.access(path, os.X_OK) else PLAIN)
