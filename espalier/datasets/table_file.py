"""A table out of a file: CSV, TSV, Parquet, JSON lines, packed or not, as a pandas `DataFrame` without surprises."""

from __future__ import annotations

import bz2
import gzip
import json
import logging
import lzma
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from espalier.errors import DataError, closest, counted, explain, shorten

logger = logging.getLogger("data")

_FORMATS = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "json lines", ".ndjson": "json lines", ".json": "json",
}  # fmt: skip
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# Options of read_csv that decide where a line and a cell end, which the header is read with, too.
_OF_CELLS = {
    "sep", "delimiter", "encoding", "encoding_errors", "skiprows", "skip_blank_lines", "comment", "quotechar",
    "quoting", "doublequote", "escapechar", "skipinitialspace", "compression", "engine", "dialect",
}  # fmt: skip


def load_table(
    path: str | Path, read: Mapping[str, Any] | None = None, is_text: bool = False, texts: Sequence[str] = ()
) -> Any:
    """The `DataFrame` of a file, with columns named by different texts and rows numbered from 0.

    A column without a name that only counts the rows, as `DataFrame.to_csv` writes one, is left out.

    Args:
        path: .csv, .tsv, .parquet, .jsonl, .ndjson or .json (a list of objects); the texts also as .gz, .bz2 or .xz.
        read: options of pandas' `read_csv` or `read_parquet`, such as `{"sep": ";", "decimal": ","}`; of JSON only
            `encoding`.
        is_text: whether all cells of a CSV are texts, empty ones and "NA" too.
        texts: columns whose cells in a CSV are texts, or gaps, unless `read` gives a `dtype`.

    Raises:
        DataError: the file is not there, cannot be read, has no rows, or names two columns alike.
    """
    path = Path(path).expanduser()
    kind = _kind(path)
    options = dict(read or {})
    if is_text and kind in ("csv", "tsv"):
        options = {"dtype": str, "keep_default_na": False, **options}
    elif texts and kind in ("csv", "tsv"):
        options.setdefault("dtype", dict.fromkeys(texts, str))
    try:
        frame = _readers()[kind](path, options)
    except UnicodeError as error:
        raise _wrong_encoding(path, options, error) from error
    except (OSError, EOFError, LookupError, TypeError, ValueError) as error:  # pandas' own errors are ValueErrors
        if isinstance(error, DataError):
            raise
        raise DataError(explain(f"data error: {path} cannot be read as {kind}", got=str(error),
                                expected="pandas' options in read" if isinstance(error, TypeError) else None,
                                fix=_fix(error))) from error  # fmt: skip
    frame.columns = [str(name) for name in frame.columns]
    if kind not in ("csv", "tsv"):
        _check_cells(path, frame)
    _check_names(path, frame.columns)
    if len(frame) == 0:
        got = f"a header alone, of {counted(len(frame.columns), 'column')}" if len(frame.columns) else None
        raise DataError(explain(f"data error: {path} has no rows", got=got))
    return _without_row_numbers(path, frame)


def check_column(name: str, frame: Any, path: str | Path) -> None:
    """Hold the name of a column against those of a table.

    Raises:
        DataError: there is none of that name.
    """
    if name in frame.columns:
        return
    names = list(frame.columns)
    fix = None
    if len(names) == 1 and (seen := next((mark for mark in (";", "\t", "|", ",") if mark in names[0]), None)):
        fix = f'let read say how cells are divided: {{"sep": {json.dumps(seen)}}}'
    raise DataError(explain(f"data error: {path} has no column {name!r}", expected=f"one of: {shorten_names(names)}",
                            closest=closest(str(name), names), fix=fix))  # fmt: skip


def is_csv(path: str | Path) -> bool:
    """Whether a file is a table of texts with something between the cells, by its name."""
    return bool({".csv", ".tsv", ".tab"} & {each.lower() for each in Path(path).suffixes[-2:]})


def types_are_inferred(path: str | Path, read: Mapping[str, Any], name: str) -> bool:
    """Whether pandas chose the type of a column by its cells: of a CSV, where `read` does not say it."""
    if not is_csv(path):
        return False
    given = [read.get(option) for option in ("dtype", "converters") if read.get(option) is not None]
    return not any(name in each if isinstance(each, Mapping) else True for each in given)


def shorten_names(names: list[str], most: int = 30) -> str:
    """Names in one line, of very many the first."""
    rest = f", ... ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + rest


