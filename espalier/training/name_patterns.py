"""Patterns of the names of weights and modules, as a config has them."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from espalier.errors import ConfigError, Problem, closest, first_of, shorten


def is_match(name: str, pattern: str) -> bool:
    """Whether a pattern is of this name, or of a module around it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def matching(names: list[str], pattern: str, path: str) -> list[str]:
    """The names that match the pattern at a dotted path of the config.

    Raises:
        ConfigError: none does.
    """
    found = [name for name in names if is_match(name, pattern)]
    if not found:
        expected = f"a pattern for some of: {first_of(names)}"
        end = ".*" if pattern.endswith(".*") else ""
        modules = dict.fromkeys(start[:-1] for name in names for start in starts(name)[1:])
        known = [*(f"{module}{end}" for module in modules), *names]
        raise ConfigError(Problem(path, "matches nothing", None, shorten(pattern), expected, closest(pattern, known)))
    return found


def starts(name: str) -> list[str]:
    """What may stand before an end of a dotted name, the shortest first: for `a.b.c` nothing, `a.` and `a.b.`."""
    return ["", *_ends(name)]


def _ends(name: str) -> Iterator[str]:
    return (name[: at + 1] for at, each in enumerate(name) if each == ".")
