"""The shapes that saved states have, so that a damaged or foreign state is refused before it is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any, NamedTuple

import torch

from espalier.errors import CheckpointError, explain, shorten

_LARGEST = 2**53  # a count that every kind of number holds


class Kind(NamedTuple):
    """A kind of value: in words, and whether a value is of it."""

    words: str
    fits: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Whether it is a number, or a tensor that holds one; no bool."""
    if isinstance(value, torch.Tensor):
        is_plain = value.layout is torch.strided and not value.is_quantized and not value.is_complex()
        return is_plain and value.numel() == 1 and value.dtype is not torch.bool
    is_real = isinstance(value, Real) and not isinstance(value, bool)  # NumPy's too
    return is_real and (not isinstance(value, int) or value.bit_length() < 64)


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, (list, tuple)) and all(map(fits, value))


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


COUNT = Kind("a whole number, 0 or more", lambda each: type(each) is int and 0 <= each <= _LARGEST)
NUMBER = Kind("a number", lambda each: is_number(each) and not math.isnan(each))
ANY_NUMBER = Kind("a number", is_number)
COUNTS = Kind("a list of whole numbers", lambda each: _is_list(each, COUNT.fits))
NUMBERS = Kind("a list of numbers", lambda each: _is_list(each, is_number))
ROWS = Kind("a list of pairs of numbers", lambda each: _is_list(each, lambda row: NUMBERS.fits(row) and len(row) == 2))
RANKING = Kind("a list of values and epochs", lambda each: _is_list(each, _is_ranked))
SECONDS = Kind("a time in seconds", lambda each: is_number(each) and 0 <= each < math.inf)
TEXT = Kind("a text", lambda each: isinstance(each, str))
TEXTS = Kind("a list of texts", lambda each: _is_list(each, TEXT.fits))
SWITCH = Kind("true or false", lambda each: isinstance(each, bool))
LIST = Kind("a list", lambda each: isinstance(each, (list, tuple)))
NAMED = Kind("values by name", _is_named)
TENSOR = Kind("a tensor", lambda each: isinstance(each, torch.Tensor))
TENSORS = Kind("a list of tensors", lambda each: _is_list(each, TENSOR.fits))
STATES = Kind("a state, or several", lambda each: isinstance(each, (dict, list)))


def _is_ranked(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and NUMBER.fits(value[0]) and COUNT.fits(value[1])


class Maybe(NamedTuple):
    """That, or None."""

    shape: Any


class Each(NamedTuple):
    """A dict or list of any length, with all its values of that shape."""

    shape: Any
    kind: Kind = NAMED


def check_shape(value: Any, shape: Any, what: str, place: str = "") -> None:
    """Make sure that `value` has a shape: a `Kind`, `Maybe`, `Each`, or a dict of such by keys; "key?" may be missing.

    Raises:
        CheckpointError: it has not; names the first place that is wrong in `what`.
    """
    if (found := next(_misfits(value, shape, place), None)) is not None:
        at, got, expected = found
        raise CheckpointError(explain(f"checkpoint error: {what}: {at} has a value that does not fit",
                                      got=shorten(got), expected=expected))  # fmt: skip


def unfit(what: Any, error: Exception) -> CheckpointError:
    """The error for a state that something could not be done with."""
    got = f"{type(error).__name__}: {error}"
    head = f"checkpoint error: {what} holds a state that does not fit"
    return CheckpointError(explain(head, got=got if len(got) < 400 else f"{got[:400]}...",
                                   then="--debug shows the traceback"))  # fmt: skip


def _misfits(value: Any, shape: Any, place: str) -> Iterator[tuple[str, Any, str]]:
    if isinstance(shape, Maybe):
        if value is not None:
            yield from _misfits(value, shape.shape, place)
    elif isinstance(shape, Kind):
        if not shape.fits(value):
            yield place, value, shape.words
    elif isinstance(shape, Each):
        if not shape.kind.fits(value):
            yield place, value, shape.kind.words
            return
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _misfits(item, shape.shape, f"{place}.{key}")
    elif not isinstance(value, dict):
        yield place, value, "a dict"
    else:
        for key, inner in shape.items():
            name = key.removesuffix("?")
            if name in value:
                yield from _misfits(value[name], inner, f"{place}.{name}".lstrip("."))
            elif name == key:
                yield place or "the state", value, f"something under {name!r}"


def unlike(saved: Any, own: Any, place: str = "", *, is_measured: bool = False) -> str | None:
    """Where a saved value is not of the kind of `own`, which a fresh object has in its place; None where all is.

    Numbers are not below 0 where the own one is not, and finite where it is, unless they are measured. What is None
    may have been anything; what is empty may have any length.
    """
    told = f"{place or 'it'} is {shorten(saved, 40)}, where there is {shorten(own, 40)}"
    if own is None or (saved is None and isinstance(own, bool)):
        return None
    if isinstance(own, bool) or isinstance(saved, bool):
        return None if isinstance(own, bool) and isinstance(saved, bool) else told
    if is_number(own):
        return None if is_number(saved) and (is_measured or _is_as_good(float(saved), float(own))) else told
    if isinstance(own, Mapping):
        if not isinstance(saved, Mapping):
            return told
        if all(type(key) is int for key in own):  # milestones: a count by its number
            is_alike = all(type(key) is int and is_number(each) for key, each in saved.items()) or not own
            return None if is_alike else told
        pairs = {key: (saved[key], own[key]) for key in own if key in saved}
    elif isinstance(own, (list, tuple)):
        if not isinstance(saved, (list, tuple)) or (own and len(saved) != len(own)):
            return told
        pairs = dict(enumerate(zip(saved, own, strict=False)))
    else:
        return None if isinstance(saved, type(own)) else told
    inner = (unlike(*pair, f"{place}.{key}".lstrip("."), is_measured=is_measured) for key, pair in pairs.items())
    return next(filter(None, inner), None)


def _is_as_good(saved: float, own: float) -> bool:
    is_number_of_kind = math.isfinite(saved) or (not math.isfinite(own) and not math.isnan(saved))
    return is_number_of_kind and (saved >= 0 or own < 0 or not math.isfinite(own))
