"""Where words and numbers go."""

from typing import Any

from espalier.classic import door
from espalier.journal.logging_setup import setup_logging
from espalier.journal.metrics_file import MetricsFile
from espalier.journal.writer import TensorboardWriter

__all__ = ["MetricsFile", "TensorboardWriter", "setup_logging", *door.own_names("logger")]


def __getattr__(name: str) -> Any:
    return door.own("logger", name)
