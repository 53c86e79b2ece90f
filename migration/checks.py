"""Lines of a project that newer libraries or our rooms take another way."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from migration.code import bound_by, dotted, modules_of


def is_call(node: ast.AST, *names: str) -> bool:
    """Whether a node calls one of these; a leading dot stands for anything with such a method."""
    if not isinstance(node, ast.Call):
        return False
    method = f".{node.func.attr}" if isinstance(node.func, ast.Attribute) else ""
    return dotted(node.func) in names or method in names


def given(node: ast.AST, name: str) -> ast.expr | None:
    """The value of a keyword argument, if a node is a call that has it."""
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return next((each.value for each in keywords if each.arg == name), None)


def is_late_break(node: ast.AST) -> bool:
    """`if batch_idx == self.len_epoch: break`"""
    match node:
        case ast.If(test=ast.Compare(ops=[ast.Eq()], comparators=[right]), body=[ast.Break(), *_]):
            return dotted(right).endswith("len_epoch")
    return False


def is_old_index(node: ast.AST) -> bool:
    """`loss.data[0]`"""
    match node:
        case ast.Subscript(value=ast.Attribute(attr="data"), slice=ast.Constant(value=0)):
            return True
    return False


def is_values_assignment(node: ast.AST) -> bool:
    """`frame.values[:] = 0`"""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
    values = (each.value for each in targets if isinstance(each, ast.Subscript))
    return any(isinstance(each, ast.Attribute) and each.attr == "values" for each in values)


def is_import(node: ast.AST, module: str) -> bool:
    """Whether a node imports a module, or something below it."""
    return any(f"{name}.".startswith(f"{module}.") for name in modules_of(node))


# Names that NumPy had.
NUMPY = ("asscalar", "bool", "complex", "float", "float_", "Inf", "int", "long", "NaN", "object", "str", "unicode")
# Each advice, and how to know a node that it is about; the command for PYTHON depends on the project.
CHECKS: list[tuple[str, Callable[[Any], bool]]] = [
    ("`torch.load` without `weights_only`: since torch 2.6 it refuses a checkpoint of the classic template, which "
     "holds a pickled object. `PYTHON --convert OLD NEW --trust` converts one; the new checkpoints load as they are.",
     lambda node: is_call(node, "torch.load") and given(node, "weights_only") is None),
    ("`torch.save` of the project's own: a file that is cut short by a kill replaces the one before.",
     lambda node: is_call(node, "torch.save")),
    ("This loop runs one batch more than `len_epoch`, as in the classic template. Unchanged.", is_late_break),
    ("`update(key, value)` weighs every batch alike, also a small last one; `update(key, value, n)` weighs by samples. "
     "Unchanged.", lambda node: is_call(node, ".update") and len(node.args) == 2 and not node.keywords
     and dotted(node.func).endswith("metrics.update")),
    ("`.cuda()` needs a GPU; `.to(device)` runs without one too.", lambda node: is_call(node, ".cuda")),
    ("`DataFrame.append` is gone since pandas 2: use `pd.concat`.",
     lambda node: is_call(node, ".append") and given(node, "ignore_index") is not None),
    ("This fails since pandas 3: install `pandas<3`, or write `self._data.loc[:, col] = 0`.", is_values_assignment),
    ("These names are gone from NumPy, since 1.24 or 2.0.",
     lambda node: isinstance(node, ast.Attribute) and dotted(node.value) in ("np", "numpy") and node.attr in NUMPY),
    ("`torch.utils.tensorboard` has the `SummaryWriter` of `tensorboardX`.",
     lambda node: is_import(node, "tensorboardX")),
    ("`torch._six` is gone: use what Python itself has.", lambda node: is_import(node, "torch._six")),
    ("`Scale` is `Resize` now, and `RandomSizedCrop` is `RandomResizedCrop`.",
     lambda node: re.search(r"transforms\.(Scale|RandomSizedCrop)$", dotted(node)) is not None
     or (is_import(node, "torchvision.transforms") and {"Scale", "RandomSizedCrop"} & {*bound_by(node)} != set())),
    ("`size_average=` and `reduce=` are deprecated: use `reduction=`.",
     lambda node: given(node, "size_average") is not None or isinstance(given(node, "reduce"), ast.Constant)),
    ("`volatile=` is gone: use `torch.no_grad()`.", lambda node: given(node, "volatile") is not None),
    ("`.data[0]` of a loss is an error: use `.item()`.", is_old_index),
    ("`.next()` is gone from the iterators of loaders: use `next(iterator)`.",
     lambda node: is_call(node, ".next") and not node.args and not node.keywords
     and not dotted(node.func.value).endswith("writer")),
]  # fmt: skip
