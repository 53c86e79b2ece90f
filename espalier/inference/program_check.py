"""A program of `torch.export` is looked through before PyTorch opens it, which else runs what a stranger wrote there.

PyTorch unpickles parts of such a file, evaluates texts in it as Python, and calls any function of torch that it names.
What an export here writes needs none of that: tensors as bytes, operators of ATen, and arithmetic of sizes.
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

_MEMBER = re.compile(
    r"data/(weights/weight_\d+|constants/tensor_\d+"
    r"|weights/model_weights_config\.json|constants/model_constants_config\.json|sample_inputs/model\.pt)"
    r"|models/model\.json|extra/espalier\.json|archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
)
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|lt|le|gt|ge|eq|ne|and_|or_|not_|getitem)"
    r"|torch\.sym_(max|min|float|int|not|ite)|math\.(ceil|floor|trunc|sqrt)"
)
_FUNCTIONS = {
    "Add", "Mul", "Pow", "Integer", "Float", "Rational", "Symbol", "Max", "Min", "Mod", "PythonMod", "FloorDiv",
    "CleanDiv", "CeilDiv", "CeilToInt", "FloorToInt", "IntTrueDiv", "FloatTrueDiv", "ToFloat", "TruncToInt",
    "RoundToInt", "Eq", "Ne", "Le", "Lt", "Ge", "Gt", "And", "Or", "Not", "Piecewise",
}  # fmt: skip
_ATTRIBUTES = {"size", "sym_max", "sym_min", "sym_float", "sym_int", "sym_not"}
_NAMES = {"L", "torch", "oo", "int_oo", "true", "false"}
_ARITHMETIC = (ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Subscript, ast.keyword, ast.Load,
               ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Tuple)  # fmt: skip
_TREES = ("builtins.tuple", "builtins.list", "builtins.dict")


def check_program(path: Path) -> None:
    """Make sure that a file has nothing but what an export here writes.

    Raises:
        ValueError: it has; says what.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len({*names}) != len(names):
            raise ValueError("it has two parts of one name")
        parts = {name.partition("/")[2]: name for name in names}
        for part in parts:
            if not _MEMBER.fullmatch(part):
                raise ValueError(f"it has a part that is not known: {part}")
        for part in ("weights", "constants"):
            _check_tensors(json.loads(archive.read(parts[f"data/{part}/model_{part}_config.json"])))
        # PyTorch opens this one in the same way first, and only what that refuses in another.
        torch.load(io.BytesIO(archive.read(parts["data/sample_inputs/model.pt"])), weights_only=True)
        _check_graph(json.loads(archive.read(parts["models/model.json"])))


def _check_tensors(config: Any) -> None:
    for name, each in config["config"].items():
        if each["use_pickle"] is not False or not re.fullmatch(r"(weight|tensor)_\d+", each["path_name"]):
            raise ValueError(f"it holds {name} as something else than a tensor")


def _check_graph(model: Any) -> None:
    for key, value in _entries(model):
        if key in ("target", "as_operator") and not _OPERATOR.fullmatch(value):
            raise ValueError(f"it calls {value}")
        if key in ("expr_str", "guards_code"):
            _check_arithmetic(value)
        if key in ("in_spec", "out_spec") and value:
            _check_tree(json.loads(value))
        if key in ("as_custom_obj", "as_opaque"):
            raise ValueError("it holds an object that is no tensor")


def _entries(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Each text of nested lists and dicts with the key that it stands under; of a dict its key and no text."""
    if isinstance(value, dict):
        yield key, ""
        for name, each in value.items():
            yield from _entries(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _entries(each, key)
    elif isinstance(value, str):
        yield key, value


def _check_arithmetic(text: str) -> None:
    if not text:
        return
    for node in ast.walk(ast.parse(text, mode="eval")):
        is_known = (
            isinstance(node, _ARITHMETIC)
            or (isinstance(node, ast.Name) and node.id in _NAMES | _FUNCTIONS)
            or (isinstance(node, ast.Attribute) and node.attr in _ATTRIBUTES)
            or (isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)))
            or (isinstance(node, ast.Constant) and _is_plain(node.value))
        )
        if not is_known:
            raise ValueError(f"it holds a text that is no arithmetic of sizes: {text[:80]}")


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or (
        isinstance(value, str) and re.fullmatch(r"\w{1,40}", value) is not None
    )


def _check_tree(tree: Any) -> None:
    for key, value in _entries(tree):
        if key == "type" and value not in _TREES:
            raise ValueError(f"its inputs or outputs are of {value}")
