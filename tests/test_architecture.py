"""The shape of the house: import arrows go down, nothing is imported in secret, the commands answer at once."""

import ast
import functools
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWN_ROOMS = {"trainer", "data_loader", "model"}  # the user's
# The rooms inside espalier/; "espalier" stands for the files at its top.
FLOORS = [{"espalier"}, {"processes"}, {"config", "checkpoints", "data"}, {"journal", "datasets"},
          {"runs", "preprocessing"}, {"report"}, {"training"}, {"trials", "evaluation"}, {"search", "inference"},
          {"export"}, {"serving"}]  # fmt: skip
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
    "migration": {"scaffold"},
    "scaffold": set(),
    "new_project": {"scaffold"},
}
# What still runs up: each of these has to be turned, and none may be added.
RUNS_UP = {}
EVERYTHING = {*MAY_IMPORT} - {"new_project", "migration", "scaffold"}
MAY_IMPORT.update(dict.fromkeys(("train", "test", "tune", "report", "predict", "export", "serve"), EVERYTHING))
MAY_IMPORT["tune"] = EVERYTHING | {"train"}  # a trial is a run, built as train.py builds one
MAY_IMPORT.update(dict.fromkeys(("export", "serve"), EVERYTHING | {"predict"}))  # of a model as predict.py loads it
# Slow to import or not always installed: these alone may be imported where they are used.
LATE = {"torch", "torchvision", "tensorboard", "PIL", "tqdm", "pandas", "numpy", "matplotlib", "optuna", "wandb",
        "mlflow", "comet_ml", "datasets", "ray", "onnx", "onnxruntime", "onnxscript", "fastapi", "uvicorn",
        "starlette", "pyarrow", "argcomplete"}  # fmt: skip
WIRING = {
    "train",
    "test",
    "tune",
    "report",
    "predict",
    "export",
    "serve",
    "parse_config",
}  # may import late our modules that need torch
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


@functools.cache
def tree_of(path):
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def names_in(path):
    """The dotted names of all that a file may import."""
    return {name for _, names in imports(tree_of(path)) for name in names}


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


@functools.cache
def imported_by(path):
    """The dotted names that a file imports when it is imported itself."""
    return {name for _, names in at_import_time(tree_of(path)) for name in names}


@functools.cache
def needs_torch(name):
    """Whether importing this module of ours, or the one that holds this name, imports torch or NumPy."""
    seen, waiting = set(), [name]
    while waiting:
        each = waiting.pop()
        if each.split(".")[0] in LATE:
            return True
        path = file_of(each) or file_of(each.rpartition(".")[0])
        if path is not None and path not in seen:
            waiting.extend(imported_by(path))
        seen.add(path)
        if each.startswith("utils."):
            waiting.append(home_in_utils(each))
    return False


def home_in_utils(name):
    """The module that a name of `utils` is loaded from when it is first used."""
    import utils

    return getattr(getattr(utils, name.rpartition(".")[2], None), "__module__", "")


def faults(found_in, files=FILES):
    """What `found_in` finds in which file, where it finds anything."""
    found = {path.relative_to(ROOT).as_posix(): found_in(path) for path in files}
    return {name: each for name, each in found.items() if each}


def test_imports_go_only_down():
    """No room imports one above it or beside it, but for those that are listed."""

    def going_up(path):
        return {*map(room_of_module, names_in(path))} & {*MAY_IMPORT} - MAY_IMPORT[room_of(path)] - {room_of(path)}

    assert faults(going_up) == RUNS_UP


def test_imports_are_never_star_or_relative():
    """Each name says where it comes from."""
    assert faults(lambda path: [name for name in names_in(path) if name.endswith(".*") or name.startswith(".")]) == {}


def test_imports_in_functions_are_slow_or_optional():
    """A late import is one that costs time; in the commands also our own modules that need torch."""

    def may_be_late(path, name):
        package = name.split(".")[0]
        is_wiring = room_of(path) in WIRING and (package in OWN_ROOMS or needs_torch(name))
        is_reader = path.relative_to(ROOT).as_posix() in LATE_READERS and needs_torch(name)
        return package in LATE or is_wiring or is_reader

    def refused(path):
        return [name for _, names in in_functions(tree_of(path)) for name in names if not may_be_late(path, name)]

    assert faults(refused) == {}


# Where the classic template had its files. What is in them may be a project's own: our rooms never go through them.
DOORS = {"base/__init__.py", "logger/__init__.py", "logger/logger.py", "logger/visualization.py", "utils/__init__.py",
         "utils/util.py"}  # fmt: skip


def test_imports_of_framework_rooms_lead_past_the_classic_names():
    """A project may keep its own `utils/util.py` or `logger/__init__.py` under the rest of ours."""
    rooms = ("base", "espalier", "logger", "utils", "parse_config")
    files = [path for path in FILES if room_of(path).split("/")[0] in rooms]

    def through_a_door(path):
        homes = {file_of(name) or file_of(name.rpartition(".")[0]) for name in names_in(path)} - {None}
        return {str(home.relative_to(ROOT)) for home in homes} & DOORS

    assert faults(through_a_door, [path for path in files if str(path.relative_to(ROOT)) not in DOORS]) == {}


def test_new_project_needs_only_the_standard_library():
    """It runs before anything is installed."""

    def foreign(path):
        own = {"new_project": {"scaffold"}, "scaffold": {"scaffold"}, "migration": {"migration", "scaffold"}}
        may_import = {*sys.stdlib_module_names, *own[room_of(path)]} - {"importlib"}  # nor by its name
        return {name.split(".")[0] for name in names_in(path)} - may_import

    assert faults(foreign, [path for path in FILES if room_of(path) in ("new_project", "migration", "scaffold")]) == {}


def test_files_of_every_room_are_looked_at():
    """The tests above see all rooms there are."""
    rooms = {room_of(path) for path in FILES}
    assert rooms >= {*INNER, "utils", "logger", "base", "parse_config", "trainer", "data_loader", "model", "train",
                     "test", "new_project"}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "import parse_config"],
        ["-c", "import utils, logger"],
        ["train.py", "--help"],
        ["test.py", "--help"],
        ["predict.py", "--help"],
        ["serve.py", "--help"],
        ["report.py", "data"],
    ],
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
