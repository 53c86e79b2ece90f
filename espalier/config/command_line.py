"""What a command line says, beside the config it names."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from espalier.config.completion import completing
from espalier.config.help import file_for_help, help_on
from espalier.config.help_layout import width_of_terminal
from espalier.config.overrides import parse_bool
from espalier.config.tree import COMMAND_LINE
from espalier.errors import ConfigError, Problem, printable

# Flags of train.py for what goes before a run, and leaves none behind.
TRIALS = ("check", "overfit", "find_lr", "find_batch_size")


def parse_command(
    args: Any, options: Iterable[Any], evaluating: bool, rooms: Mapping[str, str] | None = None
) -> tuple[Any, dict[Any, Any]]:
    """The arguments of a command, and what its flags set in the config, by their targets.

    Args:
        args: a parser, to which what every command has is added, or what it parsed: then `options` do not count.
        options: see `ConfigParser.from_args`.
        evaluating: for a command that needs `-r`.
        rooms: for each section, the module in which its `type` is looked up; None: `--help` tells of keys alone.
    """
    modification: dict[Any, Any] = {}
    if isinstance(args, argparse.ArgumentParser):
        args, modification = _parsed(args, options, evaluating, rooms or {})
    if getattr(args, "auto_resume", False):
        modification["trainer;auto_resume"] = True
    device: str | None = getattr(args, "device", None)
    if device is not None:
        for name in ("CUDA_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"):  # the latter for Intel's
            os.environ[name] = device  # before anything touches CUDA
        if "," in device and not evaluating:
            modification.setdefault("n_gpu", len(device.split(",")))
    return args, modification


def _parsed(
    parser: argparse.ArgumentParser, options: Iterable[Any], evaluating: bool, rooms: Mapping[str, str]
) -> tuple[argparse.Namespace, dict[Any, Any]]:
    given = {name for action in parser._actions for name in action.option_strings or [""]}  # "" is an argument
    targets = {
        parser.add_argument(
            *each.flags,
            type=parse_bool if each.type is bool else each.type,
            help=f"sets {str(each.target).replace(';', '.')}",
        ).dest: each.target
        for each in options
    }
    if "" not in given:
        parser.add_argument(
            "overrides",
            nargs="*",
            metavar="key.path=value",
            help="set any value of the config, as in optimizer.args.lr=0.01",
        )
    if "--debug" not in given:
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    _word_help(parser)
    completing(parser, rooms)
    for action in parser._actions:
        if type(action) is argparse._StoreAction and action.option_strings:
            action.__class__ = _StoreOnce
            vars(action).pop("given", None)  # of a parser that was used before
    args = parser.parse_intermixed_args() if "" not in given else parser.parse_args()
    modification = {target: getattr(args, dest) for dest, target in targets.items() if getattr(args, dest) is not None}
    _tell_what_is_asked(args, modification, rooms)
    trial = trial_of(args)
    if trial is not None and trial[0] == "overfit" and trial[1] < 1:
        parser.error(f"argument --overfit: {trial[1]} batches are none to train on; 1 is the least")
    if getattr(args, "resume", None) is not None and not _is_named(args.config, parser):
        args.config = None
    needed = [args.resume] if evaluating else [getattr(args, "config", None), getattr(args, "resume", None)]
    if all(each is None for each in needed):
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    return args, modification


_METAVARS = {"config": "FILE", "resume": "RUN", "device": "GPU"}  # where a command gives no other


class _StoreOnce(argparse._StoreAction):
    """A flag with a value; argparse lets the last of several win."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before = vars(self).setdefault("given", values)
        if str(before) != str(values):  # nan is like no other
            what, got = "is given twice", f"{before} and {values}"
            fix = 'give one; a config that "extends" another, or several, takes values from all' * (
                self.dest == "config"
            )
            raise ConfigError(Problem(self.option_strings[0], what, COMMAND_LINE, got, fix=fix or "give one"))
        super().__call__(parser, namespace, values, option_string)


