"""The shape of the house: import arrows go down, nothing is imported in secret, the commands answer at once."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWN_ROOMS = {"trainer", "data_loader", "model"}  # the user's
# The rooms inside espalier/; "espalier" stands for the files at its top.
FLOORS = [{"espalier"}, {"processes"}, {"config", "checkpoints", "data"}, {"journal"}, {"runs"}, {"training"},
          {"trials"}]  # fmt: skip
INNER = {
    f"espalier/{room}".removesuffix("/espalier"): {
        f"espalier/{below}".removesuffix("/espalier") for lower in FLOORS[:height] for below in lower
    }
    for height, floor in enumerate(FLOORS)
    for room in floor
}
INNER["espalier/classic"] = INNER["espalier/trials"]
MAY_IMPORT = {
    **INNER,
    "utils": {*INNER},
    "logger": {*INNER},
    "base": {*INNER},
    "parse_config": {*INNER},
    "trainer": {"base", "utils", *INNER},
    "data_loader": {"base", "utils", *INNER},
    "model": {"base", "utils", *INNER},
    "migration": {"new_project"},
    "new_project": set(),
}
# What still runs up: each of these has to be turned, and none may be added.
RUNS_UP = {}
EVERYTHING = {*MAY_IMPORT} - {"new_project", "migration"}
MAY_IMPORT.update(dict.fromkeys(("train", "test", "tune", "export", "report"), EVERYTHING))
# Slow to import or not always installed: these alone may be imported where they are used.
LATE = {"torch", "torchvision", "tensorboard", "PIL", "tqdm", "pandas", "numpy", "matplotlib", "optuna", "wandb"}
WIRING = {"train", "test", "tune", "export", "report", "parse_config"}  # may import late our modules that need torch
LATE_READERS = {"espalier/runs/source.py"}  # and so may these: `-r` reads a checkpoint, `--help` does not

FILES = sorted(
    {
        path
        for room in MAY_IMPORT
        for path in [*(ROOT / room).rglob("*.py"), ROOT / f"{room}.py"]
        if path.is_file() and "__pycache__" not in path.parts
    }
)


def room_of(path):
    """The room that a file belongs to; inside espalier/ that is a folder of it, or its top."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[:2]) if parts[0] == "espalier" and len(parts) > 2 else parts[0].removesuffix(".py")


def room_of_module(name):
    """The room that a dotted name belongs to; for what is not ours the name of the package."""
    path = file_of(name) or file_of(name.rpartition(".")[0])
    return name.split(".")[0] if path is None else room_of(path)


def imports(tree):
    """Every import in a syntax tree: the node, and the dotted names of all it may import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield node, [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield node, [f"{module}.{alias.name}" for alias in node.names]


def at_import_time(tree):
    """The imports that run when the module is imported: not those in functions, nor those for type checkers."""
    inner = {id(each) for node in ast.walk(tree) if is_deferred(node) for part in node.body for each in ast.walk(part)}
    return [(node, names) for node, names in imports(tree) if id(node) not in inner]


def is_deferred(node):
    """Whether the body of a node does not run at import time."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def in_functions(tree):
    """The imports inside functions and methods."""
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return [each for function in functions for each in imports(function)]


def file_of(name):
    """The file of a module of ours, or None."""
    base = ROOT.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def needs_torch(name, seen=()):
    """Whether importing this module of ours, or the one that holds this name, imports torch or NumPy."""
    path = file_of(name) or file_of(name.rpartition(".")[0])
    if path is None or path in seen:
        return False
    for _, names in at_import_time(ast.parse(path.read_text(encoding="utf-8"))):
        for each in names:
            if each.split(".")[0] in LATE or needs_torch(each, (*seen, path)):
                return True
    return name.startswith("utils.") and needs_torch(home_in_utils(name), (*seen, path))


def home_in_utils(name):
    """The module that a name of `utils` is loaded from when it is first used."""
    import utils

    return getattr(getattr(utils, name.rpartition(".")[2], None), "__module__", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_only_down(path):
    """No room imports one above it or beside it, but for those that are listed."""
    room = room_of(path)
    found = {
        room_of_module(name) for _, names in imports(ast.parse(path.read_text(encoding="utf-8"))) for name in names
    }
    up = (found & {*MAY_IMPORT}) - MAY_IMPORT[room] - {room}
    assert up == RUNS_UP.get(path.relative_to(ROOT).as_posix(), set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_never_star_or_relative(path):
    """Each name says where it comes from."""
    found = [name for _, names in imports(ast.parse(path.read_text(encoding="utf-8"))) for name in names]
    assert [name for name in found if name.endswith(".*") or name.startswith(".")] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_in_functions_are_slow_or_optional(path):
    """A late import is one that costs time; in the commands also our own modules that need torch."""
    refused = []
    for _, names in in_functions(ast.parse(path.read_text(encoding="utf-8"))):
        for name in names:
            package = name.split(".")[0]
            is_late_part = room_of(path) in WIRING and (package in OWN_ROOMS or needs_torch(name))
            is_late_part |= path.relative_to(ROOT).as_posix() in LATE_READERS and needs_torch(name)
            if package not in LATE and not is_late_part:
                refused.append(name)
    assert refused == []


# Where the classic template had its files. What is in them may be a project's own: our rooms never go through them.
DOORS = {"base/__init__.py", "logger/__init__.py", "logger/logger.py", "logger/visualization.py", "utils/__init__.py",
         "utils/util.py"}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_of_framework_rooms_lead_past_the_classic_names(path):
    """A project may keep its own `utils/util.py` or `logger/__init__.py` under the rest of ours."""
    if (
        room_of(path).split("/")[0] not in ("base", "espalier", "logger", "utils", "parse_config")
        or str(path.relative_to(ROOT)) in DOORS
    ):
        return
    found = {name for _, names in imports(ast.parse(path.read_text(encoding="utf-8"))) for name in names}
    homes = {file_of(name) or file_of(name.rpartition(".")[0]) for name in found}
    assert {str(home.relative_to(ROOT)) for home in homes if home is not None} & DOORS == set()


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room_of(path) in ("new_project", "migration")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_new_project_needs_only_the_standard_library(path):
    """It runs before anything is installed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {name.split(".")[0] for _, names in imports(tree) for name in names}
    own = {"new_project", "migration"} if room_of(path) == "migration" else set()
    assert found <= {*sys.stdlib_module_names, *own} - {"importlib"}  # nor is anything imported by its name


def test_files_of_every_room_are_looked_at():
    """The tests above see all rooms there are."""
    rooms = {room_of(path) for path in FILES}
    assert rooms >= {*INNER, "utils", "logger", "base", "parse_config", "trainer", "data_loader", "model", "train",
                     "test", "new_project"}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [["-c", "import parse_config"], ["-c", "import utils, logger"], ["train.py", "--help"], ["test.py", "--help"]],
    ids=" ".join,
)
def test_command_that_needs_no_torch_loads_none(run, command):
    """Help, and errors in a config file, come without waiting for torch."""
    result = run("-X", "importtime", *command)
    assert result.returncode == 0
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in result.stderr.splitlines()}
    assert "espalier" in loaded
    assert loaded & LATE == set()


def test_train_with_a_broken_config_answers_without_torch(run, tmp_path):
    """A syntax error is told before anything slow is imported."""
    (tmp_path / "c.json").write_text('{"name": }')
    result = run("-X", "importtime", "train.py", "-c", tmp_path / "c.json")
    assert result.returncode == 2
    assert "config error" in result.stderr
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in result.stderr.splitlines()}
    assert loaded & {"torch", "numpy", "pandas", "tensorboard"} == set()
