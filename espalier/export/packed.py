"""Several files as one folder or one zip, whole or not at all, and the same bytes for the same files."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from espalier.atomic import sync, sync_folder, write_atomically
from espalier.errors import UserError, explain
from espalier.inference.bundle_files import ABOUT, CARD, SUMS

Files = Mapping[str, bytes | Path]  # by names, which may have folders in them
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # of what a zip can tell


def sums_of(files: Files) -> bytes:
    """The lines of `SHA256SUMS`, sorted by name, which `sha256sum -c` reads, too. People may edit the card."""
    return "".join(f"{_sum_of(files[name])}  {name}\n" for name in sorted(files) if name != CARD).encode()


def write_packed(path: Path, files: Files, name: str, *, overwrite: bool = False) -> None:
    """Write files with their checksums: into a zip where `path` ends so, else into a new folder.

    Args:
        name: the folder within a zip.
        overwrite: whether they may take the place of what was written so before.

    Raises:
        UserError: there is something already, or no folder for it.
        OSError: the disk is full, or not writable; nothing is left behind.
    """
    check_free(path, overwrite=overwrite)
    whole = {**files, SUMS: sums_of(files)}
    if path.suffix == ".zip":
        write_atomically(path, lambda file: _write_zip(file, whole, name))
    else:
        _write_folder(path, whole)


def check_free(path: Path, *, overwrite: bool = False) -> None:
    """Make sure that a folder or a zip can be written.

    Raises:
        UserError: there is something that is not to be replaced, or no folder for it.
    """
    if not path.parent.is_dir():
        raise UserError(explain(f"export error: there is no folder {path.parent}", fix=f"mkdir -p {path.parent}"))
    if not os.path.lexists(path):
        return
    is_zip = path.suffix == ".zip"
    is_ours = path.is_file() if is_zip else (path / ABOUT).is_file() and (path / SUMS).is_file()
    if is_zip and path.is_dir():
        raise UserError(explain(f"export error: {path} is a folder", fix="name another file"))
    if not is_ours and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(explain(f"export error: {path} is there, and no bundle", fix="name a new folder"))
    if is_ours and not overwrite:
        raise UserError(explain(f"export error: {path} is there already", fix="--overwrite, or name another"))


def _write_zip(file: BinaryIO, files: Files, name: str) -> None:
    """Stored, not compressed: weights hardly shrink, and other versions of zlib would give other bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for each in sorted(files):
            info = zipfile.ZipInfo(f"{name}/{each}", _FIRST_DAY)
            info.external_attr, info.create_system = 0o644 << 16, 3
            info.file_size = _size_of(files[each])  # from 2 GB on a zip says so ahead
            with archive.open(info, "w") as part:
                for piece in _pieces(files[each]):
                    part.write(piece)


def _write_folder(path: Path, files: Files) -> None:
    beside = path.with_name(f".{path.name}.tmp")
    aside = path.with_name(f".{path.name}.old")
    for each in (beside, aside):
        shutil.rmtree(each, ignore_errors=True)
    try:
        beside.mkdir()
        for name, content in files.items():
            target = beside / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for piece in _pieces(content):
                    file.write(piece)
                file.flush()
                sync(file.fileno())
        sync_folder(beside)
        if path.exists():
            path.replace(aside)
        beside.replace(path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        if aside.exists() and not path.exists():
            aside.replace(path)
        raise
    sync_folder(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _size_of(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _sum_of(content: bytes | Path) -> str:
    found = hashlib.sha256()
    for piece in _pieces(content):
        found.update(piece)
    return found.hexdigest()


def _pieces(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while piece := file.read(2**20):
            yield piece
