"""Arrays in the form of the MNIST files."""

import numpy as np
import pytest

from espalier.data.idx_file import read_idx
from espalier.errors import DataError

HEADER = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3])


def test_read_idx_gives_the_array(tmp_path):
    """Two rows of three bytes."""
    (tmp_path / "file").write_bytes(HEADER + bytes(range(6)))
    assert np.array_equal(read_idx(tmp_path / "file"), [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    "content",
    [b"", HEADER[:2], HEADER[:7], HEADER, HEADER + bytes(5), HEADER + bytes(7), b"\x1f\x8b" + HEADER + bytes(6),
     bytes([0, 0, 13]) + HEADER[3:] + bytes(24), bytes([0, 0, 8, 0])],
    ids=["empty", "no type", "no sizes", "no values", "cut short", "too long", "gzip", "floats", "no dimension"],
)  # fmt: skip
def test_read_idx_of_another_file_is_refused(tmp_path, content):
    """Whatever stands there, it is no traceback of NumPy."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match="file is no IDX file of bytes, or cut short\n  fix"):
        read_idx(tmp_path / "file")
