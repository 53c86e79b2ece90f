"""Read a config file, and the files that it `extends`."""

from __future__ import annotations

import codecs
import contextlib
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from espalier.config.json_text import parse_json
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError, Problem, closest, shorten
from espalier.own_file import NotOwnFileError, read_regular

_MOST_FILES = 1000  # that one config is made of
_SAVE_AS = "save it as UTF-8: editors ask for the encoding under Save as"


def load_config(path: str | Path) -> ConfigTree:
    """Read a config file and the files it `extends` (paths relative to it; later ones win, its own keys last).

    Raises:
        ConfigError: no such file, a syntax error (with line and column), a repeated key, files that extend each other
            or are very many.
    """
    return _load(Path(path), (), None, count(1))


def _load(path: Path, seen: tuple[Path, ...], origin: str | None, reads: Iterator[int]) -> ConfigTree:
    if next(reads) > _MOST_FILES:  # two files that each extend two, and so on, are soon many
        raise ConfigError(Problem("extends", f"leads to more than {_MOST_FILES:,} files", origin))
    text = read_text(path, origin)
    if path.resolve() in seen:
        chain = " -> ".join(p.name for p in (*seen, path))
        raise ConfigError(Problem("extends", f"goes round in a circle: {chain}", origin=str(path)))
    own = parse_json(text, str(path))
    from_here = own.origin(("extends",))
    bases = own.values.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        expected = "a file name, or a list of file names"
        raise ConfigError(Problem("extends", "has a value that does not fit", from_here, shorten(bases),
                                  expected))  # fmt: skip
    tree = ConfigTree({})
    for base in bases:
        tree.merge(_load(Path(os.path.normpath(path.parent / base)), (*seen, path.resolve()), from_here, reads))
    tree.merge(own)
    return tree


def read_text(path: Path, origin: str | None = None) -> str:
    """The text of a config file.

    Raises:
        ConfigError: there is no such file, or it is no UTF-8 text; names the nearest file of that folder.
    """
    try:
        # some editors on Windows begin a file with a mark, and end its lines otherwise
        text = read_regular(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        head: bytes = error.object[:2]
        line = error.object[: error.start].count(b"\n") + 1
        is_wide = head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in head
        what = "is UTF-16 text" if is_wide else f"is not UTF-8 text: {error.reason} at byte {error.start}, line {line}"
        raise ConfigError(Problem(str(path), what, origin, fix=_SAVE_AS)) from error
    except (OSError, ValueError) as error:  # not there, a folder, not readable, or a name that no file system takes
        is_special = isinstance(error, NotOwnFileError) and not path.is_dir()
        what = str(getattr(error, "strerror", "")) if is_special else "is not a file"
        fix = "give the path of a JSON config, such as config.json"
        with contextlib.suppress(OSError, ValueError):
            near = closest(path.stem, (each.stem for each in path.parent.glob("*.json") if each.name != path.name))
            fix = fix if near is None else f"did you mean {path.parent / near}.json?"
        raise ConfigError(Problem(str(path), what, origin, fix=fix)) from None
    if text[1:2] == "\0" or text[:1] == "\0":  # each second byte of plain letters
        raise ConfigError(Problem(str(path), "is UTF-16 text", origin, fix=_SAVE_AS))
    return text
