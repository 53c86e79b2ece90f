"""Which class was taken for which in validation, after the latest shown epoch: `validation.json` in the run folder."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from espalier.atomic import replace_text
from espalier.checkpoints.run_folder import VALIDATION_NAME


def write_validation(folder: Path, epoch: int, counts: np.ndarray) -> None:
    """Write the counts `(K, K)`, a row for each true class.

    A file that cannot be written is told; the run goes on.
    """
    confusion = {"classes": [str(each) for each in range(len(counts))], "counts": counts.tolist()}
    try:
        replace_text(folder / VALIDATION_NAME, json.dumps({"epoch": epoch, "confusion": confusion}) + "\n")
    except OSError as error:
        line = "%s could not be written: %s. Training goes on."
        logging.getLogger("trainer").warning(line, folder / VALIDATION_NAME, error.strerror or error)