def _kind(path: Path) -> str:
    """The format of a file by its name."""
    if not path.is_file():
        beside = sorted(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else []
        got = "a folder" if path.is_dir() else None if path.parent.is_dir() else f"no folder {path.parent} either"
        near = closest(path.name, beside)
        near = None if near is None or path.is_dir() else str(path.parent / near)
        raise DataError(explain(f"data error: there is no file {path}", got=got, closest=near))
    suffixes = [each.lower() for each in path.suffixes]
    packed = bool(suffixes) and suffixes[-1] in _OPENERS
    kind = _FORMATS.get(suffixes[-1 - packed]) if len(suffixes) > packed else None
    if kind is None or (packed and kind == "parquet"):
        raise DataError(explain(f"data error: {path} has no name of a table",
                                expected=f"one that ends in: {', '.join(_FORMATS)}; all but Parquet also packed, "
                                f"in: {', '.join(_OPENERS)}"))  # fmt: skip
    if path.stat().st_size == 0:
        raise DataError(f"data error: {path} is empty")
    return kind


def _readers() -> dict[str, Any]:
    return {"csv": _read_csv, "tsv": _read_csv, "parquet": _read_parquet, "json lines": _read_json, "json": _read_json}


def _read_csv(path: Path, options: dict[str, Any]) -> Any:
    import pandas as pd

    options = {**_defaults(path, options), **options}
    if not {"header", "names"} & options.keys():
        _check_names(path, [name for name in first_row_of(path, options) if isinstance(name, str) and name])
    if options.get("engine", "c") == "c":
        options = {"low_memory": False, **options}  # one type for a column, not one for each stretch of it
    with warnings.catch_warnings():  # rows longer than the header would be cut, or shifted by an index
        warnings.filterwarnings("error", "Length of header or names", pd.errors.ParserWarning)
        try:
            return _table(pd.read_csv(path, **{"index_col": False, **options}))
        except pd.errors.ParserWarning as error:
            raise DataError(explain(f"data error: the rows of {path} have more cells than its header has names",
                                    fix="name every column, or let read say how cells are divided, as in "
                                    '{"sep": ";"}')) from error  # fmt: skip


def _defaults(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    sep = {} if {"sep", "delimiter"} & options.keys() else {"sep": "\t" if _kind(path) == "tsv" else ","}
    return {**sep, "encoding": "utf-8-sig"}  # UTF-8, with or without a mark at its start


def first_row_of(path: str | Path, read: Mapping[str, Any]) -> list[Any]:
    """The cells of the first row of a CSV, which is its header where it has one, as texts."""
    import pandas as pd

    path = Path(path).expanduser()
    cells = {name: value for name, value in {**_defaults(path, read), **read}.items() if name in _OF_CELLS}
    return list(pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **cells).iloc[0])


def _table(found: Any) -> Any:
    import pandas as pd

    if not isinstance(found, pd.DataFrame):
        raise TypeError(f"a {type(found).__name__} in place of a table: chunksize and iterator do not go here")
    return found.reset_index(drop=found.index.name is None)


def _read_parquet(path: Path, options: dict[str, Any]) -> Any:
    import pandas as pd

    try:
        return _table(pd.read_parquet(path, **options))
    except ImportError as error:
        raise DataError(explain(f"data error: {path} cannot be read without pyarrow",
                                fix='pip install -e ".[parquet]"')) from error  # fmt: skip


def _read_json(path: Path, options: dict[str, Any]) -> Any:
    import pandas as pd

    encoding = options.pop("encoding", "utf-8-sig")
    if options:
        raise TypeError(f"{', '.join(options)} is no option for JSON, only encoding")
    opener = _OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rt", encoding=encoding) as file:
        rows = list(_objects(path, file))
    return pd.DataFrame(rows)


def _objects(path: Path, file: IO[str]) -> Iterator[dict[str, Any]]:
    """The objects in a file of JSON: one a line, or all in one list."""
    is_list = _kind(path) == "json"
    for number, text in enumerate([file.read()] if is_list else file, 1):
        if not text.strip():
            continue
        try:
            found = json.loads(text)
        except ValueError as error:
            where = "" if is_list else f"line {number} of "
            raise DataError(explain(f"data error: {where}{path} is no JSON", got=str(error))) from error
        for row, each in enumerate(found if is_list and isinstance(found, list) else [found], number):
            if not isinstance(each, dict):
                where = f"number {row}" if is_list else f"line {number}"
                raise DataError(explain(f"data error: {where} of {path} is no object", got=shorten(each),
                                        expected='as in {"age": 31, "city": "Bern"}'))  # fmt: skip
            yield each


def _check_names(path: Path, names: Any) -> None:
    names = list(names)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(explain(f"data error: {path} has two columns of one name", got=shorten_names(twice),
                                fix='rename them in the file, or name all columns: "read": {"header": 0, '
                                '"names": [...]}'))  # fmt: skip


def _check_cells(path: Path, frame: Any) -> None:
    for name in frame.columns:
        values = frame[name].tolist() if frame[name].dtype == object else ()
        for row, value in enumerate(values, 1):
            if isinstance(value, (list, dict, np.ndarray)):
                raise DataError(explain(f"data error: column {name!r} of {path} holds more than single values",
                                        got=f"{shorten(value)} in row {row}",
                                        expected="numbers, texts, truth values, dates and gaps"))  # fmt: skip


def _without_row_numbers(path: Path, frame: Any) -> Any:
    """The table without a nameless column of row numbers: they tell the class where the file is sorted by it."""
    name = frame.columns[0]
    if not name.startswith("Unnamed: ") or frame[name].astype(str).tolist() != list(map(str, range(len(frame)))):
        return frame
    logger.info("The first column of %s has no name and only counts the rows: it is left out.", path)
    return frame.drop(columns=name)


def _wrong_encoding(path: Path, options: Mapping[str, Any], error: UnicodeError) -> DataError:
    encoding = str(options.get("encoding", "utf-8")).removesuffix("-sig")
    with path.open("rb") as file:
        is_utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    fix = f'let read say which it is: {{"encoding": "{"utf-16" if is_utf16 else "cp1252"}"}}'
    return DataError(explain(f"data error: {path} is not in {encoding}", got=str(error), fix=fix))


def _fix(error: Exception) -> str | None:
    if "Expected" in str(error) and "fields" in str(error):
        return 'let read say how cells are divided and quoted, as in {"sep": ";"}; or mend the line'
    return None
