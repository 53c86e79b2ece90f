"""What a request may hold, by the kind of preprocessing of the model, and the inputs it is read to.

Nothing that a request says is ever a path: where a preprocessing would open a file of that name, texts are refused.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from espalier.serving.engine import Bad
from espalier.serving.limits import Limits
from espalier.serving.parts import Part
from espalier.serving.refusal import Refused

IMAGE, JSON, LINES, CSV, NPY = "image", "json", "lines", "csv", "npy"
# The formats that a model takes, by the kind of its preprocessing; those of an unknown kind are those of "tensor".
TAKEN = {
    "image": (IMAGE, JSON),
    "array": (NPY, JSON, IMAGE),
    "tensor": (NPY, JSON),
    "row": (CSV, JSON),
    "text": (LINES, JSON),
    "window": (CSV, NPY, JSON),
}
MEDIA_TYPES = {
    IMAGE: ("image/*",),
    JSON: ("application/json",),
    LINES: ("text/plain",),
    CSV: ("text/csv",),
    NPY: ("application/x-npy", "application/octet-stream"),
}
_SUFFIXES = {".json": JSON, ".txt": LINES, ".csv": CSV, ".tsv": CSV, ".npy": NPY}


@dataclass
class Given:
    """The inputs of a request.

    Attributes:
        inputs: of each its value, or a `Bad`.
        names: of each the name of the file that it was, or None.
        pixels: of all images together.
    """

    inputs: list[Any] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    pixels: int = 0


def formats_of(state: Mapping[str, Any]) -> tuple[str, ...]:
    """The formats that a model with this preprocessing takes."""
    return TAKEN.get(str(state.get("kind")), TAKEN["tensor"])


def media_types_of(state: Mapping[str, Any]) -> list[str]:
    """The media types of a whole body."""
    return [each for form in formats_of(state) for each in MEDIA_TYPES[form]]


def read_inputs(parts: list[Part], state: Mapping[str, Any], limits: Limits) -> Given:
    """The inputs in the parts of a request, in their order.

    Raises:
        Refused: a part is of another kind than the model takes (415), damaged (400), or too large (413).
    """
    given = Given()
    for part in parts:
        form = _format(part, formats_of(state))
        if form is None:
            taken = ", ".join(["multipart/form-data", *media_types_of(state)])
            what = f"the file {part.name}" if part.name else f"a body of the type {part.media_type or 'unknown'}"
            raise Refused(415, f"{what} is not taken: it may be one of {taken}")
        found = _READERS[form](part, state, given, limits)
        given.inputs += found
        given.names += [part.name] * len(found)
        if len(given.inputs) > limits.most_inputs:
            raise Refused(413, f"too many inputs: at most {limits.most_inputs:,} in one request")
    if not given.inputs:
        raise Refused(400, "the request has no input")
    return given


def _format(part: Part, taken: tuple[str, ...]) -> str | None:
    """The format of a part, by its name, its media type, and of a nameless kind of file by what the model takes."""
    by_type = next((form for form, types in MEDIA_TYPES.items()
                    if part.media_type in types or (form == IMAGE and part.media_type.startswith("image/"))),
                   None)  # fmt: skip
    if part.name is None:
        return by_type if by_type in taken else None
    by_name = _SUFFIXES.get(PurePath(part.name).suffix.lower())
    if by_name in taken:
        return by_name
    if part.content.startswith(b"\x93NUMPY"):
        return NPY if NPY in taken else None
    if by_name is None and IMAGE in taken and (by_type in (IMAGE, NPY) or not part.media_type):
        return IMAGE
    return by_type if by_type in taken else None


def _image(part: Part, state: Mapping[str, Any], given: Given, limits: Limits) -> list[Any]:
    return [_checked_image(part.content, given, limits)]


def _checked_image(content: bytes, given: Given, limits: Limits) -> Any:
    """The bytes of an image whose size is known and allowed, else a `Bad`: it is decoded only later."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as opened:
            given.pixels += opened.width * opened.height
    except Image.DecompressionBombError:
        given.pixels += limits.most_pixels + 1
    except Exception as error:  # PIL raises SyntaxError, struct.error and more for damaged files
        what = "an empty file" if not content else "no image that can be read"
        return Bad(what if isinstance(error, UnidentifiedImageError) else f"{what}: {error}")
    if given.pixels > limits.most_pixels:
        raise Refused(413, f"too many pixels: at most {limits.most_pixels:,} in one request")
    return content


