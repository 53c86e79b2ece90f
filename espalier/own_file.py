"""Files in folders that may have come from strangers: regular ones alone, opened without waiting.

What is written there is a file of our own: never what a link of that name leads to, nor what another name shares.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

from espalier.atomic import write_atomically

MOST_TEXT = 2**26  # bytes of a text file that is read whole
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class NotOwnFileError(OSError):
    """A link, a pipe, a device or a folder where a file of ours should be."""

    def __init__(self, path: str | os.PathLike[str], what: str = "is not a regular file") -> None:
        super().__init__(errno.EINVAL, what, os.fspath(path))


def own_file_opener(path: str, flags: int) -> int:
    """For `open(..., opener=own)`: open a file that is to be written, or made, as a regular one of our own.

    The content of a file that has several names is copied first, so that the others keep what they had.

    Raises:
        NotOwnFileError: it is there, but a link or no regular file.
        OSError: as for `open`.
    """
    handle = _open(path, flags, follow=False)
    if os.fstat(handle).st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
        os.close(handle)
        with Path(path).open("rb") as shared:
            write_atomically(Path(path), lambda file: shutil.copyfileobj(shared, file))
        handle = _open(path, flags, follow=False)
    return handle


def read_regular(path: str | Path, most: int = MOST_TEXT) -> bytes:
    """The bytes of a regular file, or of what a link leads to where that is one.

    Raises:
        NotOwnFileError: it is a pipe, a device or a folder, or has more than `most` bytes.
        OSError: as for `open`.
    """
    with open(_open(path, os.O_RDONLY, follow=True), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise NotOwnFileError(path, f"has {size:,} bytes, more than {most:,}")
        return file.read(size)  # a file of the system may go on for ever, and says that it has none


def _open(path: str | Path, flags: int, *, follow: bool) -> int:
    if not follow and Path(path).is_symlink():  # where there is no O_NOFOLLOW
        raise NotOwnFileError(path, "is a link, not a file of its own")
    try:
        handle = os.open(path, flags | _WITHOUT_WAITING | (0 if follow else _NO_LINK), 0o666)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP, errno.EISDIR):  # a pipe nobody reads, a link, a folder
            raise NotOwnFileError(path) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotOwnFileError(path)
    return handle
