"""The loaders that a trainer keeps beside `data_loader` and `valid_data_loader`, under names of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from espalier.data.loaders import Endless, data_state, load_data_state

_MOST = 100  # items of a list or dict that is looked into
_METHODS = ("seek", "state_dict", "load_state_dict", "split_validation")  # of a BaseDataLoader


class OtherLoaders:
    """Every `BaseDataLoader` among some attributes, and in lists and dicts there; also one that `inf_loop` repeats.

    Args:
        attributes: by name.
        known: loaders that are seen to elsewhere.
    """

    def __init__(self, attributes: Mapping[str, Any], known: tuple[Any, ...]) -> None:
        found = dict(_loaders_in(attributes, depth=3))
        repeated = [each.loader for each in (*found.values(), *known) if isinstance(each, Endless)]
        seen = {id(each) for each in (*known, *repeated)}
        self._by_name: dict[str, Any] = {}
        for name, loader in found.items():
            if id(loader) not in seen:
                self._by_name[name] = loader
                seen.add(id(loader))

    def seek(self, epoch: int) -> None:
        """Let the next pass of each be that of `epoch`; one that is repeated goes on where it stands."""
        for loader in self._by_name.values():
            if not isinstance(loader, Endless):
                loader.seek(epoch)

    def state_dict(self, is_inside: bool) -> dict[str, Any]:
        """Where each stands; `is_inside` an epoch."""
        return {name: data_state(loader, is_inside and loader.is_resumable) for name, loader in self._by_name.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let each that has a state go on there."""
        for name in self._by_name.keys() & state.keys():
            load_data_state(self._by_name[name], state[name])


def _loaders_in(values: Any, depth: int) -> Iterator[tuple[str, Any]]:
    items = values.items() if isinstance(values, Mapping) else enumerate(values)
    for key, value in list(items):
        if _is_loader(value):
            yield str(key), value
        elif depth > 1 and type(value) in (dict, list, tuple) and len(value) <= _MOST:
            yield from ((f"{key}.{name}", each) for name, each in _loaders_in(value, depth - 1))


def _is_loader(value: Any) -> bool:
    return all(hasattr(type(value.loader if isinstance(value, Endless) else value), name) for name in _METHODS)
