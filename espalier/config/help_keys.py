"""What the framework itself says of a key of the config: its table, its rule, its default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from espalier.config.key import REQUIRED, Key
from espalier.config.schema import (
    FSDP,
    GROUP,
    INIT,
    INIT_FROM,
    KEYS,
    LAYER_DECAY,
    LOADER_ARGS,
    LOADERS,
    LORA,
    LOSS,
    MEMBER,
    PROFILE,
    SECTION,
    SEVERAL,
    SWA,
    TENSORBOARD,
    TOP,
    WHICH,
)
from espalier.config.settings import TRAINER
from espalier.config.space import EXAMPLE, RANGES
from espalier.config.tree import ConfigTree, KeyPath
from espalier.config.tune import KEYS_OF_STRATEGY, TUNE
from espalier.errors import shorten

_OF_FILE = {"extends": Key((str, list), None)}  # which is read with the file, and is in no config
# The keys of each section, by its path.
TABLES: dict[tuple[str, ...], Mapping[str, Key]] = {
    (): {**TOP, **_OF_FILE},
    **{(name,): SECTION for name in (*LOADERS, "writers")},
    **{(name,): keys for name, keys in KEYS.items()},
    ("loss",): LOSS,
    ("optimizer",): MEMBER,
    **{(name, "args"): LOADER_ARGS for name in LOADERS},
    ("arch", "init"): INIT,
    ("arch", "init_from"): INIT_FROM,
    ("arch", "lora"): LORA,
    ("optimizer", "param_groups"): GROUP,
    ("optimizer", "layer_decay"): LAYER_DECAY,
    ("trainer",): TRAINER,
    ("trainer", "fsdp"): FSDP,
    ("trainer", "swa"): SWA,
    ("trainer", "profile"): PROFILE,
    ("trainer", "tensorboard"): TENSORBOARD,
    ("tune",): TUNE,
    ("tune", "sampler"): KEYS_OF_STRATEGY,
    ("tune", "pruner"): KEYS_OF_STRATEGY,
}
# Sections in which any further key may stand, beside those of their tables.
OPEN = {("user",), ("tune", "space"), ("tune", "grid"), *((name, "args") for name in TOP), ("arch", "replace"),
        ("arch", "unfreeze_at"), ("arch", "init_from", "rename"), ("arch", "init", "args"),
        ("tune", "sampler", "args"), ("tune", "pruner", "args"), ("optimizer", "param_groups")}  # fmt: skip
_IN_LISTS = ("metrics", "loss", "optimizer", "writers")


class Found(NamedTuple):
    """How far a path is known.

    Attributes:
        names: the path as tables have it, without numbers of items and names of one of several.
        known: how many of these a table has.
        key: the rule for the last that is known; None for the config itself.
    """

    names: tuple[str, ...]
    known: int
    key: Key | None

    @property
    def is_whole(self) -> bool:
        """Whether all of the path is known."""
        return self.known == len(self.names)

    @property
    def is_open(self) -> bool:
        """Whether the rest of the path is not for the framework to know."""
        return self.names[: self.known] in OPEN

    @property
    def section(self) -> tuple[str, ...]:
        """What is known of the path."""
        return self.names[: self.known]


def find_key(path: KeyPath, tree: ConfigTree) -> Found:
    """How far the tables know a path."""
    names = _as_in_tables(path, tree) or tuple(map(str, path))
    key, known = None, 0
    for name in names:
        if (found := TABLES.get(names[:known], {}).get(name)) is None:
            break
        key, known = found, known + 1
    return Found(names, known, key)


def _as_in_tables(path: KeyPath, tree: ConfigTree) -> tuple[str, ...]:
    names = [str(each) for each in path if not str(each).isdecimal()]
    if len(names) > 1 and names[0] in SEVERAL and names[1] not in TABLES[(names[0],)]:
        section = tree.values.get(names[0])
        is_name = isinstance(section, dict) and isinstance(section.get(names[1]), dict) and "type" not in section
        if is_name or (len(names) > 2 and names[2] in TABLES[(names[0],)]):
            del names[1]  # of one of several
    return tuple(names)


def places_of(name: str) -> list[tuple[str, ...]]:
    """Every path at which a table has a key of that name."""
    return [(*section, name) for section, keys in TABLES.items() if name in keys]


def rule_of(key: Key) -> str:
    """What may stand there, and what holds without it."""
    if key.default is REQUIRED:
        return f"{key.expected()}; needed"
    return f"{key.expected()}; {'may be left out' if key.default is None else f'default {shorten(key.default)}'}"


def keys_under(section: tuple[str, ...]) -> Mapping[str, Key]:
    """The keys that may stand in a section; empty where there is no table of them."""
    if section == ("optimizer",):
        return {name: key for name, key in MEMBER.items() if name not in WHICH}
    return TABLES.get(section, {})


def ranges_told() -> Iterator[tuple[str, str]]:
    """How a range of `tune.space` is written: for each kind its keys, and an example."""
    for kind, keys in RANGES.items():
        each = (name if key.default is REQUIRED else f"{name} (may be left out)" for name, key in keys.items()
                if name != "type")  # fmt: skip
        yield kind, f'{{"type": "{kind}", ...}} with {", ".join(each)}'
    yield "example", f'"optimizer.args.lr": {EXAMPLE}'
