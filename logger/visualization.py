"""The name under which the classic template had what is in `espalier.journal.writer`."""

from typing import Any

from espalier.classic import door
from espalier.journal.writer import TensorboardWriter

__all__ = ["TensorboardWriter"]


def __getattr__(name: str) -> Any:
    return door.own("logger", name)
