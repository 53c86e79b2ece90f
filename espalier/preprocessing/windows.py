"""The last rows of a series as `espalier.datasets.Windows` makes inputs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from espalier.checkpoints.saved_shape import COUNT, NAMED, NUMBERS, SWITCH, TEXT, TEXTS, Maybe, check_shape
from espalier.data.split_columns import times_of
from espalier.datasets.cells import raw_values
from espalier.datasets.faults import LARGEST
from espalier.datasets.windows import load_series
from espalier.errors import CheckpointError, DataError, closest, counted, explain, shorten
from espalier.preprocessing.cells import gaps_of, numbers_in
from espalier.preprocessing.contract import EachOf, Preprocessing
from espalier.preprocessing.row_files import options_for

_STATE = {
    "columns": TEXTS, "mean": NUMBERS, "std": NUMBERS, "history": COUNT, "horizon": COUNT, "stride": COUNT,
    "time": Maybe(TEXT), "target": TEXTS, "is_csv": SWITCH, "read": Maybe(NAMED), "is_ahead?": SWITCH,
}  # fmt: skip
_WHAT = "how windows are prepared"


class LastRows(Preprocessing):
    """The last rows of a series become numbers, and scaling is the module; what comes next is predicted.

    State: `columns`, with `mean` and `std` of each; `history`, `horizon` and `stride` as of `Windows`; `time`, the
    column to sort by; `target`, the names of what is predicted; and how files are read. `is_ahead`: scaling belongs to
    `encode`, as a transform comes after it.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        super().__init__(state)
        check_shape(self.state, _STATE, _WHAT)
        self.columns, self.history = list(self.state["columns"]), self.state["history"]
        sizes = {len(self.state[name]) for name in ("columns", "mean", "std")}
        if len(sizes) > 1 or not self.columns or min(self.history, self.state["horizon"], self.state["stride"]) < 1:
            raise CheckpointError(f"checkpoint error: {_WHAT}: the columns are not those of the values")
        self.takes = (f"the last {counted(self.history, 'row')} of a series, or more: arrays "
                      f"({self.history}, {len(self.columns)}), tables with the columns {shorten(self.columns)}, "
                      "or files of them")  # fmt: skip
        self._scaled = Scaled(self.state["mean"], self.state["std"])
        self.module = None if self.state.get("is_ahead") else self._scaled

    def encode(self, inputs: Any) -> Dataset[Any]:
        """The numbers of each input, float64 `(history, F)`, in units of the file.

        Args:
            inputs: several of these: an array `(rows, F)` with the columns in their order, or `(rows,)` of a single
                one; a `DataFrame` or a list of dicts, sorted by the column of times where it has that; or the path of a
                file of such. Of more rows than `history` the last ones count. An array of three dimensions is several,
                one of two is one, and so are a `DataFrame` and a list of dicts.
        """
        return EachOf(self._several(inputs), self._input)

    def read_file(self, path: str | Path) -> list[Any]:
        """The series of a file, a `DataFrame` in the order of time, as one input: of what comes after its last row.

        Raises:
            DataError: it cannot be read, or is too short.
        """
        frame = self._in_order(load_series(path, options_for(path, self.state)))
        self._check_length(len(frame))
        return [frame]

    def read_windows(self, path: str | Path) -> np.ndarray:
        """All windows of a file as `Windows` cuts them, float64 `(N, history, F)`, NaN where a cell has no number; and
        behind them those of which the file does not have all that they predict.

        Raises:
            DataError: it cannot be read, or is too short.
        """
        (frame,) = self.read_file(path)
        rows = np.stack([values for values, _ in map(self._numbers, self._columns_of(frame))], axis=1)
        every = np.lib.stride_tricks.sliding_window_view(rows, self.history, axis=0)  # (N, F, history)
        windows: np.ndarray = every[:: self.state["stride"]].transpose(0, 2, 1)
        return windows

    def _several(self, inputs: Any) -> Any:
        import pandas as pd

        if isinstance(inputs, (np.ndarray, torch.Tensor)):
            return inputs if inputs.ndim == 3 else [inputs]
        if isinstance(inputs, (pd.DataFrame, Mapping)):
            return [inputs]
        is_rows = len(inputs) > 0 and isinstance(inputs[0], Mapping) and not any(map(_is_list, inputs[0].values()))
        return [inputs] if is_rows else inputs

    def _input(self, given: Any) -> torch.Tensor:
        rows = torch.tensor(self._rows(given))
        if not self.state.get("is_ahead"):
            return rows
        scaled: torch.Tensor = self._scaled(rows[None])[0]
        return scaled

    def _rows(self, given: Any) -> np.ndarray:
        """Float64 `(history, F)`.

        Raises:
            DataError: it is none, has too few rows, or not a number in each cell.
        """
        import pandas as pd

        if isinstance(given, (str, Path)):
            (given,) = self.read_file(given)
        is_rows = isinstance(given, list) and len(given) > 0 and isinstance(given[0], Mapping)
        if is_rows or isinstance(given, (Mapping, pd.DataFrame)):
            try:
                frame = self._in_order(pd.DataFrame(given, dtype=None if isinstance(given, pd.DataFrame) else object))
            except (TypeError, ValueError, KeyError, ArithmeticError) as error:
                raise self._no_series(given, error) from error
            self._check_length(len(frame))
            columns = [self._numbers(each) for each in self._columns_of(frame.iloc[-self.history :])]
            told = next((error for _, error in columns if error is not None), None)
            if told is not None:
                raise told
            return np.stack([values for values, _ in columns], axis=1)
        return self._of_array(given)

    def _of_array(self, given: Any) -> np.ndarray:
        try:
            rows = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
            raise self._no_series(given, error) from error
        rows = rows[:, None] if rows.ndim == 1 and len(self.columns) == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            raise DataError(explain("data error: the input has another shape than those of training",
                                    got=str(rows.shape), expected=self.takes))  # fmt: skip
        self._check_length(len(rows))
        rows = rows[-self.history :]
        if not (np.abs(rows) <= LARGEST).all():  # NaN is not, either
            row, column = map(int, np.argwhere(~(np.abs(rows) <= LARGEST))[0])
            raise _no_number(self.columns[column], rows[row, column], row - self.history)
        return rows

    def _no_series(self, given: Any, error: Exception) -> DataError:
        if isinstance(error, DataError):
            return error
        got = f"{type(given).__name__}: {error}"
        return DataError(explain("data error: the input is no series", got=got, expected=self.takes))

    def _columns_of(self, frame: Any) -> list[Any]:
        known = [str(name) for name in frame.columns]
        if lacking := [name for name in self.columns if name not in known]:
            raise DataError(explain(f"data error: the series has no {lacking[0]!r}", got=shorten(known),
                                    expected=shorten(self.columns), closest=closest(lacking[0], known)))  # fmt: skip
        return [frame.iloc[:, known.index(name)].rename(name).reset_index(drop=True) for name in self.columns]

    def _numbers(self, series: Any) -> tuple[np.ndarray, DataError | None]:
        """Float64 `(N,)`, NaN where there is no number, and the error for the first of these."""
        read = self.state["read"] or {} if self.state["is_csv"] else None
        column = numbers_in(series, "number", read or {}, gaps_of(read, series.name))
        values = column.values.copy()
        for fault in column.faults:
            values[fault.is_faulty] = np.nan
        row = int(np.isnan(values).argmax())
        return values, _no_number(series.name, series.iloc[row], row - len(values)) if np.isnan(values[row]) else None

    def _in_order(self, frame: Any) -> Any:
        """The rows in the order of time, where they have one."""
        time = self.state["time"]
        if time is None or time not in frame.columns:
            return frame
        order = np.argsort(times_of(time, lambda name: raw_values(frame[name]), len(frame)), kind="stable")
        return frame.iloc[order].reset_index(drop=True)

    def _check_length(self, number: int) -> None:
        if number < self.history:
            raise DataError(explain("data error: the series is too short to predict what comes next",
                                    got=counted(number, "row"), expected=f"at least {self.history:,}"))  # fmt: skip


class Scaled(nn.Module):
    """Float32 of float64 `(B, rows, F)`: each column less its mean, by its standard deviation."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64), persistent=False)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """Scaled as in training."""
        return ((window - self.mean) / self.std).float()


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _no_number(name: Any, value: Any, place: int) -> DataError:
    what = f"data error: {str(name)!r} has no number in a row that counts"
    where = "the last row" if place == -1 else f"row {-place} from the end"
    return DataError(explain(what, got=f"{shorten(value)} in {where}",
                             expected=f"a number of at most {LARGEST:.2g} in each of the rows"))  # fmt: skip
