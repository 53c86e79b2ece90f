"""Several sets of data for one purpose, each with its name."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from itertools import chain
from typing import Any


class NamedLoaders:
    """Loaders by name, such as two validation sets; going through it gives the batches of each in turn.

    In `trainer.batches` each is a pass of its own, counted under its name.
    """

    def __init__(self, loaders: Mapping[str, Any]) -> None:
        self._loaders = dict(loaders)

    def items(self) -> ItemsView[str, Any]:
        """Name and loader of each."""
        return self._loaders.items()

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self._loaders.values())

    def __len__(self) -> int:
        return sum(map(len, self._loaders.values()))

    def __contains__(self, loader: object) -> bool:
        return any(loader is each for each in self._loaders.values())


def as_one(built: Any) -> Any:
    """What a section of data to evaluate has built, one loader or several by name, as one object."""
    if isinstance(built, dict):
        return NamedLoaders({name: as_one(each) for name, each in built.items()})
    return built.for_evaluation() if hasattr(built, "for_evaluation") else built


def each_of(loader: Any) -> list[Any]:
    """The loaders in what `as_one` gave."""
    return [each for _, each in loader.items()] if isinstance(loader, NamedLoaders) else [loader]
