"""Where words and numbers go."""

from logger.logger import setup_logging
from logger.metrics_file import MetricsFile
from logger.visualization import TensorboardWriter

__all__ = ["MetricsFile", "TensorboardWriter", "setup_logging"]
