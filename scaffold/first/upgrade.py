"""What an update does to a project of version 0.1 beside the framework and the shared files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from scaffold.first.config_paths import rewritten_config
from scaffold.first.imports import Rewritten, rewritten
from scaffold.first.moves import Moves
from scaffold.framework import EDITS
from scaffold.outcome import Outcome
from scaffold.record import FOLDER, FRAMEWORK, Record
from scaffold.tree import LINK, File, Tree
from scaffold.version import numbers

MOVES = Moves()


@dataclass
class Upgrade:
    """What is done.

    Attributes:
        files: the new content by path; None for a file that goes.
        rows: a word and a place each, with what there is to say of it.
    """

    files: dict[str, bytes | None] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)


def upgrade_project(
    tree: Tree, paths: Iterable[str], old: Record, tests: Mapping[str, bytes], outcome: Outcome
) -> None:
    """Plan it for a project of version 0.1; `paths` are its files, and `tests` those of a new project."""
    if numbers(old.version) >= [0, 2]:
        return
    found = {path: file for path in paths if (file := tree.read(path)) is not None and file.mode != LINK}
    result = upgrade({path: file.data for path, file in found.items()}, old, tests)
    for path, data in result.files.items():
        if data is None:
            tree.remove(path)
        else:
            tree.write(path, replace(found[path], data=data) if path in found else File(data))
    for word, text in result.rows:
        outcome.say(word, text)


def upgrade(files: Mapping[str, bytes], old: Record, tests: Mapping[str, bytes]) -> Upgrade:
    """Plan what is to be done to a project.

    Args:
        files: of the project, as they are when the framework and the shared files are those of today.
        old: what it was made from.
        tests: those that a new project has.
    """
    result = Upgrade()
    _replace_tests(files, old, tests, result)
    for path, data in files.items():
        if path.split("/")[0] in (FRAMEWORK, FOLDER, EDITS) or path in result.files:
            continue
        if (found := _rewritten(path, data)) is not None:
            if found.text != data:
                result.files[path] = found.text
            result.rows += [*_told("rewritten", path, found.changed), *_told("to do", path, found.left)]
    return result


def _rewritten(path: str, data: bytes) -> Rewritten | None:
    if path.endswith(".py"):
        return rewritten(data, path, MOVES)
    if path.endswith(".ipynb"):
        return Rewritten(data, left=[*_told_of_notebook(data)])
    return rewritten_config(data, MOVES) if path.endswith(".json") else None


def _told_of_notebook(data: bytes) -> Iterator[tuple[int, str]]:
    """What is to be written in the cells of a notebook, counted from 1; the file itself is Jupyter's."""
    try:
        cells = json.loads(data)["cells"]
        sources = ["".join(cell["source"]) if cell["cell_type"] == "code" else "" for cell in cells]
    except (ValueError, KeyError, TypeError):
        return
    for number, source in enumerate(sources, 1):
        found = rewritten(source.encode(), "cell.py", MOVES)
        yield from ((number, f"in this cell, write {text}") for _, text in found.changed)
        yield from ((number, text) for _, text in found.left)


def _told(word: str, path: str, lines: list[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    yield from ((word, f"{path}:{line}: {text}") for line, text in lines)


def _replace_tests(files: Mapping[str, bytes], old: Record, tests: Mapping[str, bytes], result: Upgrade) -> None:
    """Take out the framework's own tests, which came along at first, and put in those of a new project."""
    gone = [path for path, data in old.tests.items() if path in files and _plain(files[path]) == _plain(data)]
    result.files |= dict.fromkeys(gone)
    if gone:
        result.rows.append(("removed", f"tests/: {len(gone)} files that test the framework itself"))
    kept = [path for path in old.tests if path in files and path not in gone]
    result.rows += [("kept", f"{path}, which tests the framework: you edited it") for path in kept]
    for path, data in tests.items() if old.tests else ():
        if path not in files or path in gone:
            result.files[path] = data
            result.rows.append(("added", path))


def _plain(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")
