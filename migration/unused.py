"""What only the replaced files did: modules that nothing imports any more, and packages that nothing calls there."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from migration.code import IMPORTS, Code, module_of, modules_of
from migration.comparison import passed_on
from migration.plan import Plan

IMPORTED_UPSTREAM = {"abc", "argparse", "base", "collections", "copy", "datetime", "functools", "importlib", "inspect",
                     "itertools", "json", "logger", "logging", "math", "numpy", "operator", "os", "pandas",
                     "parse_config", "pathlib", "sys", "tensorboardX", "time", "torch", "typing", "utils",
                     "warnings"}  # fmt: skip
# Where the values of a run are sent.
TRACKERS = {"aim", "clearml", "comet_ml", "dvclive", "guild", "mlflow", "neptune", "sacred", "swanlab", "tensorwatch",
            "trains", "visdom", "wandb"}  # fmt: skip


def gone(plan: Plan) -> list[Code]:
    """The replaced files of which nothing is left."""
    return [plan.theirs[path] for path in plan.replaced if path not in plan.moved]


def lost_modules(plan: Plan) -> dict[str, list[str]]:
    """The project's own modules that only replaced files used, each with those files or such modules."""
    sources = {code.path: imported(code, plan) for code in (*gone(plan), *plan.own)}
    lost: dict[str, list[str]] = {}
    dead, before = {code.path for code in gone(plan)}, -1
    while before != (before := len(dead)):  # what only such a module used is lost too
        for path in plan.codes.keys() - dead:
            users = [each for each, names in sources.items() if path in names and each != path]
            if users and dead.issuperset(users):
                lost[path] = sorted(users)
                dead.add(path)
    return lost


def imported(code: Code, plan: Plan) -> set[str]:
    """The files of the project's own that a file imports, also through the `__init__` of a framework room."""
    if code.path.endswith("__init__.py") and code.path in plan.theirs:
        return set()  # it passes on what others then import
    modules: list[str] = []
    for node in code.nodes:
        modules += modules_of(node)
        if isinstance(node, ast.ImportFrom):
            module = module_of(code.path, node)
            modules += [module, *(f"{module}.{each.name}" for each in node.names), *(
                found for each in node.names if (found := passed_on_by(module, each.name, plan)))]  # fmt: skip
    stems = {module.replace(".", "/") for module in modules}
    return {path for stem in stems for path in (f"{stem}.py", f"{stem}/__init__.py") if path in plan.codes}


def passed_on_by(room: str, name: str, plan: Plan) -> str | None:
    """The module from which the `__init__` of a room has a name."""
    init = plan.theirs.get(f"{room}/__init__.py")
    node = init.names.get(name) if init else None
    return passed_on(init.path, node) if init and node is not None else None


def foreign_imports(codes: Iterable[Code], plan: Plan) -> Iterator[tuple[str, str]]:
    """The packages that files import and the classic template does not, each with its place."""
    own = {path.partition("/")[0].removesuffix(".py") for path in plan.codes}
    for code in codes:
        for node in (each for each in code.nodes if isinstance(each, IMPORTS)):
            for package in dict.fromkeys(module.partition(".")[0] for module in modules_of(node)):
                if package not in IMPORTED_UPSTREAM | own:
                    yield package, f"{code.path}:{node.lineno}"
