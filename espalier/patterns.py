"""Patterns of names in a model; of one that fits none, which names there are and what was probably meant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import islice
from typing import NamedTuple

from espalier.errors import ConfigError, Problem, closest, first_of, shorten

_MOST = 8  # names in one message
_MOST_COMPARED = 10_000
_SHORTEST = 3  # letters of what is held to be misspelt
Matches = Callable[[str, str], bool]  # a name, a pattern


class Meant(NamedTuple):
    """What was probably meant by a pattern: answers of a `Problem`."""

    closest: str | None
    fix: str | None


def is_match(name: str, pattern: str) -> bool:
    """Whether a pattern of the `arch` section means a name: itself, or as that of a part that it is inside of."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def meant_names(names: Collection[str], pattern: str) -> list[str]:
    """The names that a pattern of an optimizer means: those it fits or, where there are none, what is inside of it.

    `fc` is then all of `fc.*`, as in `arch`; but `*.weight` is no module, where a parameter is called so.
    """
    return [each for each in names if fnmatchcase(each, pattern)] or [each for each in names if is_match(each, pattern)]


def matching(names: Iterable[str], pattern: str, path: str) -> list[str]:
    """Those of `names` that a pattern means; `path` is where it stands in the config.

    Raises:
        ConfigError: none.
    """
    known = [*names]
    found = [name for name in known if is_match(name, pattern)]
    if not found:
        expected, meant = f"a pattern for some of: {parts_of(known)}", meant_by(pattern, known, is_match)
        raise ConfigError(Problem(path, "matches nothing", None, shorten(pattern), expected, *meant))
    return found


def starts(name: str) -> list[str]:
    """What may stand before an end of a dotted name, the shortest first: for `a.b.c` nothing, `a.` and `a.b.`."""
    return ["", *(name[: at + 1] for at, each in enumerate(name) if each == ".")]


def parts_of(names: Collection[str]) -> str:
    """Names for a message or, of many, the parts of the model that they are in: `layer1.*` for what is inside of it."""
    if len(names) <= _MOST:
        return ", ".join(names)
    depth, deepest = 1, max(name.count(".") for name in names)
    while len(parts := _parts(names, depth)) == 1 and depth <= deepest:  # inside of a wrapper
        depth += 1
    return first_of(parts, _MOST, quoted=False)


def meant_by(pattern: str, names: Collection[str], fits: Matches = fnmatchcase) -> Meant:
    """The pattern that fits where `pattern` does not: with `*.` before it or `.*` behind it, and spelt as names are."""
    for each in _variants(pattern, names):
        if any(fits(name, each) for name in names):
            return Meant(each, f'write "{each}"')
    return Meant(closest(pattern, names), None)


def _parts(names: Collection[str], depth: int) -> list[str]:
    """The names that are no deeper; of each part that goes deeper its name and a star."""
    found = dict.fromkeys(name if name.count(".") < depth else ".".join([*name.split(".")[:depth], "*"])
                          for name in names)  # fmt: skip
    return [each for each in found if f"{each}.*" not in found]  # of modules both may be there


def _variants(pattern: str, names: Collection[str]) -> Iterator[str]:
    words = [*dict.fromkeys(word for name in islice(names, _MOST_COMPARED) for word in name.split("."))]
    spelt = ".".join(_spelt(each, words) for each in pattern.split("."))
    for each in dict.fromkeys((pattern, spelt)):
        yield from (each, f"{each}.*", f"*.{each}", f"*.{each}.*")


def _spelt(word: str, words: list[str]) -> str:
    """A part of a pattern as it is spelt in the names, its stars apart."""
    bare = word.strip("*")
    if word in words or len(bare) < _SHORTEST:
        return word
    near = closest(bare, words)
    return word if near is None else word.replace(bare, near)
