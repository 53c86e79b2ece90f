"""Images: of files, PIL images and arrays, decoded and brought to size as datasets of images do it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from espalier.checkpoints.saved_shape import COUNTS, NUMBERS, SWITCH, TEXT, Kind, Maybe, check_shape
from espalier.datasets.decode import Size, decode_image, fit_to_size, load_image, pil_to_tensor
from espalier.datasets.normalization import Normalization
from espalier.datasets.table_file import check_column, load_table
from espalier.errors import DataError, explain, shorten
from espalier.preprocessing.contract import SAY_HOW, EachOf, Preprocessing

_MOST_PIXELS = 2**27  # of an image that is scaled: 134 million
_SIZE = Kind("a number of pixels, or a height and a width", lambda each: _is_size(each))
_CHANNELS = Kind("1 or 3", lambda each: type(each) is int and each in (1, 3))
_STATE = {"size?": Maybe(_SIZE), "channels?": _CHANNELS, "mean?": Maybe(NUMBERS), "std?": Maybe(NUMBERS),
          "image_size?": Maybe(COUNTS), "takes_files?": SWITCH, "column?": TEXT, "suffix?": TEXT}  # fmt: skip
_ARRAYS = "arrays (H, W) or (H, W, C), or tensors (C, H, W), of uint8 or of floats from 0 to 1"


class Image(Preprocessing):
    """An image becomes uint8 `(C, H, W)` of the size of training, and then float32, normalised.

    State: `size`, `mean` and `std` as of `espalier.datasets.pixels.ImageDataset`; `channels`, 1 or 3; `takes_files`:
    whether files and PIL images are loaded as training loaded them; `column` and `suffix` where a row of a table may
    name an image. Without `mean` and `std` values only come to be from 0 to 1. `image_size` is for those who ask.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        super().__init__(state)
        check_shape(self.state, _STATE, "how images are prepared")
        size = state.get("size")
        self.size: Size = (size[0], size[1]) if isinstance(size, (list, tuple)) else size
        self.channels = state.get("channels", 3)
        mean, std = state.get("mean") or [0.0] * self.channels, state.get("std") or [1.0] * self.channels
        number = Kind(f"{self.channels} numbers", lambda each: len(each) == self.channels)
        check_shape({"mean": mean, "std": std}, {"mean": number, "std": number}, "how images are prepared")
        self.module = Normalization(mean, std)
        self.takes_images = state.get("takes_files", True)
        self.takes = f"image files as paths or bytes, PIL images, {_ARRAYS}" if self.takes_images else _ARRAYS

    def encode(self, inputs: Sequence[Any]) -> Dataset[Any]:
        """An image, uint8 `(C, H, W)`, for each input; an array or a PIL image by itself is one."""
        return EachOf([inputs] if _is_one(inputs, self.channels) else inputs, self._image)

    def read_file(self, path: str | Path) -> list[str]:
        """The image files that a table names in the column of training, which may be relative to its own folder.

        Raises:
            DataError: it cannot be read, or has no such column.
        """
        return files_named_in(path, self.state.get("column", "path"), self.state.get("suffix", ""))

    def _image(self, value: Any) -> torch.Tensor:
        if isinstance(value, Mapping):
            value = self._named_in(value)
        if is_file(value) and not self.takes_images:
            what = "data error: the dataset of training reads files in a way of its own"
            raise DataError(explain(what, got="a file", expected=self.takes, fix=SAY_HOW))
        image = image_of(value, self.channels)
        check_scaled(image, self.size)
        return fit_to_size(image, self.size)

    def _named_in(self, row: Mapping[Any, Any]) -> Any:
        column = self.state.get("column", "path")
        if column not in row:
            raise DataError(explain(f"data error: the row has no {column!r}, which names the image",
                                    got=shorten([*row]), expected=column))  # fmt: skip
        value = row[column]
        return f"{value}{self.state.get('suffix', '')}" if isinstance(value, (str, Path)) else value


