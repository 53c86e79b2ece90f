"""The files of a bundle: one folder, or one zip, whose bytes are compared with their checksums before they are used."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from espalier.checkpoints.run_folder import BUNDLE_NAME
from espalier.checkpoints.wrong_file import is_about_bundle
from espalier.errors import UserError, explain, shorten

ABOUT, SUMS, CARD = BUNDLE_NAME, "SHA256SUMS", "README.md"
CONFIG, METRICS = "config.json", "metrics.json"
MODELS = {"onnx": "model.onnx", "torch_export": "model.pt2", "safetensors": "model.safetensors"}
FORMAT = 1  # of bundle.json; a newer one is refused
_LINE = re.compile(r"([0-9a-f]{64})  (\.?[A-Za-z0-9_][A-Za-z0-9_.-]{0,99})")
_MOST_TEXT = 100_000_000  # bytes, of a file that is read as text
_MOST_FILES = 1000
_MOST_GROWTH = 1100  # zlib makes at most 1032 bytes of one
_AGAIN = "download or copy it again"


class BundleError(UserError):
    """A bundle that is missing, damaged, or of a kind that is not known here."""


def is_bundle(path: Path) -> bool:
    """Whether a path leads to a bundle: a folder, or a zip, that has a `bundle.json`, intact or not."""
    if path.is_dir():
        return (path / ABOUT).is_file()
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(map(is_about_bundle, archive.namelist()))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return path.suffix == ".zip"


class BundleFiles:
    """A bundle on disk, opened to be read; every file in it but its card has the checksum that is noted.

    Attributes:
        about: what `bundle.json` says.
        names: of the files.

    Raises:
        BundleError: it is missing, damaged, of another format, or no bundle.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise BundleError(explain(f"bundle error: there is no {path}"))
        if path.is_dir() and not any((path / name).exists() for name in (ABOUT, SUMS)):
            fix = "a run is loaded by load_model of predict.py, in its project"
            raise BundleError(explain(f"bundle error: {path} is no bundle", expected=f"a folder with {ABOUT}", fix=fix))
        self._archive = None if path.is_dir() else _opened(path)
        self._root = "" if self._archive is None else _root_of(self._archive, path)
        self._sums = self._read_sums()
        self.names = tuple(self._sums)
        for name in self.names:
            self._compare(name)
        self.about = self._read_about()

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            BundleError: it is not there, or not as its checksum says.
        """
        with self._open(name) as file:
            content = file.read()
        if name in self._sums and hashlib.sha256(content).hexdigest() != self._sums[name]:
            raise self._error(f"{name} is not as it was written")
        return content

    def read_json(self, name: str) -> dict[str, Any]:
        """A file of the bundle that holds a JSON object.

        Raises:
            BundleError: it holds something else.
        """
        content = self.read(name)
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._error(f"{name} is no JSON", got=str(error)) from error
        if not isinstance(found, dict):
            raise self._error(f"{name} holds no object", got=shorten(found))
        return found

    def _read_sums(self) -> dict[str, str]:
        lines = self._text(SUMS).split("\n")
        found = [_LINE.fullmatch(line) for line in lines[:-1]]
        if lines[-1] or not all(found) or len(found) > _MOST_FILES:
            wrong = next((line for line, each in zip(lines, found, strict=False) if each is None), lines[-1])
            raise self._error(f"{SUMS} is damaged", got=shorten(wrong), expected="lines of a checksum and a name")
        sums = {each[2]: each[1] for each in found if each is not None}
        if ABOUT not in sums:
            raise self._error(f"{SUMS} does not name {ABOUT}", got=", ".join(sums) or "an empty file")
        return sums

    def _text(self, name: str) -> str:
        with self._open(name) as file:
            content = file.read(_MOST_TEXT + 1)
        try:
            return content[:_MOST_TEXT].decode("ascii")
        except UnicodeDecodeError as error:
            raise self._error(f"{name} is damaged", got=str(error)) from error

    def _compare(self, name: str) -> None:
        """Compare the bytes of a file with its checksum."""
        found = hashlib.sha256()
        with self._open(name) as file:
            for piece in _pieces(file):
                found.update(piece)
        if found.hexdigest() != self._sums[name]:
            raise self._error(f"{name} is damaged: it has another checksum than in {SUMS}", got=found.hexdigest(),
                              expected=self._sums[name])  # fmt: skip

    def _read_about(self) -> dict[str, Any]:
        about = self.read_json(ABOUT)
        version = about.get("format")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise self._error(f"{ABOUT} names no format", got=shorten(version), expected=f'"format": {FORMAT}')
        if version > FORMAT:
            raise self._error("it is of a newer format than this version of espalier reads", got=str(version),
                              expected=f"at most {FORMAT}", fix="update espalier, or make the bundle anew")  # fmt: skip
        return about

    def _open(self, name: str) -> _Reading:
        if self._archive is not None:
            return _Reading(self, name, lambda archive=self._archive: archive.open(self._root + name))
        path = self.path / name
        if path.is_symlink() and self.path.resolve() not in path.resolve().parents:
            raise self._error(f"{name} is a link that leads out of it", got=str(path.resolve()))
        if not path.is_file():
            raise self._error(f"{name} is missing", fix=_AGAIN)
        return _Reading(self, name, lambda: path.open("rb"))

    def _error(self, what: str, **answers: str | None) -> BundleError:
        return BundleError(
            explain(f"bundle error: {self.path}: {what}", **{**answers, "fix": answers.get("fix", _AGAIN)})
        )


class _Reading:
    """One file of a bundle while it is read; errors of the disk and of a damaged zip are worded."""

    def __init__(self, bundle: BundleFiles, name: str, start: Any) -> None:
        self._bundle, self._name, self._start = bundle, name, start

    def __enter__(self) -> _Reading:
        self._file: IO[bytes] = self._try(self._start)
        return self

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or all that are left."""
        content: bytes = self._try(lambda: self._file.read(size))
        return content

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _try(self, do: Any) -> Any:
        try:
            return do()
        except KeyError as error:
            raise self._bundle._error(f"{self._name} is missing") from error
        except MemoryError:
            raise
        except Exception as error:  # zipfile and zlib raise nearly everything, depending on which byte is wrong
            got = getattr(error, "strerror", None) or str(error)
            raise self._bundle._error(f"{self._name} cannot be read", got=got) from error


