"""The shape of the house in figures: `make shape` prints them, test_shape.py lets none of them grow."""

import ast
import logging
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
USERS = ("trainer", "data_loader", "model")
ROOMS = ("base", "espalier", "logger", "utils", *USERS)
VERBS = ("train.py", "test.py", "parse_config.py")
PLAYERS = "espalier/training"
# As variables and attributes are called that hold one.
PLAYER_NAMES = {"run", "progress", "feed", "this_pass", "stepper", "guard", "checkpointer", "journal", "layout",
                "monitor", "stop"}  # fmt: skip
PROCESSES = re.compile(r"\b(rank|world_size|num_processes|is_main|distributed)\b|_num_processes")


@cache
def files():
    """The Python files of the framework and of the user's rooms."""
    rooms = (path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)
    return sorted([*rooms, *(ROOT / name for name in VERBS)])


def framework():
    """Those that are not the user's."""
    return [path for path in files() if path.relative_to(ROOT).parts[0] not in USERS]


@cache
def lines_of(path):
    """The lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


@cache
def tree_of(path):
    """The syntax tree of a file."""
    return ast.parse("\n".join(lines_of(path)))


def num_lines(paths):
    """How many lines files have together; one that is not there yet has none."""
    return sum(len(lines_of(path)) for path in {*paths} if path.is_file())


# What is read


def first_read():
    """What runs a batch, in the order of reading: the verb, the classes of the trainer, the loop and the step."""
    classes = [path for path in map(file_of, tower()) if path.parent.name != "classic"]
    return [ROOT / "train.py", *classes, ROOT / PLAYERS / "passes.py", ROOT / PLAYERS / "stepper.py"]


def afternoon():
    """What a reader knows who has taken an afternoon."""
    checkpointer = ROOT / PLAYERS / "checkpointer.py"
    if not checkpointer.is_file():
        checkpointer = ROOT / "espalier/checkpoints/saver.py"
    beside = ("espalier/training/progress.py", "espalier/training/monitor.py", "base/base_data_loader.py")
    return [*first_read(), checkpointer, *(ROOT / name for name in (*beside, "parse_config.py"))]


# The trainer, as it is written


@cache
def tower():
    """The classes that the user's trainer is made of, the user's first; each with its syntax tree."""
    from trainer import Trainer

    return {each: class_node(each) for each in Trainer.__mro__ if file_of(each).is_relative_to(ROOT)}


def file_of(cls):
    """The file of a class."""
    return Path(getattr(sys.modules[cls.__module__], "__file__", "") or "")


def class_node(cls):
    """The syntax tree of a class."""
    nodes = tree_of(file_of(cls)).body
    return next(node for node in nodes if isinstance(node, ast.ClassDef) and node.name == cls.__name__)


def methods():
    """The names of the trainer's methods and properties, dunders aside."""
    nodes = (each for node in tower().values() for each in node.body if isinstance(each, ast.FunctionDef))
    return {node.name for node in nodes if not node.name.startswith("__")}


def assigned_in_several():
    """The attributes that more than one class of the trainer assigns."""
    counts = Counter(name for node in tower().values() for name in {*assigned(node)})
    return {name for name, count in counts.items() if count > 1}


def assigned(cls):
    """The attributes of `self` that the methods of a class assign or delete."""
    for node in ast.walk(cls):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and ast.unparse(node.value) == "self":
            yield node.attr


def private_names_used_outside():
    """The private names of a trainer that code outside its classes uses."""
    own = {id(each) for node in tower().values() for each in ast.walk(node)}
    nodes = (node for path in files() for node in ast.walk(tree_of(path)) if id(node) not in own)
    return {node.attr for node in nodes
            if isinstance(node, ast.Attribute) and re.fullmatch(r"_[a-z]\w*", node.attr)
            and ast.unparse(node.value).endswith("trainer")}  # fmt: skip


def facts_assigned_from_outside():
    """Attributes of a trainer's players that other code assigns, the names of old aside."""
    rooms = (path for path in framework() if path.parent.name in ("base", "journal", "training", "trials"))
    targets = (node for path in rooms for node in ast.walk(tree_of(path))
               if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))  # fmt: skip
    owners = ((ast.unparse(node.value).rpartition(".")[2].lstrip("_"), node.attr) for node in targets)
    return {(owner, name) for owner, name in owners if owner in PLAYER_NAMES}


