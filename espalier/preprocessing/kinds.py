"""The kinds of preprocessing by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from espalier.checkpoints.saved_shape import NAMED, TEXT, check_shape
from espalier.config.trust import find_function
from espalier.data.use import ONLY_DATASET
from espalier.errors import CheckpointError, closest, explain
from espalier.preprocessing.arrays import Array
from espalier.preprocessing.contract import SAY_HOW, Preprocessing
from espalier.preprocessing.functions import Function
from espalier.preprocessing.images import Image
from espalier.preprocessing.rows import Rows
from espalier.preprocessing.tensors import WHAT, Tensors
from espalier.preprocessing.texts import Texts
from espalier.preprocessing.windows import LastRows

KINDS: dict[str, type[Preprocessing]] = {"array": Array, "image": Image, "row": Rows, "tensor": Tensors, "text": Texts,
                                         "window": LastRows}  # fmt: skip
_OTHERS = ("function",)


def load_preprocessing(state: Mapping[str, Any] | None, find: Callable[[str], Any] = find_function) -> Preprocessing:
    """What a checkpoint or a bundle holds, as an object; None is that of a dataset that says nothing.

    Args:
        find: the function that a dotted name leads to; by default one of the project's own rooms alone.

    Raises:
        CheckpointError: it is malformed, or of a kind that is not known here; or only the dataset itself can do it.
    """
    if state is None:
        return Tensors({"kind": "tensor"})
    check_shape(dict(state), {"kind": TEXT, "why?": TEXT}, WHAT)
    kind = state["kind"]
    if kind == ONLY_DATASET:
        what = "checkpoint error: only the dataset of training knows how inputs are prepared"
        raise CheckpointError(explain(what, why=state.get("why"), fix=SAY_HOW))
    if kind == "function":
        check_shape(dict(state), {"function": TEXT}, WHAT)
        return Function(state, find(state["function"]))
    if kind == "text" and state.get("function") is not None:
        check_shape(dict(state), {"function": TEXT, "args?": NAMED}, WHAT)
        return Texts(state, partial(find(state["function"]), **(state.get("args") or {})))
    if kind not in KINDS:
        known = [*KINDS, *_OTHERS]
        what = f"checkpoint error: its inputs are prepared in a way that is not known here: {kind!r}"
        raise CheckpointError(explain(what, expected=f"one of: {', '.join(known)}", closest=closest(kind, known)))
    return KINDS[kind](state)
