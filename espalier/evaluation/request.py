"""What the command line of `test.py` asks for beside the metrics."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from espalier.config.tree import COMMAND_LINE
from espalier.errors import ConfigError, Problem

_FORMATS = (".csv", ".parquet", ".npz")


@dataclass(frozen=True)
class Request:
    """The flags, checked.

    Attributes:
        predictions: the file to write; None for none.
        confusion: whether to count which class is taken for which.
        per_class: whether to measure each class by itself.
        worst: how many samples with the largest loss to show.
    """

    predictions: Path | None = None
    confusion: bool = False
    per_class: bool = False
    worst: int = 0

    @property
    def needs_outputs(self) -> bool:
        """Whether it asks for more than the value of each metric."""
        return self.predictions is not None or self.confusion or self.per_class or self.worst > 0


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `test.py` that `asked_for` reads."""
    kinds = ".csv, .parquet or .npz"
    parser.add_argument("--predictions", metavar="FILE", help=f"write what is said of each sample to a {kinds} file")
    parser.add_argument("--confusion", action="store_true", help="count which class is taken for which")
    parser.add_argument("--per-class", action="store_true", help="precision and recall of each class, and calibration")
    parser.add_argument("--worst", type=int, metavar="N", help="show the N samples with the largest loss")


def asked_for(args: argparse.Namespace) -> Request:
    """The request of a command line.

    Raises:
        ConfigError: a flag asks for what there is not.
    """
    path = None if args.predictions is None else Path(args.predictions)
    if path is not None:
        _check_file(path)
    if args.worst is not None and args.worst < 1:
        raise ConfigError(Problem("--worst", "is no number of samples", COMMAND_LINE, str(args.worst), "1 or more"))
    return Request(path, args.confusion, args.per_class, args.worst or 0)


def _check_file(path: Path) -> None:
    """Before anything is evaluated: an hour later is too late."""
    if path.suffix not in _FORMATS:
        what, fix = "names no format that can be written", f"write {path.with_suffix('.csv')}"
        raise ConfigError(Problem("--predictions", what, COMMAND_LINE, str(path), " or ".join(_FORMATS), fix=fix))
    if not path.parent.is_dir():
        what = "names a folder that is not there"
        raise ConfigError(Problem("--predictions", what, COMMAND_LINE, str(path.parent), fix=f"mkdir -p {path.parent}"))
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        what, fix = "needs the package pyarrow", 'pip install -e ".[parquet]"'
        raise ConfigError(Problem("--predictions", what, COMMAND_LINE, str(path), fix=fix))
