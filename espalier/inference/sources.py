"""What a command line names, as inputs of a model: which files are read how follows from its preprocessing."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePath
from typing import Any

from espalier.datasets.decode import EXTENSIONS
from espalier.errors import explain
from espalier.inference.array_files import ArrayFile, Samples
from espalier.inference.feed import reason_of
from espalier.inference.folders import files_in, is_folder
from espalier.inference.request import STDIN
from espalier.inference.text_files import TEXTS, decoded, lines_of, texts_in, values_in
from espalier.preprocessing.contract import Preprocessing
from espalier.preprocessing.windows import LastRows

TABLES = (".csv", ".tsv", ".tab", ".parquet", ".pq", ".jsonl", ".ndjson")
PACKED = tuple(f"{table}{packed}" for table in TABLES for packed in (".gz", ".bz2", ".xz"))
ARRAYS = (".npy", ".npz")
_NUMBERS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")


@dataclass
class Source:
    """Inputs that are given to the model together.

    Attributes:
        name: of the file that they are from, or of the first.
        inputs: as `Preprocessing.encode` takes them.
        name_of: the name of an input, by its place.
        is_of_files: whether each input is a file of its own.
        is_uniform: whether inputs have one shape, so that what is wrong with very many is so with all.
        start: the place of the first among all inputs of a command.
    """

    name: str
    inputs: Any
    name_of: Callable[[int], str]
    is_of_files: bool = False
    is_uniform: bool = False
    start: int = 0

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Unread:
    """A file of which nothing can be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class _Item:
    """A file, and how it is read: "path" (by the preprocessing), or by one of `_READERS`."""

    how: str
    path: str
    name: str


def sources_of(inputs: Sequence[str], preprocessing: Preprocessing, *,
               every_window: bool = False) -> Iterator[Source | Unread]:  # fmt: skip
    """The inputs in their order, each file read when its turn has come; what cannot be read comes as an `Unread`.

    Args:
        inputs: files, folders, and "-" for stdin.
        every_window: of a series, see `espalier.inference.request.Request`.
    """
    reader = _Reader(preprocessing, every_window)
    items = (item for each in inputs for item in reader.items(each))
    for is_known, group in groupby(items, lambda each: isinstance(each, _Item) and each.how):
        if not is_known:
            yield from group  # type: ignore[misc]
        else:
            yield from reader.read(is_known, group)  # type: ignore[arg-type]


