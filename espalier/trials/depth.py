"""Whether layers are as deep as `layer_decay` takes them to be: by the order in which a model computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from espalier.config.schema import entries_of
from espalier.training.layer_decay import LayerDecay


def doubts_of_depth(config: Any, model: nn.Module, ran: Sequence[str]) -> Iterator[str]:
    """What a model registers before all layers that are named but computes after them, as a head; or the other way.

    Args:
        ran: the names of modules in the order in which they computed.
    """
    for path, section in entries_of("optimizer", config.get("optimizer")):
        if section.get("layer_decay") is None:
            continue
        part = path[-1] if isinstance(path[-1], str) and len(path) > 1 else ""
        at, patterns = ".".join(map(str, (*path, "layer_decay"))), section["layer_decay"]["layers"]
        layers = LayerDecay(model.get_submodule(part), section["layer_decay"], at, config.origin)
        order = [name.removeprefix(f"{part}.") for name in ran]
        named = _in_order(order, [name for names in layers.named.values() for name in names])
        if not named:
            continue
        first, last = order.index(named[0]), order.index(named[-1])
        below, above = (_in_order(order, names) for names in (layers.below, layers.above))
        before = _in_order(order[:first], [*layers.below, *layers.above])
        after = _in_order(order[last + 1 :], [*layers.below, *layers.above])
        mended = ", ".join(f'"{each}"' for each in [*before, *patterns, *after])
        for found, place, when in (({*below} & {*after}, "first", "after"), ({*above} & {*before}, "last", "before")):
            if found:
                names = ", ".join(sorted(found))
                yield (f"{at} takes {names} for the {place} layer, where the model registers it, but it computes "
                       f'{when} all that are named: write "layers": [{mended}].')  # fmt: skip


def _in_order(order: Sequence[str], parameters: Sequence[str]) -> list[str]:
    """The modules that have these parameters, as they computed. One with modules inside has no moment of its own."""
    owners = {name.rpartition(".")[0] for name in parameters}
    outer = {name for name in owners if any(f"{each}.".startswith(f"{name}.") and each != name for each in order)}
    return [name for name in order if name in owners - outer - {""}]
