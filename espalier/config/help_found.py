"""The classes that `--help` tells of: those that a config names, and those that it could name."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from espalier.config.help_class import Named
from espalier.config.json_schema import choices_of
from espalier.config.objects import NameNotFound, find_object, full_name
from espalier.config.overrides import value_at
from espalier.config.suggestions import homes_of
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.config.trust import find
from espalier.errors import UserError, explain

TRAINER = "trainer"  # the room of trainer.type
_BY_NAME = ("loss", "metrics", "writers")  # sections in which a text is the name itself


class HelpError(UserError):
    """Help that was asked for something that is not there."""


class NotSeenError(Exception):
    """A class that cannot be looked at.

    Attributes:
        reason: why.
        closest: the most similar name that there is, if one is near.
    """

    def __init__(self, reason: str, closest: str | None = None) -> None:
        super().__init__(reason + (f"; closest: {closest}" if closest else ""))
        self.reason, self.closest = reason, closest

    def as_answer(self) -> HelpError:
        """As the answer to somebody who asked for this very class."""
        return HelpError(explain(f"help error: {self.reason}", closest=self.closest))


class Finder:
    """Finds what a config names.

    Args:
        tree: the config.
        rooms: for each section, the module in which its `type` is looked up.

    Attributes:
        passed_over: why a module was not searched, each once.
    """

    def __init__(self, tree: ConfigTree, rooms: Mapping[str, str]) -> None:
        self._tree, self._rooms = tree, rooms
        self.passed_over: list[str] = []

    def knows(self, section: object) -> bool:
        """Whether a section names something in a room."""
        return section in self._rooms

    def room(self, section: str) -> Any:
        """The module in which the `type` of a section is looked up.

        Raises:
            NotSeenError: it cannot be imported.
        """
        name = self._rooms.get(section, TRAINER)
        return _seen(name, lambda: importlib.import_module(name))

    def block_around(self, path: KeyPath) -> KeyPath | None:
        """The nearest section or block at a path or above it that names a class."""
        if path[0] not in self._rooms:
            return None
        for end in range(len(path), 0, -1):
            value = value_at(self._tree.values, path[:end])
            is_entry = path[0] in _BY_NAME and (end == 1 or (end == 2 and str(path[1]).isdecimal()))
            if is_entry and isinstance(value, str):
                return path[:end]
            if isinstance(value, dict) and isinstance(value.get("type"), str):
                return path[:end]
        return None

    def at(self, block: KeyPath) -> Named:
        """What the section or block at a path names.

        Raises:
            NotSeenError: nothing, or what cannot be imported.
        """
        value, section = value_at(self._tree.values, block), str(block[0])
        place = block if isinstance(value, str) else (*block, "type")
        kind = value.get("type") if isinstance(value, dict) else value
        if not isinstance(kind, str):
            raise NotSeenError(f"{dotted(block)} names nothing")
        room = None if "." in kind else self.room(section)
        return Named(_seen(kind, lambda: find(self._tree, place, kind, room)), block, section, self._tree)

    def in_room(self, section: str, kind: str) -> Named:
        """What could stand in a section.

        Raises:
            NotSeenError: there is no such class, or it cannot be imported.
        """
        room = None if "." in kind else self.room(section)
        return Named(_seen(kind, lambda: find_object(kind, room)), (section,), section, ConfigTree({}))

    def by_name(self, name: str) -> Named | None:
        """A class or function by its name in a room, or in one of the modules beside them; None where there is none.

        Raises:
            NotSeenError: a dotted path leads nowhere, or to something else.
        """
        if "." in name:
            target = _seen(name, lambda: find_object(name, None))
            if not callable(target):
                raise NotSeenError(f"{name} is no class or function")
            return self._of_section(target)
        for home in dict.fromkeys((*self._rooms.values(), *homes_of(name))):
            try:
                found = vars(_seen(home, lambda home=home: importlib.import_module(home))).get(name)  # type: ignore[misc]
            except NotSeenError as error:  # one of many places that are searched
                self.passed_over.append(error.reason)
                continue
            if callable(found):
                return self._of_section(found)
        return None

    def names(self) -> list[str]:
        """The names that a `type` may have, of every room that can be imported."""
        names: list[str] = []
        for section in self._rooms:
            with contextlib.suppress(NotSeenError):  # told already, by whom it was searched for
                names += choices_of(section, self.room(section))
        return names

    def _of_section(self, target: Any) -> Named:
        home = full_name(target).rpartition(".")[0]
        section = next((section for section, room in self._rooms.items() if room == home), "")
        return Named(target, (section,) if section else (), section, ConfigTree({}))


def _seen(name: str, look: Callable[[], Any]) -> Any:
    """What `look` finds.

    Raises:
        NotSeenError: it finds nothing, or what it imports fails.
    """
    try:
        return look()
    except NameNotFound as error:
        raise NotSeenError(f"{name} is not in {error.where}", error.closest) from error
    except (Exception, SystemExit) as error:  # a project's own module may do anything while it is imported
        raise NotSeenError(f"{name} cannot be looked at: {type(error).__name__}: {error}") from error
