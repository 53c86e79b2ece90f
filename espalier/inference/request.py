"""What the command line of `predict.py` asks for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from espalier.config.tree import COMMAND_LINE
from espalier.errors import ConfigError, Problem
from espalier.evaluation.request import check_file

FORMATS = (".csv", ".json", ".jsonl", ".parquet", ".npz")
STDIN = "-"


@dataclass(frozen=True)
class Request:
    """The flags, checked.

    Attributes:
        inputs: files and folders, or "-" for stdin.
        output: the file to write; None: stdout.
        draw: the folder for pictures; None for none.
        batch_size: None: as many as in evaluation.
        workers: how many of a loader read inputs, as `num_workers` in training.
        top: how many probabilities of each input to write; None for all.
        every_window: whether a file of a series stands for all of its windows, not for what comes next.
    """

    inputs: tuple[str, ...]
    output: Path | None = None
    draw: Path | None = None
    batch_size: int | None = None
    workers: int = 0
    top: int | None = None
    every_window: bool = False


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `asked_for` reads."""
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="files and folders; - for a list on stdin")
    parser.add_argument("-o", "--output", metavar="FILE", help=f"write a file: {', '.join(FORMATS)}")
    parser.add_argument("--draw", metavar="DIR", help="write a picture of each image and what is said of it")
    parser.add_argument("--batch-size", type=int, metavar="N", help="inputs at a time; else as in evaluation")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="workers that read inputs (default 0)")
    parser.add_argument("--top", type=int, metavar="K", help="only the K largest probabilities of each input")
    parser.add_argument("--every-window", action="store_true",
                        help="of a series: all windows of a file, not what comes after it")  # fmt: skip


def asked_for(args: argparse.Namespace) -> Request:
    """The request of a command line.

    Raises:
        ConfigError: a flag asks for what there is not.
    """
    if not args.inputs:
        fix = "name files or folders, or - for a list on stdin"
        raise ConfigError(Problem("INPUT", "is missing", COMMAND_LINE, fix=fix))
    for flag, least in (("batch_size", 1), ("workers", 0), ("top", 1)):
        value = getattr(args, flag)
        if value is not None and value < least:
            name = f"--{flag.replace('_', '-')}"
            raise ConfigError(Problem(name, "is too small", COMMAND_LINE, str(value), f"{least} or more"))
    output = None if args.output is None else Path(args.output).expanduser()
    draw = None if args.draw is None else Path(args.draw).expanduser()
    if output is not None:
        check_file(output, "--output", FORMATS)
        _check_apart(output, args.inputs)
    if draw is not None and draw.exists() and not draw.is_dir():
        raise ConfigError(Problem("--draw", "names a file", COMMAND_LINE, str(draw), "a folder"))
    return Request(tuple(args.inputs), output, draw, args.batch_size, args.workers, args.top, args.every_window)


def _check_apart(output: Path, inputs: list[str]) -> None:
    """Refuse to write over what is read."""
    for each in inputs:
        try:
            is_same = each != STDIN and output.exists() and output.samefile(each)
        except (OSError, ValueError):  # it is not there, which is told of the input
            is_same = False
        if is_same:
            what = "names a file that is an input, too"
            raise ConfigError(Problem("--output", what, COMMAND_LINE, str(output), "another file"))