def image_of(value: Any, channels: int) -> torch.Tensor:
    """An image as uint8 `(channels, H, W)`.

    Args:
        value: a path; the bytes of a file, or an open one; a PIL image; or an array: `(H, W)`, `(H, W, C)`, or
            `(C, H, W)`, of whole numbers from 0 to 255, of uint16 (the upper 8 bits count) or of floats from 0 to 1.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(value, (str, Path)):
        if "\0" in str(value):
            raise DataError(explain("data error: the path of an image has a character that no path has",
                                    got=shorten(str(value))))  # fmt: skip
        check_header(value)
        return load_image(value, channels)
    if hasattr(value, "read") and not is_picture(value):
        with contextlib.suppress(AttributeError, OSError):  # from its start, as PIL reads it: it may be asked for again
            value.seek(0)
        value = value.read()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _decoded(bytes(value), channels)
    if is_picture(value):
        from PIL import ImageOps

        return pil_to_tensor(ImageOps.exif_transpose(value), channels)
    return _of_array(value, channels)


def files_named_in(path: str | Path, column: str = "path", suffix: str = "") -> list[str]:
    """The files that a table names; `suffix` is that of all of them, where the table leaves it out."""
    frame = load_table(path, is_text=True)
    check_column(column, frame, path)
    return [str(Path(path).parent / f"{each}{suffix}") for each in frame[column].tolist()]


def is_file(value: Any) -> bool:
    """Whether it is the file of an image, by its path, its bytes or open; or a PIL image."""
    return isinstance(value, (str, Path, bytes, bytearray, memoryview)) or hasattr(value, "read") or is_picture(value)


def is_picture(value: Any) -> bool:
    """Whether it is a PIL image."""
    return hasattr(value, "convert") and hasattr(value, "getexif")


def check_scaled(image: torch.Tensor, size: Size) -> None:
    """Make sure that an image does not outgrow the memory when its shorter side is scaled.

    Raises:
        DataError: it is very long, and narrow.
    """
    height, width = image.shape[-2:]
    if isinstance(size, int) and max(height, width) * size / min(height, width) * size > _MOST_PIXELS:
        raise DataError(explain("data error: the image is too narrow to be scaled", got=f"{height} x {width} pixels",
                                expected=f"a shorter side that can become {size} pixels"))  # fmt: skip


def check_header(file: str | Path | io.BytesIO) -> None:
    """Make sure that the memory holds the image that a file says it has.

    Raises:
        DataError: it says that it is many times as large as any photograph.
    """
    from PIL import Image as Pictures

    try:
        with Pictures.open(file):
            pass
    except Pictures.DecompressionBombError as error:
        name = f" {file}" if isinstance(file, (str, Path)) else ""
        raise DataError(explain(f"data error: the image{name} is too large", got=str(error))) from error
    except Exception:  # whatever it is: who decodes it tells it
        return


def _decoded(content: bytes, channels: int) -> torch.Tensor:
    check_header(io.BytesIO(content))
    try:
        return decode_image(content, channels)
    except Exception as error:  # PIL raises SyntaxError, struct.error and more for damaged files
        got = f"{len(content):,} bytes: {error}" if content else "an empty file"
        raise DataError(explain("data error: the image cannot be decoded", got=got)) from error


def _of_array(value: Any, channels: int) -> torch.Tensor:
    """An array as an image."""
    is_tensor = isinstance(value, torch.Tensor)
    try:
        array = np.asarray(value.detach().cpu() if is_tensor else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _no_image(f"{type(value).__name__}: {error}") from error
    if array.dtype.kind not in "biuf" or array.ndim not in (2, 3) or not array.size:
        raise _no_image(f"{type(value).__name__} {array.shape} of {array.dtype}")
    array = _as_bytes(array)
    if array.ndim == 3:
        array = array.transpose(1, 2, 0) if _has_channel_first(array.shape, is_tensor) else array
        if array.shape[2] not in (1, 2, 3, 4):
            raise _no_image(f"{type(value).__name__} {value.shape if is_tensor else array.shape}")
        array = array[:, :, 0] if array.shape[2] == 1 else array
    if array.shape[2:] == ((channels,) if channels > 1 else ()):
        array = np.ascontiguousarray(array).reshape(*array.shape[:2], channels)
        return torch.from_numpy(array.transpose(2, 0, 1).copy())
    from PIL import Image as Pictures

    return pil_to_tensor(Pictures.fromarray(np.ascontiguousarray(array)), channels)


def _as_bytes(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint16:
        array = array >> 8
    elif array.dtype.kind == "b":
        array = array * np.uint8(255)
    low, high = float(array.min()), float(array.max())
    most = 1 if array.dtype.kind == "f" else 255
    if not (low >= 0 and high <= most):  # nor not a number
        kind = "floats" if most == 1 else "whole numbers"
        raise DataError(explain("data error: the values of an image are out of range",
                                got=f"{kind} from {low:g} to {high:g}", expected=f"{kind} from 0 to {most}",
                                fix="divide them by 255, or give uint8" if most == 1 else None))  # fmt: skip
    found: np.ndarray = (np.rint(array * 255.0) if most == 1 else array).astype(np.uint8)
    return found


def _has_channel_first(shape: Sequence[int], is_tensor: bool) -> bool:
    is_first, is_last = shape[0] in (1, 3, 4), shape[2] in (1, 2, 3, 4)
    return is_first and (is_tensor or not is_last)


def _no_image(got: str) -> DataError:
    return DataError(explain("data error: the input is no image", got=got, expected=f"a file, or {_ARRAYS}"))


def _is_one(inputs: Any, channels: int) -> bool:
    """Whether it is one image, not several."""
    if is_picture(inputs) or isinstance(inputs, Mapping):
        return True
    if not isinstance(inputs, (np.ndarray, torch.Tensor)) or inputs.ndim not in (2, 3):
        return False
    shape = tuple(inputs.shape)
    return len(shape) == 2 or shape[2] in (3, 4) or (channels == 3 and shape[0] == 3) or shape[2] == 1


def _is_size(value: Any) -> bool:
    sides = [value] if isinstance(value, int) else value
    is_list = isinstance(sides, (list, tuple)) and len(sides) in ((1,) if sides is not value else (2,))
    return is_list and all(type(each) is int and each > 0 for each in sides)
