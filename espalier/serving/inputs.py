"""The inputs that the parts of a request are read to.

Nothing that a request says is ever a path: where a preprocessing would open a file of that name, texts are refused.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from espalier.inference.model import OF_INPUTS
from espalier.preprocessing.contract import Preprocessing
from espalier.preprocessing.functions import Function
from espalier.preprocessing.rows import Rows
from espalier.preprocessing.tensors import Tensors
from espalier.preprocessing.texts import Texts
from espalier.preprocessing.windows import LastRows
from espalier.serving.engine import Bad, sentence
from espalier.serving.flags import Limits
from espalier.serving.formats import CSV, FILE, IMAGE, JSON, LINES, NPY, files_of, format_of, formats_of, media_types_of
from espalier.serving.parts import Part
from espalier.serving.refusal import TOO_LARGE, Refused


@dataclass(frozen=True)
class Group:
    """The inputs of one part.

    Attributes:
        inputs: a list of them, each of which may be a `Bad`; or a table of some.
        name: of the file that they were; None of all else.
    """

    inputs: Any
    name: str | None


class Reader:
    """Reads the parts of one request.

    Args:
        preprocessing: of the model; what it takes decides what is read.
        limits: of inputs and pixels, for all parts together.
        folder: for files that are read by their path.
    """

    def __init__(self, preprocessing: Preprocessing, limits: Limits, folder: Path) -> None:
        self.preprocessing, self.limits, self.folder = preprocessing, limits, folder
        self.formats = formats_of(preprocessing)
        self.num_inputs = self.num_pixels = 0

    def read(self, parts: list[Part]) -> list[Group]:
        """The inputs, in their order; in place of a file among others that is not taken, or damaged, a `Bad`.

        Raises:
            Refused: the only part is of another kind than the model takes (415), or damaged (400); or too large (413).
        """
        groups = [Group(self._tried(part) if len(parts) > 1 else self._read(part), part.name) for part in parts]
        if not self.num_inputs:
            raise Refused(400, "the request has no input")
        return groups

    def _tried(self, part: Part) -> Any:
        try:
            return self._read(part)
        except Refused as refused:
            if refused.status == TOO_LARGE:
                raise
            self._count(1)
            return [Bad(str(refused))]

    def _read(self, part: Part) -> Any:
        form = format_of(part, self.formats)
        if form is None and part.name:
            raise Refused(415, f"the file {part.name} is not taken: it has to be {files_of(self.formats)}")
        if form is None:
            taken = ", ".join(media_types_of(self.formats))
            what = f"a body of the type {part.media_type or 'unknown'}"
            raise Refused(415, f"{what} is not taken: it may be one of {taken}")
        readers: dict[str, Callable[[Part], Any]] = {
            IMAGE: self._image, JSON: self._json, NPY: self._npy, LINES: self._table, CSV: self._table,
            FILE: self._file,
        }  # fmt: skip
        found = readers[form](part)
        self._count(len(found))
        return found

    def _count(self, number: int) -> None:
        self.num_inputs += number
        if self.num_inputs > self.limits.most_inputs:
            raise Refused(TOO_LARGE, f"too many inputs: at most {self.limits.most_inputs:,} in one request")

    def _image(self, part: Part) -> list[Any]:
        return [self._checked(part.content)]

    def _checked(self, content: bytes) -> Any:
        """The bytes of an image whose size is known and allowed, else a `Bad`: it is decoded only later."""
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(content)) as opened:
                self.num_pixels += opened.width * opened.height
        except Image.DecompressionBombError:
            self.num_pixels += self.limits.most_pixels + 1
        except Exception as error:  # PIL raises SyntaxError, struct.error and more for damaged files
            what = "an empty file" if not content else "no image that can be read"
            return Bad(what if isinstance(error, UnidentifiedImageError) else f"{what}: {error}")
        if self.num_pixels > self.limits.most_pixels:
            raise Refused(TOO_LARGE, f"too many pixels: at most {self.limits.most_pixels:,} in one request")
        return content

    def _json(self, part: Part) -> list[Any]:
        try:
            value = json.loads(part.content, parse_constant=_no_number)
        except RecursionError:
            raise Refused(400, "the JSON cannot be read: it is nested too deep") from None
        except ValueError as error:  # also of its encoding, and of a number with thousands of digits
            raise Refused(400, f"the JSON cannot be read: {error}") from None
        if not (isinstance(value, dict) and isinstance(value.get("inputs"), list)):
            raise Refused(422, 'the JSON has no list of inputs: it has to be {"inputs": [...]}')
        read = self._of_json()
        return [_tried(read, each) for each in value["inputs"][: self.limits.most_inputs + 1]]

    def _of_json(self) -> Callable[[Any], Any]:
        """What reads a value of JSON."""
        if self.preprocessing.takes_images:
            return self._image_of_json
        for kind, read in ((Rows, _row), (Texts, _text), (LastRows, _series), (Function, _of_function)):
            if isinstance(self.preprocessing, kind):
                return read
        items = self.preprocessing.items if isinstance(self.preprocessing, Tensors) else None
        return partial(_array, is_of_parts=isinstance(items, (list, tuple)))

    def _image_of_json(self, value: Any) -> Any:
        """An array, or the text of a file: `data:image/png;base64,...`."""
        if isinstance(value, dict):  # in which a preprocessing might look for the name of a file
            raise ValueError("an object in place of an image")
        if not isinstance(value, str):
            return _array(value)
        head, _, encoded = value.partition(",")
        if not (head.startswith("data:") and head.endswith(";base64")):
            raise ValueError('a text in place of an image: it has to be "data:image/png;base64,..."')
        try:
            content = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise ValueError("the text of the image is no base64") from None
        return self._checked(content)

    def _npy(self, part: Part) -> list[Any]:
        """Each row of the first dimension of an array; of a series all of it, unless it has three."""
        try:
            array = _array_of(part.content)
        except Exception as error:  # of a damaged header numpy raises what Python does for a damaged expression
            raise Refused(400, f"the array cannot be read: {error}") from None
        if not array.ndim:
            raise Refused(400, "the array has no dimension: each row of the first is an input")
        is_one = isinstance(self.preprocessing, LastRows) and array.ndim < 3
        return [array] if is_one else list(array[: self.limits.most_inputs + 1])

    def _table(self, part: Part) -> Any:
        """The rows of a table or the lines of a text, as training has read its file."""
        assert isinstance(self.preprocessing, (Rows, Texts, LastRows))
        if not part.content.strip():
            raise Refused(400, f"the {'file' if part.name else 'body'} is empty")
        is_tabs = part.media_type == "text/tab-separated-values" or PurePath(part.name or "").suffix.lower() == ".tsv"
        suffix = ".txt" if format_of(part, self.formats) == LINES else ".tsv" if is_tabs else ".csv"
        path = self._written(part, suffix)
        try:
            return self.preprocessing.read_file(path)
        except OF_INPUTS as error:
            told = sentence(error).replace(f".../{path.name}", f"the file {part.name}" if part.name else "the table")
            raise Refused(400, told) from None

    def _file(self, part: Part) -> list[Any]:
        """A file for a function that opens one: by a path of our own."""
        suffix = PurePath(part.name or "").suffix
        return [self._written(part, suffix if suffix[1:].isascii() and suffix[1:].isalnum() else "")]

    def _written(self, part: Part, suffix: str) -> Path:
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=suffix[:10], prefix="input-", delete=False) as file:
            file.write(part.content)
        return Path(file.name)


def _tried(read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        return Bad(str(error))


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _array_of(content: bytes) -> np.ndarray:
    """The array of a file, which has to have the size that its header speaks of."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    # Before memory is taken for it: a header of some bytes may speak of any size.
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError("its header does not fit its content")
    found: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return found