class _Reader:
    """Finds and reads files for one kind of preprocessing."""

    def __init__(self, preprocessing: Preprocessing, every_window: bool) -> None:
        self.preprocessing, self.every_window = preprocessing, every_window
        self.kind = str(preprocessing.state["kind"])
        self.takes_images = preprocessing.takes_images
        self.has_read_stdin = False
        self._folder = tempfile.TemporaryDirectory()  # of what comes on stdin

    @property
    def endings(self) -> tuple[str, ...]:
        """Of the files that are taken out of a folder."""
        if self.kind == "function":
            return ("",)
        if self.kind in ("row", "window"):
            return TABLES + PACKED
        if self.kind == "text":
            return TEXTS
        return EXTENSIONS * self.takes_images + ARRAYS * (self.kind != "image" or not self.takes_images)

    def items(self, given: str) -> Iterator[_Item | Source | Unread]:
        """What a word of the command line stands for."""
        if given == STDIN:
            yield from self._of_stdin()
        elif is_folder(given):
            found = files_in(given, self.endings)
            for path, reason in found:
                yield self._item(path) if reason is None else Unread(path, reason)
            if not found:
                ends = ", ".join(each for each in self.endings if each)
                yield Unread(given, explain("data error: the folder has no inputs",
                                            expected=f"files that end in: {ends}" if ends else None))  # fmt: skip
        else:
            yield self._item(given)

    def _item(self, path: str) -> _Item:
        name = path.lower()
        ending = PurePath(name).suffix
        if self.kind in ("row", "window", "text"):
            return _Item("texts" if self.kind == "text" else "table", path, path)
        if self.kind == "function":
            return _Item("path", path, path)
        if ending in ARRAYS:
            return _Item("arrays", path, path)
        if self.takes_images:
            return _Item("images" if name.endswith(TABLES + PACKED) else "path", path, path)
        return _Item("values" if ending in _NUMBERS else "arrays", path, path)

    def read(self, how: str, items: Iterator[_Item]) -> Iterator[Source | Unread]:
        """The inputs in files that are read alike."""
        if how == "path":
            paths = [each.path for each in items]
            yield Source(paths[0], paths, paths.__getitem__, is_of_files=True)
        elif how == "arrays":
            yield from self._arrays(items)
        elif how == "texts":
            yield from self._texts(items)
        else:
            for item in items:
                yield from self._tried(item.name, partial(self._of_table, how, item))

    def _tried(self, name: str, read: Callable[[], Any]) -> Iterator[Any]:
        try:
            yield read()
        except Exception as error:  # of a file that may hold anything
            yield Unread(name, reason_of(error))

    def _arrays(self, items: Iterator[_Item]) -> Iterator[Source | Unread]:
        files: list[ArrayFile] = []
        for item in items:
            for found in self._tried(item.name, partial(ArrayFile, item.path, self.preprocessing, item.name)):
                if isinstance(found, ArrayFile):
                    files.append(found)
                    continue
                yield from _joined(files)
                files = []
                yield found
        yield from _joined(files)

    def _texts(self, items: Iterator[_Item]) -> Iterator[Source | Unread]:
        """The texts of several files as one list: a folder may have each in a file of its own."""
        names: list[str] = []
        texts: list[Any] = []
        for item in items:
            for found in self._tried(item.name, partial(texts_in, item.path, self.preprocessing)):
                if isinstance(found, Unread):
                    if texts:
                        yield _source(texts, names)
                    names, texts = [], []
                    yield found
                else:
                    names += found[0]
                    texts += found[1]
        if texts:
            yield _source(texts, names)

    def _of_table(self, how: str, item: _Item) -> Source:
        if how == "images":
            paths = self.preprocessing.read_file(item.path)
            return Source(item.name, paths, paths.__getitem__, is_of_files=True)
        if how == "values":
            values: Any = values_in(item.path)
        elif self.every_window and isinstance(self.preprocessing, LastRows):
            values = self.preprocessing.read_windows(item.path)
        else:
            values = self.preprocessing.read_file(item.path)
        name = item.name
        return Source(name, values, lambda place: f"{name}:{place + 1}")

    def _of_stdin(self) -> Iterator[_Item | Source | Unread]:
        """What is listed on stdin; or the one file that it is."""
        if self.has_read_stdin:
            yield Unread("stdin", "data error: stdin can be read once")
            return
        self.has_read_stdin = True
        content = sys.stdin.buffer.read()
        if not content.strip():
            yield Unread("stdin", "data error: nothing came on stdin")
        elif self.kind == "text":
            yield from self._tried("stdin", lambda: _source(*reversed(lines_of(decoded(content), "stdin"))))
        elif (ending := self._ending_of(content)) is not None:
            path = Path(self._folder.name, f"stdin{ending}")
            path.write_bytes(content)
            yield replace(self._item(str(path)), name="stdin")
        elif self.takes_images and b"\0" in content:
            yield Source("stdin", [content], lambda _: "stdin", is_of_files=True)
        else:
            for line in content.splitlines():
                if line.strip() and line != STDIN.encode():
                    yield from self.items(os.fsdecode(line))

    def _ending_of(self, content: bytes) -> str | None:
        """The ending of a name for what came on stdin, where that is a file; None for a list of files."""
        if self.kind != "text" and content.startswith((b"\x93NUMPY", b"PK\x03\x04")):
            return ".npy" if content[0] == 0x93 else ".npz"
        first = content.lstrip()[:1]
        if self.kind in ("row", "window"):
            is_parquet = content.startswith(b"PAR1")
            return ".parquet" if is_parquet else {b"{": ".jsonl", b"[": ".json"}.get(first, ".csv")
        return ".json" if first == b"[" and self.kind != "function" and not self.takes_images else None


def _source(inputs: Sequence[Any], names: Sequence[str]) -> Source:
    return Source(names[0], inputs, names.__getitem__)


def _joined(files: Sequence[ArrayFile]) -> Iterator[Source]:
    for _, alike in groupby(files, lambda each: each.form):
        yield from _of_form([*alike])


def _of_form(files: Sequence[ArrayFile]) -> Iterator[Source]:
    samples = Samples(files)
    if len(samples):
        yield Source(files[0].name, samples, samples.name_of, is_of_files=all(each.is_one for each in files),
                     is_uniform=True)  # fmt: skip
