"""What a section of a config is for: what it may name, and what has to come out of it."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from espalier.config.arguments import return_type_of
from espalier.config.objects import full_name, signature_of
from espalier.config.schema import LOADERS
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import ConfigError, Problem, shorten

_LOADER = "something that gives batches when it is iterated over, such as a torch.utils.data.DataLoader"
_FUNCTION = "a function, or a class whose objects can be called, with output and target"
EXPECTED = {
    "arch": "a torch.nn.Module, or a function that makes one",
    **dict.fromkeys(LOADERS, _LOADER),
    "optimizer": "a torch.optim.Optimizer, or a function that makes one",
    "lr_scheduler": "a schedule as in torch.optim.lr_scheduler, or a function that makes one",
    "loss": _FUNCTION,
    "metrics": f"{_FUNCTION}; or a class with update, compute and reset",
    "writers": "a subclass of espalier.journal.writers.contract.Writer",
}
_CALLED = ("loss", "metrics")  # by the trainer; what the others name is called once, to build


def fault_of(section: str, target: Any) -> str | None:
    """Why `target` cannot be what this section is for, as far as that shows before it is called; None if it may be."""
    if inspect.isclass(target):
        return None if fits_role(section, target) else f"names {_kind_of(target)}, {_which_is_not(section)}"
    if section == "writers":
        return f"names {full_name(target)}, {_which_is_not(section)}"
    if section in _CALLED:
        return f"names {full_name(target)}, which takes no argument" if _takes_nothing(target) else None
    if inspect.isbuiltin(target):
        return f"names {full_name(target)}, a compiled function, {_which_is_not(section)}"
    given = return_type_of(target)
    if given is type(None) or (_is_plain_class(given) and not fits_role(section, given)):
        return f"names {full_name(target)}, which gives {_kind_of(given)}, {_which_is_not(section)}"
    return None


def check_built(tree: ConfigTree, path: KeyPath, built: Any) -> None:
    """Make sure that what the section at `path` built is what the section is for.

    Raises:
        ConfigError: it is something else.
    """
    section = str(path[0])
    if section not in EXPECTED or section in _CALLED or fits_role(section, type(built)):
        return
    what = "builds nothing" if built is None else f"builds {_kind_of(type(built))}"
    here = (*path, "type")
    kind = tree.at(path).get("type")
    raise ConfigError(
        Problem(dotted(here), f"{what}, {_which_is_not(section)}", tree.origin(here), shorten(kind), EXPECTED[section])
    )


def fits_role(section: str, kind: type) -> bool:
    """Whether objects of this class can be what the section is for."""
    import torch  # loaded by now

    if section == "arch":
        return issubclass(kind, torch.nn.Module)
    if section in LOADERS:
        is_indexed = hasattr(kind, "__getitem__") and not issubclass(kind, torch.utils.data.Dataset)
        has_batches = hasattr(kind, "__iter__") or is_indexed
        return has_batches and not issubclass(kind, (torch.nn.Module, str, bytes, torch.Tensor))
    is_optimizer = _has(kind, "step", "zero_grad")
    if section == "optimizer":
        return is_optimizer
    if section == "lr_scheduler":
        return _has(kind, "step", "state_dict") and not is_optimizer
    if section == "writers":
        return _has(kind, "begin", "values", "picture", "text", "file", "rewind", "end")
    is_called = any("__call__" in vars(base) for base in kind.__mro__)
    return is_called or (section == "metrics" and _has(kind, "update", "compute", "reset"))


def _has(kind: type, *names: str) -> bool:
    return all(callable(getattr(kind, name, None)) for name in names)


def _is_plain_class(given: Any) -> bool:
    """Whether an annotation names one class of objects: `object`, protocols and abstract ones say too little."""
    is_open = given in (object, Any) or inspect.isabstract(given) or getattr(given, "_is_protocol", False)
    return inspect.isclass(given) and not is_open and typing.get_origin(given) is None


def _takes_nothing(target: Any) -> bool:
    signature = signature_of(target)
    named = () if signature is None else signature.parameters.values()
    return signature is not None and not any(
        p.kind is not p.KEYWORD_ONLY and p.kind is not p.VAR_KEYWORD for p in named
    )


def _kind_of(kind: Any) -> str:
    """A class, and what it is where that is known."""
    import torch  # loaded by now

    known = (
        (torch.nn.Module, "a torch.nn.Module"),
        (torch.optim.Optimizer, "an optimizer"),
        (torch.optim.lr_scheduler.LRScheduler, "a learning-rate schedule"),
        (torch.utils.data.Dataset, "a dataset"),
        (torch.utils.data.DataLoader, "a data loader"),
    )
    if kind is None or kind is type(None):
        return "nothing"
    words = next((words for base, words in known if inspect.isclass(kind) and issubclass(kind, base)), None)
    return f"{full_name(kind)}, {words}" if words else full_name(kind)


def _which_is_not(section: str) -> str:
    words = {"arch": "which is no torch.nn.Module", "optimizer": "which is no optimizer",
             "lr_scheduler": "which is no learning-rate schedule", "writers": "which is no writer"}  # fmt: skip
    return words.get(section, "which cannot be called" if section in _CALLED else "which gives no batches")
