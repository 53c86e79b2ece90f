"""What the functions of the classic template's framework files are, of each of its revisions, as short hashes."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from typing import Any

from migration.code import FUNCTIONS, IMPORTS, Code, dotted, statements


def functions_of(code: Code) -> Iterator[tuple[str, Any]]:
    """The functions of a file and the methods of its classes: `prepare_device`, `BaseTrainer.train`."""
    for node in statements(code.tree.body):
        if isinstance(node, FUNCTIONS):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            inner = (each for each in statements(node.body) if isinstance(each, FUNCTIONS))
            yield from ((f"{node.name}.{each.name}", each) for each in inner)


def loose_code(code: Code) -> Iterator[ast.stmt]:
    """Statements outside of functions that do something; the classic template has none but imports."""
    for node in statements(code.tree.body):
        for each in statements(node.body) if isinstance(node, ast.ClassDef) else [node]:
            is_text = isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
            if not is_text and not isinstance(each, (*FUNCTIONS, *IMPORTS, ast.ClassDef, ast.If, ast.Try, ast.Pass)):
                yield each


def is_upstream(name: str, node: ast.AST) -> bool:
    """Whether a function is as it was in some revision of the classic template."""
    return short_hash(node) in KNOWN.get(name, "").split()


def short_hash(node: ast.AST) -> str:
    """A hash of what a function does: the same for another layout, other quotes, comments and docstrings."""
    return hashlib.sha256(shape(node).encode("utf-8", "surrogatepass")).hexdigest()[:10]


def shape(node: Any) -> str:
    """A syntax tree as text that is the same in all versions of Python."""
    if isinstance(node, list):
        return f"[{','.join(map(shape, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {key: value for key, value in ast.iter_fields(node) if value not in (None, []) and key != "kind"}
    if isinstance(node, FUNCTIONS) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    if isinstance(node, ast.Call) and dotted(node.func) == "super":
        fields.pop("args", None)  # `super(BaseModel, self)` is `super()`
    return f"{type(node).__name__}({','.join(f'{key}={shape(value)}' for key, value in fields.items())})"


KNOWN = {
    "BaseDataLoader.__init__": "0cabee9b4e",
    "BaseDataLoader._split_sampler": "c90b1252be f00ab793b3",
    "BaseDataLoader.split_validation": "cd30b6ddb0",
    "BaseModel.__init__": "d96b79f749",
    "BaseModel.__str__": "c9ea5cbbb7",
    "BaseModel.forward": "18b70dce2f b37f2ee593",
    "BaseTrainer.__init__": "35fdf2e9f3 5afa87cb63",
    "BaseTrainer._prepare_device": "318a202ca6",
    "BaseTrainer._resume_checkpoint": "901ea4e13a",
    "BaseTrainer._save_checkpoint": "47ded6fbe3",
    "BaseTrainer._train_epoch": "fc32af7ded",
    "BaseTrainer.train": "c7e13d6d86 d3b21b4624",
    "ConfigParser.__getitem__": "8fc8e984af",
    "ConfigParser.__init__": "062b19a079 18f5f7a422",
    "ConfigParser.config": "a2a8ca44d9",
    "ConfigParser.from_args": "4695fbe632",
    "ConfigParser.get_logger": "9dca6ca384",
    "ConfigParser.init_ftn": "dee333b944",
    "ConfigParser.init_obj": "5956d7059b",
    "ConfigParser.initialize": "a96d49db58 dbb56cc13d",
    "ConfigParser.log_dir": "7021a7dc65",
    "ConfigParser.save_dir": "db8905e783",
    "MetricTracker.__init__": "a69a8a4f93",
    "MetricTracker.avg": "3f7d2dfc4e",
    "MetricTracker.reset": "8ecf296e58",
    "MetricTracker.result": "67f02fef46",
    "MetricTracker.update": "b391acc631",
    "TensorboardWriter.__getattr__": "22b4ec0b23",
    "TensorboardWriter.__init__": "802e51410a",
    "TensorboardWriter.set_step": "38fdb261b8",
    "WriterTensorboardX.__getattr__": "f4bfae920c",
    "WriterTensorboardX.__init__": "3b015b16e9",
    "WriterTensorboardX.set_step": "ff8eeadba6",
    "_get_by_path": "4dc0985872",
    "_get_opt_name": "972fbfcc07",
    "_set_by_path": "8d3474a47a ad8cd39efa",
    "_update_config": "063302c927 91a084e455",
    "ensure_dir": "fc007ec575",
    "inf_loop": "e56f15949b",
    "prepare_device": "a970fe4b9e",
    "read_json": "3f8380274a c77d46c8cd",
    "setup_logging": "515c3e5be2",
    "write_json": "26ed8882b7 d5c06176c3",
}
