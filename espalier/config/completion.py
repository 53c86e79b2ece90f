"""Completion of command lines by argcomplete, where that is installed: configs, runs, keys of the config.

A shell that completes runs the command with `_ARGCOMPLETE` set, and reads what is offered; else nothing happens here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from espalier.config.file import load_config
from espalier.config.help_keys import TABLES
from espalier.config.key import Key
from espalier.config.meanings import meaning_of
from espalier.config.room_names import names_in_source
from espalier.config.tree import ConfigTree
from espalier.config.tune import PRUNERS, SAMPLERS
from espalier.errors import ConfigError

_OFFERED = {"tune.sampler": SAMPLERS, "tune.pruner": PRUNERS}  # values that are only some of those that fit
_NOT_SET = {"extends"} | {".".join((*section, name)) for section, keys in TABLES.items() for name, key in keys.items()
             if dict in key.kinds and not {str, bool} & {*key.kinds}}  # fmt: skip
_FORMATS = ("onnx", "torch_export", "safetensors")  # of export.py


def completing(
    parser: argparse.ArgumentParser, rooms: Mapping[str, str] = MappingProxyType({})
) -> argparse.ArgumentParser:
    """The parser; where a shell asks for completions, they are given instead, and the process ends.

    Args:
        rooms: for each section, the module in which its `type` is looked up.
    """
    if "_ARGCOMPLETE" not in os.environ:
        return parser
    try:
        import argcomplete
    except ModuleNotFoundError:  # the shell has that of another environment
        raise SystemExit(1) from None
    for action in parser._actions:
        if (completer := _completer(action, parser.prog, rooms)) is not None:
            vars(action)["completer"] = completer
        if isinstance(action, argparse._HelpAction) and completer is not None:
            action.nargs = None  # what follows it is a key, and nothing else
    argcomplete.autocomplete(parser, always_complete_options="long")
    return parser


def _completer(
    action: argparse.Action, command: str, rooms: Mapping[str, str]
) -> Callable[..., Collection[str]] | None:
    """What completes the values of an argument; None for files of any kind."""
    if action.dest in ("config", "named"):
        return offered_configs
    if action.dest in ("resume", "runs", "model", "average", "diff"):
        if command == "report.py":
            return _studies_and_runs
        return _studies if command == "tune.py" else offered_runs
    if action.dest == "format":
        return _formats
    if isinstance(action, argparse._HelpAction) and action.nargs == "?":
        return _described(offered_keys)
    offered = partial(offered_overrides, rooms=rooms)
    return _described(offered) if action.dest in ("overrides", "grid") else None


def _described(offered: Callable[..., list[str]]) -> Callable[..., dict[str, str]]:
    """The same with what each key is for, which zsh and fish show beside it."""
    return lambda **given: {each: _meaning(each) for each in offered(**given)}


def _meaning(offered: str) -> str:
    *section, name = offered.rstrip("=.").split(".")
    is_known = name in TABLES.get(tuple(section), {})
    return meaning_of(tuple(section), name).text if is_known else ""


# Files


def offered_configs(prefix: str, **_: Any) -> list[str]:
    """Config files, and the folders on the way to them."""
    return [*_entries(prefix, (".json",))]


def _entries(prefix: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Folders, and files of some kinds, that begin so."""
    head, _, start = prefix.rpartition("/")
    folder = Path(f"{head}/" if "/" in prefix else ".").expanduser()
    if not folder.is_dir():
        return
    for each in sorted(folder.iterdir()):
        if each.name.startswith(start) and (start or not each.name.startswith((".", "__"))):
            written = f"{head}/{each.name}" if "/" in prefix else each.name
            if each.is_dir():
                yield f"{written}/"
            elif each.suffix in suffixes:
                yield written


def offered_runs(prefix: str, parsed_args: Any = None, **_: Any) -> list[str]:
    """Runs, the newest first; in the folder of one its checkpoints; else whatever has such a name."""
    return _folders("models", prefix, parsed_args) or [*_entries(prefix, (".pth", ".zip", ".json"))]


def _formats(**_: Any) -> list[str]:
    return [*_FORMATS]


def _studies(prefix: str, parsed_args: Any = None, **_: Any) -> list[str]:
    return _folders("studies", prefix, parsed_args)


