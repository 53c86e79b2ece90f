"""Lines of a project that newer libraries or our rooms take another way."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from migration.code import bound_by, dotted, given, is_call, modules_of


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


def is_import(node: ast.AST, module: str) -> bool:
    """Whether a node imports a module, or something below it."""
    return any(f"{name}.".startswith(f"{module}.") for name in modules_of(node))


# Names that NumPy had.
NUMPY = ("asscalar", "bool", "complex", "float", "float_", "Inf", "int", "long", "NaN", "object", "str", "unicode")
Check = tuple[str, Callable[[Any], bool]]  # an advice, and how to know a node that it is about
# What fails.
FAILS: list[Check] = [
    ("`DataFrame.append` is gone since pandas 2: use `pd.concat`.",
     lambda node: is_call(node, ".append") and given(node, "ignore_index") is not None),
    ("These names are gone from NumPy, since 1.24 or 2.0.",
     lambda node: isinstance(node, ast.Attribute) and dotted(node.value) in ("np", "numpy") and node.attr in NUMPY),
    ("`torch._six` is gone: use what Python itself has.", lambda node: is_import(node, "torch._six")),
    ("`Scale` is `Resize` now, and `RandomSizedCrop` is `RandomResizedCrop`.",
     lambda node: re.search(r"transforms\.(Scale|RandomSizedCrop)$", dotted(node)) is not None
     or (is_import(node, "torchvision.transforms") and {"Scale", "RandomSizedCrop"} & {*bound_by(node)} != set())),
    ("`volatile=` is gone: use `torch.no_grad()`.", lambda node: given(node, "volatile") is not None),
    ("`.data[0]` of a loss is an error: use `.item()`.", is_old_index),
    ("`.next()` is gone from the iterators of loaders: use `next(iterator)`.",
     lambda node: is_call(node, ".next") and not node.args and not node.keywords
     and not dotted(node.func).endswith("writer.next")),
]  # fmt: skip
# What goes on as it was, and might be better.
STAYS: list[Check] = [
    ("`torch.save` of the project's own: a file that is cut short by a kill replaces the one before.",
     lambda node: is_call(node, "torch.save")),
    ("This loop runs one batch more than `len_epoch`, as in the classic template.", is_late_break),
    ("`update(key, value)` weighs every batch alike, also a small last one; `update(key, value, n)` weighs by samples.",
     lambda node: is_call(node, ".update") and len(node.args) == 2 and not node.keywords
     and dotted(node.func).endswith("metrics.update")),
    ("`.cuda()` needs a GPU; `.to(device)` runs without one too.", lambda node: is_call(node, ".cuda")),
    ("`torch.utils.tensorboard` has the `SummaryWriter` of `tensorboardX`.",
     lambda node: is_import(node, "tensorboardX")),
    ("`size_average=` and `reduce=` are deprecated: use `reduction=`.",
     lambda node: given(node, "size_average") is not None or isinstance(given(node, "reduce"), ast.Constant)),
]  # fmt: skip
