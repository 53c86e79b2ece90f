"""Low-rank adapters (LoRA): a few weights beside a large one that stays, which they change once they have learned.

Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from espalier.errors import ConfigError, Problem, first_of, shorten
from espalier.patterns import is_match, meant_by, parts_of

PATTERNS = ("*.lora_a.weight", "*.lora_b.weight")
RANK = 8  # where the config gives none
_KINDS = "Linear, or Conv2d with groups 1"


def is_adapter(name: str) -> bool:
    """Whether this is the name of an adapter's weight."""
    return any(fnmatchcase(f".{name}", pattern) for pattern in PATTERNS)


def lora_of(arch: Any) -> dict[str, Any] | None:
    """What `arch.lora` asks for, with its defaults; None without."""
    lora = arch.get("lora") if isinstance(arch, dict) else None
    if not lora:
        return None
    rank = lora.get("rank") or RANK
    return {"match": lora["match"], "rank": rank, "alpha": lora.get("alpha") or rank}


def add_adapters(model: Any, match: Sequence[str], rank: int, alpha: float) -> None:
    """Let layers give `layer(x) + alpha / rank * lora_b(lora_a(x))`; at first that is `layer(x)`, since `lora_b` is 0.

    Args:
        match: patterns of names of modules; all layers inside of one that matches are meant.
        rank: how many values stand between `lora_a` and `lora_b`.

    Raises:
        ConfigError: a pattern matches no layer that can have adapters.
    """
    from torch import nn  # loaded by now

    layers = _layers(model, match, nn)
    if wide := [name for name, layer in layers.items() if rank >= min(layer.weight.flatten(1).shape)]:
        logging.getLogger("weights").warning(
            "arch.lora.rank is %d, and no smaller than a side of %s: an adapter is to be narrower than its layer. "
            "Lower it, or let such layers learn by arch.train.", rank, first_of(wide, 3, quoted=False))  # fmt: skip
    for layer in layers.values():
        size: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype, "bias": False}
        if isinstance(layer, nn.Linear):
            layer.lora_a = nn.Linear(layer.in_features, rank, **size)
            layer.lora_b = nn.Linear(rank, layer.out_features, **size)
        else:
            layer.lora_a = nn.Conv2d(layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding,
                                     layer.dilation, padding_mode=layer.padding_mode, **size)  # fmt: skip
            layer.lora_b = nn.Conv2d(rank, layer.out_channels, 1, **size)
        nn.init.zeros_(layer.lora_b.weight)
        layer.lora_scale = alpha / rank
        layer.register_forward_hook(_add_change)  # which no other code of the layer's owner can pass by unseen


def _add_change(layer: Any, inputs: tuple[Any, ...], output: Any) -> Any:
    return output + layer.lora_scale * layer.lora_b(layer.lora_a(inputs[0]))


def merged(weights: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    """The weights of the same model without adapters, with what these have learned added to what they stand beside."""
    found = {name: value for name, value in weights.items() if not is_adapter(name)}
    for name, low in weights.items():
        if is_adapter(name) and name.endswith("lora_a.weight"):
            layer = name.removesuffix("lora_a.weight")
            change = weights[f"{layer}lora_b.weight"].flatten(1) @ low.flatten(1)
            weight = found[f"{layer}weight"]
            found[f"{layer}weight"] = weight + alpha / low.shape[0] * change.view_as(weight)
    return found


def _layers(model: Any, match: Sequence[str], nn: Any) -> dict[str, Any]:
    named = dict(model.named_modules())
    inside = {id(each) for module in named.values() if isinstance(module, nn.MultiheadAttention)
              for each in module.children()}  # fmt: skip
    fitting = {name: each for name, each in named.items() if id(each) not in inside and _can_have(each, nn)}
    found: dict[str, Any] = {}
    for index, pattern in enumerate(match):
        names = [*_matching(fitting, pattern)]
        if not names:
            raise ConfigError(_no_layer(f"arch.lora.match.{index}", pattern, named, fitting, nn))
        found.update({name: fitting[name] for name in names})
    return found


def _can_have(module: Any, nn: Any) -> bool:
    if isinstance(module, nn.modules.lazy.LazyModuleMixin):
        return False  # its size is not known yet
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)


def _matching(names: Mapping[str, Any], pattern: str) -> Iterator[str]:
    return (name for name in names if is_match(name, pattern))


def _no_layer(path: str, pattern: str, named: Mapping[str, Any], fitting: Mapping[str, Any], nn: Any) -> Problem:
    others = {name: type(named[name]).__name__ for name in _matching(named, pattern)}
    expected = f"a pattern for some of: {parts_of(fitting)}"
    if not others:
        meant = meant_by(pattern, fitting, is_match)
        return Problem(path, "matches no module of the model", None, shorten(pattern), expected, *meant)
    fix = None
    if any(isinstance(named[name], nn.MultiheadAttention) for name in others) or any(
        "out_proj" in each for each in others
    ):
        fix = "MultiheadAttention computes with its in_proj_weight and out_proj itself: train or unfreeze it instead"
    what = f"matches no layer that can have adapters ({_KINDS})"
    return Problem(path, what, None, f"{shorten(pattern)}, as in {shorten(others)}", expected, fix=fix)