def _array(value: Any, *, is_of_parts: bool = False) -> Any:
    """Nested lists of numbers as an array; of an object, and of a list of parts, an array for each."""
    if isinstance(value, dict):
        return {name: _array(each) for name, each in value.items()}
    if is_of_parts and isinstance(value, list):
        return [_array(each) for each in value]
    if not isinstance(value, (list, int, float)):
        raise ValueError(f"{_kind_of(value)} in place of an array of numbers")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError("its lists differ in length: no array") from None
    if array.dtype.kind not in "biuf":
        raise ValueError("no array of numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("a number is too large")
    return array


def _row(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{_kind_of(value)} in place of a row: it has to be an object, a cell for each column")
    for name, cell in value.items():
        if isinstance(cell, (list, dict)):
            raise ValueError(f"the cell of {name} is {_kind_of(cell)}")
        if isinstance(cell, float) and not math.isfinite(cell):
            raise ValueError(f"the number of {name} is too large")
    return value


def _text(value: Any) -> Any:
    if isinstance(value, dict):  # a row, one cell of which is the text
        return _row(value)
    if not isinstance(value, str):
        raise ValueError(f"{_kind_of(value)} in place of a text")
    return value


def _series(value: Any) -> Any:
    """Rows one after the other: an array, or a list of objects."""
    if not isinstance(value, list):
        raise ValueError(f"{_kind_of(value)} in place of a series: it has to be a list of its rows")
    return [_row(each) for each in value] if value and isinstance(value[0], dict) else _array(value)


def _of_function(value: Any) -> Any:
    """Numbers, and lists and objects of them: a function may take a text for the path of a file."""
    if isinstance(value, dict):
        return {name: _of_function(each) for name, each in value.items()}
    if isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value):
        return [_of_function(each) for each in value]
    if value is None or isinstance(value, bool):
        return value
    return _array(value).tolist()


def _kind_of(value: Any) -> str:
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list",
             dict: "an object"}  # fmt: skip
    return names.get(type(value), "null")
