"""What `arch.init` asks for: functions that fill parameters in place."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from espalier.adapters import is_adapter
from espalier.config.objects import NameNotFound, find_object
from espalier.errors import ConfigError, Problem, counted, first_of
from espalier.patterns import matching
from espalier.training.tied import names_of_parameters

logger = logging.getLogger("weights")


def fill(model: nn.Module, filling: Mapping[str, Any], path: str, find: Callable[[str, Any], Any] | None) -> None:
    """Fill the parameters that `match` of an entry of `arch.init` means; see `begin_weights`.

    Raises:
        ConfigError: there is no such function, its pattern matches nothing, or it cannot fill one of them.
    """
    try:
        function = find_object(filling["type"], nn.init) if find is None else find(f"{path}.type", nn.init)
    except NameNotFound as error:
        raise ConfigError(Problem(f"{path}.type", str(error), closest=error.closest)) from None
    pattern = filling.get("match", "*")
    first = {name: one for name, one in names_of_parameters(model).items() if not is_adapter(name)}
    names = dict.fromkeys(first[name] for name in matching(list(first), pattern, f"{path}.match"))
    function = functools.partial(_named_as_today(function, f"{path}.type"), **filling.get("args", {}))
    with torch.no_grad():
        for name in names:
            try:
                function(model.get_parameter(name))
            except Exception as error:  # whatever a function of anybody's raises for such a tensor
                raise _not_filled(model, filling, path, function, name, [*names], error) from error
    logger.info(
        "%s filled %s that match%s %s.",
        filling["type"],
        counted(len(names), "parameter"),
        "es" if len(names) == 1 else "",
        pattern,
    )


def _named_as_today(function: Any, path: str) -> Any:
    """The function itself for one of its names of old, with which PyTorch would warn at every tensor."""
    name = function.__name__ if inspect.isfunction(function) else ""
    if name.endswith("_") or vars(nn.init).get(name) is not function or (new := vars(nn.init).get(f"{name}_")) is None:
        return function
    logger.warning('%s: "%s" is an old name that PyTorch will take out: write "%s_".', path, name, name)
    return new


def _not_filled(
    model: nn.Module,
    filling: Mapping[str, Any],
    path: str,
    function: Any,
    name: str,
    names: list[str],
    error: Exception,
) -> ConfigError:
    """Name the parameter, and those that are meant and could be filled, as far as the number of dimensions tells."""
    fits: dict[int, bool] = {}
    for each in names:
        with contextlib.suppress(Exception):
            shape = model.get_parameter(each).shape
            if len(shape) not in fits:
                fits[len(shape)] = False
                function(torch.empty(shape))
                fits[len(shape)] = True
    can = [each for each in names if fits.get(model.get_parameter(each).ndim)]
    key, what = ("match", f"means {name}") if "match" in filling else ("type", f"is to fill {name}")
    what += f", which {filling['type']} cannot fill" if key == "match" else ", and cannot"
    got = f"{name} of shape {tuple(model.get_parameter(name).shape)}: {type(error).__name__}: {error}"
    expected = f"a pattern for some of: {first_of(can, 8, quoted=False)}" if can else None
    fix = 'write "match": a pattern for these alone, or several entries, one for each' if can else None
    return ConfigError(Problem(f"{path}.{key}", what, None, got, expected, fix=fix))
