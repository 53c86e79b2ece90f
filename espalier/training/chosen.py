"""Which parameters a section of an optimizer means, by patterns of their names and their number of dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from espalier.errors import ConfigError, Problem, shorten
from espalier.patterns import is_match, meant_by, meant_names, parts_of
from espalier.training.tied import names_of_parameters

Origin = Callable[[str], str | None]
Named = dict[str, nn.Parameter]


def choose(
    model: nn.Module,
    section: Mapping[str, Any],
    left: Named,
    of_loss: Named,
    path: str,
    origin: Origin | None = None,
    owners: Mapping[str, str] | None = None,
) -> Named:
    """Those of `left`, and of the loss, that `match` and `ndim` of a section mean. Tied weights have all their names.

    Args:
        owners: what has parameters already, by their names, for messages.

    Raises:
        ConfigError: a pattern that no parameter is left for.
    """
    given, ndim, first = section.get("match"), section.get("ndim"), names_of_parameters(model)
    patterns = given if isinstance(given, list) else ["*" if given is None else given]
    chosen: set[str] = set()
    for index, pattern in enumerate(patterns):
        matching = {first[name] for name in meant_names(first, pattern)} & left.keys()
        if pattern.split(".")[0] == "criterion":  # "*" is for the model alone
            matching |= {*meant_names(of_loss, pattern)}
        if not matching:
            here = f"{path}.match.{index}" if isinstance(given, list) else f"{path}.match"
            at = origin(here) if origin else None
            raise ConfigError(_no_match(here, at, pattern, model, [*left, *of_loss], owners or {}))
        chosen |= matching
    found = {name: each for name, each in {**left, **of_loss}.items() if name in chosen and ndim in (None, each.ndim)}
    if not found:
        here, what = f"{path}.ndim", "leaves no parameter: none that is meant has so many dimensions"
        known = sorted({each.ndim for name, each in {**left, **of_loss}.items() if name in chosen})
        at = origin(here) if origin else None
        raise ConfigError(Problem(here, what, at, str(ndim), f"one of: {', '.join(map(str, known))}"))
    return found


def _no_match(
    path: str, origin: str | None, pattern: str, model: nn.Module, left: list[str], owners: Mapping[str, str]
) -> Problem:
    expected = f"a pattern for some of: {parts_of(left)}" if left else None
    first = names_of_parameters(model)
    named = {first[name] for name in meant_names(first, pattern)}
    if not named:
        what = "matches no parameter of the model"
        return Problem(path, what, origin, shorten(pattern), expected, *meant_by(pattern, left, is_match))
    if had := [*dict.fromkeys(owner for name, owner in owners.items() if name in named)]:
        what = f"matches only parameters that {' and '.join(had)} {'has' if len(had) == 1 else 'have'}"
        fix = f"put it before {had[0]}: a parameter goes to the first that it fits"
        return Problem(path, what, origin, shorten(pattern), expected, fix=fix)
    is_frozen = not any(model.get_parameter(name).requires_grad for name in named)
    what = f"matches only parameters that {'are not trained' if is_frozen else 'another optimizer has'}"
    return Problem(
        path,
        what,
        origin,
        shorten(pattern),
        expected,
        fix="remove it, or set requires_grad to True in the model" if is_frozen else "remove it",
    )
