"""Rows of a table as `espalier.datasets.Table` makes inputs of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from espalier.checkpoints.saved_shape import LIST, NAMED, NUMBER, SWITCH, TEXT, TEXTS, Maybe, check_shape
from espalier.datasets.columns import Categories, Numbers, days_of
from espalier.datasets.faults import Fault
from espalier.datasets.table_file import shorten_names
from espalier.datasets.table_inputs import news_of
from espalier.errors import CheckpointError, DataError, closest, explain, shorten
from espalier.preprocessing.cells import categories_in, gaps_of, numbers_in
from espalier.preprocessing.contract import Preprocessing
from espalier.preprocessing.row_files import load_rows
from espalier.preprocessing.row_inputs import RowInputs

logger = logging.getLogger("data")

_NUMBERS = {"fill": NUMBER, "center": NUMBER, "scale": NUMBER}
_STATE = {"columns": LIST, "categories": TEXT, "missing": TEXT, "target": TEXT, "is_csv": SWITCH, "read": Maybe(NAMED),
          "is_ahead?": SWITCH}  # fmt: skip
_MOST_LINES = 100  # of the log, about what training has not seen


class Rows(Preprocessing):
    """Rows become numbers and categories; what fills, scales and encodes them is the module.

    State: `columns`, what `Table` has fitted of each; `categories` and `missing` as its arguments; `target`; and how
    files are read. `is_ahead`: all of it belongs to `encode`, as a transform comes after it.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        super().__init__(state)
        check_shape(self.state, _STATE, "how rows are prepared")
        self.columns: list[dict[str, Any]] = self.state["columns"]
        if not self.columns:
            raise CheckpointError("checkpoint error: how rows are prepared: there is no column")
        for each in self.columns:
            kind = {"categories": TEXTS} if isinstance(each, dict) and "categories" in each else _NUMBERS
            shape = {"name": TEXT, "kind": TEXT, "has_gaps": SWITCH, "is_inferred": SWITCH, **kind}
            check_shape(each, shape, "how rows are prepared")
            if not _is_kind(each["kind"], "categories" in each):
                what = f"checkpoint error: how rows are prepared: {each['name']!r} is of no known kind"
                raise CheckpointError(explain(what, got=shorten(each["kind"])))
        self.names = [each["name"] for each in self.columns]
        self.takes = f"rows with the columns {shorten_names(self.names)}: dicts, or a pandas DataFrame"
        self._inputs = RowInputs(self.columns, has_indicators=self.state["missing"] == "indicator",
                                 is_indexed=self.state["categories"] == "index")  # fmt: skip
        self.module = None if self.state.get("is_ahead") else self._inputs
        self._told: set[str] = set()

    def encode(self, inputs: Any) -> Dataset[Any]:
        """`numbers`, float64, and `categories`, int64, of each row: what `RowInputs` takes.

        Args:
            inputs: rows as dicts, or as sequences in the order of the columns; a `DataFrame`; a dict of one row or of
                whole columns; or paths of tables. What training did not look at is ignored.

        Raises:
            DataError: all rows lack a column.
        """
        cells, faults = self._cells(inputs)
        columns = [self._column(cells[each["name"]], each, faults) for each in self.columns]
        self._tell(columns, faults)
        tensors = _tensors_of([*zip(self.columns, columns, strict=True)])
        return EncodedRows(self._inputs(tensors) if self.state.get("is_ahead") else tensors, faults)

    def read_file(self, path: str | Path) -> Any:
        """The rows of a file, a `DataFrame`, as training would read them; `encode` takes it.

        Raises:
            DataError: it cannot be read.
        """
        return load_rows(path, self.state)

    def _cells(self, inputs: Any) -> tuple[dict[str, Any], dict[int, str]]:
        """The cells of each column as a `Series`, and what is wrong with rows."""
        import pandas as pd

        if isinstance(inputs, Mapping):
            is_row = not any(isinstance(each, (list, tuple, np.ndarray, pd.Series)) for each in inputs.values())
            inputs = [inputs] if is_row else pd.DataFrame(dict(inputs))
        if not isinstance(inputs, pd.DataFrame) and len(inputs) and isinstance(inputs[0], (str, Path)):
            inputs = pd.concat([self.read_file(each) for each in inputs], ignore_index=True)
        if isinstance(inputs, pd.DataFrame):
            return self._columns_of(inputs), {}
        rows, faults = [], dict[int, str]()
        for place, each in enumerate(inputs):
            row = self._row(each)
            if isinstance(row, str):
                faults[place] = row
            rows.append({} if isinstance(row, str) else row)
        if faults and len(faults) == len(rows):
            raise DataError(faults[0])
        return {
            name: pd.Series([row.get(name) for row in rows], dtype=object, name=name) for name in self.names
        }, faults

    def _columns_of(self, frame: Any) -> dict[str, Any]:
        known = [str(name) for name in frame.columns]
        if lacking := [name for name in self.names if name not in known]:
            fix = "name it as in training; its cells may be empty"
            raise DataError(self._lacking(lacking, known, "the table has", fix))
        return {name: frame.iloc[:, known.index(name)].rename(name).reset_index(drop=True) for name in self.names}

    def _row(self, given: Any) -> dict[str, Any] | str:
        """The cells of a row by their columns, or what is wrong with it."""
        import pandas as pd

        if isinstance(given, (Mapping, pd.Series)):
            row = {str(name): cell for name, cell in given.items()}
            lacking = [name for name in self.names if name not in row]
            fix = "give null, or None, where there is no value"
            return self._lacking(lacking, [*row], "the row has", fix) if lacking else row
        if isinstance(given, torch.Tensor):
            given = given.numpy()
        if isinstance(given, (list, tuple, np.ndarray)) and len(given) == len(self.names):
            return dict(zip(self.names, given, strict=True))
        expected = f"a dict of values by column: {shorten_names(self.names)}"
        return explain("data error: the input is no row", got=shorten(given), expected=expected)

    def _lacking(self, lacking: Sequence[str], known: Sequence[str], who: str, fix: str) -> str:
        what = f"data error: {who} no {shorten_names([repr(name) for name in lacking])}"
        others = [name for name in known if name not in self.names]
        got = shorten_names(list(known)) or "nothing"
        near = closest(lacking[0], others)
        return explain(what, got=got, expected=shorten_names(self.names), closest=near, fix=fix)

    def _column(self, series: Any, fitted: dict[str, Any], faults: dict[int, str]) -> Numbers | Categories:
        """The cells of a column as training would read them; adds what is wrong with rows."""
        read = self.state["read"] or {} if self.state["is_csv"] else None
        texts, numbers = gaps_of(read, fitted["name"])
        column: Numbers | Categories
        if "categories" in fitted:
            reading = read if fitted["is_inferred"] else None
            column, fault = categories_in(series, fitted["categories"], reading, texts)
            found: Iterable[Fault] = [fault] if fault is not None else []
        else:
            column = numbers_in(series, fitted["kind"], read or {}, (texts, numbers))
            found = column.faults
        for each in found:
            for row in np.flatnonzero(each.is_faulty).tolist():
                faults.setdefault(row, str(each.error(row)))
        if self.state["missing"] == "refuse":
            for row in np.flatnonzero(column.is_missing).tolist():
                what = f"data error: {fitted['name']!r} has no value, which training did not allow"
                faults.setdefault(row, explain(what, expected=f"a {fitted['kind'].partition(':')[0]}"))
        return column

    def _tell(self, columns: Sequence[Numbers | Categories], faults: Mapping[int, str]) -> None:
        """Log what training has not seen in the rows that can be used, each line once."""
        is_good = np.ones(len(columns[0].is_missing), dtype=bool)
        is_good[[*faults]] = False
        for fitted, column in zip(self.columns, columns, strict=True):
            good = column.of_rows(is_good)
            for line in news_of(fitted, good, "the inputs"):
                if line not in self._told and len(self._told) < _MOST_LINES:
                    self._told.add(line)
                    logger.warning("%s", line)


