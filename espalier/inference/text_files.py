"""Texts and values in files, for models that take them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from espalier.datasets.table_file import load_table
from espalier.errors import DataError, explain, shorten
from espalier.preprocessing.contract import Preprocessing

TEXTS = (".txt",)


def texts_in(path: str, preprocessing: Preprocessing, name: str = "") -> tuple[list[str], list[Any]]:
    """The texts of a file, and their names: of a table the cells of the column of training.

    Of any other file each line that is not blank is one; where training had a file for each text, the whole file is.

    Raises:
        DataError: it cannot be read.
    """
    name, state = name or path, preprocessing.state
    ending = Path(path).suffix.lower()
    if ending in (".json", ".jsonl", ".ndjson"):
        column = state.get("column", "text")
        values = [each[column] if isinstance(each, Mapping) and column in each else each for each in _json_in(path)]
        return [f"{name}:{number}" for number in range(1, len(values) + 1)], values
    if ending in (".csv", ".tsv", ".tab", ".parquet", ".pq", ".gz", ".bz2", ".xz"):
        texts = preprocessing.read_file(path)
        return [f"{name}:{number}" for number in range(1, len(texts) + 1)], texts
    text = decoded(Path(path).read_bytes(), (state.get("read") or {}).get("encoding", "utf-8-sig"))
    return ([name], [text]) if state.get("is_folder") else lines_of(text, name)


def lines_of(text: str, name: str) -> tuple[list[str], list[str]]:
    """The lines that are not blank, and their names, which have the numbers of lines.

    Raises:
        DataError: there are none.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError("data error: there is no text" if text else "data error: the file is empty")
    return [f"{name}:{number}" for number, _ in lines], [line.rstrip("\r") for _, line in lines]


def decoded(content: bytes, encoding: str = "utf-8-sig") -> str:
    """Bytes as text, its lines ended as files in text mode have them.

    Raises:
        DataError: it is in another encoding.
    """
    try:
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeError as error:
        raise DataError(explain(f"data error: the file is no text in {encoding.removesuffix('-sig')}",
                                got=str(error))) from error  # fmt: skip


def values_in(path: str) -> list[Any]:
    """Arrays out of a table of numbers, one for each row, or out of lists in JSON.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    if Path(path).suffix.lower() in (".json", ".jsonl", ".ndjson"):
        return _json_in(path)
    frame = load_table(path)
    if all(_is_number(name) for name in frame.columns):  # there is no header
        frame = load_table(path, {"header": None})
    others = [name for name in frame.columns if frame[name].dtype.kind not in "biuf"]
    if others:
        raise DataError(explain("data error: the table holds something else than numbers",
                                got=f"in column {shorten(others[0])}"))  # fmt: skip
    return [*frame.to_numpy(dtype=np.float64)]


def _json_in(path: str) -> list[Any]:
    """The items of a list, of `{"inputs": [...]}`, or of lines with one each."""
    text = decoded(Path(path).read_bytes())
    if Path(path).suffix.lower() != ".json":
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    found = json.loads(text)
    found = found.get("inputs") if isinstance(found, dict) else found
    if not isinstance(found, list):
        raise DataError(explain("data error: the file has no list of inputs", expected='[...] or {"inputs": [...]}'))
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
