"""What the model said of each sample, in a file.

A row has `index` (of the sample in its dataset), `name` where the dataset has names, `target` and `prediction` (of
classes their numbers), and `p_<class>`, the probability of each class or label. Of several labels or numbers a sample,
columns are numbered: `target_0`, `prediction_0`. An `.npz` holds the same as arrays, `probabilities` `(N, K)` with
`classes` as their names; of images too, as `(N, H, W)` without probabilities.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espalier.atomic import write_atomically
from espalier.config.tree import COMMAND_LINE
from espalier.errors import ConfigError, Problem, UserError, explain
from espalier.evaluation.recorder import Kept
from espalier.evaluation.samples import SamplesSeen


def write_predictions(path: Path, kept: Kept, samples: SamplesSeen) -> None:
    """Write the file in the format of its name.

    Raises:
        UserError: it cannot be written, or the samples differ in size.
    """
    arrays = _arrays(kept, samples)
    content = io.BytesIO()
    if path.suffix == ".npz":
        np.savez_compressed(content, **arrays)
    elif path.suffix == ".csv":
        content.write(_csv_of(_columns(arrays)).encode())
    else:
        _write_parquet(content, _columns(arrays))
    try:
        write_atomically(path, lambda file: file.write(content.getbuffer()))
    except OSError as error:
        raise UserError(explain(f"--predictions: {path} could not be written: {error.strerror or error}")) from error


def _arrays(kept: Kept, samples: SamplesSeen) -> dict[str, Any]:
    prediction, target = kept.column("prediction"), kept.column("target")
    if prediction is None or target is None:
        what = "needs predictions of one size for all samples"
        raise ConfigError(Problem("--predictions", what, COMMAND_LINE, fix="leave it out"))
    arrays: dict[str, Any] = {"index": np.asarray(samples.indices, dtype=np.int64)}
    if samples.has_names:
        arrays["name"] = np.asarray([samples.name(place) for place in range(len(prediction))])
    arrays.update(target=_flat(target.numpy()), prediction=_flat(prediction.numpy()))
    if (probabilities := kept.column("probabilities")) is not None:
        names = samples.class_names
        numbers = [str(number) for number in range(probabilities.shape[1])]
        arrays["probabilities"] = probabilities.numpy()
        arrays["classes"] = np.asarray(names if len(names) == len(numbers) else numbers)
    return arrays


def _flat(values: np.ndarray) -> np.ndarray:
    """`(N, 1)` as `(N,)`."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _columns(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Each column by its name, `(N,)`."""
    columns: dict[str, Any] = {name: arrays[name] for name in ("index", "name") if name in arrays}
    for name in ("target", "prediction"):
        values = arrays[name]
        several = {f"{name}_{index}": each for index, each in enumerate(values.T)} if values.ndim == 2 else {}
        columns.update(several or {name: values})
    if "probabilities" in arrays:
        names = _distinct(arrays["classes"].tolist())
        columns.update({f"p_{name}": each for name, each in zip(names, arrays["probabilities"].T, strict=True)})
    return columns


def _distinct(names: Sequence[str]) -> Sequence[str]:
    """The names, or numbers where two are alike."""
    return names if len({*names}) == len(names) else [str(number) for number in range(len(names))]


def _csv_of(columns: dict[str, Any]) -> str:
    # A number in single precision as the shortest text that gives it back, as NumPy writes it.
    texts = [[str(each) for each in values] if values.dtype.kind == "f" else values.tolist()
             for values in columns.values()]  # fmt: skip
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*texts, strict=True))
    return text.getvalue()


def _write_parquet(content: io.BytesIO, columns: dict[str, Any]) -> None:
    import pandas as pd  # slow to import

    frame = pd.DataFrame({name: values.tolist() if values.dtype.kind == "U" else values
                          for name, values in columns.items()})  # fmt: skip
    frame.to_parquet(content, engine="pyarrow", index=False)
