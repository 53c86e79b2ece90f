"""What a file of `torch.export` may hold before PyTorch, which would run code in it, reads it: no code.

PyTorch unpickles some parts of such a file, evaluates the texts of sizes and of guards as Python, and calls whatever an
operator of the graph is called.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_PARTS = re.compile(
    r"data/(weights|constants)/((weight|tensor)_\d+|\w+_config\.json)|models/\w+\.json|extra/[\w.]+|"
    r"data/sample_inputs/\w+\.pt|archive_format|archive_version|byteorder|\.data/\w+|version"
)
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|torchvision)\.\w+\.\w+|torch\.sym_\w+|math\.\w+|"
    r"_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_)"
)
_NOT = re.compile(r"from_file|save|load|print|py_|script|call", re.IGNORECASE)  # operators that do more than compute
_FUNCTIONS = """
    Symbol Integer Rational Float Add Mul Pow Min Max Mod And Or Not Eq Ne Equality Unequality StrictLessThan LessThan
    StrictGreaterThan GreaterThan FloorDiv CeilDiv CleanDiv PythonMod ModularIndexing Where IntTrueDiv FloatTrueDiv
    TruncToInt TruncToFloat ToFloat RoundToInt CeilToInt FloorToInt PowByNatural FloatPow Identity true false
"""
_KNOWN = frozenset(_FUNCTIONS.split())
_ATTRIBUTES = ("size", "stride", "storage_offset", "dim", "numel", "ndim", "shape")  # of inputs, in guards
_MODULES = {
    "torch": ("sym_max", "sym_min", "sym_int", "sym_float", "sym_not", "sym_ite", "sym_sum"),
    "math": ("trunc", "ceil", "floor"),
}
_SYMBOL = re.compile(r"[a-z]{1,4}\d+")
_NAME = re.compile(r"-?[\w.]*")  # which PyTorch writes into the code of the graph; or a number such as -Infinity
_TEXT = re.compile(r"[\w., >-]*")  # as_string: of einsum
_SPEC = re.compile(r'[\w.\s\[\]{}",:\\]*')
_FREE = ("torch_version", "stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack", "from_node")  # is only kept
_PLAIN = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.operator,
    ast.unaryop, ast.boolop, ast.cmpop, ast.Call, ast.keyword, ast.Subscript, ast.Attribute,
)  # fmt: skip


def check_program(path: Path) -> None:
    """Make sure that a `.pt2` file has a graph of plain operators on tensors, and nothing that would be run.

    Raises:
        ValueError: it has more, and what that is.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len({name.lower() for name in names}) < len(names):  # PyTorch would read the other one
            raise ValueError("it holds a file twice")
        for name in names:
            _check_part(name.partition("/")[2], archive.read(name))


def _check_part(part: str, content: bytes) -> None:
    if not _PARTS.fullmatch(part):
        raise ValueError(f"it holds {part!r}, which is no part of a graph")
    if part.endswith(".pt"):
        torch.load(io.BytesIO(content), weights_only=True)  # as PyTorch tries first, and then not
    elif part.endswith("_config.json"):
        _check_tensors(json.loads(content))
    elif part.startswith("models/"):
        _check_graph(json.loads(content))


def _check_tensors(config: Any) -> None:
    for name, each in config["config"].items():
        is_plain = each["use_pickle"] is False and re.fullmatch(r"(weight|tensor)_\d+", each["path_name"])
        if not is_plain or not _NAME.fullmatch(name):
            raise ValueError(f"it holds {name!r} in a form that only code can read")


def _check_graph(graph: Any) -> None:
    for key, value in _entries(graph):
        if not _NAME.fullmatch(key):
            raise ValueError(f"it has a name that is code: {key[:80]!r}")
        if key == "guards_code" and not all(_computes(each, is_guard=True) for each in value or ()):
            raise ValueError(f"it has a condition that is code: {str(value)[:80]!r}")
        if key == "target" and (not _OPERATORS.fullmatch(str(value)) or _NOT.search(str(value))):
            raise ValueError(f"its graph calls {value!r}, which is no operator on tensors")
        if key == "expr_str" and not _computes(value, is_guard=False):
            raise ValueError(f"it has a size that is code: {str(value)[:80]!r}")
        if key in ("target", "expr_str", "guards_code", *_FREE):
            continue
        form = _SPEC if key in ("in_spec", "out_spec") else _TEXT if key == "as_string" else _NAME
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and (not form.fullmatch(text) or "__enum__" in text):
                raise ValueError(f"it has a name that is code: {text[:80]!r}")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys of a nested value, with what is under each."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield from each.items()
            waiting += [inner for key, inner in each.items() if key not in _FREE]
        elif isinstance(each, list):
            waiting += each


def _computes(text: Any, *, is_guard: bool) -> bool:
    """Whether a text of Python is only arithmetic with sizes."""
    if not isinstance(text, str) or len(text) > 10_000:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    texts = {id(each) for node in ast.walk(tree) for each in _texts_allowed(node, is_guard=is_guard)}
    return all(_is_plain(node, texts, is_guard=is_guard) for node in ast.walk(tree))


def _texts_allowed(node: ast.AST, *, is_guard: bool) -> list[ast.AST]:
    """The texts that are names: of a symbol, and of an input in `L['x']`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Symbol" and node.args:
        name = node.args[0]
        is_symbol = isinstance(name, ast.Constant) and isinstance(name.value, str) and _SYMBOL.fullmatch(name.value)
        return [name] if is_symbol else []
    if is_guard and isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "L":
        return [node.slice]
    return []


def _is_plain(node: ast.AST, texts: set[int], *, is_guard: bool) -> bool:
    if not isinstance(node, _PLAIN):
        return False
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (bool, int, float)) or id(node) in texts
    if isinstance(node, ast.Name):
        return node.id in _KNOWN or bool(_SYMBOL.fullmatch(node.id)) or (is_guard and node.id in ("L", *_MODULES))
    if isinstance(node, ast.Attribute):
        of_module = _MODULES.get(node.value.id, ()) if isinstance(node.value, ast.Name) else _ATTRIBUTES
        return is_guard and node.attr in of_module
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) or (is_guard and isinstance(node.func, ast.Attribute))
    return is_guard or not isinstance(node, ast.Subscript)
