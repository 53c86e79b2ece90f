"""Files as they come from anywhere: damaged, of another kind than their name says, or good under an odd name."""

import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tests.espalier.datasets.pictures import encoded, picture

NAMES = ["two\nlines", "tab\there", "blank ed", "ümläut", "絵", "-r", "semi;colon,comma", '"quoted"', "a=b", "%s{0}",
         "x" * 200, "..dots..", "*", "\u202eright", "\udcff\udc80"]  # fmt: skip


def write_odd_files(folder, good, ending, seed, number=60):
    """Write files of which some are good: returns the paths of all in order, and of those that are good for certain.

    Args:
        good: the content of a good file.
        ending: of the names of such.
        seed: of what is drawn.
        number: how many of the damaged ones.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir()
    sure = []
    for name in NAMES:
        path = Path(os.fsdecode(os.fsencode(folder / f"{name}{ending}")))
        path.write_bytes(good)
        sure.append(path)
    (folder / f"link{ending}").symlink_to(sure[0])
    sure.append(folder / f"link{ending}")
    for name, content in {**damaged(good, ending, rng, number), **foreign(rng)}.items():
        (folder / name).write_bytes(content)
    (folder / f"folder{ending}").mkdir()
    (folder / f"dangling{ending}").symlink_to(folder / "nowhere")
    (folder / f"loop{ending}").symlink_to(folder / f"loop{ending}")
    (folder / "deep").mkdir()
    (folder / "deep" / "up").symlink_to(folder)
    (folder / f"closed{ending}").write_bytes(good)
    (folder / f"closed{ending}").chmod(0)
    missing = [folder / f"missing{ending}", Path("/dev/null"), folder / ("y" * 300), folder / "a" / "b", Path()]
    return [*sorted(folder.iterdir(), key=os.fsencode), *missing], sure


def damaged(good, ending, rng, number):
    """Copies of a file that were cut short, changed, or added to."""
    found = {f"empty{ending}": b"", f"newline{ending}": b"\n", f"twice{ending}": good + good}
    for place in range(number):
        content = bytearray(good)
        if place % 3 == 0:
            del content[int(rng.integers(len(good))) :]
        else:
            for _ in range(int(rng.integers(1, 9))):
                content[int(rng.integers(len(content)))] = int(rng.integers(256))
            if place % 3 == 1:
                content += rng.bytes(30)
        found[f"damaged{place}{ending}"] = bytes(content)
    return found


def foreign(rng):
    """Files of all kinds, and noise under the names of all kinds."""
    image = picture(1)
    kinds = {
        ".png": "PNG",
        ".jpg": "JPEG",
        ".gif": "GIF",
        ".bmp": "BMP",
        ".tif": "TIFF",
        ".webp": "WEBP",
        ".ppm": "PPM",
    }
    others = (".npy", ".npz", ".csv", ".tsv", ".parquet", ".jsonl", ".json", ".txt", ".gz", "", ".exe")
    found = {f"noise{place}{ending}": rng.bytes(int(rng.integers(1, 400)))
             for place, ending in enumerate([*kinds, *others])}  # fmt: skip
    found |= {f"cut{ending}": encoded(image, kind)[:-40] for ending, kind in kinds.items()}
    found |= {f"named{ending}": b"\x89PNG\r\n\x1a\n" + b"\0" * 40 for ending in others}
    found |= {f"zip{ending}": packed({"a.npy": b"no array", "../b.npy": b""}) for ending in (".npz", ".png", ".gz")}
    found["bomb.npz"] = packed({"x.npy": array_bytes(np.zeros(2**22))})
    found["huge.npy"] = array_bytes(np.zeros(3)).replace(b"(3,), }", b"(99999999999,), }"[: len(b"(3,), }")])
    found["header.npy"] = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31 - 1) + b"{"
    found["code.npy"] = numpy_header("{'descr': __import__('os').system('x'), 'fortran_order': 0, 'shape': (1,)}")
    found["endless.npy"] = numpy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9), }")
    found["negative.npy"] = numpy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 5), }")
    found["objects.npy"] = array_bytes(np.array([{}, None], dtype=object))
    found["texts.npy"] = array_bytes(np.array(["a", "b"]))
    found["records.npy"] = array_bytes(np.zeros(3, dtype=[("a", "f4"), ("b", "i4")]))
    found["complex.npy"], found["scalar.npy"] = array_bytes(np.zeros((2, 3), complex)), array_bytes(np.float32(3))
    found["none.npy"], found["nan.npy"] = array_bytes(np.zeros((0, 5))), array_bytes(np.full((2, 5), np.nan))
    found["large.png"] = png_of_size(100_000, 100_000)
    found["long.png"] = png_of_size(1, 10_000_000)
    found["nested.json"], found["list.json"] = b"[" * 50_000, json.dumps([1, "a", None, [1, [2]], {"b": {}}]).encode()
    found["rows.jsonl"] = b'{"a": 1}\n{"a": [1, {"b": 2}]}\nnull\n3\n'
    found["header.csv"], found["quote.csv"], found["wide.csv"] = b"a,b,c\n", b'a,b\n"1,2\n3,4\n', b"a,b\n1,2,3,4\n5\n"
    found["nul.csv"], found["utf16.csv"] = b"a,b\n1,\0\n", "a,b\n1,2\n".encode("utf-16")
    found["same.csv"] = b"a,a\n1,2\n"
    return found


def array_bytes(array):
    """The bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def numpy_header(text):
    """A .npy file with a header of one's own."""
    header = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 64


def packed(members):
    """The bytes of a zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def png_of_size(width, height):
    """A PNG whose header speaks of any size, and that has a little of it."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
