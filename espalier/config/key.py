"""The rule for one key of a config, and the message for a value that breaks it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from espalier.config.suggestions import suggest_value
from espalier.errors import Problem, shorten

REQUIRED = object()


@dataclass(frozen=True)
class Key:
    """The rule for one key.

    Attributes:
        kinds: the types allowed; an int passes for a float.
        default: `REQUIRED` for a key that has none.
        least: the smallest number, as `most` is the largest.
        above: what a number must exceed; and `below` what it must stay under. Where int is among the kinds, an int is
            a count, to which `below` does not apply.
        choices: the only values.
        also: texts that are taken beside the kinds.
        pattern: of a length of time.
        nonempty: whether a text must not be empty.
        item_type: of what a list holds.
        changes_run: whether another value makes another run. A run goes on (`--auto-resume`) with other values of keys
            that only say where and how it is done.
    """

    kinds: tuple[type, ...] = ()
    default: Any = REQUIRED
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[Any, ...] = ()
    also: tuple[str, ...] = ()
    pattern: str | None = None
    nonempty: bool = False
    item_type: type | None = None
    changes_run: bool = True

    def expected(self) -> str:
        """The rule in words."""
        return " or ".join((self._words(), *map(shorten, self.also)))

    def _words(self) -> str:
        if self.choices:
            return f"one of: {', '.join(each if isinstance(each, str) else shorten(each) for each in self.choices)}"
        if self.pattern is not None:
            return 'a time as "hours:minutes:seconds" or "days-hours:minutes:seconds"'
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a section",
                 list: "a list"}  # fmt: skip
        words = " or ".join(names[kind] for kind in self.kinds)
        if self.item_type is not None:
            return f"{words}, each item {names[self.item_type]} that is not empty"
        if self.nonempty:
            return f"{words} that is not empty"
        if self.below is not None and int in self.kinds:
            return f"a share from {self.least} to below {self.below}, or a whole number"
        if self.below is not None:
            return f"{words} from {self.least} to below {self.below}"
        if self.most is not None and self.above is not None:
            return f"{words} above {self.above}, at most {self.most}"
        if self.most is not None:
            return f"{words} from {self.least} to {self.most}"
        if self.above is not None:
            return f"{words} above {self.above}"
        return words if self.least is None else f"{words} of at least {self.least}"

    def accepts(self, value: Any) -> bool:
        """Whether `value` keeps the rule; true and false are no numbers."""
        if isinstance(value, str) and value in self.also:
            return True
        kinds = (*self.kinds, int) if float in self.kinds else self.kinds
        if type(value) not in kinds or (self.choices and value not in self.choices):
            return False
        if isinstance(value, list):
            return self.item_type is None or all(type(each) is self.item_type and each != "" for each in value)
        if isinstance(value, str):
            has_pattern = self.pattern is None or re.fullmatch(self.pattern, value) is not None
            return has_pattern and not (self.nonempty and value == "")
        return isinstance(value, (bool, dict)) or self._is_within(value)

    def _is_within(self, number: float) -> bool:
        is_count = int in self.kinds and type(number) is int
        return (
            math.isfinite(number)
            and (self.below is None or is_count or number < self.below)
            and (self.above is None or number > self.above)
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
        )

    def misfit(self, path: str, value: Any, origin: str | None = None) -> Problem | None:
        """What is wrong with the value at the dotted `path`; None if nothing is. Null stands for the default."""
        if value is None or self.accepts(value):
            return None
        what, got, fix = "has a value that does not fit", shorten(value), suggest_value(value, self)
        return Problem(path, what, origin, got, self.expected(), fix=fix)
