"""Arrays of bytes in the IDX form of the MNIST files."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from espalier.errors import DataError, explain


def read_idx(path: str | Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The array in an IDX file of unsigned bytes. Source of the form: http://yann.lecun.com/exdb/mnist

    Raises:
        DataError: the file has another form, or is cut short.
    """
    content = np.fromfile(path, np.uint8)
    num_dims = int(content[3]) if len(content) > 3 and content[:3].tolist() == [0, 0, 8] else 0
    begin = 4 + 4 * num_dims  # two zeros, the type, the number of dimensions; then the size of each, in 4 bytes
    shape = tuple(content[4:begin].view(">i4").tolist()) if num_dims and len(content) >= begin else (-1,)
    if len(content) - begin != prod(shape):
        raise DataError(
            explain(
                f"data error: {path} is no IDX file of bytes, or cut short",
                fix="delete it, so that it is downloaded again",
            )
        )
    return content[begin:].reshape(shape)
