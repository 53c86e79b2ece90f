"""The name under which the classic template had what is in `logger.writer`."""

from typing import Any

from logger.writer import TensorboardWriter
from utils import doors

__all__ = ["TensorboardWriter"]


def __getattr__(name: str) -> Any:
    return doors.own("logger", name)
