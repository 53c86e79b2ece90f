"""How much work the pickle in a checkpoint would make, found out step by step before torch carries them out.

None of the steps that torch's safe loader knows runs code, but some make much out of little.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, BinaryIO

MOST_NESTED = 220  # levels of dicts and lists; a config may have 200, and whoever walks through them calls itself
MOST_VALUES = 1_000_000  # that shared values may come to, counted each time they are met,
TIMES = 10  # beside this many times what the file holds once

# What a pickle of tensors and plain values names, as `module name`; others that torch allows ask for memory at will.
_NAME = re.compile(
    r"collections (OrderedDict|Counter)|torch\._utils _rebuild_(tensor(_v2|_v3)?|parameter(_with_state)?|sparse_tensor|"
    r"qtensor)|torch\._tensor _rebuild_from_type_v2|torch\.nn\.parameter (Parameter|Buffer)|"
    r"torch\.serialization _get_layout|torch(\.cuda|\.storage)? \w+Storage|torch (Size|Tensor|[a-z]\w*)|_codecs encode|"
    r"builtins complex"
)


class TooMuchError(ValueError):
    """A file that would take far more memory or time than its size accounts for."""


class ForeignNameError(ValueError):
    """A pickle that names something that is neither a tensor nor a plain value.

    Attributes:
        name: what it names, dotted.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"GLOBAL {name} was not expected")
        self.name = name


class _Value:
    """What is known of a value before it is there.

    Attributes:
        length: how many items or characters it has, so far.
        items: those of a tuple.
        total: how many values a tuple has with all inside, which each look-up as a key goes through; and `levels`.
    """

    __slots__ = ("items", "length", "levels", "total")

    def __init__(self, length: int = 0, items: Sequence[_Value] = ()) -> None:
        self.length, self.items, self.total, self.levels = length, items, 1, 1
        for each in items:
            self.total += each.total
            self.levels = max(self.levels, each.levels + 1)

    @property
    def length_inside(self) -> int:
        """Its length, and that of each item of a tuple."""
        return self.length + sum(each.length for each in self.items)


_PLAIN, _LARGE_NUMBER = _Value(), _Value()  # numbers and the like, of which nothing need be known


def check_pickle(pickle: BinaryIO | bytes, names: Collection[str] = ()) -> None:
    """Make sure that a pickle holds tensors and plain values, and copies or compares them about once.

    Goes through its steps as torch's safe loader does, with a `_Value` in place of each value.

    Args:
        pickle: the bytes, or a file that stands at its beginning, and stands at its end then.
        names: what else it may name, dotted.

    Raises:
        ForeignNameError: it names something else.
        TooMuchError: it copies one value again and again, or has keys that take long to compare.
        ValueError, IndexError, KeyError: it is damaged.
    """
    stack, memo = _Stack(), dict[Any, _Value]()
    copied = taken = 0  # items and characters handed to what copies them; steps, and characters in the file
    steps: Iterable[tuple[Any, Any, Any]] = pickletools.genops(pickle)
    for step, argument, _ in steps:
        taken += 1
        match step.name:
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack.top
            case "BINGET" | "LONG_BINGET":
                stack.push(memo[argument])
            case "BINUNICODE" | "SHORT_BINSTRING":
                taken += len(argument)
                stack.push(_Value(len(argument)))
            case "MARK":
                stack.mark()
            case "TUPLE":
                stack.push(_tuple(stack.pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.push(_tuple(stack.pop(int(step.name[-1]))))
            case "REDUCE" | "NEWOBJ":  # a function or class, and its arguments
                length = stack.pop(2)[1].length_inside
                copied += length
                stack.push(_Value(length))
            case "BUILD":  # the state of the object below
                copied += stack.pop(1)[0].length_inside
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                stack.push(_Value())
            case "APPEND":
                stack.fill(stack.pop(1))
            case "APPENDS":
                stack.fill(stack.pop_to_mark())
            case "SETITEM":
                stack.fill(_with_keys(stack.pop(2)))
            case "SETITEMS":
                stack.fill(_with_keys(stack.pop_to_mark()))
            case "GLOBAL":
                _check_name(argument, names)
                stack.push(_PLAIN)
            case "BINPERSID":  # a storage, by a tuple that tells its kind, key and size
                stack.pop(1)
                stack.push(_PLAIN)
            case "LONG1":
                stack.push(_LARGE_NUMBER if argument.bit_length() > 64 else _PLAIN)
            case "PROTO" | "STOP":
                pass
            case _:  # a number, None or a bool; torch refuses all other steps
                stack.push(_PLAIN)
    if copied > MOST_VALUES + TIMES * taken:
        raise TooMuchError(f"it copies {copied:,} values, of which it holds fewer than {taken:,}")


class _Stack:
    """The values that the next steps work on."""

    def __init__(self) -> None:
        self._values: list[_Value] = []
        self._below: list[list[_Value]] = []  # the values under each open mark

    @property
    def top(self) -> _Value:
        return self._values[-1]

    def push(self, value: _Value) -> None:
        self._values.append(value)

    def pop(self, number: int) -> list[_Value]:
        if len(self._values) < number:
            raise IndexError("a step of the pickle has no values to work on")
        items = self._values[-number:]
        del self._values[-number:]
        return items

    def mark(self) -> None:
        self._below.append(self._values)
        self._values = []

    def pop_to_mark(self) -> list[_Value]:
        items, self._values = self._values, self._below.pop()
        return items

    def fill(self, items: Sequence[_Value]) -> None:
        """Put items into the container on top."""
        if self.top is not _PLAIN:
            self.top.length += len(items)


def _tuple(items: Sequence[_Value]) -> _Value:
    made = _Value(len(items), items)
    if made.total > MOST_VALUES or made.levels > MOST_NESTED:
        raise TooMuchError("tuples are nested in each other again and again")
    return made


def _with_keys(items: Sequence[_Value]) -> Sequence[_Value]:
    """Keys and values in turns, after a look at the keys."""
    if any(key is _LARGE_NUMBER for key in items[::2]):  # which may all look alike to a dict
        raise TooMuchError("numbers of more than 64 bits are keys")
    return items


def _check_name(argument: str, names: Collection[str]) -> None:
    name = argument.replace("__builtin__ ", "builtins ")
    if _NAME.fullmatch(name) is None and name.replace(" ", ".") not in names:
        raise ForeignNameError(name.replace(" ", "."))