def _json(part: Part, state: Mapping[str, Any], given: Given, limits: Limits) -> list[Any]:
    try:
        value = json.loads(part.content, parse_constant=_no_number)
    except RecursionError:
        raise Refused(400, "the JSON cannot be read: it is nested too deep") from None
    except ValueError as error:  # also of its encoding, and of a number with thousands of digits
        raise Refused(400, f"the JSON cannot be read: {error}") from None
    if not (isinstance(value, dict) and isinstance(value.get("inputs"), list)):
        raise Refused(422, 'the JSON has no list of inputs: it has to be {"inputs": [...]}')
    if len(value["inputs"]) > limits.most_inputs:
        raise Refused(413, f"too many inputs: at most {limits.most_inputs:,} in one request")
    read = _OF_JSON.get(str(state.get("kind")), _array)
    return [_tried(read, each, given, limits) for each in value["inputs"]]


def _tried(read: Callable[..., Any], value: Any, given: Given, limits: Limits) -> Any:
    try:
        return read(value, given, limits)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        return Bad(str(error))


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _array(value: Any, given: Given, limits: Limits) -> Any:
    """Nested lists of numbers as an array; an object of some as a dict of arrays."""
    if isinstance(value, dict):
        return {name: _array(each, given, limits) for name, each in value.items()}
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


def _image_of_json(value: Any, given: Given, limits: Limits) -> Any:
    """An array, or the text of a file: `data:image/png;base64,...`; whole numbers from 0 to 255 are bytes."""
    if isinstance(value, str):
        head, _, encoded = value.partition(",")
        if not (head.startswith("data:") and head.endswith(";base64")):
            raise ValueError('a text in place of an image: it has to be "data:image/png;base64,..."')
        try:
            content = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the text of the image is no base64: {error}") from None
        return _checked_image(content, given, limits)
    array = _array(value, given, limits)
    if isinstance(array, dict):
        raise ValueError("an object in place of an image")
    is_bytes = array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255
    return array.astype(np.uint8) if is_bytes else array


def _row(value: Any, given: Given, limits: Limits) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{_kind_of(value)} in place of a row: it has to be an object, a cell for each column")
    for name, cell in value.items():
        if isinstance(cell, (list, dict)):
            raise ValueError(f"the cell of {name} is {_kind_of(cell)}")
        if isinstance(cell, float) and not math.isfinite(cell):
            raise ValueError(f"the number of {name} is too large")
    return value


def _text(value: Any, given: Given, limits: Limits) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"{_kind_of(value)} in place of a text")
    return value


def _kind_of(value: Any) -> str:
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list",
             dict: "an object"}  # fmt: skip
    return names.get(type(value), "null")


def _lines(part: Part, state: Mapping[str, Any], given: Given, limits: Limits) -> list[Any]:
    """The lines of a text, each an input; of empty ones none."""
    try:
        text = part.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(400, f"the text is not in UTF-8: {error.reason} at byte {error.start:,}") from None
    return [line for line in text.splitlines() if line.strip()]


def _npy(part: Part, state: Mapping[str, Any], given: Given, limits: Limits) -> list[Any]:
    """Each row of the first dimension of an array."""
    try:
        file = io.BytesIO(part.content)
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        # Before memory is taken for it: a header of some bytes may speak of any size.
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(part.content) - file.tell():
            raise ValueError("its header does not fit its content")
        array = np.load(io.BytesIO(part.content), allow_pickle=False)
    except Exception as error:  # of a damaged header numpy raises what Python does for a damaged expression
        raise Refused(400, f"the array cannot be read: {error}") from None
    if not array.ndim:
        raise Refused(400, "the array has no dimension: each row of the first is an input")
    return list(array[: limits.most_inputs + 1])


def _csv(part: Part, state: Mapping[str, Any], given: Given, limits: Limits) -> list[Any]:
    raise Refused(415, "tables are not taken yet")


_OF_JSON: dict[str, Callable[..., Any]] = {"image": _image_of_json, "array": _image_of_json, "row": _row, "text": _text}
_READERS: dict[str, Callable[..., list[Any]]] = {IMAGE: _image, JSON: _json, LINES: _lines, CSV: _csv, NPY: _npy}
