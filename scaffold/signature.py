"""VERSION and MANIFEST of `espalier/` in a project: what a later version compares it with."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path


def signature(files: Mapping[str, bytes], version: str) -> dict[str, bytes]:
    """VERSION and MANIFEST of a folder with these files: the SHA-256 of each, as `sha256sum --check` reads it."""
    signed = {**files, "VERSION": f"{version}\n".encode()}
    hashes = [f"{sha256(data).hexdigest()}  {name}\n" for name, data in sorted(signed.items())]
    return {"VERSION": signed["VERSION"], "MANIFEST": "".join(hashes).encode()}


def sign(folder: Path, version: str) -> None:
    """Write version and MANIFEST into a folder."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name, data in signature(files, version).items():
        (folder / name).write_bytes(data)
