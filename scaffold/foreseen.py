"""What an update would do to a project, in a few lines."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

from scaffold.errors import ProjectError
from scaffold.repository import GitError
from scaffold.update import foresee

WORDS = ("updated", "merged", "added", "removed", "edited", "rewritten")  # the others ask for a look


def foreseen(project: Path) -> list[str]:
    """Whether the owner's edits go with the newer version, and the commands that come next."""
    try:
        outcome = foresee(project)
    except (ProjectError, GitError, OSError) as error:
        reason = str(error).splitlines()[0].removeprefix("new_project error: ")
        return ["", f"Whether your edits go with it cannot be told: {reason}."]
    counts = Counter(word for word, _ in outcome.rows if word in WORDS)
    done = ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])
    command = f"python new_project.py --update {shlex.quote(str(project))}"
    return [
        "",
        f"With your project: {done or 'the framework alone changes'}; conflicts: {len(outcome.conflicts)}.",
        f"{command} does it in one commit; with --dry-run it tells all of it first.",
    ]
