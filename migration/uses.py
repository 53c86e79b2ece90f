"""Where a project uses what ours lacks."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from migration.code import FUNCTIONS, Classes, Code, ancestors, dotted, members_of, module_of, takes
from migration.comparison import Comparison, files_behind, root_of

# How the names of variables end that hold such an object.
NAMED = {"BaseDataLoader": "data_loader", "BaseModel": "model", "BaseTrainer": "trainer", "ConfigParser": "config",
         "MetricTracker": "metrics", "TensorboardWriter": "writer"}  # fmt: skip

# By the expression for an object: the class of the framework that it has, and the names that are its own.
Known = Mapping[str, tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Use:
    """A place that needs something of a classic file which ours does not have."""

    path: str  # of the classic file
    name: str
    place: str
    what: str
    is_name: bool = False  # at the top level of the file, and so can live in another one

    def order(self) -> tuple[str, int]:
        """What to sort by: file and line."""
        path, _, line = self.place.rpartition(":")
        return path, int(line)


class Uses:
    """Finds what a file of the project uses of what ours lacks; `classes` are those of the project's own."""

    def __init__(self, code: Code, compared: Comparison, classes: Classes) -> None:
        self.code, self.compared, self.classes = code, compared, classes
        self.modules: dict[str, str] = {}  # by the expression that stands for each in this file

    def all(self) -> list[Use]:
        """All uses."""
        found = [*self._imports()]
        for node in self.code.nodes:
            if isinstance(node, ast.Call):
                found += self._call(node)
            found += self._objects([node])
        for node in self.code.nodes:
            root = root_of(node, self.classes, self.compared) if isinstance(node, ast.ClassDef) else None
            if root is not None:
                found += self._subclass(node, root)
        return [*found, *self._guesses()]

    def _use(self, path: str, name: str, node: Any, what: str, *, is_name: bool = False) -> Use:
        return Use(path, name, f"{self.code.path}:{node.lineno}", what, is_name)

    def _name(self, module: str, name: str, node: ast.AST) -> Iterator[Use]:
        for path in files_behind(module):
            if name in self.compared.lacking.get(path, {}):
                yield self._use(path, name, node, f"uses `{name}`", is_name=True)
                return

    def _imports(self) -> Iterator[Use]:
        """Names that are imported, or read from a module."""
        for node in self.code.nodes:
            if isinstance(node, ast.Import):
                for each in node.names:
                    room = each.name.partition(".")[0]
                    self.modules |= {room: room, each.asname or each.name: each.name}
            elif isinstance(node, ast.ImportFrom):
                module = module_of(self.code.path, node)
                for each in node.names:
                    for word in self.code.nodes if each.name == "*" else ():
                        if isinstance(word, ast.Name) and word.id not in self.code.names:
                            yield from self._name(module, word.id, word)
                    yield from self._name(module, each.name, node)
                    self.modules[each.asname or each.name] = f"{module}.{each.name}"
        for node in self.code.nodes:
            if isinstance(node, ast.Attribute) and dotted(node.value) in self.modules:
                yield from self._name(self.modules[dotted(node.value)], node.attr, node)

    def _guesses(self) -> Iterator[Use]:
        """What has the name of a method that only theirs has, and that no class of the project's own defines."""
        for node in self.code.nodes:
            root = self.compared.unusual.get(node.attr) if isinstance(node, ast.Attribute) else None
            if root is not None and not any(node.attr in members_of(each, {}) for _, each in self.classes.values()):
                what = f"uses `{dotted(node)}`, as it seems of its `{root}`"
                yield self._use(self.compared.pairs[root].path, node.attr, node, what)

    def _subclass(self, node: ast.ClassDef, root: str) -> Iterator[Use]:
        """What a subclass overrides, reads and calls of the class that it comes from."""
        pair, own = self.compared.pairs[root], members_of(node, self.classes)
        for each in ast.walk(node):
            if isinstance(each, FUNCTIONS) and each.name in pair.hooks:
                yield self._use(pair.path, each.name, each, f"overrides `{each.name}`, which its `{root}` calls")
            elif isinstance(each, FUNCTIONS) and pair.calls_otherwise(each):
                what = f"overrides `{each.name}`, which its `{root}` calls with other arguments than ours"
                yield self._use(pair.path, each.name, each, what)
        parents = (self.classes[name][1] for name in ancestors(node, self.classes) if name in self.classes)
        above = {name: each for parent in parents for name, each in members_of(parent, self.classes).items()}
        yield from self._objects(ast.walk(node), {"super()": (root, above), "self": (root, own), "cls": (root, own)})

    def _call(self, node: ast.Call) -> Iterator[Use]:
        """A call of a function or a class that both have, with arguments that only theirs takes."""
        name = dotted(node.func).rpartition(".")[2]
        refused = f"calls `{name}` with arguments that ours does not take"
        if name in self.compared.functions:
            path, theirs, ours = self.compared.functions[name]
            if takes(theirs, node, is_method=False) and not takes(ours, node, is_method=False):
                yield self._use(path, name, node, refused)
        elif name in self.compared.pairs and self.compared.pairs[name].refuses("__init__", node):
            yield self._use(self.compared.pairs[name].path, "__init__", node, refused)

    def _objects(self, nodes: Iterable[Any], known: Known | None = None) -> Iterator[Use]:
        """What is read of objects, and called: of those in `known` or, without it, of variables with such names."""
        for node in nodes:
            is_call = isinstance(node, ast.Call)
            expression = dotted(node.func if is_call else node)
            receiver, _, name = expression.rpartition(".")
            root, own = known.get(receiver, (None, {})) if known else (self._class_named(receiver), {})
            if root is None or name in own:
                continue
            pair = self.compared.pairs[root]
            if is_call and receiver.rpartition(".")[2] == root and node.args and dotted(node.args[0]) == "self":
                node = ast.copy_location(ast.Call(node.func, node.args[1:], node.keywords), node)  # as of super()
            if is_call and pair.refuses(name, node):
                yield self._use(pair.path, name, node, f"calls `{expression}` with arguments that ours does not take")
            elif not is_call and name in pair.lost:
                yield self._use(pair.path, name, node, f"uses `{expression}` of its `{root}`")

    def _class_named(self, receiver: str) -> str | None:
        last = receiver.rpartition(".")[2]
        fits = (name for name in self.compared.pairs if last == name or last.endswith(NAMED.get(name, "/")))
        return next(fits, None) if last else None
