"""`torch.load`: of a checkpoint or of data, and whether it takes what the project saves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from migration.code import Code, dotted, given, is_call

# What speaks of a checkpoint in the statement that loads it.
_CHECKPOINT = re.compile(r"resume|checkpoint|ckpt|chkp|\.pth|\.tar|state|weight|pretrain|model|snapshot|best", re.I)
_COMPOUND = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.For, ast.If, ast.Try, ast.While, ast.With)


def is_plain_load(node: ast.AST) -> bool:
    """Whether a node is a `torch.load` that does not say what it takes."""
    return is_call(node, "torch.load") and given(node, "weights_only") is None


def saves_config(code: Code) -> bool:
    """Whether a file saves its config object with what it saves."""
    values: list[ast.AST] = []
    for node in code.nodes:
        if isinstance(node, ast.Dict):
            values += node.values
        elif is_call(node, "dict", ".update"):
            values += [each.value for each in node.keywords]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            values.append(node.value)
    is_saving = any(is_call(node, "torch.save") for node in code.nodes)
    return is_saving and any(dotted(value) in ("config", "self.config") for value in values)


def checkpoint_loads(code: Code) -> Iterator[Any]:
    """Each such call that loads a checkpoint, as far as names tell; one that loads data is none of ours."""
    states = {dotted(word.args[0]) for word in code.nodes if is_call(word, ".load_state_dict") and word.args}
    states |= {dotted(word.value) for word in code.nodes if isinstance(word, ast.Subscript)
               and getattr(word.slice, "value", None) in ("state_dict", "optimizer")}  # fmt: skip
    for statement in code.nodes:
        parts = [*ast.walk(statement)] if isinstance(statement, ast.stmt) else []
        loads = [] if isinstance(statement, _COMPOUND) else [each for each in parts if is_plain_load(each)]
        words = [word for part in parts for word in _words(part)]
        if any(map(_CHECKPOINT.search, words)) or states & {*words}:
            yield from loads


def _words(node: Any) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    return [dotted(node)] if isinstance(node, (ast.Name, ast.Attribute)) else []
