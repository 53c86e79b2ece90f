"""The name under which the classic template had what is in `logger.handlers`."""

from typing import Any

from logger.handlers import setup_logging
from utils import doors

__all__ = ["setup_logging"]


def __getattr__(name: str) -> Any:
    return doors.own("logger", name)
