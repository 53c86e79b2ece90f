"""What the command line of `test.py` asks for beside the metrics."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from espalier.config.tree import COMMAND_LINE
from espalier.errors import ConfigError, Problem, closest

FLIPS = {"hflip": -1, "vflip": -2}  # the axis of an image that each turns round
CROPS = "five_crop"
_FORMATS = (".csv", ".parquet", ".npz")


@dataclass(frozen=True)
class Request:
    """The flags, checked.

    Attributes:
        predictions: the file to write; None for none.
        confusion: whether to count which class is taken for which.
        per_class: whether to measure each class by itself.
        worst: how many samples with the largest loss to show.
        intervals: whether to give intervals of all metrics, whatever time that takes.
        tta: views of each image whose outputs are averaged, see `tta.py`.
    """

    predictions: Path | None = None
    confusion: bool = False
    per_class: bool = False
    worst: int = 0
    intervals: bool = False
    tta: tuple[str, ...] = ()

    @property
    def needs_outputs(self) -> bool:
        """Whether it asks for more than the value of each metric."""
        return self.predictions is not None or self.confusion or self.per_class or self.worst > 0

    def apart(self, label: str) -> Request:
        """The same for one of several evaluations: what it writes has another name."""
        path = self.predictions
        if path is None or not label:
            return self
        return replace(self, predictions=path.with_name(f"{path.stem}-{label}{path.suffix}"))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `test.py` that `asked_for` reads."""
    kinds = ".csv, .parquet or .npz"
    parser.add_argument("--predictions", metavar="FILE", help=f"write what is said of each sample to a {kinds} file")
    parser.add_argument("--confusion", action="store_true", help="count which class is taken for which")
    parser.add_argument("--per-class", action="store_true", help="precision and recall of each class, and calibration")
    parser.add_argument("--intervals", action="store_true", help="95 %% intervals also of metrics where they take long")
    parser.add_argument("--tta", metavar="VIEWS", help="average over views: hflip,vflip,five_crop,user.BLOCK:N")
    parser.add_argument("--worst", type=int, metavar="N", help="show the N samples with the largest loss")


def evaluations_of(args: argparse.Namespace) -> list[tuple[argparse.Namespace, Request]]:
    """Each checkpoint that a command line names with the data of each config: as a command line of its own.

    Predictions of several evaluations go into files of their own: `out-<checkpoint>-<config>.csv`.

    Raises:
        ConfigError: a flag asks for what there is not.
    """
    # A word behind `-r X` is one more checkpoint, or a value of the config.
    words = dict.fromkeys(args.resume)
    values = [word for word in words if "=" in word and not Path(word).exists()]
    places = [word for word in words if word not in values]
    if not places:
        raise ConfigError(Problem("-r", "names no checkpoint", COMMAND_LINE, " ".join(values)))
    configs = [*dict.fromkeys(args.config or [None])]
    request, pairs = asked_for(args), [(place, config) for place in places for config in configs]
    labels = _distinct([_label(place, config, len(places) > 1, len(configs) > 1) for place, config in pairs])
    found = []
    for label, (place, config) in zip(labels, pairs, strict=True):
        given = {**vars(args), "resume": place, "config": config, "overrides": [*args.overrides, *values]}
        found.append((argparse.Namespace(**given), request.apart(label)))
    return found


def _distinct(labels: list[str]) -> list[str]:
    """The labels, with numbers behind those that are alike, also but for case: none names the file of another."""
    are_alike = Counter(label.casefold() for label in labels)
    found, taken = [], {label for label, count in are_alike.items() if count == 1}
    for number, label in enumerate(labels, start=1):
        if are_alike[label.casefold()] > 1:
            label = f"{label}-{number}"
            while label.casefold() in taken:
                label += "-"
        taken.add(label.casefold())
        found.append(label)
    return found


def _label(place: str, config: str | None, has_others: bool, has_other_data: bool) -> str:
    """What tells an evaluation from the others of a command: run or checkpoint, and config."""
    path = Path(place).resolve()
    checkpoint = f"{path.parent.name}-{path.stem}" if path.is_file() else path.name
    parts = [checkpoint] * has_others + [Path(config or "").stem] * has_other_data
    return "-".join(parts)


def asked_for(args: argparse.Namespace) -> Request:
    """The request of a command line.

    Raises:
        ConfigError: a flag asks for what there is not.
    """
    path = None if args.predictions is None else Path(args.predictions)
    if path is not None:
        check_file(path)
    if args.worst is not None and args.worst < 1:
        raise ConfigError(Problem("--worst", "is no number of samples", COMMAND_LINE, str(args.worst), "1 or more"))
    tta = tuple(dict.fromkeys(each.strip() for each in args.tta.split(","))) if args.tta is not None else ()
    for name in tta:
        _check_view(name)
    return Request(path, args.confusion, args.per_class, args.worst or 0, args.intervals, tta)


def check_file(path: Path, flag: str = "--predictions", formats: Sequence[str] = _FORMATS) -> None:
    """Make sure that a file can be written, before anything is evaluated: an hour later is too late.

    Raises:
        ConfigError: its format is none of these, or there is no place for it.
    """
    if path.suffix not in formats:
        what, fix = "names no format that can be written", f"write {path.with_suffix('.csv')}"
        raise ConfigError(Problem(flag, what, COMMAND_LINE, str(path), " or ".join(formats), fix=fix))
    if not path.parent.is_dir():
        what = "names a folder that is not there"
        raise ConfigError(Problem(flag, what, COMMAND_LINE, str(path.parent), fix=f"mkdir -p {path.parent}"))
    if path.is_dir():
        raise ConfigError(Problem(flag, "names a folder", COMMAND_LINE, str(path), "a file"))
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        what, got = "names a folder that cannot be written to", f"{path.parent}: {error.strerror or error}"
        raise ConfigError(Problem(flag, what, COMMAND_LINE, got)) from None
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        what, fix = "needs the package pyarrow", 'pip install -e ".[parquet]"'
        raise ConfigError(Problem(flag, what, COMMAND_LINE, str(path), fix=fix))


def _check_view(name: str) -> None:
    if name in (*FLIPS, CROPS) or re.fullmatch(r"user\.[^.:]+(:[1-9]\d*)?", name):
        return
    expected = f"{', '.join(FLIPS)}, {CROPS}, or user.<name> for a transform in the config, user.<name>:8 for 8 views"
    near = closest(name, (*FLIPS, CROPS))
    raise ConfigError(Problem("--tta", "names no view", COMMAND_LINE, name, expected, closest=near))
