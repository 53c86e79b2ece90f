"""Tables as inputs: of rows, of windows of a series, or of the names of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espalier.datasets.table_file import check_column, load_table
from espalier.errors import DataError
from espalier.preprocessing.contract import Preprocessing


def rows_in(path: str, preprocessing: Preprocessing) -> Any:
    """The rows of a file as `Rows.encode` takes them, each cell read as in training."""
    return _own(preprocessing, "read_file")(path)


def windows_in(path: str, preprocessing: Preprocessing, *, every_window: bool) -> Any:
    """What `Windows.encode` takes of the series in a file: all windows, or the last rows, of which it says what comes.

    Raises:
        DataError: it cannot be read.
    """
    return _own(preprocessing, "read_windows" if every_window else "read_file")(path)


def paths_in(path: str, state: Mapping[str, Any]) -> list[str]:
    """The images that a table names in the column of training, relative to its own folder.

    Raises:
        DataError: it cannot be read, or has no such column.
    """
    frame = load_table(path, is_text=True)
    column, suffix = state.get("column", "path"), state.get("suffix", "")
    check_column(column, frame, path)
    return [str(Path(path).parent / f"{each}{suffix}") for each in frame[column].tolist()]


def _own(preprocessing: Preprocessing, name: str) -> Any:
    found = getattr(preprocessing, name, None)
    if found is None:
        raise DataError(f"data error: files are not read for inputs of the kind {preprocessing.state['kind']!r}")
    return found