def getattrs():
    """How often in 1,000 lines the framework asks whether there is an attribute."""
    calls = (node for path in framework() for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    count = sum(ast.unparse(node.func) in ("getattr", "hasattr") for node in calls)
    return round(1000 * count / num_lines(framework()), 1)


def lines_on_processes():
    """The lines that name ranks or processes, outside of the room for them."""
    rooms = [path for path in framework() if path.relative_to(ROOT).parts[0] in ("base", "espalier")]
    # the rank of a matrix, as in the key that is declared with LORA; and what each key of a config means
    others = (ROOT / "espalier/adapters.py", ROOT / "espalier/config/meanings.py")
    outside = (path for path in rooms if path.parent != ROOT / "espalier/processes" and path not in others)
    return sum(bool(PROCESSES.search(line)) for path in outside for line in lines_of(path)
               if not line.startswith("LORA = "))  # fmt: skip


def longest_file():
    """Lines of the longest file in `espalier/`."""
    return max(num_lines([path]) for path in framework() if path.is_relative_to(ROOT / "espalier"))


# The trainer, as it runs


class Trace:
    """A short run of config.json: what is called between its fifth step and its sixth."""

    def __init__(self):
        from parse_config import ConfigParser
        from train import build

        self.steps, self.calls, self.frames = 0, Counter(), []
        with tempfile.TemporaryDirectory() as folder:
            limits = {"epochs": 1, "limit_train_batches": 8, "limit_valid_batches": 1, "verbosity": 0,
                      "tensorboard": False, "save_dir": folder}  # fmt: skip
            overrides = {"n_gpu": 0, **{f"trainer.{name}": value for name, value in limits.items()}}
            trainer = build(ConfigParser.from_file(ROOT / "config.json", overrides))
            trainer.optimizer.register_step_pre_hook(self._before_step)
            before = sys.getprofile()
            try:
                trainer.train()
            finally:
                sys.setprofile(before)
        self.attributes = {*vars(trainer)}

    def _before_step(self, *_):
        self.steps += 1
        if self.steps == 5:
            frame = sys._getframe(1)
            while frame.f_code.co_name != "train":
                if self._is_ours(frame):
                    self.frames.append(frame.f_code.co_name)
                frame = frame.f_back
            self.frames.append("train")
        sys.setprofile(self._note if self.steps == 5 else None)

    def _note(self, frame, event, _):
        if event == "call" and self._is_ours(frame):
            self.calls[frame.f_code.co_filename] += 1

    @staticmethod
    def _is_ours(frame):
        path = Path(frame.f_code.co_filename)
        return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in (*ROOMS, *VERBS)


@cache
def trace():
    """The one run that is looked at."""
    return Trace()


def scaffold_lines():
    """Lines of Python that a new project has outside of `espalier/`."""
    from scaffold.make import make_project
    from scaffold.options import Options

    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        make_project(project, Options("project"))
        paths = [path for path in project.rglob("*.py") if path.relative_to(project).parts[0] != "espalier"]
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


class Figure(NamedTuple):
    """How a figure is measured, and what it shall become; None where the table sets no goal."""

    measure: Callable
    goal: int | None = None


FIGURES = {
    "inheritance depth of the trainer, with the user's class": Figure(lambda: len(tower()), 3),
    "methods of the trainer": Figure(lambda: len(methods()), 32),
    "attributes of the trainer": Figure(lambda: len(trace().attributes), 32),
    "private attributes of the trainer": Figure(lambda: sum(name.startswith("_") for name in trace().attributes), 12),
    "attributes assigned in more than one class": Figure(lambda: len(assigned_in_several()), 0),
    "facts of a player that other code assigns": Figure(lambda: len(facts_assigned_from_outside()), 0),
    "private names of the trainer used from outside": Figure(lambda: len(private_names_used_outside()), 0),
    "our frames from train to optimizer.step": Figure(lambda: len(trace().frames), 5),
    "our files that one batch passes": Figure(lambda: len(trace().calls), 9),
    "our calls that one batch makes": Figure(lambda: sum(trace().calls.values())),
    "lines of the first read": Figure(lambda: num_lines(first_read()), 950),
    "lines of the afternoon": Figure(lambda: num_lines(afternoon()), 1900),
    "lines of the longest file in espalier/": Figure(longest_file, 300),
    "lines outside processes/ that name ranks or processes": Figure(lines_on_processes, 10),
    "calls of getattr and hasattr in 1,000 lines": Figure(getattrs),
    "lines of Python in a new project outside espalier/": Figure(scaffold_lines, 1800),
}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    logging.disable()
    print(f"{'':<56}{'now':>9}{'goal':>9}")
    for name, (measure, goal) in FIGURES.items():
        print(f"{name:<56}{measure():>9,}{'' if goal is None else f'{goal:,}':>9}")