def _studies_and_runs(prefix: str, parsed_args: Any = None, **_: Any) -> list[str]:
    return [*_studies(prefix, parsed_args), *offered_runs(prefix, parsed_args)]


def _folders(kind: str, prefix: str, parsed_args: Any) -> list[str]:
    """The folders of runs or studies, where the config says that they are."""
    trainer = _config(parsed_args).values.get("trainer")
    folder = trainer.get("save_dir") if isinstance(trainer, dict) else None
    saved = Path(folder if isinstance(folder, str) else TABLES[("trainer",)]["save_dir"].default)
    return [str(each) for each in _newest_first(saved.glob(f"{kind}/*/*")) if str(each).startswith(prefix)]


def _newest_first(folders: Iterable[Path]) -> list[Path]:
    found = [(each.stat().st_mtime, each) for each in folders if each.is_dir()]
    return [each for _, each in sorted(found, reverse=True)]


# Keys


def offered_keys(prefix: str, parsed_args: Any, **_: Any) -> list[str]:
    """Paths of keys and of sections, for `--help`."""
    paths = {path for path, _ in _known(parsed_args)}
    sections = {path.rpartition(".")[0] for path in paths} - {""}
    return _by_level(prefix, sorted(paths | sections))


def offered_overrides(
    prefix: str, parsed_args: Any, rooms: Mapping[str, str] = MappingProxyType({}), **_: Any
) -> list[str]:
    """`key.path=`, and after the sign the values that are known."""
    known = dict(_known(parsed_args))
    path, equals, _text = prefix.partition("=")
    if equals:
        return [f"{path}={value}" for value in dict.fromkeys((*known.get(path, ()), *_names_for(path, rooms)))]
    return _by_level(prefix, sorted(f"{each}=" for each in known if each not in _NOT_SET))


def _names_for(path: str, rooms: Mapping[str, str]) -> list[str]:
    """The names that may stand at the `type` of a section, or in the place of one that is a name alone."""
    section, _, name = path.partition(".")
    if path == "trainer.type":
        return names_in_source(section, section)
    names_one = name == "type" or path == "loss"
    return names_in_source(section, rooms[section]) if section in rooms and names_one else []


def _by_level(prefix: str, paths: list[str]) -> list[str]:
    """Those that begin so, each up to the next dot, as folders are completed; where only one goes on, what is in it."""
    matching = [path for path in paths if path.startswith(prefix)]
    stubs = [*dict.fromkeys(_up_to_dot(path, len(prefix)) for path in matching)]
    return _by_level(stubs[0], paths) if len(stubs) == 1 and stubs[0].endswith(".") else stubs


def _up_to_dot(path: str, start: int) -> str:
    end = path.find(".", start)
    return path if end < 0 else path[: end + 1]


def _known(parsed_args: Any) -> Iterator[tuple[str, list[str]]]:
    """The paths of keys, from the tables and the config, each with the values that are known."""
    tree = _config(parsed_args)
    for section, keys in TABLES.items():
        for name, key in keys.items():
            path = ".".join((*section, name))
            yield path, [*_values(key), *_OFFERED.get(path, ())]
    for place, value in _leaves(tree.values, ()):
        rule = TABLES.get(place[:-1], {}).get(place[-1])
        now = [] if value in (None, "") or isinstance(value, list) else [_written(value)]
        yield ".".join(place), list(dict.fromkeys([*now, *(_values(rule) if rule else ())]))


def _config(parsed_args: Any) -> ConfigTree:
    """The config of `-c`, or of this folder; an empty one where it cannot be read."""
    named = None if parsed_args is None else vars(parsed_args).get("config")
    first = named[0] if isinstance(named, list) and named else named
    try:
        return load_config(first or "config.json")
    except ConfigError:  # the keys are known without it
        return ConfigTree({})


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, (*path, str(name)))
    elif path and not any("." in name or "=" in name for name in path):
        yield path, value


def _values(key: Key) -> list[str]:
    """The values of a key that has few."""
    choices = key.choices or ((True, False) if bool in key.kinds else ())
    return [_written(each) for each in (*choices, *key.also)]


def _written(value: Any) -> str:
    """A value as one types it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value)
