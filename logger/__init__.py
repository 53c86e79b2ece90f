"""Where words and numbers go."""

from typing import Any

from logger.handlers import setup_logging
from logger.metrics_file import MetricsFile
from logger.writer import TensorboardWriter
from utils import doors

__all__ = ["MetricsFile", "TensorboardWriter", "setup_logging", *doors.own_names("logger")]


def __getattr__(name: str) -> Any:
    return doors.own("logger", name)
