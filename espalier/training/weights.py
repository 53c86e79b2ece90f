"""The weights a run starts with, and which of them it leaves alone."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from espalier.adapters import PATTERNS
from espalier.errors import CheckpointError, ConfigError, Problem, shorten, with_origin, with_places
from espalier.patterns import is_match, matching
from espalier.training.combined_optimizer import members_of
from espalier.training.filling import fill
from espalier.training.init_from import load_init_from
from espalier.training.restore import unwrap
from espalier.training.tied import names_of_parameters

logger = logging.getLogger("weights")


def begin_weights(
    model: nn.Module,
    section: Mapping[str, Any],
    find: Callable[[str, Any], Any] | None = None,
    origin: Callable[[str], str | None] = lambda _: None,
) -> None:
    """Initialise and load as the `arch` section says: `init`, then `init_from`.

    Args:
        section: may hold `init`, one or a list of `{"type", "match", "args"}` (a function that fills a tensor in place,
            and a pattern of parameter names), and `init_from`, a file or `{"path", "rename", "skip", "by"}`: `rename`
            maps beginnings of names in the file to those of the model, `skip` has patterns of names to leave out. By
            "order", the first weight of the file is the first of the model, and so on, whatever their names.
        find: what the text at a dotted path of the config names, in a module; None: `section` was written in Python.
        origin: where the value at a dotted path of the config was written.

    Raises:
        ConfigError: a pattern matches nothing, or a function cannot be found, or cannot fill what it is to.
        CheckpointError: as for `load_init_from`.
    """
    try:
        with with_places(origin):
            _begin(unwrap(model), section, find)
    except CheckpointError as error:
        line = origin("arch.init_from.path")
        raise CheckpointError(with_origin(error, f"{line}, arch.init_from" if line else "arch.init_from")) from error


def _begin(model: nn.Module, section: Mapping[str, Any], find: Callable[[str, Any], Any] | None) -> None:
    fillings = section.get("init") or []
    for index, filling in enumerate([fillings] if isinstance(fillings, Mapping) else fillings):
        fill(model, filling, f"arch.init.{index}" if isinstance(fillings, list) else "arch.init", find)
    if (source := section.get("init_from")) is not None:
        load_init_from(model, {"path": source} if isinstance(source, str) else source)


class Freezing:
    """Which parameters are not trained: a function of the epoch.

    Batch-norm layers that are frozen also keep their statistics.

    Args:
        model: whose parameters they are.
        frozen: patterns of names of parameters or modules (`"layer1.*"`, `"layer1"`).
        unfreeze_at: for some patterns the epoch from which they are trained after all; the pattern that means the
            fewest parameters wins.
        trained: patterns of what of it is trained in every epoch.

    Raises:
        ConfigError: a pattern matches nothing, or `trained` leaves nothing of what it freezes.
    """

    def __init__(
        self, model: nn.Module, frozen: Sequence[str], unfreeze_at: Mapping[str, int], trained: Sequence[str] = ()
    ) -> None:
        first = names_of_parameters(model)
        found = [matching(list(first), pattern, f"arch.freeze.{index}") for index, pattern in enumerate(frozen)]
        kept = [matching(list(first), pattern, f"arch.train.{index}") for index, pattern in enumerate(trained)]
        never = {first[name] for each in kept for name in each}
        self._until: dict[str, float] = {first[name]: float("inf") for each in found for name in each
                                         if first[name] not in never}  # fmt: skip
        for index, (pattern, names) in enumerate(zip(frozen, found, strict=True)):
            if pattern != "*" and never.issuperset(first[name] for name in names):  # as stands where none is given
                fix = "remove the one or the other"
                raise ConfigError(Problem(f"arch.freeze.{index}", "freezes nothing: arch.train names all of it", None,
                                          shorten(pattern), fix=fix))  # fmt: skip
        names = [name for name in first if first[name] in self._until]
        for pattern in unfreeze_at:
            if matching([*first], pattern, f"arch.unfreeze_at.{pattern}") and not _are_matched(names, pattern):
                fix = "remove it, or name it under freeze, too"
                raise ConfigError(Problem(f"arch.unfreeze_at.{pattern}", "means only what is not frozen", None,
                                          str(unfreeze_at[pattern]), fix=fix))  # fmt: skip
        thawed = [(matching(names, pattern, ""), epoch) for pattern, epoch in unfreeze_at.items()]
        for meant, epoch in sorted(thawed, key=lambda each: -len(each[0])):
            self._until.update({first[name]: epoch for name in meant})
        self._model, self._patterns = model, frozen
        for name, module in model.named_modules():
            own = [first[f"{name}.{each}".lstrip(".")] for each, _ in module.named_parameters(recurse=False)]
            if isinstance(module, _NormBase) and own and all(each in self._until for each in own):
                module.train = functools.partial(self._train, module, own[0])  # type: ignore[method-assign, assignment]
        self._epoch = 1

    @classmethod
    def of(cls, model: nn.Module, arch: Mapping[str, Any]) -> Freezing | None:
        """What the `arch` section asks for; None where all is trained.

        `train` names what alone is trained or, beside `freeze`, what is left out of that. With `lora` that is the
        adapters and what `replace` has put in, too.
        """
        trained = list(arch.get("train") or ())
        if arch.get("lora"):
            names = names_of_parameters(model)
            trained += [each for each in (*PATTERNS, *(arch.get("replace") or ())) if _are_matched(names, each)]
        frozen = arch.get("freeze") or (["*"] if trained or arch.get("lora") else [])
        return cls(model, frozen, arch.get("unfreeze_at") or {}, trained) if frozen else None

    def check_left(self, optimizers: Mapping[str, Any]) -> None:
        """Make sure that each optimizer, and each of a list, has something to train in the first epoch, and so in all.

        Args:
            optimizers: by name; "" for one that is alone.

        Raises:
            ConfigError: one has not.
        """
        until = {id(self._model.get_parameter(name)): epoch for name, epoch in self._until.items()}
        sections = {f"optimizer.{name}".rstrip("."): each for name, each in optimizers.items()}
        members = {name: each for section in sections for name, each in members_of(sections[section], section).items()}
        for name, optimizer in members.items():
            first = min(until.get(id(each), 1) for group in optimizer.param_groups for each in group["params"])
            if first > 1:
                what = f"leaves {'the optimizer' if name == 'optimizer' else name} nothing to train"
                what += "" if first == float("inf") else f" before epoch {first}"
                fix = "name less there: the last layer, for one, is to be trained"
                raise ConfigError(Problem("arch.freeze", what, None, shorten(list(self._patterns)), fix=fix))

    @property
    def until(self) -> Mapping[str, float]:
        """The epoch from which a frozen parameter is trained, by its name; infinity for never."""
        return self._until

    def begin_epoch(self, epoch: int) -> None:
        """Freeze what is frozen in `epoch`, and nothing else of what this is about."""
        self._epoch = epoch
        for name, until in self._until.items():
            parameter = self._model.get_parameter(name)
            parameter.requires_grad_(epoch >= until)
            if epoch < until:
                parameter.grad = None

    def _train(self, module: nn.Module, name: str, mode: bool = True) -> nn.Module:
        return nn.Module.train(module, mode and self._epoch >= self._until[name])


def _are_matched(names: Iterable[str], pattern: str) -> bool:
    return any(is_match(name, pattern) for name in names)
