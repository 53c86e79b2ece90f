"""What the model said of each sample, in a file.

A row has `index` (of the sample in its dataset), `name` where the dataset has names, `target` and `prediction` (of
classes their numbers; numbers are in units of the file, also where the dataset has scaled its targets), `target_class`
and `prediction_class` where classes have names, and `p_<class>`, the probability of each class or label. Of several
labels a sample, columns are named by them: `target_<label>`; of several numbers they are numbered: `target_0`, or
`target_23_1` of a series. An `.npz` holds the same as arrays, `probabilities` `(N, K)` with `classes` as their names;
of images too, as `(N, H, W)` without probabilities.
"""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from espalier.atomic import write_atomically
from espalier.config.tree import COMMAND_LINE
from espalier.errors import ConfigError, Problem, UserError, explain
from espalier.evaluation.recorder import Kept
from espalier.evaluation.samples import SamplesSeen

_CELLS = 2**18  # that are written at a time
_SAID = ("target", "prediction", "probabilities", "classes")


def write_predictions(path: Path, kept: Kept, samples: SamplesSeen) -> None:
    """Write the file in the format of its name.

    Raises:
        UserError: it cannot be written, or the samples differ in size.
    """
    write_arrays(path, _arrays(kept, samples))


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays as an `.npz` has them in the format of a file's name; in a table, others than those come first.

    Raises:
        UserError: it cannot be written.
    """

    def write(file: BinaryIO) -> None:
        if path.suffix == ".npz":
            write_npz(file, arrays)
        else:
            (write_csv if path.suffix == ".csv" else _write_parquet)(file, columns_of(arrays))

    try:
        write_atomically(path, write)
    except OSError as error:
        raise UserError(explain(f"--predictions: {path} could not be written: {error.strerror or error}")) from error


def _arrays(kept: Kept, samples: SamplesSeen) -> dict[str, Any]:
    prediction, target = (samples.in_units(kept.column(name)) for name in ("prediction", "target"))
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


def columns_of(arrays: dict[str, Any]) -> dict[str, Any]:
    """Each column of a table by its name, `(N,)`, of arrays as an `.npz` has them; there may be no `target`."""
    columns: dict[str, Any] = {name: each for name, each in arrays.items() if name not in _SAID}
    classes = _distinct(arrays["classes"].tolist()) if "probabilities" in arrays else []
    has_labels = arrays["prediction"].ndim > 1 and bool(classes)
    said = [name for name in ("target", "prediction") if name in arrays]
    for name in said:
        values, shape = arrays[name], [size for size in arrays[name].shape[1:] if size > 1]
        places = classes if has_labels else ["_".join(map(str, place)) for place in np.ndindex(*shape)]
        each = values.reshape(len(values), math.prod(shape)).T
        columns.update({f"{name}_{place}" if place else name: one for place, one in zip(places, each, strict=True)})
    if classes and not has_labels and classes != [str(number) for number in range(len(classes))]:
        for name in said:
            columns[f"{name}_class"] = np.asarray([*classes, ""])[arrays[name]]  # of an ignored target, -1, nothing
    if classes:
        columns.update({f"p_{name}": each for name, each in zip(classes, arrays["probabilities"].T, strict=True)})
    return columns


def _distinct(names: Sequence[str]) -> Sequence[str]:
    """The names, or numbers where two are alike."""
    return names if len({*names}) == len(names) else [str(number) for number in range(len(names))]


def write_npz(file: BinaryIO, arrays: Mapping[str, Any]) -> None:
    """What `np.load` reads; of compressing probabilities hardly anything is gained, and it takes long."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, values in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_STORED if values.dtype.kind == "f" else zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as part:
                np.lib.format.write_array(part, values, allow_pickle=False)


def write_csv(file: BinaryIO, columns: dict[str, Any], *, has_header: bool = True) -> None:
    """Write a table a few rows at a time: as texts, numbers take many times the memory."""
    step = max(1, _CELLS // len(columns))
    for first in range(0, max(1, len(columns["index"])), step):
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if first == 0 and has_header:
            writer.writerow(columns)
        texts = (_texts(name, values[first : first + step]) for name, values in columns.items())
        writer.writerows(zip(*texts, strict=True))
        file.write(text.getvalue().encode())


def _texts(name: str, values: np.ndarray) -> list[Any]:
    """A number in single precision such that it is read again to the last bit."""
    if values.dtype.kind != "f":
        return list(values.tolist())
    if name.startswith("p_"):
        return [f"{each:.9g}" for each in values.tolist()]  # a sixth of the time
    return [str(each) for each in values]  # the shortest such text


def _write_parquet(file: BinaryIO, columns: dict[str, Any]) -> None:
    import pandas as pd  # slow to import

    frame = pd.DataFrame({name: values.tolist() if values.dtype.kind == "U" else values
                          for name, values in columns.items()})  # fmt: skip
    content = io.BytesIO()  # pyarrow asks more of a file than to be written to
    frame.to_parquet(content, engine="pyarrow", index=False)
    file.write(content.getbuffer())
