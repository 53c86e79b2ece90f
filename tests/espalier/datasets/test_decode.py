"""Image files of all kinds become the same tensor as by PIL, and broken ones a message."""

import os
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as F

from espalier.datasets.decode import decode_image, fit_to_size, load_image
from espalier.errors import DataError
from tests.espalier.datasets.pictures import encoded, picture

UPRIGHT = Image.Exif()
TURNED = Image.Exif()
TURNED[0x112] = 6  # a quarter to the right
KINDS = {
    "jpeg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "jpeg turned": ("JPEG", {"exif": TURNED}),
    "png": ("PNG", {}),
    "png turned": ("PNG", {"exif": TURNED}),
    "webp": ("WEBP", {"lossless": True}),
    "webp turned": ("WEBP", {"lossless": True, "exif": TURNED}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "ppm": ("PPM", {}),
}


def by_pil(image, channels):
    """The values as PIL gives them, `(C, H, W)`."""
    values = torch.from_numpy(np.array(ImageOps.exif_transpose(image).convert({1: "L", 3: "RGB"}[channels])))
    return values.unsqueeze(0) if channels == 1 else values.permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_and_mode_decodes_as_by_pil(kind, mode, channels, tmp_path):
    """Colour, grey, palette, transparency and CMYK, upright. Grey is rounded, or of a JPEG that in the file."""
    name, options = KINDS[kind]
    if (name, mode) == ("GIF", "CMYK"):
        return  # PIL cannot read what it writes
    try:
        content = encoded(picture(3).convert(mode), name, **options)
    except (OSError, KeyError):
        return  # PIL writes no such file
    (tmp_path / "file").write_bytes(content)
    image = load_image(tmp_path / "file", channels)
    with Image.open(tmp_path / "file") as opened:
        expected = by_pil(opened, channels)
    assert image.dtype == torch.uint8
    assert image.shape == expected.shape
    assert (image.int() - expected.int()).abs().max() <= (10 if name == "JPEG" and channels == 1 else 1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_keep_the_upper_8(kind):
    """They are scaled from 65535 to 255, not cut off."""
    values = np.linspace(0, 65535, 16 * 20).reshape(16, 20).astype(np.uint16)
    image = decode_image(encoded(Image.fromarray(values), kind), 1)
    assert torch.equal(image[0], torch.from_numpy((values >> 8).astype(np.uint8)))


def test_animation_gives_its_first_picture():
    """Two frames are one image."""
    frames = [picture(1).convert("P"), picture(2).convert("P")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert torch.equal(decode_image(content), decode_image(encoded(frames[0], "GIF")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_file_is_named(kind, tmp_path):
    """A file that was cut short in a copy is no picture, not even half of one."""
    content = encoded(picture(0, 64, 64), kind)
    path = tmp_path / "cut"
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=f"^data error: the image {path} cannot be decoded\n  got       .*bytes: "):
        load_image(path)


def png(width, height, data):
    """A PNG with such compressed data, whole as far as its checksums say."""
    parts = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(each)) + name + each + struct.pack(">I", zlib.crc32(name + each)) for name, each in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


SOME, ENOUGH = zlib.compress(bytes(10)), zlib.compress(bytes(16 * (1 + 3 * 16)))


@pytest.mark.parametrize("data", [SOME, ENOUGH[:-2] + b"xx", ENOUGH[:8], b"no zlib", b""])
def test_png_with_damaged_data_costs_the_process_nothing(data, tmp_path):
    """It is refused, or read if all its pixels are there: in a process of its own, which a decoder may take along."""
    (tmp_path / "a.png").write_bytes(png(16, 16, data))
    child = os.fork()
    if not child:
        try:
            load_image(tmp_path / "a.png")
        except DataError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in ((0, 7) if data.startswith(ENOUGH[:-2]) else (7,))


def test_empty_file_is_named(tmp_path):
    """Zero bytes are told as such."""
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError) as error:
        load_image(tmp_path / "a.jpg")
    assert str(error.value) == (
        f"data error: the image {tmp_path / 'a.jpg'} cannot be decoded\n"
        "  got       an empty file\n"
        "  fix       replace the file, or take it out"
    )


def test_missing_file_is_named(tmp_path):
    """As one that was removed while training."""
    with pytest.raises(DataError) as error:
        load_image(tmp_path / "a.jpg")
    assert str(error.value) == (
        f"data error: the image {tmp_path / 'a.jpg'} cannot be read\n  got       No such file or directory"
    )


@given(height=st.integers(2, 40), width=st.integers(2, 40), size=st.integers(2, 30))
def test_size_is_that_of_torchvision_resize_and_center_crop(height, width, size):
    """A number scales the shorter side and cuts the middle out."""
    image = torch.arange(3 * height * width).reshape(3, height, width).mul(7).remainder(256).to(torch.uint8)
    expected = F.center_crop(F.resize(image, [size], antialias=True), [size, size])
    assert torch.equal(fit_to_size(image, size), expected)


def test_size_of_two_numbers_is_that_of_torchvision_resize():
    """Height and width, whatever the shape was."""
    image = decode_image(encoded(picture(), "PNG"))
    assert torch.equal(fit_to_size(image, (9, 7)), F.resize(image, [9, 7], antialias=True))
    assert fit_to_size(image, None) is image
