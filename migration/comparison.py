"""The classic template's files in our rooms, held against ours: what ours lacks."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from migration.code import FUNCTIONS, Classes, Code, ancestors, called_on_self, classes_of, members_of, module_of, takes
from migration.files import ROOMS

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
# What many other objects have too: of these names only a use through a variable of a known name counts.
USUAL = {*dir(dict), *dir(list), *dir(set), *dir(str), "load_state_dict", "set_epoch", "state_dict", "zero_grad"}
OBJECTS_INIT = ast.parse("def __init__(self): ...").body[0]  # that of `object`


@dataclass(frozen=True)
class Pair:
    """A class of a classic file beside ours of that name."""

    path: str
    theirs: dict[str, ast.AST]
    ours: dict[str, ast.AST]
    lost: set[str]  # what only theirs has
    their_calls: dict[str, list[ast.Call]]  # of methods, on itself
    our_calls: dict[str, list[ast.Call]]

    @property
    def hooks(self) -> set[str]:
        """Methods that theirs calls on itself, and ours does not."""
        return self.their_calls.keys() - self.our_calls.keys() - self.ours.keys()

    def calls_otherwise(self, method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        """Whether a method of a subclass takes how theirs calls it, and not how ours does."""
        theirs, ours = self.their_calls.get(method.name, []), self.our_calls.get(method.name, [])
        fits = any(takes(method, call, is_method=True) for call in theirs)
        return fits and not all(takes(method, call, is_method=True) for call in ours)

    def refuses(self, method: str, call: ast.Call) -> bool:
        """Whether theirs takes a call that ours does not."""
        default = OBJECTS_INIT if method == "__init__" else None
        fits = method in self.theirs and takes(self.theirs[method], call, is_method=True)
        return fits and not takes(self.ours.get(method, default), call, is_method=True)


class Comparison:
    """The classic files of a project beside ours; `own` are its other files.

    Attributes:
        lacking: the names of each file that ours do not give, with the statement that binds them.
        pairs: the classes that both have.
        functions: the functions that both have: the file, theirs, ours.
        hidden: by the `__init__` and a name that it passes on from a module of the project's own, that module, where
            ours gives another object of that name.
        unusual: names of methods that only theirs have and that name themselves, each with the class.
    """

    def __init__(self, theirs: Mapping[str, Code], ours: Mapping[str, Code], own: Mapping[str, Code]) -> None:
        self.lacking: dict[str, dict[str, ast.stmt]] = {}
        self.pairs: dict[str, Pair] = {}
        self.functions: dict[str, tuple[str, ast.AST, ast.AST]] = {}
        self.hidden: dict[tuple[str, str], str] = {}
        self.their_classes, self.our_classes = classes_of(theirs.values()), classes_of(ours.values())
        our_classes = self.our_classes
        our_functions = {name: node for code in ours.values() for name, node in code.names.items()
                         if isinstance(node, FUNCTIONS)}  # fmt: skip
        for path, code in theirs.items():
            offered, lacking = given_by(path, ours), self.lacking.setdefault(path, {})
            for name, node in code.names.items():
                if name not in offered:
                    lacking[name] = node
                elif isinstance(node, ast.ClassDef) and name in our_classes:
                    self.pairs[name] = self._pair(path, name, self.their_classes)
                elif (module := passed_on(path, node)) is not None and module not in ROOMS:
                    self.hidden[path, name] = module
                    classes = classes_of(own[each] for each in own if each.startswith(module.replace(".", "/")))
                    if name in classes and name in our_classes:
                        self.pairs[name] = self._pair(path, name, {**self.their_classes, **classes})
                elif isinstance(node, FUNCTIONS) and name in our_functions:
                    self.functions[name] = (path, node, our_functions[name])
        our_names = {member for name in our_classes for member in members_of(our_classes[name][1], our_classes)}
        self.unusual = {
            method: name for name, pair in self.pairs.items() for method in sorted(pair.lost - our_names - USUAL)
            if isinstance(pair.theirs[method], FUNCTIONS) and "_" in method.strip("_")
        }  # fmt: skip

    def _pair(self, path: str, name: str, their_classes: Classes) -> Pair:
        theirs = members_of(their_classes[name][1], their_classes)
        ours = members_of(self.our_classes[name][1], self.our_classes)
        lost = theirs.keys() - ours.keys() - ANSWERED.get(name, set())
        calls = called_on_self(name, their_classes), called_on_self(name, self.our_classes)
        return Pair(path, theirs, ours, lost, *calls)


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


def passed_on(path: str, node: ast.stmt) -> str | None:
    """The module of the project's own in our rooms from which an `__init__` imports, if that is what it does."""
    if not isinstance(node, ast.ImportFrom) or not path.endswith("__init__.py"):
        return None
    module = module_of(path, node)
    is_own = module in ROOMS or (module.partition(".")[0] in ROOMS and not files_behind(module))
    return module if is_own else None


def root_of(node: ast.ClassDef, classes: Classes, compared: Comparison) -> str | None:
    """The class of the framework that a class comes from."""
    return next((name for name in ancestors(node, classes) if name in compared.pairs), None)
