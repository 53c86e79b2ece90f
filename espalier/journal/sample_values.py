"""Losses and metrics of single test samples, in a file beside `test.json`: with them two runs are compared in pairs."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espalier.atomic import write_atomically
from espalier.own_file import read_regular


@dataclass(frozen=True)
class SampleValues:
    """What an evaluation measured of each of N samples.

    Attributes:
        index: of the samples in their dataset, `(N,)`.
        target: a checksum of the target of each, `(N,)`: two evaluations with the same are of the same data.
        values: `(N,)` by the name of the loss or metric, which is their mean.
    """

    index: np.ndarray
    target: np.ndarray
    values: Mapping[str, np.ndarray]


def write_sample_values(path: Path, found: SampleValues) -> None:
    """Write the file; some 10 bytes for each sample and value.

    Raises:
        OSError: it cannot be written.
    """
    content = io.BytesIO()
    rows = np.stack([*found.values.values()]) if found.values else np.empty((0, len(found.index)))
    np.savez_compressed(content, index=found.index, target=found.target, names=np.asarray([*found.values], dtype=str),
                        values=rows)  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(content.getbuffer()))


def read_sample_values(path: Path) -> SampleValues | None:
    """Read it; None where the file is not there, or is none of ours."""
    try:
        with np.load(io.BytesIO(read_regular(path)), allow_pickle=False) as file:
            names, rows = file["names"].tolist(), file["values"]
            found = SampleValues(file["index"], file["target"], dict(zip(names, rows, strict=True)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, zipfile.BadZipFile, zlib.error):
        return None
    is_whole = found.index.shape == found.target.shape == rows.shape[1:] and found.index.ndim == 1
    return found if is_whole else None
