"""The names that `writers` of a config may have without a dotted path."""

from __future__ import annotations

from espalier.journal.writers.comet_run import Comet as comet
from espalier.journal.writers.contract import Writer
from espalier.journal.writers.csv_tables import Csv as csv
from espalier.journal.writers.mlflow_run import Mlflow as mlflow
from espalier.journal.writers.wandb_run import Wandb as wandb

__all__ = ["comet", "csv", "mlflow", "tensorboard", "wandb"]


class tensorboard(Writer):
    """Stands in a config for curves and pictures in TensorBoard, whose switches are `trainer.tensorboard`.

    They are written by `espalier.journal.tensorboard.Board`, which also draws what only TensorBoard can show.
    """