def _tensors_of(columns: Sequence[tuple[Mapping[str, Any], Numbers | Categories]]) -> dict[str, torch.Tensor]:
    """What `RowInputs` takes, of columns with what was fitted of them."""
    numbers = [column.values for _, column in columns if isinstance(column, Numbers)]
    codes = [np.where(column.is_missing, -1, column.inputs(fitted["categories"]))
             for fitted, column in columns if isinstance(column, Categories)]  # fmt: skip
    both = {"numbers": numbers, "categories": codes}
    return {name: torch.from_numpy(np.stack(each, axis=1)) for name, each in both.items() if each}


def _is_kind(kind: str, is_category: bool) -> bool:
    """Whether a kind is one of columns, and its form one of dates."""
    import pandas as pd

    if is_category or kind == "number":
        return is_category == (kind == "category")
    if kind.partition(":")[0] != "date":
        return False
    try:
        days_of(pd.Series(["2026-03-31"], dtype="str"), kind)
    except ValueError:
        return False
    return True


class EncodedRows(Dataset[Any]):
    """Rows as tensors.

    Args:
        inputs: of all rows: a tensor, or a dict of some.
        faults: what is wrong with rows, by their places.
    """

    def __init__(self, inputs: Any, faults: Mapping[int, str]) -> None:
        self.inputs, self.faults = inputs, dict(faults)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())) if isinstance(self.inputs, dict) else self.inputs)

    def __getitem__(self, index: int) -> Any:
        if index in self.faults:
            raise DataError(self.faults[index])
        if isinstance(self.inputs, dict):
            return {name: each[index] for name, each in self.inputs.items()}
        return self.inputs[index]
