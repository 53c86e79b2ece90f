"""The git repository that a project is in: whether it is ready, what it knows, and a commit made apart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from scaffold.errors import ProjectError
from scaffold.git import git_environment
from scaffold.record import ROOMS
from scaffold.tree import LINK, PROGRAM, File

# What git leaves in its folder in the middle of something, and how that is called.
IN_PROGRESS = {
    "MERGE_HEAD": "merge", "rebase-merge": "rebase", "rebase-apply": "rebase", "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert", "BISECT_LOG": "bisect",
}  # fmt: skip
FIRST_COMMIT = "run git init, git add -A and git commit -m Before there: an update is one commit, to look at or undo"
# Nothing that an owner has set may change what is written, or go into submodules.
SETTINGS = ("core.safecrlf=false", "core.fsmonitor=false", "submodule.recurse=false", "i18n.commitEncoding=UTF-8")


class GitError(Exception):
    """A git command that failed; the text is its reason."""


class Repository:
    """The repository that a project is in, as a whole or as a folder of a larger one.

    Attributes:
        project: the folder of the project.
        top: that of the repository.
        prefix: the path of the project in it, "" or with a slash at the end.
        git_dir: that of git itself, of this worktree.
        head: the commit that is checked out.
    """

    def __init__(self, project: Path) -> None:
        self.project = project
        if not (top := self._ask("rev-parse", "--show-toplevel")):
            raise ProjectError(
                f"{project} is in no git repository", got=self._reason("rev-parse", "--show-toplevel"), fix=FIRST_COMMIT
            )
        self.top, self.prefix = Path(top), self._ask("rev-parse", "--show-prefix")
        self.git_dir = Path(self._ask("rev-parse", "--absolute-git-dir"))
        self.head = self._ask("rev-parse", "--verify", "-q", "HEAD^{commit}")

    def git(self, *args: str | Path, stdin: bytes = b"", index: Path | None = None, tree: Path | None = None) -> bytes:
        """The output of a git command in the project; with another index, or other files than the checked out ones.

        Raises:
            GitError: it failed.
        """
        settings = [each for setting in SETTINGS for each in ("-c", setting)]
        env = {**git_environment(), **({"GIT_INDEX_FILE": str(index)} if index else {})}
        where = self.project
        if tree is not None:
            env, where = {**env, "GIT_DIR": str(self.git_dir), "GIT_WORK_TREE": str(tree)}, tree
        done = subprocess.run(["git", *settings, *args], cwd=where, env=env, input=stdin, capture_output=True)
        if done.returncode:
            reasons = done.stderr.decode(errors="replace").strip().splitlines()
            raise GitError(reasons[0] if reasons else f"git {args[0]} ended with {done.returncode}")
        return done.stdout

    def check_ready(self) -> None:
        """Raise a ProjectError unless all is committed and the next commit can be made."""
        if not self.head or not self.tracked_modes():
            raise ProjectError(f"nothing of {self.project} is committed", fix=FIRST_COMMIT.replace("git init, ", ""))
        for name, word in IN_PROGRESS.items():
            if (self.git_dir / name).exists():
                raise ProjectError(f"{self.top} is in the middle of a {word}", fix=f"end the {word} first")
        self._check_clean()
        self._check_nothing_hidden()
        if not self._ask("var", "GIT_COMMITTER_IDENT") or not self._ask("var", "GIT_AUTHOR_IDENT"):
            raise ProjectError(
                "git does not know who commits",
                fix='git config --global user.name "Your Name" and git config --global user.email you@example.org',
            )

    def tracked_modes(self) -> dict[str, str]:
        """The paths in the project that are committed, with their modes."""
        rows = self.git("ls-tree", "-r", "-z", "HEAD").split(b"\0")[:-1]
        return {os.fsdecode(row.split(b"\t", 1)[1]): row[:6].decode() for row in rows}

    def versions_of(self, path: str) -> Iterator[bytes]:
        """What was committed as this file, the newest first."""
        rows = self.git("log", "--format=", "--raw", "--no-abbrev", "--no-renames", "-m", "--", path).splitlines()
        for blob in dict.fromkeys(row.split()[3].decode() for row in rows):
            if blob.strip("0"):
                yield self.git("cat-file", "blob", blob)

    def commit(self, changes: Mapping[str, File | None], message: str, folder: Path) -> str:
        """Commit changes of the project apart: the branch, the index and the files stay as they are.

        Args:
            changes: the files to write, by their path in the project; None for one to remove.
            message: of the commit.
            folder: an empty one of our own; afterwards `folder/new` has the written files as git would check them out.

        Returns:
            the new commit.
        """
        index, files = folder / "index", folder / "tree"
        files.mkdir(parents=True)
        paths = {self.prefix + path: file for path, file in changes.items()}
        for path, file in paths.items():
            if file is not None:
                _write(files / path, file)
        self.git("read-tree", "HEAD", index=index)
        gone = [path for path, file in paths.items() if file is None]
        self._update_index("--force-remove", gone, index, files)
        for mode, signs in ((LINK, ()), (PROGRAM, ("--chmod=+x",)), ("100644", ("--chmod=-x",))):
            some = [path for path, file in paths.items() if file is not None and file.mode == mode]
            for option in ("--add", *signs):
                self._update_index(option, some, index, files)
        tree = self.git("write-tree", index=index).decode().strip()
        signed = ["-S"] if self._ask("config", "--type=bool", "commit.gpgSign") == "true" else []
        commit = self.git("commit-tree", *signed, "-p", self.head, tree, stdin=message.encode("utf-8", "replace"))
        written = _listed([path for path, file in paths.items() if file is not None])
        checkout = ("checkout-index", "-f", "-z", "--stdin", f"--prefix={folder / 'new'}{os.sep}")
        self.git(*checkout, stdin=written, index=index, tree=files)
        return commit.decode().strip()

    def _update_index(self, option: str, paths: list[str], index: Path, files: Path) -> None:
        if paths:
            self.git("update-index", option, "-z", "--stdin", stdin=_listed(paths), index=index, tree=files)

    def _check_clean(self) -> None:
        status = (
            "status",
            "--porcelain",
            "-z",
            "--untracked-files=normal",
            "--ignore-submodules=dirty",
            "--no-renames",
        )
        if rows := self.git(*status).split(b"\0")[:-1]:
            first = os.fsdecode(rows[0][3:])
            raise ProjectError(
                f"{self.top} has changes that are not committed",
                got=first if len(rows) == 1 else f"{first} and {len(rows) - 1} more",
                fix="commit them, or put them aside with git stash -u; the update is then one commit of its own",
            )

    def _check_nothing_hidden(self) -> None:
        rows = self.git("ls-files", "-v", "-z").split(b"\0")[:-1]
        marked = [os.fsdecode(row[2:]) for row in rows if row[:1] == b"S" or row[:1].islower()]
        hidden = [path for path in marked if path.split("/")[0] not in ROOMS]
        if hidden:
            raise ProjectError(
                f"git is told not to look at {hidden[0]}" + (f" and {len(hidden) - 1} more" if hidden[1:] else ""),
                fix="git sparse-checkout disable, or git update-index --no-skip-worktree --no-assume-unchanged of each",
            )

    def _ask(self, *args: str) -> str:
        try:
            return os.fsdecode(self.git(*args)).rstrip("\n")
        except GitError:
            return ""
        except OSError as error:
            raise ProjectError("git cannot be run", got=str(error), fix="install git: an update is a commit") from error

    def _reason(self, *args: str) -> str:
        try:
            self.git(*args)
        except GitError as error:
            return str(error)
        return "no folder with files"


def _write(path: Path, file: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.mode == LINK:
        path.symlink_to(os.fsdecode(file.data))
    else:
        path.write_bytes(file.data)
        path.chmod(0o755 if file.mode == PROGRAM else 0o644)


def _listed(paths: list[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)
