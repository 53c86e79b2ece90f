"""The `writers` section of a config: where the numbers of a run go."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from espalier.config.schema import entries_of
from espalier.config.suggestions import install_command
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import Problem, shorten

TENSORBOARD = "tensorboard"


def names_of(section: Any) -> list[str]:
    """What a list of writers calls each of them."""
    found = [each.get("type") if isinstance(each, dict) else each for each in section or ()]
    return [each for each in found if isinstance(each, str)]


def check_writers(tree: ConfigTree) -> Iterator[Problem]:
    """One writer twice, and TensorBoard both asked for and switched off."""
    section = tree.values.get("writers")
    if not isinstance(section, list):
        return
    seen: set[str] = set()
    for path, entry in entries_of("writers", section):
        for name in names_of([entry]):
            if name in seen:
                yield Problem(dotted(path), "names a writer twice", tree.origin(path), shorten(name),
                              fix="remove one of them")  # fmt: skip
            seen.add(name)
    trainer = tree.values.get("trainer")
    if TENSORBOARD in seen and isinstance(trainer, dict) and trainer.get("tensorboard") is False:
        here = ("trainer", "tensorboard")
        yield Problem(dotted(here), "switches off what writers asks for", tree.origin(here), "false",
                      fix='remove it, or "tensorboard" from writers')  # fmt: skip


def check_package(tree: ConfigTree, path: KeyPath, writer: Any) -> Iterator[Problem]:
    """A writer whose package is not installed."""
    package = getattr(writer, "package", None)
    if isinstance(package, str) and find_spec(package) is None:
        what = f"needs the package {package}, which is not installed"
        yield Problem(dotted(path), what, tree.origin(path), shorten(tree.at(path)), fix=install_command(package))
