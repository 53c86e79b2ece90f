"""Rows of a table that cannot be read as the kind of their column, which the training rows decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from espalier.errors import DataError, explain

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Fault:
    """Rows that cannot be read as the kind of their column, `(N,)`, and the error of one of them."""

    is_faulty: np.ndarray
    error: Callable[[int], DataError]

    def check(self, rows: Any) -> None:
        """Refuse these rows if one has the fault.

        Raises:
            DataError: naming the first.
        """
        chosen = np.asarray(rows)
        found = chosen[self.is_faulty[chosen]]
        if len(found):
            raise self.error(int(found.min()))


def range_error(series: Any, numbers: np.ndarray, row: int, path: Any) -> DataError:
    """The error for a number that float32 cannot hold."""
    return DataError(explain(f"data error: column {series.name!r} of {path} holds a number out of range",
                             got=f"{numbers[row]} in row {row + 1}", expected=f"at most {LARGEST:.2g}",
                             fix="mend the row, or name it as missing in na_values of read"))  # fmt: skip


def text_error(series: Any, is_text: np.ndarray, row: int, path: Any) -> DataError:
    """The error for a text in a column of numbers."""
    is_json = ".json" in str(path).lower() or ".ndjson" in str(path).lower()  # which pandas does not read
    how = "write null" if is_json else f'"read": {{"na_values": ["{series.iloc[row]}"]}}'
    fix = f"if it stands for a missing value, {how}; "
    return DataError(explain(f"data error: column {series.name!r} of {path} holds text among its numbers",
                             got=f"{series.iloc[row]!r} in row {row + 1}; text in {is_text.sum():,} of "
                             f"{len(series):,} rows",
                             fix=fix + f'if all are texts, "types": {{"{series.name}": "category"}}'))  # fmt: skip
