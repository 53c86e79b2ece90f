"""Names of weights that differ from a model's in how they begin alone, as those of a wrapper or a backbone do."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import torch

from espalier.errors import counted
from espalier.patterns import starts

_MOST_TRIED = 5


def rename_advice(own: Mapping[str, Any], given: Mapping[str, Any], num_now: int) -> str | None:
    """What to write so that most names of a file become those of the model; None where no one beginning does it.

    Args:
        own: the weights of the model by name.
        given: those of the file.
        num_now: how many fit as they are.
    """

    def num_fitting(pair: tuple[str, str]) -> int:
        old, new = pair
        renamed = {new + name[len(old) :] if name.startswith(old) else name: each for name, each in given.items()}
        return sum(name in own and _is_alike(own[name], each) for name, each in renamed.items())

    tried = [pair for pair, _ in _pairs(own, given).most_common(_MOST_TRIED)]
    old, new = max(tried, key=num_fitting, default=("", ""))
    num = num_fitting((old, new))
    if num <= num_now or 2 * num <= min(len(own), len(given)):
        return None
    fitting = f"{num} of {counted(len(own), 'weight')} of the model fit then"
    return f'write "rename": {{"{old}": "{new}"}} under arch.init_from: {fitting}'


def _pairs(own: Mapping[str, Any], given: Mapping[str, Any]) -> Counter[tuple[str, str]]:
    """How often a beginning in the file stands before the longest end that a name of the model has, too."""
    starts_of = defaultdict(list)  # the model's names, by each of their ends
    for name in own:
        for start in starts(name):
            starts_of[name[len(start) :]].append(start)
    counts: Counter[tuple[str, str]] = Counter()
    for name, value in given.items():
        for old in starts(name):  # the shortest first, so the longest end
            end = name[len(old) :]
            found = [(old, new) for new in starts_of.get(end, ()) if _is_alike(own[new + end], value)]
            if found:
                counts.update(found)
                break
    return counts


def _is_alike(own: Any, value: Any) -> bool:
    return isinstance(own, torch.Tensor) and isinstance(value, torch.Tensor) and own.shape == value.shape
