"""Learning rates that fall from the last layer of a model to its first."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from espalier.errors import ConfigError, Problem, shorten
from espalier.patterns import meant_by, parts_of

logger = logging.getLogger("optimizer")
_NUMBERED = r"[^.]*\d[^.]*"  # what `*` stands for: a part of a name with a number in it


class LayerDecay:
    """By what the learning rate of each parameter is multiplied: 1 in the last layer, `rate` less in each before it.

    Parameters in none of the layers go by the order of the model: what stands before all of them, as embeddings do, is
    one layer more at the bottom; what stands after them, as final norm and head, one more at the top; what stands in
    between, as what makes an image smaller, is of the layer that follows. Tied weights are where they stand first.

    Args:
        section: `rate`, and `layers`: names of modules or parameters from the first layer to the last. In each of them
            `*` stands for a part with a number; the layers that match come in the order of their numbers.
        path: of the section, for messages.
        origin: tells where the value at a dotted path was written.

    Attributes:
        layers: from the first to the last, the names of their parameters by what the log calls them.
        named: of these, those that the section names, without what is in between.
        below: the parameters that the model registers before all of them.
        above: those that it registers after them.
        multipliers: for each parameter of the model, by name.

    Raises:
        ConfigError: a pattern matches nothing.

    Source: Clark et al., ELECTRA, 2020; with the layers of Bao et al., BEiT, 2021.
    """

    def __init__(
        self, model: nn.Module, section: Mapping[str, Any], path: str, origin: Callable[[str], str | None]
    ) -> None:
        names = [name for name, _ in model.named_parameters()]
        found: dict[str, list[str]] = {}
        begins: list[int] = []
        for index, pattern in enumerate(section["layers"]):
            known = {name for layer in found.values() for name in layer}
            layers = _layers_of(pattern, [name for name in names if name not in known])
            if not layers:
                raise ConfigError(_no_layer(f"{path}.layers.{index}", origin, pattern, names, known))
            found |= layers
            begins.append(names.index(next(iter(layers.values()))[0]))
        if len(begins) > 1 and begins == sorted(begins, reverse=True):
            logger.warning("%s.layers goes from the last layer of the model to the first, so that %s, which comes "
                           "first there, learns least. Write them from the first to the last, if that is not meant.",
                           path, section["layers"][0])  # fmt: skip
        self.named = found
        self.below, self.above = _around(found, names)
        self.layers = {**_labelled(self.below), **_completed(found, names), **_labelled(self.above)}
        self.rate = float(section["rate"])
        self.multipliers = {
            name: self.rate ** (len(self.layers) - 1 - index)
            for index, layer in enumerate(self.layers.values())
            for name in layer
        }

    def describe(self, rates: Mapping[str, float]) -> str:
        """The learning rate of each layer, or its least and greatest, from those of the parameters that are trained."""
        told = []
        for label, names in self.layers.items():
            found = [f"{each:.3g}" for each in sorted({rates[name] for name in names if name in rates})]
            told.append(f"{label} {' to '.join(dict.fromkeys((found[0], found[-1])))}" if found else f"{label} none")
        return f"Layer decay {self.rate:g}, learning rates from the first layer to the last: {', '.join(told)}."


def _layers_of(pattern: str, names: list[str]) -> dict[str, list[str]]:
    """The layers that a pattern stands for, each with the names of its parameters."""
    expression = re.compile(re.escape(pattern).replace(r"\*", _NUMBERED) + r"(?=\.|$)")
    found: dict[str, list[str]] = {}
    for name in names:
        if (match := expression.match(name)) is not None:
            found.setdefault(match[0], []).append(name)
    return {layer: found[layer] for layer in sorted(found, key=_by_numbers)}


def _by_numbers(name: str) -> list[Any]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _around(layers: dict[str, list[str]], names: list[str]) -> tuple[list[str], list[str]]:
    """The parameters before all layers, and those after them."""
    inside = {name for layer in layers.values() for name in layer}
    places = [index for index, name in enumerate(names) if name in inside]
    return names[: places[0]], names[places[-1] + 1 :]


def _completed(layers: dict[str, list[str]], names: list[str]) -> dict[str, list[str]]:
    """The layers, each with the parameters between it and the one before it."""
    layer_of = {name: layer for layer, inside in layers.items() for name in inside}
    below, above = _around(layers, names)
    completed, following = {layer: list(inside) for layer, inside in layers.items()}, ""
    for name in reversed(names[len(below) : len(names) - len(above)]):
        if name in layer_of:
            following = layer_of[name]
        else:
            completed[following].append(name)
    return completed


def _labelled(names: list[str]) -> dict[str, list[str]]:
    """What is in no layer that has a name, as a layer."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return {f"{names[0]}{more}": names} if names else {}


def _no_layer(
    path: str, origin: Callable[[str], str | None], pattern: str, names: list[str], known: set[str]
) -> Problem:
    what = "matches no parameter of the model"
    if _layers_of(pattern, names):
        what = "matches only parameters of layers that come before it"
    left = [name for name in names if name not in known]
    there = parts_of(left).replace(".*", "")
    expected = f'the beginning of names, in which "*" stands for a part with a number, of: {there}' if left else None
    meant = meant_by(pattern, left, lambda name, each: bool(_layers_of(each, [name])))
    return Problem(path, what, origin(path), shorten(pattern), expected, *meant)
