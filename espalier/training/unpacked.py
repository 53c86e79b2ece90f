"""What a trainer's `unpack` gave, where that is no pair of input and target."""

from __future__ import annotations

import linecache
from typing import Any

from espalier.errors import TrainingError, explain
from espalier.training.outputs import kind_of


def pair_from(trainer: Any, batch: Any) -> tuple[Any, Any]:
    """Input and target of a batch, as `unpack` of a trainer gives them.

    Raises:
        TrainingError: it gives something else.
    """
    given = trainer.unpack(batch)
    if isinstance(given, (tuple, list)) and len(given) == 2:
        return given[0], given[1]
    head = f"training error: unpack of {type(trainer).__name__} gives no pair of input and target"
    raise TrainingError(explain(head, got=_in_words(given), expected="return inputs, target", fix=_way(given)))


def refuse_unpacked(error: Exception) -> None:
    """Say what `unpack` gave, where a loop could not take it apart.

    Raises:
        TrainingError: that was it.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None or not isinstance(error, (TypeError, ValueError)) or "unpack" not in str(error):
        return
    code, known = traceback.tb_frame.f_code, traceback.tb_frame.f_locals
    if ".unpack(batch)" in linecache.getline(code.co_filename, traceback.tb_lineno) and {"self", "batch"} <= {*known}:
        pair_from(known["self"], known["batch"])  # once more: what it gave is not kept


def _in_words(given: Any) -> str:
    if given is None:
        return "None"
    is_several = isinstance(given, (tuple, list)) and len(given) != 1
    return f"{len(given)} things: {kind_of(given)}" if is_several else kind_of(given)


def _way(given: Any) -> str | None:
    if given is None:
        return 'let unpack end with "return inputs, target"'
    if isinstance(given, (tuple, list)) and len(given) > 2:
        return "several inputs stand in a tuple of their own: return (first, second), target"
    return "let it give the target, too"
