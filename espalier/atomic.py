"""Files that are there whole or not at all, and still there after a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from espalier.limits import try_start

# What file systems say of what they have no way to do: of the network, of the user, on cards.
NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_LARGE = 2**24  # bytes from which on a file is brought to disk while it is written


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file that takes the place of `path` in one step, once all of it is on disk.

    Raises:
        OSError: the disk is full, not writable, or broken; `path` is as it was and nothing else is left behind.
    """
    temporary = _temporary(path)
    with _naming(path):
        try:
            # Never written into: what a killed `link_atomically` left is a second name of a file that must stay.
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file, _Streamed(file) as streamed:
                write(streamed)  # type: ignore[arg-type]
            temporary.replace(path)
        except BaseException:
            _forget(temporary)
            raise
        sync_folder(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Write a text file in one step: a kill or a power cut leaves the old text or the new one."""
    write_atomically(path, lambda file: file.write(text.encode()))


def link_atomically(source: Path, link: Path) -> None:
    """Make `link` a second name of `source`, in one step; where the file system has no hard links, a copy.

    Raises:
        OSError: as for `write_atomically`.
    """
    if link.exists() and link.samefile(source):
        return  # renaming one name of a file onto another would do nothing and leave the temporary name
    temporary = _temporary(link)
    try:
        temporary.unlink(missing_ok=True)
        os.link(source, temporary)
    except OSError:
        with source.open("rb") as original:
            write_atomically(link, lambda file: shutil.copyfileobj(original, file))
        return
    with _naming(link):
        try:
            temporary.replace(link)
        except BaseException:
            _forget(temporary)
            raise
        sync_folder(link.parent)


def sweep_temporary(folder: Path) -> None:
    """Remove what a write that was killed has left in `folder`."""
    for path in folder.glob(".*.tmp"):
        _forget(path)


class _Streamed:
    """A file that is on disk when it is left, and brought there while it is written where it is large.

    The disk then works beside the processor, which makes the bytes: that takes about as long.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, 0
        self._is_written = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        """Append `data`, whose number of bytes is returned."""
        written = self._file.write(data)
        self._size += written
        if self._size >= _LARGE and self._thread is None:
            thread = threading.Thread(target=self._sync_along, daemon=True)
            if try_start(thread):
                self._thread = thread
        return written

    def flush(self) -> None:
        """Hand everything to the system."""
        self._file.flush()

    def _sync_along(self) -> None:
        try:
            while not self._is_written.wait(0.002):
                sync(self._file.fileno())
        except OSError as error:  # told once, to whoever asks first
            self._error = error

    def __enter__(self) -> _Streamed:
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        self._is_written.set()
        if self._thread is not None:
            self._thread.join()
        if kind is not None:
            return
        if self._error is not None:
            raise self._error
        self._file.flush()
        sync(self._file.fileno())


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error of the system say which file it is about."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _temporary(path: Path) -> Path:
    # In the same folder, since a rename across file systems is a copy; always the same name, so that what a killed
    # write left behind is overwritten by the next one.
    return path.with_name(f".{path.name}.tmp")


def _forget(path: Path) -> None:
    with contextlib.suppress(OSError):  # a disk that fails here failed before, and that is what will be told
        path.unlink(missing_ok=True)


def sync(handle: int) -> None:
    """Bring a file or a folder to disk, where its file system can."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        sync(handle)
    finally:
        os.close(handle)