class _HelpOn(argparse._HelpAction):
    """`--help` as always, and `--help KEY`, which is answered when all of the command line is known."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if values is None:
            super().__call__(parser, namespace, values, option_string)
        namespace.help_on = values
        for action in parser._actions:
            action.required = False


def _word_help(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if action.metavar is None and action.option_strings:
            action.metavar = _METAVARS.get(action.dest)
        if type(action) is argparse._HelpAction:
            action.__class__ = _HelpOn
            action.nargs, action.metavar = "?", "KEY"
            action.help = "show this message and exit; with a key such as trainer.epochs, or a class, tell of that"


def _tell_what_is_asked(args: Any, modification: Mapping[Any, Any], rooms: Mapping[str, str]) -> None:
    """Answer `--help KEY`, if that is what a command line says, and exit."""
    given = vars(args)
    if (key := given.pop("help_on", None)) is None:
        return
    others = given.get("overrides") or []
    words = [key, *(each for each in others if "=" not in each)]
    file = file_for_help(given.get("config"), given.get("resume"))
    print(*map(printable, help_on(words, file, others, modification, rooms, width_of_terminal())), sep="\n")
    raise SystemExit(0)


def parse_show_command(rooms: Mapping[str, str]) -> argparse.Namespace:
    """The arguments of `python parse_config.py`; exits with 2 where they ask for nothing.

    Args:
        rooms: for each section, the module in which its `type` is looked up.
    """
    parser = argparse.ArgumentParser(
        description="Check and show a config: python parse_config.py config.json trainer.epochs=5"
    )
    parser.add_argument("config", nargs="?", help="the config file")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="values that replace those of the file")
    parser.add_argument("-c", "--config", dest="named", metavar="FILE", help="the config file, as for train.py")
    parser.add_argument("--json", action="store_true", help="print the values alone, as JSON")
    parser.add_argument("--diff", nargs=2, metavar=("A", "B"), help="compare two configs, run folders or checkpoints")
    parser.add_argument("--schema", action="store_true", help="print a JSON Schema for editors")
    parser.add_argument("--convert", nargs=2, metavar=("OLD", "NEW"), help="bring over a classic template's checkpoint")
    parser.add_argument("--average", nargs="+", metavar="RUN", help="write the mean of checkpoints: of a run, or files")
    parser.add_argument("--best", type=int, metavar="K", help="of the run to average, the K best epochs")
    parser.add_argument("--last", type=int, metavar="K", help="of the run to average, the last K epochs")
    parser.add_argument("--output", metavar="FILE", help="where to write the mean; else beside what it is the mean of")
    parser.add_argument("--overwrite", action="store_true", help="let the mean take the place of a file")
    parser.add_argument("--trust", action="store_true", help="believe what the checkpoint to convert says")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    _word_help(parser)
    args = completing(parser, rooms).parse_intermixed_args()
    if args.named is not None:
        args.overrides = [*([] if args.config is None else [args.config]), *args.overrides]
        args.config = args.named
    _tell_what_is_asked(args, {}, rooms)
    _check_average(parser, args)
    if not (args.diff or args.convert or args.average or args.schema) and args.config is None:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    return args


def _check_average(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse flags of `--average` that do not go together, or without it."""
    given = {name: getattr(args, name) for name in ("best", "last", "output", "overwrite")}
    if not args.average and (alone := [name for name in given if given[name] is not None and given[name] is not False]):
        parser.error(f"argument --{alone[0]}: goes with --average")
    if args.best is not None and args.last is not None:
        parser.error("argument --last: not allowed with argument --best")
    for name in ("best", "last"):
        if given[name] is not None and given[name] < 1:
            parser.error(f"argument --{name}: {given[name]} checkpoints have no mean; 1 is the least")


def trial_of(args: Any) -> tuple[str, Any] | None:
    """What is to be done before a run; a flag of that name is a project's own where the others are not there."""
    names = TRIALS if all(hasattr(args, name) for name in TRIALS) else TRIALS[:1]
    given = {name: getattr(args, name, None) for name in names}
    return next(((name, value) for name, value in given.items()
                 if value is True or (name == "overfit" and type(value) is int)), None)  # fmt: skip


def _is_named(config: str | None, parser: argparse.ArgumentParser) -> bool:
    """Whether `-c` stands on the command line: with `-r`, the default of a project's own parser does not count."""
    flags = [name for action in parser._actions if action.dest == "config" for name in action.option_strings]
    words = [word for word in sys.argv[1:] if any(word.startswith(flag) for flag in flags)]
    return config != parser.get_default("config") or bool(words)
