"""What one key of a config may hold, and how a value that does not fit is told."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from espalier.config.suggestions import nearest_fit
from espalier.errors import Problem, shorten

REQUIRED = object()


@dataclass(frozen=True)
class Key:
    """What one key may hold.

    `kinds` are the types allowed (an int passes for a float), `least` and `most` the bounds of a number, `above` and
    `below` what it must not reach (with int among the kinds an int is a count, and `below` is not for it), `among`
    the only values, `form` the pattern of a length of time, `filled` whether a text must not be empty, `items` the type
    of what a list holds. `shapes`: whether another value makes another run; a run goes on (`--auto-resume`) with other
    values of what only says where and how it is done.
    """

    kinds: tuple[type, ...] = ()
    default: Any = REQUIRED
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    among: tuple[Any, ...] = ()
    form: str | None = None
    filled: bool = False
    items: type | None = None
    shapes: bool = True

    def expected(self) -> str:
        """The rule in words."""
        if self.among:
            return f"one of: {', '.join(each if isinstance(each, str) else shorten(each) for each in self.among)}"
        if self.form is not None:
            return 'a time as "hours:minutes:seconds" or "days-hours:minutes:seconds"'
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a section",
                 list: "a list"}  # fmt: skip
        words = " or ".join(names[kind] for kind in self.kinds)
        if self.items is not None:
            return f"{words}, each item {names[self.items]} that is not empty"
        if self.filled:
            return f"{words} that is not empty"
        if self.below is not None and int in self.kinds:
            return f"a share from {self.least} to below {self.below}, or a whole number"
        if self.below is not None:
            return f"{words} from {self.least} to below {self.below}"
        if self.most is not None:
            return f"{words} from {self.least} to {self.most}"
        if self.above is not None:
            return f"{words} above {self.above}"
        return words if self.least is None else f"{words} of at least {self.least}"

    def accepts(self, value: Any) -> bool:
        """Whether `value` keeps the rule; true and false are no numbers."""
        kinds = (*self.kinds, int) if float in self.kinds else self.kinds
        if type(value) not in kinds or (self.among and value not in self.among):
            return False
        if isinstance(value, list):
            return self.items is None or all(type(each) is self.items and each != "" for each in value)
        if isinstance(value, str):
            return not (self.filled and value == "") and (self.form is None or bool(re.fullmatch(self.form, value)))
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
        what, got, fix = "has a value that does not fit", shorten(value), nearest_fit(value, self)
        return Problem(path, what, origin, got, self.expected(), fix=fix)
