"""Predictions as a file, written while they come: CSV and JSON in pieces, Parquet in groups, arrays at the end."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from espalier.errors import DataError, explain
from espalier.evaluation.predictions import write_csv, write_npz
from espalier.inference.predictions import Predictions

_GROUP = 100_000  # rows of a Parquet file that are written at once
Columns = dict[str, Any]


class CsvFile:
    """A table of `Predictions.columns`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._names = file, list[str]()

    def add(self, said: Predictions, names: Sequence[str] | None, top: int | None) -> None:
        """Write some more rows.

        Raises:
            DataError: they have other columns than those before.
        """
        columns = said.columns(names, top)
        has_header = not self._names
        self._names = self._names or [*columns]
        check_columns(columns, self._names)
        write_csv(self._file, columns, has_header=has_header)

    def close(self) -> None:
        """Nothing is left to do."""


class JsonFile:
    """A list of objects, or with `is_lines` an object a line: `index`, `name`, and what `Prediction.as_dict` says."""

    def __init__(self, file: BinaryIO, *, is_lines: bool = False) -> None:
        self._file, self._is_lines, self._is_first = file, is_lines, True

    def add(self, said: Predictions, names: Sequence[str] | None, top: int | None) -> None:
        """Write some more."""
        rows = []
        for row, each in enumerate(said):
            first = {"index": int(said.places[row])} | ({} if names is None else {"name": names[row]})
            rows.append(json.dumps({**first, **each.as_dict(top)}, ensure_ascii=False, allow_nan=False))
        if not rows:
            return
        text = "".join(f"{row}\n" for row in rows) if self._is_lines else ",\n".join(rows)
        between = "" if self._is_lines else "[\n" if self._is_first else ",\n"
        self._file.write((between + text).encode())
        self._is_first = False

    def close(self) -> None:
        """End the list."""
        if not self._is_lines:
            self._file.write(b"[]\n" if self._is_first else b"\n]\n")


class ParquetFile:
    """The table of a CSV, written by pyarrow."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._rows, self._waiting, self._writer = _Sink(file), 0, list[Columns](), None

    def add(self, said: Predictions, names: Sequence[str] | None, top: int | None) -> None:
        """Keep some more rows until there are enough for a group.

        Raises:
            DataError: they have other columns than those before.
        """
        columns = said.columns(names, top)
        if self._waiting:
            check_columns(columns, [*self._waiting[0]])
        self._waiting.append(columns)
        self._rows += len(columns["index"])
        if self._rows >= _GROUP:
            self._write()

    def close(self) -> None:
        """Write the last group, and the end of the file."""
        self._write()
        if self._writer is not None:
            self._writer.close()  # type: ignore[unreachable]

    def _write(self) -> None:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        if not self._rows and self._writer is not None:
            return
        joined = {name: np.concatenate([each[name] for each in self._waiting])
                  for name in (self._waiting[0] if self._waiting else ())}  # fmt: skip
        table = pa.table({name: each.tolist() if each.dtype.kind == "U" else each for name, each in joined.items()})
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)  # type: ignore[attr-defined]
        self._rows, self._waiting = 0, []


class ArraysFile:
    """What an `.npz` of `test.py --predictions` has; masks and images too, `(N, H, W)`; other things by themselves.

    Where inputs have predictions of different sizes, or dicts, each has arrays of its own: `prediction_<index>`, or
    `<part>_<index>`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._said, self._names = file, list[Predictions](), list[str]()

    def add(self, said: Predictions, names: Sequence[str] | None, top: int | None) -> None:
        """Keep some more."""
        self._said.append(said)
        self._names += names or []

    def close(self) -> None:
        """Write all of them."""
        arrays: dict[str, Any] = {"index": np.concatenate([each.places for each in self._said] or [np.empty(0, int)])}
        if self._names:
            arrays["name"] = np.asarray(self._names)
        values = [each.values for each in self._said]
        if _are_alike(values):
            arrays["prediction"] = np.concatenate(values)
            shares = [each.probabilities for each in self._said]
            if shares[0] is not None and shares[0].ndim == 2:
                arrays.update(probabilities=np.concatenate(shares), classes=np.asarray(self._said[0].names))
        else:
            for each in self._said:
                for place, value in zip(each.places.tolist(), each.values, strict=True):
                    arrays.update(_named(value, place))
        write_npz(self._file, arrays)


class _Sink(io.RawIOBase):
    """What pyarrow asks more of than to be written to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._place = file, 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, content: Any) -> int:
        """Write bytes."""
        self._file.write(content)
        self._place += len(content)
        return len(content)

    def tell(self) -> int:
        """How many bytes are written."""
        return self._place


def check_columns(columns: Mapping[str, Any], names: Sequence[str]) -> None:
    """Hold the columns of some rows against those of the rows before.

    Raises:
        DataError: they are others.
    """
    if [*columns] != [*names]:
        raise DataError(explain("data error: the predictions differ in size, so they have no columns",
                                expected="a file of another kind: .json or .npz"))  # fmt: skip


def _are_alike(values: Sequence[Any]) -> bool:
    return all(isinstance(each, np.ndarray) for each in values) and len({each.shape[1:] for each in values}) == 1


def _named(value: Any, place: int) -> dict[str, Any]:
    """The arrays of one input."""
    parts = value if isinstance(value, Mapping) else {"prediction": value}
    return {f"{name}_{place}": np.asarray(each) for name, each in parts.items()}
