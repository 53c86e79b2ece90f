"""Image files as tensors: JPEG by torchvision, all other kinds by PIL.

PNG, too: torchvision's decoder is a tenth faster, and ends the process (a segmentation fault, torchvision 0.29) where
the compressed data of a file is damaged.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from espalier.errors import DataError, explain

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
_JPEG = b"\xff\xd8\xff"
_MODES = {1: "L", 3: "RGB"}  # PIL's names
Size = int | tuple[int, int] | None


def load_image(path: str | Path, channels: int = 3) -> torch.Tensor:
    """An image file as uint8 `(channels, H, W)`, upright as EXIF says; of an animation the first picture.

    Palettes and CMYK become RGB, transparency is dropped, of 16 bits the upper 8 are kept.

    Raises:
        DataError: the file cannot be read, is cut short, or is no image.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(explain(f"data error: the image {path} cannot be read", got=error.strerror)) from error
    try:
        return decode_image(content, channels)
    except Exception as error:  # PIL raises SyntaxError, struct.error and more for damaged files
        got = f"{len(content):,} bytes: {error}" if content else "an empty file"
        raise DataError(explain(f"data error: the image {path} cannot be decoded", got=got,
                                fix="replace the file, or take it out")) from error  # fmt: skip


def decode_image(content: bytes, channels: int = 3) -> torch.Tensor:
    """The bytes of an image file as uint8 `(channels, H, W)`; see `load_image`."""
    decode = _torchvision_decoder() if content.startswith(_JPEG) else None
    if decode is not None:
        try:
            return decode(content, channels)
        except RuntimeError:
            pass  # PIL has the last word, and the better messages
    return _decode_by_pil(content, channels)


@cache
def _torchvision_decoder() -> Callable[[bytes, int], torch.Tensor] | None:
    """2 to 3 times as fast as PIL for JPEG, to the same values; None where torchvision no longer has it."""
    try:
        from torchvision.io import ImageReadMode, decode_image
    except ImportError:
        return None
    modes = {1: ImageReadMode.GRAY, 3: ImageReadMode.RGB}

    def decode(content: bytes, channels: int) -> torch.Tensor:
        encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        image: torch.Tensor = decode_image(encoded, modes[channels], apply_exif_orientation=True)
        return image

    return decode


def _decode_by_pil(content: bytes, channels: int) -> torch.Tensor:
    from PIL import Image, ImageOps, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about transparency, which is dropped
        try:
            with Image.open(io.BytesIO(content)) as opened:
                return pil_to_tensor(ImageOps.exif_transpose(opened), channels)
        except UnidentifiedImageError:
            raise ValueError("no format of images that is known") from None


def pil_to_tensor(image: Any, channels: int = 3) -> torch.Tensor:
    """A PIL image as uint8 `(channels, H, W)`."""
    if image.mode.startswith("I"):  # 16 bits; older versions of PIL call them I
        from PIL import Image

        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    values = torch.from_numpy(np.array(image.convert(_MODES[channels])))  # (H, W) or (H, W, 3)
    return values.unsqueeze(0) if values.dim() == 2 else values.permute(2, 0, 1)


def fit_to_size(image: torch.Tensor, size: Size) -> torch.Tensor:
    """Bring an image to a size: a number scales the shorter side to it and cuts out the middle square.

    The same as `Resize(size)` and `CenterCrop(size)` of torchvision; with `(H, W)` as `Resize((H, W))`.

    Args:
        image: uint8, `(C, H, W)`.
    """
    if size is None:
        return image
    height, width = image.shape[-2:]
    if isinstance(size, int):
        short = min(height, width)
        scaled = (int(size * height / short), int(size * width / short))
        crop = (size, size)
    else:
        scaled = crop = (size[0], size[1])
    if scaled != (height, width):
        image = F.interpolate(image.unsqueeze(0), scaled, mode="bilinear", antialias=True)[0]
    top, left = (round((have - want) / 2) for have, want in zip(scaled, crop, strict=True))
    return image[:, top : top + crop[0], left : left + crop[1]]
