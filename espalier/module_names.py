"""The modules of a model by patterns of their names, as in `trainer.watch`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from espalier.errors import ConfigError, Problem, shorten
from espalier.patterns import meant_by, parts_of


def modules_matching(model: nn.Module, patterns: Sequence[str], path: str) -> list[tuple[str, nn.Module]]:
    """The modules whose names match one of `patterns` (`"layer1.*"`), as shells match files.

    Raises:
        ConfigError: a pattern matches none; `path` is where it stands in the config.
    """
    named = [(name, module) for name, module in model.named_modules(remove_duplicate=False) if name]
    for index, pattern in enumerate(patterns):
        if not any(fnmatchcase(name, pattern) for name, _ in named):
            names = [name for name, _ in named]
            what, expected = "matches no module of the model", f"a pattern for some of: {parts_of(names)}"
            raise ConfigError(Problem(f"{path}.{index}", what, None, shorten(pattern), expected,
                                      *meant_by(pattern, names)))  # fmt: skip
    found: dict[nn.Module, str] = {}  # one that stands under several names is taken once
    for name, module in named:
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            found.setdefault(module, name)
    return [(name, module) for module, name in found.items()]
