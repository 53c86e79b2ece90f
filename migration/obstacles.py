"""What stands in the way of a migration."""

from __future__ import annotations

import ast
from pathlib import Path, PurePosixPath

from migration.code import read_code
from migration.comparison import CLASSIC
from migration.files import REPORT, git, is_inside, listed
from migration.plan import Plan
from scaffold.errors import ProjectError
from scaffold.version import TEMPLATE


def check_project(project: Path) -> None:
    """Raise a ProjectError unless this folder is under git and from a form of the classic template that we know."""
    name_one = "name a project of the classic template"
    if not project.is_dir():
        raise ProjectError(f"{project} is no folder", fix=name_one)
    top = git(project, "rev-parse", "--show-toplevel")
    if top.returncode:
        reason = (top.stderr.strip() or "it gave no reason").splitlines()[0]
        fix = "make it one, so that all can be undone: git init && git add -A && git commit"
        raise ProjectError(f"{project} is in no git repository", got=reason, fix=fix)
    if TEMPLATE in (Path(top.stdout.rstrip("\n")).resolve(), project):
        raise ProjectError(f"{project} is part of the template itself", fix=name_one)
    if not is_inside(project, "base/base_trainer.py"):
        raise ProjectError(f"{project} is not from the classic template", got="no base/base_trainer.py", fix=name_one)
    if not is_inside(project, "parse_config.py"):
        if path := place_of_parser(project):
            module = path.removesuffix(".py").replace("/", ".")
            fix = f"add a parse_config.py with `from {module} import ConfigParser`, commit, and run this again"
            raise ProjectError(f"{project} has no parse_config.py", got=f"ConfigParser is in {path}", fix=fix)
        raise ProjectError(f"{project} is from the classic template before April 2019", got="no parse_config.py",
                           expected="the template of April 2019 or later",
                           fix="docs/migrating.md shows how to bring it over by hand")  # fmt: skip


def place_of_parser(project: Path) -> str | None:
    """The file of a project that defines `ConfigParser`."""
    names = (name for name in listed(project) if name.endswith(".py") and is_inside(project, name))
    codes = (read_code(name, (project / name).read_bytes()) for name in names)
    return next((code.path for code in codes if isinstance(code.names.get("ConfigParser"), ast.ClassDef)), None)


def check_paths(plan: Plan) -> None:
    """Raise a ProjectError if a file that we write is the project's own, or is reached through a link."""
    taken: set[Path] = set()
    for name in (*plan.writes, REPORT):
        path = plan.project / name
        folders = [plan.project / each for each in PurePosixPath(name).parents[:-1]]
        for each in (path, *folders):
            if each.is_symlink():
                raise ProjectError(f"{each} is a link", fix="put what it leads to in its place, and commit that")
        taken |= {each for each in folders if each.is_file()}
        twins = [each.with_suffix(".py") for each in folders] + ([path.with_suffix("")] if name.endswith(".py") else [])
        taken |= {each for each in twins if each.exists()}  # of a package and a module of one name, Python takes one
        if name not in CLASSIC and path.exists() and has_content(path):
            taken.add(path)
    if taken:
        got = ", ".join(sorted(each.relative_to(plan.project).as_posix() for each in taken))
        raise ProjectError("names of the framework's are taken by files of the project's own", got=got,
                           fix="rename them, and commit that")  # fmt: skip


def has_content(path: Path) -> bool:
    """Whether there is more than a docstring in a file; a folder counts as well."""
    if path.is_dir() or path.suffix != ".py":
        return path.is_dir() or bool(path.read_bytes().strip())
    code = read_code(path.name, path.read_bytes())
    return bool(code.fault) or len(code.tree.body) > (ast.get_docstring(code.tree) is not None)


def check_clean(plan: Plan) -> None:
    """Raise a ProjectError unless git can bring back all that is written over."""
    entries = git(plan.project, "status", "--porcelain", "-z", "--untracked-files=no", "--", ".").stdout.split("\0")
    changed = [entry[3:] for entry in entries if entry[2:3] == " "]
    changed += sorted({name for name in plan.writes if (plan.project / name).exists()} - {*listed(plan.project)})
    if changed:
        got = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise ProjectError("the project has changes that are not committed", got=got,
                           fix="commit or stash them, so that all can be undone")  # fmt: skip
