"""From a name in a config to the Python object, and what that object takes as arguments."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from espalier.errors import closest

PACKAGES = "the installed packages"


class NameNotFound(LookupError):
    """A `type` that names nothing.

    Attributes:
        where: the module that was searched.
        closest: the most similar name there, if one is near.
    """

    def __init__(self, name: str, where: str, known: Iterable[str]) -> None:
        super().__init__(f"is not in {where}: {name}")
        self.where, self.closest = where, closest(name, known)


def is_block(value: Any) -> bool:
    """Whether a value inside `args` is itself something to build: `type`, and at most `args` and `partial`."""
    return isinstance(value, dict) and isinstance(value.get("type"), str) and set(value) <= {"type", "args", "partial"}


def function_name(section: Any, target: Any) -> str:
    """What a loss or metric is called in logs: its `name` in the config, else that of the function or class."""
    given = section.get("name") if isinstance(section, dict) else None
    kind = section["type"] if isinstance(section, dict) else section
    return str(given or getattr(target, "__name__", kind.rpartition(".")[2]))


def find_object(name: str, module: Any) -> Any:
    """The object called `name` in `module` (any namespace), or at the dotted path `name` (`"torch.nn.MSELoss"`).

    A dotted path imports, and so runs, the module it names.

    Raises:
        NameNotFound: there is no such name.
        ImportError: the dotted path's own module failed while it was imported.
    """
    if "." not in name:
        return _attribute(module, name)
    parts = name.split(".")
    if not parts[0]:
        raise NameNotFound(name, "the installed packages", ())
    for end in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if error.name is None or not f"{'.'.join(parts[:end])}.".startswith(f"{error.name}."):
                raise
            continue
        except (Exception, SystemExit) as error:  # a module may do anything while it is imported
            raise ImportError(f"{type(error).__name__} in {'.'.join(parts[:end])}: {error}") from error
        for part in parts[end:]:
            found = _attribute(found, part)
        return found
    packages = (each.name for each in pkgutil.iter_modules() if not each.name.startswith("_"))
    near = closest(parts[0], packages)
    raise NameNotFound(name, PACKAGES, [] if near is None else [".".join([near, *parts[1:]])])


def _attribute(namespace: Any, name: str) -> Any:
    try:
        return getattr(namespace, name)
    except AttributeError:
        where = namespace.__name__ if isinstance(namespace, (ModuleType, type)) else repr(namespace)
        known = (each for each in dir(namespace) if not each.startswith("_"))
        raise NameNotFound(name, where, known) from None


def signature_of(target: Callable[..., Any]) -> inspect.Signature | None:
    """The call signature, or None for the few compiled callables that have none."""
    try:
        return inspect.signature(target)
    except (ValueError, TypeError):
        return None


def full_name(target: Any) -> str:
    """Where people import `target` from, for messages: `torch.optim.adam.Adam` is `torch.optim.Adam`."""
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", repr(target))
    if module is None:
        return str(name)
    parts = module.split(".")
    for end in range(1, len(parts)):
        parent = ".".join(parts[:end])
        if getattr(sys.modules.get(parent), name, None) is target:
            return f"{parent}.{name}"
    return f"{module}.{name}"
