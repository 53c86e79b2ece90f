"""Bringing a project to the version of this template."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from scaffold import apply
from scaffold.changes import check_not_newer
from scaffold.console import tell
from scaffold.errors import ProjectError
from scaffold.examples import EXAMPLES
from scaffold.first.upgrade import upgrade_project
from scaffold.framework import EDITS, Framework, diff
from scaffold.git import git_environment
from scaffold.lock import lock_of
from scaffold.make import render
from scaffold.origin import check_folder, origin_of, version_of_project
from scaffold.outcome import Outcome
from scaffold.reconcile import SharedFiles
from scaffold.record import FOLDER, FRAMEWORK, Record, is_shared, read_record, write_record
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
    check_folder(project)
    try:
        with lock_of(project) as handles:
            return _update(project, dry_run, handles)
    except GitError as error:
        raise ProjectError(f"{project} could not be updated", got=str(error), fix=AGAIN) from error
    except OSError as error:
        raise ProjectError(f"{project} could not be updated", got=str(error), fix=AGAIN) from error
    except KeyboardInterrupt as error:
        raise ProjectError(f"{project} was not updated", got="interrupted", fix="run the same again") from error


def _update(project: Path, dry_run: bool, handles: Collection[int]) -> int:
    _undo_interrupted(project, dry_run)
    old, repository, tree, outcome = _planned(project)
    version = version_of_template()
    if not tree.changes:
        tell([f"{project} is up to date with Espalier {version}"], sys.stdout)
        return 0
    title = f"Update from Espalier {old.version} to {version}"
    if not dry_run:
        _commit(repository, tree, f"{title}\n\n{outcome}\n", handles)
    diffs = _diffs_of_shared(tree) if dry_run else ""
    tell([*_report(title, outcome, dry_run), *([diffs] if diffs else [])], sys.stdout)
    return 1 if outcome.conflicts else 0


def foresee(project: Path) -> Outcome:
    """What an update would do; nothing is changed.

    Raises:
        ProjectError: the project is not ready for that.
        OSError, GitError: it could not be found out.
    """
    project = project.resolve()
    _undo_interrupted(project, dry_run=True)
    *_, outcome = _planned(project)
    return outcome


def _planned(project: Path) -> tuple[Record, Repository, Tree, Outcome]:
    check_not_newer(version_of_project(project))
    old = origin_of(project)
    _check_example(old.options.example)
    repository = Repository(project)
    repository.check_ready()
    tree, outcome = Tree(project, repository.tracked_modes()), Outcome()
    _plan(tree, repository, old, outcome)
    return old, repository, tree, outcome


def _check_example(name: str | None) -> None:
    if name is not None and name not in EXAMPLES:
        raise ProjectError(
            "this template has not the example that the project was made from",
            got=name,
            expected=f"one of: {', '.join(EXAMPLES)}",
            fix=f'set "example" to null in {FOLDER}/project.json and commit: what is in your rooms stays as it is',
        )


def _diffs_of_shared(tree: Tree) -> str:
    """What the update changes in shared files that are text."""
    pairs = {}
    for path, file in tree.changes.items():
        before = tree.on_disk(path)
        if is_shared(path) and file is not None and not path.startswith(f"{EDITS}/"):
            pairs[path] = (before.data if before else b"", file.data)
    texts = {path: sides for path, sides in pairs.items() if b"\0" not in b"".join(sides)}
    return diff(texts).decode("utf-8", "replace").rstrip("\n") if texts else ""


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


def _commit(repository: Repository, tree: Tree, message: str, handles: Collection[int]) -> None:
    """Make the commit apart, then check it out."""
    folder = repository.project / UNDER_WAY
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir()
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
    _apply_apart(folder, handles)


def _apply_apart(folder: Path, handles: Collection[int]) -> None:
    """Have it done by a process that goes on when this one is ended, by Ctrl-C too."""
    command = [sys.executable, "-I", apply.__file__, str(folder)]
    process = subprocess.Popen(
        command, env=git_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True, pass_fds=handles, text=True, errors="replace",
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
        tell(["An update was interrupted: what it had begun is undone."], sys.stdout)
    shutil.rmtree(folder, ignore_errors=True)


def _report(title: str, outcome: Outcome, dry_run: bool) -> Iterator[str]:
    if outcome.patch:
        yield f"Your edits of the framework:\n\n{outcome.patch.decode('utf-8', 'replace')}"
    yield f"{title}{', which would do this' if dry_run else ''}:\n{outcome}"
    if _is_template_dirty():
        yield f"Warning: {TEMPLATE} has changes that are not committed; they came along."
    if outcome.conflicts and not dry_run:
        yield "Conflicts are left: edit those files between the markers <<<<<<< and >>>>>>>, and commit."
    if not dry_run:
        yield "That is one commit. To go back: git reset --hard HEAD~1"


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
