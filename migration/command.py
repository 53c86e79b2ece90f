"""The command: what is done, in order."""

from __future__ import annotations

import sys
from pathlib import Path

from migration.comparison import CLASSIC
from migration.files import REPORT, is_inside
from migration.obstacles import check_clean, check_paths, check_project
from migration.plan import Plan, make_plan
from migration.report import report, summary, undo
from scaffold.console import tell
from scaffold.errors import ProjectError


def write(plan: Plan, text: str) -> None:
    """Write all files, the report last."""
    name, commands = "", undo(plan)
    try:
        for name, data in {**plan.writes, REPORT: text.encode("utf-8", "surrogateescape")}.items():
            (plan.project / name).parent.mkdir(parents=True, exist_ok=True)
            (plan.project / name).write_bytes(data)
    except (OSError, KeyboardInterrupt) as error:
        fix = "undo it there, the second with -f in place of -n, then try again:"
        raise ProjectError(f"{plan.project} is migrated in part: {name} could not be written",
                           got=str(error) or "interrupted", fix="\n".join((fix, *commands))) from error  # fmt: skip


def migrate(project: Path, *, is_dry: bool) -> list[str]:
    """Bring a project here; returns what to tell.

    Raises:
        ProjectError: nothing was changed; or the message says how to undo what was.
    """
    check_project(project)
    plan = make_plan(project)
    news = [is_inside(project, name) for name in plan.ours if name not in CLASSIC]
    if 2 * sum(news) > len(news):
        if not plan.writes and (project / REPORT).is_file():
            return [f"{project} is migrated: nothing to do"]
        raise ProjectError(f"{project} has this framework already", fix="name a project of the classic template")
    check_paths(plan)
    check_clean(plan)
    text, lines = report(plan), [*summary(plan)]
    if is_dry:
        return ["This would be done; nothing is changed.", *lines, "", f"{REPORT} would say:", "", text]
    write(plan, text)
    return [*lines, f"What to edit, what to know and what was done is in {project / REPORT}",
            f"Go on in {project} with:", '    git add -A && git commit -m "Migrate to Espalier"',
            "or undo it, the second with -f in place of -n:", *undo(plan)]  # fmt: skip


def main(project: Path, *, is_dry: bool) -> int:
    """The command; returns its exit code."""
    try:
        lines, stream, code = migrate(project.resolve(), is_dry=is_dry), sys.stdout, 0
    except ProjectError as error:
        lines, stream, code = [str(error)], sys.stderr, 2
    tell(lines, stream)
    return code
