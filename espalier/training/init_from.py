"""Weights of a file to begin with, fitted to a model by their names or their order: `arch.init_from`."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from espalier.adapters import is_adapter
from espalier.checkpoints.run_folder import expand_home
from espalier.checkpoints.weights_file import load_weights_file
from espalier.errors import CheckpointError, ConfigError, Problem, are, closest, counted, explain, first_of, shorten
from espalier.patterns import matching, starts
from espalier.training.restore import load_matching_weights, without_wrapper
from espalier.training.tied import names_of_parameters

logger = logging.getLogger("weights")
_LOADED: WeakKeyDictionary[nn.Module, dict[str, str]] = WeakKeyDictionary()
_COUNTS = "num_batches_tracked"  # of batch norm, which older files do not have
_RENAME = "arch.init_from.rename"


def load_init_from(model: nn.Module, source: Mapping[str, Any]) -> None:
    """Load as `{"path", "rename", "skip", "by"}` says, see `begin_weights`.

    Raises:
        ConfigError: `rename` or `skip` matches nothing, or `rename` gives one name twice.
        CheckpointError: the file cannot be read, not one of its weights fits, or one is not finite.
    """
    weights, keys = load_weights_file(expand_home(source["path"]))
    under = f", under {keys[0]}" if keys else ""
    under += f" (it has {', '.join(keys[1:])}, too)" if keys[1:] else ""
    weights = _renamed(weights, source.get("rename") or {})
    if source.get("by") == "order":
        _load_in_order(model, weights, source, under)
        return
    own = model.state_dict()
    bare = dict(zip(weights, without_wrapper(weights, own), strict=True))  # what names of the file are in the model
    skipped = _skipped((*bare, *bare.values(), *own), source)
    kept = {name: value for name, value in weights.items() if skipped.isdisjoint((name, bare[name]))}
    if not kept:
        raise _nothing_left(source)
    logger.info("Weights from %s%s:", source["path"], under)
    _load_those(model, kept, skipped, source)


def _skipped(names: Iterable[str], source: Mapping[str, Any]) -> set[str]:
    """Those of `names`, of the file and of the model, that `skip` leaves out."""
    known = dict.fromkeys(names)
    patterns = enumerate(source.get("skip") or ())
    return {name for i, each in patterns for name in matching(known, each, f"arch.init_from.skip.{i}")}


def _nothing_left(source: Mapping[str, Any]) -> ConfigError:
    what, fix = f"leaves nothing of {source['path']}", "skip less, or remove init_from"
    return ConfigError(Problem("arch.init_from.skip", what, None, shorten(source["skip"]), fix=fix))


def _renamed(weights: Mapping[str, Any], rename: Mapping[str, str]) -> dict[str, Any]:
    """The weights with other beginnings of their names, one rename after the other."""
    names = {name: name for name in weights}  # by what they are called by now
    for old, new in rename.items():
        if not any(name.startswith(old) for name in names):
            expected = f"a beginning of some of: {first_of(list(names))}"
            near = closest(old, dict.fromkeys(each for name in names for each in starts(name)[:0:-1]))
            raise ConfigError(Problem(f"{_RENAME}.{old}", "matches nothing", None, shorten(old), expected, near))
        before, names = names, {}
        for name, in_file in before.items():
            given = new + name[len(old) :] if name.startswith(old) else name
            if given in names:
                got = f"{names[given]} and {in_file} of the file both become {given}"
                start = given[: given.find(".") + 1] or given
                fix = f'before that, rename the one that is not wanted, as in "{start}": "unused.{start}"'
                raise ConfigError(Problem(f"{_RENAME}.{old}", "gives two weights one name", None, got, fix=fix))
            names[given] = in_file
    return {name: weights[in_file] for name, in_file in names.items()}


def _load_those(model: nn.Module, weights: Mapping[str, Any], skipped: Collection[str], source: Any) -> None:
    own = model.state_dict()
    bare = without_wrapper(weights, own)
    fitting = [name for name, value in bare.items() if name in own and value.shape == own[name].shape]
    for name in fitting:
        _check_finite(source["path"], name, bare[name], own[name])
    load_matching_weights(model, weights, skipped)
    first = names_of_parameters(model)
    _LOADED[model] = dict.fromkeys((first.get(name, name) for name in fitting), Path(source["path"]).name)


def _check_finite(path: str, name: str, value: torch.Tensor, own: torch.Tensor) -> None:
    # A buffer of the model's may have infinities itself, as a mask of attention does.
    if not (value.is_floating_point() or value.is_complex()):
        return
    is_finite = torch.isfinite(value.float() if value.itemsize == 1 else value)
    if is_finite.all() or torch.equal(is_finite, torch.isfinite(own)):
        return
    bad = int((~is_finite).sum())
    got = f"{name}: {bad:,} of {counted(value.numel(), 'value')} {are(bad)} NaN or infinite"
    fix = f'take another file, or leave it out: "skip": ["{name}"]'
    raise CheckpointError(explain(f"checkpoint error: {path} has weights that are not finite", got=got, fix=fix))


def loaded_into(model: nn.Module) -> Mapping[str, str]:
    """The weights that `init_from` has loaded into a model by their first names, each with the name of its file."""
    return _LOADED.get(model, {})


def _load_in_order(model: nn.Module, weights: Mapping[str, Any], source: Mapping[str, Any], under: str) -> None:
    """Load weights whose names differ from the model's, where they stand in the same order in the same shapes.

    `skip` leaves weights out on both sides, such as the old head and the new one.
    """
    in_model = {name: value for name, value in model.state_dict().items() if not is_adapter(name)}
    skipped = _skipped((*weights, *in_model), source)
    has_counts = all(any(name.endswith(_COUNTS) for name in each) for each in (weights, in_model))
    names, own = ([name for name in each if name not in skipped and (has_counts or not name.endswith(_COUNTS))]
                  for each in (weights, in_model))  # fmt: skip
    for index, (name, mine) in enumerate(zip(names, own, strict=False)):
        if weights[name].shape != in_model[mine].shape:
            got, expected = (f"{each} {tuple(of[each].shape)}" for each, of in ((name, weights), (mine, in_model)))
            what = f"number {index + 1} has another shape than that of the model"
            raise _other_order(source, what, got, expected, [name, mine])
    if len(names) != len(own):
        longer, num = (names, len(own)) if len(names) > len(own) else (own, len(names))
        which = "the file" if len(names) > len(own) else "the model"
        what = f"{which} has {counted(len(longer), 'weight')} and the other {num}"
        raise _other_order(source, what, first_of(longer[num:]), None, longer[num:])
    if not names:
        raise _nothing_left(source)
    logger.info("Weights from %s%s, in order, from %s as %s to %s as %s:", source["path"], under,
                names[0], own[0], names[-1], own[-1])  # fmt: skip
    _load_those(model, {mine: weights[name] for name, mine in zip(names, own, strict=True)}, skipped, source)


def _other_order(
    source: Mapping[str, Any], what: str, got: str, expected: str | None, names: list[str]
) -> CheckpointError:
    """The error for a weight that does not fit in order; the fix leaves out the layers of `names`."""
    head = f"checkpoint error: the weights of {source['path']} do not fit in order: {what}"
    layers = list(dict.fromkeys(f"{name.rpartition('.')[0]}.*" if "." in name else name for name in names))
    skip = [*(source.get("skip") or ()), *layers]
    fix = f'if these are to be left out: "skip": {shorten(skip, 400)}'
    return CheckpointError(explain(head, got=got, expected=expected, fix=fix))