def _pieces(file: _Reading) -> Iterator[bytes]:
    while piece := file.read(2**20):
        yield piece


def _opened(path: Path) -> zipfile.ZipFile:
    """A zip that may be read: not larger than its size accounts for."""
    try:
        archive = zipfile.ZipFile(path)
        parts = archive.infolist()
    except Exception as error:  # zipfile raises nearly everything, depending on which byte is wrong
        head = f"bundle error: {path} is no zip file, or cut short"
        raise BundleError(explain(head, got=str(error) or repr(error), fix=_AGAIN)) from error
    largest = path.stat().st_size * _MOST_GROWTH
    if len(parts) > _MOST_FILES or sum(each.file_size for each in parts) > largest:
        head = f"bundle error: {path} would take far more memory than its size says"
        raise BundleError(explain(head, got=f"{len(parts):,} files of {sum(each.file_size for each in parts):,} bytes"))
    return archive


def _root_of(archive: zipfile.ZipFile, path: Path) -> str:
    """The folder in a zip in which the bundle is, with its slash; no name in the zip leads out of it."""
    names = archive.namelist()
    for name in names:
        if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            head = f"bundle error: {path} holds a file that would be written outside of its folder"
            raise BundleError(explain(head, got=name, fix="do not unpack it, and ask whoever made it"))
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BundleError(explain(f"bundle error: {path} holds a file twice", got=twice))
    roots = [name.removesuffix(ABOUT) for name in names if is_about_bundle(name)]
    if len(roots) != 1:
        head = f"bundle error: {path} is no bundle"
        raise BundleError(explain(head, got=shorten(names[:10]), expected=f"a zip with one {ABOUT}"))
    return roots[0]
