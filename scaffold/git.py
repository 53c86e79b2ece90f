"""The repository of a project."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

# git sets these while it runs a hook; with them, ours would write to that other repository.
FOREIGN_REPOSITORY = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}
# And with these it would take our paths for something else.
FOREIGN_PATHS = {
    "GIT_PREFIX", "GIT_NAMESPACE", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS",
}  # fmt: skip


def git_environment() -> dict[str, str]:
    """The environment for a git that works where it is told to, asks nothing, and writes nothing when it only looks."""
    foreign = FOREIGN_REPOSITORY | FOREIGN_PATHS
    kept = {key: value for key, value in os.environ.items() if key not in foreign}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}


def start_repository(target: Path, name: str) -> str | None:
    """Make `target` a git repository with a first commit; returns what is left to do by hand, if anything."""
    env = {key: value for key, value in os.environ.items() if key not in FOREIGN_REPOSITORY}
    branch = ("symbolic-ref", "HEAD", "refs/heads/main")  # `init -b` needs git 2.28
    commit = ("commit", "-m", f"Start {name} from Espalier")
    by_hand = f"then run git add -A and git {shlex.join(commit)} there."
    for step in (("init",), branch, ("add", "-A"), ("var", "GIT_COMMITTER_IDENT"), commit):
        try:
            done = subprocess.run(["git", *step], cwd=target, env=env, capture_output=True, text=True, errors="replace")
        except OSError:
            return f"There is no history, as git is not installed: install it and run git init there, {by_hand}"
        if done.returncode and step[0] == "var":
            return f"Nothing is committed, as git does not know you: set user.name and user.email, {by_hand}"
        if done.returncode:
            reason = (done.stderr.strip() or "it gave no reason").splitlines()[-1]
            return f"Nothing is committed, as git {step[0]} failed ({reason}): mend that, {by_hand}"
    return None


def user_name() -> str:
    """Whom git takes its user for; empty if it does not know, or is not there."""
    try:
        done = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, errors="replace")
    except OSError:
        return ""
    return " ".join(done.stdout.split())
