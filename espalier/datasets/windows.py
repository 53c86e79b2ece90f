"""Windows over a table or an array in the order of time: some rows to look at, and those after them to predict."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from espalier.data.in_memory import Batch, InMemoryDataset
from espalier.data.split_columns import PARTS, Split, times_of
from espalier.datasets.arrays import load_npy
from espalier.datasets.cells import kind_of_values, raw_values
from espalier.datasets.columns import Numbers, column_of, gaps_in_words
from espalier.datasets.for_use import makes_own_samples, state_of_windows
from espalier.datasets.labels import not_fitted
from espalier.datasets.table_file import check_column, load_table, shorten_names
from espalier.errors import ConfigError, DataError, Problem, closest, counted, explain, shorten

logger = logging.getLogger("data")

PATH = "data_loader.args.dataset.args"  # where it usually stands, for messages
_SCALES = ("standard", "none")


class Windows(InMemoryDataset):
    """Windows of `history + horizon` rows; a sample is `(inputs, target)`, float32 `(history, F)` and `(horizon, T)`.

    The target is what the target columns have in the `horizon` rows behind the history. Windows overlap; those of
    different parts of a split never do: no row of the file is in windows of two parts, neither as input nor as target.
    Where two parts meet, the windows of the earlier one that reach into the later one are left out.

    Args:
        path: a file as of `espalier.datasets.Table`, or an array `(N,)` or `(N, F)` in a .npy file, whose columns are
            called "0", "1", ... Rows are one step of time apart, and without gaps.
        target: the name of the column to predict, or of several; None: all that are looked at.
        columns: names of the columns to look at; by default all but `time`.
        time: the column to sort the rows by; None where they are in order.
        history: rows that the model looks at.
        horizon: rows that it predicts.
        stride: rows from the beginning of a window to that of the next.
        scale: "standard" (each column to mean 0 and standard deviation 1 in the training windows) or "none".
        read: options of pandas' reader.

    Attributes:
        in_features: number of columns F; num_outputs: number of targets T.
        target_mean, target_std: of each target, a list: a prediction in units of the file is `y * std + mean`.

    Raises:
        ConfigError: an argument is out of range.
        DataError: the file or a column of it is not what it should be, or shorter than a window.
    """

    is_deterministic = True
    facts: tuple[str, ...] = ("in_features", "num_outputs", "history", "horizon", "target_mean", "target_std")

    def __init__(
        self,
        path: str | Path,
        target: str | Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        time: str | None = None,
        history: int,
        horizon: int = 1,
        stride: int = 1,
        scale: Literal["standard", "none"] = "standard",
        read: Mapping[str, Any] | None = None,
    ) -> None:
        _check_arguments({"history": history, "horizon": horizon, "stride": stride}, scale)
        self.path, self.history, self.horizon, self.stride, self.scaling = path, history, horizon, stride, scale
        self.length = history + horizon
        self.time, self.read = time, dict(read or {})
        self._frame = load_series(path, read)
        if time is not None:
            check_column(time, self._frame, path)
            order = np.argsort(times_of(time, self._raw, len(self._frame)), kind="stable")
            self._frame = self._frame.iloc[order].reset_index(drop=True)
        self.columns = [name for name in self._frame.columns if name != time] if columns is None else list(columns)
        self.target = self.columns if target is None else [target] if isinstance(target, str) else list(target)
        self.in_features, self.num_outputs = len(self.columns), len(self.target)
        self._values = {name: self._numbers(name) for name in dict.fromkeys([*self.columns, *self.target])}
        if len(self._frame) < self.length:
            raise DataError(explain(f"data error: {path} is shorter than a window",
                                    got=counted(len(self._frame), "row"),
                                    expected=f"at least history + horizon, {self.length:,}"))  # fmt: skip
        self.starts = np.arange(0, len(self._frame) - self.length + 1, stride)  # the first row of each window
        self._times = None if time is None else self.column(time)
        super().__init__(torch.empty(len(self.starts), 0), torch.empty(len(self.starts)))

    def _numbers(self, name: str) -> np.ndarray:
        """Float64 `(N,)`, a value in each row."""
        check_column(name, self._frame, self.path)
        series, what = self._frame[name], f"data error: column {name!r} of {self.path}"
        fix = f'if it is the time, "time": "{name}"; else let "columns" name the others'
        if kind_of_values(series) in ("categorical", "datetime64", "datetime", "date"):
            raise DataError(explain(f"{what} holds no numbers", got=f"{str(series.iloc[0])!r} in row 1", fix=fix))
        column = column_of(series, "number", self.path)
        assert isinstance(column, Numbers)
        for fault in column.faults:
            row = int(fault.is_faulty.argmax())
            got = f"{str(series.iloc[row])!r} in row {row + 1}"
            raise DataError(explain(f"{what} holds something else than numbers", got=got, fix=fix))
        if column.is_missing.any():
            raise DataError(explain(f"{what} has gaps, and windows need a value in each row",
                                    got=gaps_in_words(column.is_missing), fix="fill them in the file"))  # fmt: skip
        return column.values

    def _raw(self, name: str | None) -> np.ndarray:
        return np.asarray(raw_values(self._frame[name]))

    def column(self, name: str) -> np.ndarray:
        """The values of any column of the file in the first row that each window predicts, `(N,)`.

        Raises:
            DataError: there is none of that name.
        """
        check_column(name, self._frame, self.path)
        return np.asarray(self._raw(name)[self.starts + self.history])

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """How rows become inputs, see `espalier.preprocessing`; None before `use`, and where a subclass does it."""
        return None if not hasattr(self, "fitted") or makes_own_samples(self, Windows) else state_of_windows(self)

    def raw_input(self, index: int) -> np.ndarray:
        """What the file says in the rows that a window looks at, float64 `(history, F)`."""
        rows = slice(self.starts[index], self.starts[index] + self.history)
        return np.stack([self._values[name][rows] for name in self.columns], axis=1)

    def name_of(self, index: int) -> str:
        """The time of the first row that a window predicts; without a column of times the number of the window."""
        return str(index if self._times is None else self._times[index])

    def keep_apart(self, parts: Split) -> Split:
        """The parts, without windows that share a row with one of a later part; the test part is kept whole.

        Raises:
            ConfigError: that is half of a part or more, so the parts do not follow each other in time.
        """
        is_taken = np.zeros(len(self._frame), dtype=bool)
        kept = {}
        for name in reversed(PARTS):
            starts = self.starts[parts[name]]
            before = np.append(0, np.cumsum(is_taken))  # how many rows before each are taken
            kept[name] = parts[name][before[starts + self.length] == before[starts]]
            is_taken |= self._rows_of(kept[name])
            number, left_out = len(starts), len(starts) - len(kept[name])
            if left_out and 2 * left_out >= number:
                what = f"leaves the {name} part few windows that share no row with a later part"
                fix = f'divide by time, as in "time": true, into parts of much more than {self.length:,} rows'
                got = f"{left_out:,} of {counted(number, 'window')} that do"
                raise ConfigError(Problem("data_loader.args.split", what, got=got, fix=fix))
            if left_out:
                logger.info("%s of %s %s windows of %s reach into the next part, and are left out.", f"{left_out:,}",
                            f"{number:,}", name, self.path)  # fmt: skip
        return kept

    def _rows_of(self, indices: np.ndarray) -> np.ndarray:
        """Whether each row is in one of these windows, `(rows,)`."""
        steps = np.zeros(len(self._frame) + 1, dtype=np.int64)
        np.add.at(steps, self.starts[indices], 1)
        np.add.at(steps, self.starts[indices] + self.length, -1)
        return np.asarray(np.cumsum(steps)[:-1] > 0)

    def fit(self, indices: Any) -> dict[str, Any]:
        """Mean and standard deviation of each column, by the rows of these windows alone."""
        rows = self._rows_of(np.asarray(indices, dtype=np.int64))
        if self.scaling == "none" or not rows.any():
            return {"mean": dict.fromkeys(self._values, 0.0), "std": dict.fromkeys(self._values, 1.0)}
        chosen = {name: values[rows] for name, values in self._values.items()}
        return {
            "mean": {name: float(values.mean()) for name, values in chosen.items()},
            "std": {name: float(values.std()) or 1.0 for name, values in chosen.items()},  # a constant has none
        }

    def use(self, fitted: Mapping[str, Any]) -> None:
        """Scale the columns by what `fit` found here or on another file.

        Raises:
            DataError: it knows nothing of one of them.
        """
        self.fitted = fitted
        mean, std = fitted["mean"], fitted["std"]
        if lacking := next((name for name in self._values if name not in mean), None):
            raise DataError(explain(f"data error: column {lacking!r} of {self.path} is none of the training data",
                                    expected=f"one of: {shorten_names(list(mean))}"))  # fmt: skip
        self.target_mean, self.target_std = ([found[name] for name in self.target] for found in (mean, std))
        scaled = {name: (values - mean[name]) / std[name] for name, values in self._values.items()}
        # Each window is a view of the rows: what they share is in memory once.
        self.inputs = self._windows([scaled[name] for name in self.columns], 0, self.history)
        self.targets = self._windows([scaled[name] for name in self.target], self.history, self.horizon)

    def _windows(self, columns: Sequence[np.ndarray], first: int, size: int) -> torch.Tensor:
        """Rows from `first` on of each window, `(N, size, columns)`."""
        rows = torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))[first:]
        return rows.unfold(0, size, self.stride)[: len(self.starts)].transpose(1, 2)

    def batch(self, indices: Sequence[int] | torch.Tensor) -> Batch:
        """The batch of these samples.

        Raises:
            DataError: `use` was not called.
        """
        if not hasattr(self, "fitted"):
            raise not_fitted(self.path)
        return super().batch(indices)


def load_series(path: str | Path, read: Mapping[str, Any] | None) -> Any:
    """The `DataFrame` of a table or of an array."""
    if Path(path).suffix != ".npy":
        return load_table(path, read)
    import pandas as pd

    array = load_npy(str(path))
    if array.ndim not in (1, 2) or not len(array):
        raise DataError(explain(f"data error: {path} holds no series", got=f"shape {array.shape}",
                                expected="(N,) or (N, F), N rows in the order of time"))  # fmt: skip
    frame = pd.DataFrame(array)
    frame.columns = [str(name) for name in frame.columns]
    return frame


def _check_arguments(counts: Mapping[str, Any], scale: Any) -> None:
    found = [
        Problem(f"{PATH}.{name}", "is out of range", got=shorten(value), expected="a whole number of at least 1")
        for name, value in counts.items() if type(value) is not int or value < 1
    ]  # fmt: skip
    if scale not in _SCALES:
        found.append(Problem(f"{PATH}.scale", "is no choice", got=shorten(scale),
                             expected=f"one of: {', '.join(map(shorten, _SCALES))}",
                             closest=closest(str(scale), _SCALES)))  # fmt: skip
    if found:
        raise ConfigError(found)
