"""Errors for the person at the keyboard: what is wrong, where it was written, and what to do about it."""

from __future__ import annotations

import contextlib
import difflib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from espalier.masking import without_logins

_MOST_ALIKE = 10  # faults of one kind in one section, before the others are only counted
_MOST = 100  # of all kinds
_MOST_NAMES = 10_000  # that one name is compared with


class UserError(ValueError):
    """Something the user can mend. The commands print it without a traceback and exit with `exit_code`.

    One that was raised in a worker of a `DataLoader` has its own message again, without the worker's traceback.
    """

    exit_code = 2

    def __init__(self, *args: object) -> None:
        _, _, text = str(args[0] if args else "").partition("Original Traceback (most recent call last):\n")
        _, is_found, message = text.rpartition(f".{type(self).__name__}: ")
        super().__init__(*((message.strip(),) if is_found else args))


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged, or does not fit."""


class DataError(UserError):
    """Data that is not where the config says, or not what it should be."""


class SampleError(RuntimeError):
    """A dataset failed to load a sample; names dataset, index and cause. Shown with its traceback."""


class RefusedError(UserError):
    """A result that is there and not good enough, such as an exported file that differs from its model."""

    exit_code = 1


class TrainingError(UserError):
    """A run that cannot sensibly go on, such as one whose loss is NaN."""


def printable(text: str) -> str:
    """`text` for a terminal or a log: characters that would steer it, as a file of a stranger may hold, as escapes, and
    addresses without their passwords."""
    text = without_logins(text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it, the first cause last; an error raised again by what it led to comes once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def explain(head: str, origin: str | None = None, **answers: str | None) -> str:
    """The shape of every message: what is wrong, then a line for each question that has an answer."""
    rows = {"from": origin, **answers}
    lines = (f"  {label:<9} {' '.join(text.splitlines())}" for label, text in rows.items() if text is not None)
    return printable("\n".join((" ".join(head.splitlines()), *lines)))


def parts_of_message(error: UserError) -> tuple[str, dict[str, str]]:
    """What is wrong, without its kind, and the answers by their labels, of an error that `explain` has worded."""
    head, *lines = str(error).splitlines()
    pairs = (line.split(maxsplit=1) for line in lines)
    return head.removeprefix("data error: "), {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def with_origin(error: UserError, origin: str) -> str:
    """The message of an error, with where the file was named that it is about; one that says so is left as it is."""
    head, *lines = str(error).splitlines()
    return str(error) if "from" in parts_of_message(error)[1] else "\n".join((explain(head, origin), *lines))


@dataclass(frozen=True)
class Problem:
    """One fault of a config. `path` is dotted; the other fields become one line each, None leaves the line out."""

    path: str
    what: str
    origin: str | None = None
    got: str | None = None
    expected: str | None = None
    closest: str | None = None
    fix: str | None = None

    def __str__(self) -> str:
        head = f"config error: {self.path} {self.what}"
        return explain(head, self.origin, got=self.got, expected=self.expected, closest=self.closest, fix=self.fix)


class ConfigError(UserError):
    """Every fault found in a config, sorted by path.

    Attributes:
        problems: the single faults.
    """

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        found = [problems] if isinstance(problems, Problem) else list(problems)
        self.problems = sorted(found, key=lambda problem: problem.path)
        super().__init__("\n".join(_grouped(self.problems)))


@contextlib.contextmanager
def with_places(origin: Callable[[str], str | None] | None) -> Iterator[None]:
    """Let faults of a config say where it was written what they are about, if they do not.

    Args:
        origin: tells where the value at a dotted path was written; None: nobody knows.
    """
    try:
        yield
    except ConfigError as error:
        if origin is None or all(each.origin is not None for each in error.problems):
            raise
        located = (replace(each, origin=each.origin or origin(each.path)) for each in error.problems)
        raise ConfigError(located) from error.__cause__


def _grouped(problems: list[Problem]) -> Iterator[str]:
    """The messages, but of very many of one kind in one section only the first."""
    seen: dict[tuple[str, str], int] = {}
    shown: list[Problem] = []
    for problem in problems:
        section, dot, _ = problem.path.partition(".")
        kind = section if dot else "", problem.what
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= _MOST_ALIKE:
            shown.append(problem)
    yield from map(str, shown[:_MOST])
    if len(shown) > _MOST:
        yield f"config error: and {len(shown) - _MOST:,} more, of other kinds"
    for (section, what), number in seen.items():
        if number > _MOST_ALIKE:
            yield f"config error: and {number - _MOST_ALIKE:,} more under {section or 'the top'}, of which each {what}"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or its abbreviation (`lr` for `learning_rate`); None when nothing is near."""
    names = list(islice(known, _MOST_NAMES))
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    found += [name for name in names if "_" in word + name and _initials(word) == _initials(name)]
    return found[0] if found else None


def _initials(name: str) -> str:
    return "".join(part[:1] for part in name.split("_")) if "_" in name else name


def shorten(value: Any, width: int = 80) -> str:
    """`value` as JSON text for a message, cut to `width` characters."""
    try:
        text = json.dumps(value, default=repr)
    except (TypeError, ValueError):  # keys that JSON does not have, out of a checkpoint
        text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."


def first_of(names: Sequence[str], most: int = 5, *, quoted: bool = True) -> str:
    """The first few of many names for a message, as JSON text, and how many more there are."""
    shown = json.dumps(list(names[:most]), ensure_ascii=False) if quoted else ", ".join(names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")


def counted(number: int, noun: str) -> str:
    """`1 batch`, `1,200 batches`: a number and what is counted, for a message.

    Args:
        noun: its singular.
    """
    if number == 1:
        return f"1 {noun}"
    if noun.endswith(("s", "x", "tch")):
        return f"{number:,} {noun}es"
    return f"{number:,} {noun[:-1]}ies" if noun.endswith("ry") else f"{number:,} {noun}s"


def are(number: int) -> str:
    """The verb for what `counted` has worded."""
    return "is" if number == 1 else "are"


def all_done(number: int, noun: str) -> str:
    """That a run has done what it was told: `all 24 epochs are done`."""
    return f"{'the' if number == 1 else 'all'} {counted(number, noun)} {are(number)} done"


def megabytes(num_bytes: float) -> str:
    """A size for a message."""
    return f"{num_bytes / 1e6:,.1f} MB"


def python_command() -> str:
    """The interpreter that runs, as one would type it here: `.venv/bin/python` where the environment is not active."""
    running = Path(sys.executable)
    with contextlib.suppress(OSError, ValueError):  # no current folder any more, or another one
        return str(running.relative_to(Path.cwd()))
    return "python"
