"""What a request may hold, by how the inputs of the model are prepared."""

from __future__ import annotations

from pathlib import PurePath

from espalier.preprocessing.contract import Preprocessing
from espalier.preprocessing.functions import Function
from espalier.preprocessing.rows import Rows
from espalier.preprocessing.texts import Texts
from espalier.preprocessing.windows import LastRows
from espalier.serving.parts import Part

IMAGE, JSON, LINES, CSV, NPY, FILE = "image", "json", "lines", "csv", "npy", "file"
MEDIA_TYPES = {
    IMAGE: ("image/*",),
    JSON: ("application/json",),
    LINES: ("text/plain",),
    CSV: ("text/csv", "text/tab-separated-values"),
    NPY: ("application/x-npy", "application/octet-stream"),
    FILE: (),  # as a file of a form: its name says what it is
}
_FILES = {IMAGE: "an image", JSON: ".json", LINES: ".txt", CSV: ".csv or .tsv", NPY: ".npy", FILE: "any"}
_SUFFIXES = {".json": JSON, ".txt": LINES, ".csv": CSV, ".tsv": CSV, ".npy": NPY}


def formats_of(preprocessing: Preprocessing) -> tuple[str, ...]:
    """The formats that a model takes, the most usual first."""
    if preprocessing.takes_images:
        return IMAGE, NPY, JSON
    if isinstance(preprocessing, Texts):
        return LINES, CSV, JSON
    if isinstance(preprocessing, Rows):
        return CSV, JSON
    if isinstance(preprocessing, LastRows):
        return CSV, NPY, JSON
    return (FILE, JSON) if isinstance(preprocessing, Function) else (NPY, JSON)


def media_types_of(formats: tuple[str, ...]) -> list[str]:
    """The media types of a whole body."""
    return ["multipart/form-data", *(each for form in formats for each in MEDIA_TYPES[form])]


def files_of(formats: tuple[str, ...]) -> str:
    """What a file of a form may be, in words."""
    return ", or ".join(_FILES[form] for form in formats)


def format_of(part: Part, taken: tuple[str, ...]) -> str | None:
    """The format of a part, one of those that are taken, or None.

    That of a file is told by its name first: what a browser says of a table, or of an array, is often something else.
    """
    by_type = next((form for form, types in MEDIA_TYPES.items()
                    if part.media_type in types or (form == IMAGE and part.media_type.startswith("image/"))),
                   None)  # fmt: skip
    if part.name is None:
        return by_type if by_type in taken else None
    by_name = _SUFFIXES.get(PurePath(part.name).suffix.lower())
    if by_name in taken:
        return by_name
    if FILE in taken:
        return FILE
    if part.content.startswith(b"\x93NUMPY"):
        return NPY if NPY in taken else None
    if by_name is not None:
        return None
    if IMAGE in taken and (by_type in (IMAGE, NPY) or not part.media_type):
        return IMAGE
    return by_type if by_type in taken else None
