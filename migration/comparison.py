"""The classic template's files in our rooms, held against ours: what ours lacks."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from migration.code import FUNCTIONS, Classes, Code, ancestors, called_on_self, classes_of, members_of, takes

# The classic template's files in our rooms, and what a project goes without where its own form is kept.
CLASSIC = {
    "base/__init__.py": "",
    "base/base_data_loader.py": "order and split by the seed, and going on in the middle of an epoch",
    "base/base_model.py": "the table of parameters",
    "base/base_trainer.py": "atomic checkpoints, exact resume, saving when the run is stopped, the end at a loss that "
                            "is not finite, and the corrected early stopping",
    "logger/__init__.py": "",
    "logger/logger.py": "a log file that does not depend on the folder one stands in",
    "logger/visualization.py": "all methods of `SummaryWriter`, and curves without repeats after a resume",
    "parse_config.py": "`key.path=value` on the command line, `extends`, `-r` with a folder, the check of the config",
    "utils/__init__.py": "",
    "utils/util.py": "averages that are weighted by samples and do not wait for the device",
}  # fmt: skip
WITH_DOOR = ("base/__init__.py", "logger/", "utils/")  # ours look names that they lack up in <room>/project_<room>.py
WHOLE = ("logger/", "utils/")  # kept as a whole: there __init__ only passes on what stands beside it
# What ours answers without a definition of that name.
ANSWERED = {
    "BaseDataLoader": {"dataset", "sampler", "batch_sampler", "batch_size", "num_workers", "collate_fn", "drop_last"},
    "BaseTrainer": {"loss", "metrics", "metric_fns", "do_validation", "log_step"},
    "ConfigParser": {"initialize"},
}
OBJECTS_INIT = ast.parse("def __init__(self): ...").body[0]  # that of `object`


@dataclass(frozen=True)
class Pair:
    """A class of a classic file beside ours of that name."""

    path: str
    theirs: dict[str, ast.AST]
    ours: dict[str, ast.AST]
    lost: set[str]  # what only theirs has
    hooks: set[str]  # methods that theirs calls on itself, and ours does not

    def refuses(self, method: str, call: ast.Call) -> bool:
        """Whether theirs takes a call that ours does not."""
        default = OBJECTS_INIT if method == "__init__" else None
        fits = method in self.theirs and takes(self.theirs[method], call, is_method=True)
        return fits and not takes(self.ours.get(method, default), call, is_method=True)


class Comparison:
    """The classic files of a project beside ours.

    Attributes:
        lacking: the names of each file that ours do not give, with the statement that binds them.
        pairs: the classes that both have.
        functions: the functions that both have: the file, theirs, ours.
    """

    def __init__(self, theirs: Mapping[str, Code], ours: Mapping[str, Code]) -> None:
        self.lacking: dict[str, dict[str, ast.stmt]] = {}
        self.pairs: dict[str, Pair] = {}
        self.functions: dict[str, tuple[str, ast.AST, ast.AST]] = {}
        their_classes, our_classes = classes_of(theirs.values()), classes_of(ours.values())
        our_functions = {name: node for code in ours.values() for name, node in code.names.items()
                         if isinstance(node, FUNCTIONS)}  # fmt: skip
        for path, code in theirs.items():
            offered, lacking = given_by(path, ours), self.lacking.setdefault(path, {})
            for name, node in code.names.items():
                if name not in offered:
                    lacking[name] = node
                elif isinstance(node, ast.ClassDef) and name in our_classes:
                    our_node = our_classes[name][1]
                    has, mine = members_of(node, their_classes), members_of(our_node, our_classes)
                    hooks = called_on_self(node) - called_on_self(our_node) - mine.keys()
                    lost = has.keys() - mine.keys() - ANSWERED.get(name, set())
                    self.pairs[name] = Pair(path, has, mine, lost, hooks)
                elif isinstance(node, FUNCTIONS) and name in our_functions:
                    self.functions[name] = (path, node, our_functions[name])


def given_by(path: str, ours: Mapping[str, Code]) -> set[str]:
    """The names that ours gives where a classic file did; those that load late stand there as strings."""
    room = path.partition("/")[0] + "/"
    paths = [each for each in CLASSIC if each == path or (room in WHOLE and each.startswith(room))]
    codes = [ours[each] for each in paths if each in ours]
    strings = (word.value for code in codes for each in code.tree.body if isinstance(each, ast.Assign)
               for word in ast.walk(each) if isinstance(word, ast.Constant))  # fmt: skip
    return {name for code in codes for name in code.names} | {str(word) for word in strings}


def files_behind(module: str) -> list[str]:
    """The classic files in which a name of this module may be defined."""
    path = module.replace(".", "/")
    return [each for each in CLASSIC if each == f"{path}.py" or (each.startswith(f"{path}/") and "/" not in path)]


def root_of(node: ast.ClassDef, classes: Classes, compared: Comparison) -> str | None:
    """The class of the framework that a class comes from."""
    return next((name for name in ancestors(node, classes) if name in compared.pairs), None)
