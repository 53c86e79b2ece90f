"""The kinds of preprocessing by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espalier.checkpoints.saved_shape import TEXT, check_shape
from espalier.errors import CheckpointError, closest, explain
from espalier.preprocessing.contract import Preprocessing, Tensors
from espalier.preprocessing.rows import Rows

KINDS: dict[str, type[Preprocessing]] = {"tensor": Tensors, "row": Rows}


def load_preprocessing(state: Mapping[str, Any] | None) -> Preprocessing:
    """What a checkpoint or a bundle holds, as an object; None is that of a dataset that says nothing.

    Raises:
        CheckpointError: it is malformed, or of a kind that is not known here.
    """
    if state is None:
        return Tensors({"kind": "tensor"})
    check_shape(dict(state), {"kind": TEXT}, "how inputs are prepared")
    kind = KINDS.get(state["kind"])
    if kind is None:
        what = f"checkpoint error: its inputs are prepared in a way that is not known here: {state['kind']!r}"
        raise CheckpointError(explain(what, expected=f"one of: {', '.join(KINDS)}",
                                      closest=closest(state["kind"], KINDS)))  # fmt: skip
    return kind(state)
