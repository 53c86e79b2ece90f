"""The name under which the classic template had what is in `espalier.journal.logging_setup`."""

from typing import Any

from espalier.classic import door
from espalier.journal.logging_setup import setup_logging

__all__ = ["setup_logging"]


def __getattr__(name: str) -> Any:
    return door.own("logger", name)
