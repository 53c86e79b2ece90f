"""`python parse_config.py --average`: which checkpoints of a run are averaged, and where their mean is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.checkpoints.folder import epoch_checkpoints, epoch_of, is_of_run, newest_checkpoint
from espalier.checkpoints.mean import RECORD, Member, mean_of_checkpoints
from espalier.checkpoints.run_folder import is_run_folder
from espalier.checkpoints.saved_shape import COUNT, NAMED, TEXT, Maybe, check_shape
from espalier.config.watched import parse_rule
from espalier.errors import CheckpointError, ConfigError, Problem, are, closest, counted, explain
from espalier.journal.metrics_file import read_rows

METRICS_NAME = "metrics.jsonl"


class _Chosen(NamedTuple):
    """Checkpoints to average.

    Attributes:
        what: in words; "" for files that were named.
        rule: what they were chosen by, "min val_loss" say.
        values: of it, by epoch.
        note: where the run is not over.
    """

    paths: list[Path]
    output: Path
    what: str = ""
    rule: str = ""
    values: Mapping[int, float] = {}
    note: str | None = None


def average(args: Any) -> list[str]:
    """Write the mean of the checkpoints that a command line names.

    Args:
        args: `average` (a run folder, with `best` or `last`, or files), `output` and `overwrite`.

    Returns:
        What was averaged and written, in lines.

    Raises:
        ConfigError: the arguments do not go together.
        CheckpointError: a checkpoint is not there, cannot be read, or does not fit the others; or the mean cannot be
            written.
    """
    places = [Path(name) for name in args.average]
    count = args.best or args.last
    if count is None:
        chosen = _named(places)
    else:
        chosen = _of_run(_only_folder(places, "--best" if args.best else "--last"), count, is_best=bool(args.best))
    output = chosen.output if args.output is None else Path(args.output)
    _check_output(output, may_replace=args.overwrite)
    state, members = mean_of_checkpoints(chosen.paths)
    if chosen.rule:
        state[RECORD].update(monitor=chosen.rule, values=[chosen.values[each.epoch] for each in members])
    try:
        save_checkpoint(state, output)
    except OSError as error:
        raise CheckpointError(explain(f"checkpoint error: {output} cannot be written", got=error.strerror)) from error
    return [*_told(chosen, members, state), f"Written to {output}; to evaluate it: python test.py -r {output}"]


def _only_folder(places: Sequence[Path], flag: str) -> Path:
    if not places[0].exists():
        raise CheckpointError(_not_there(places[0]))
    if len(places) > 1 or not places[0].is_dir():
        what, got = "is for one run folder", ", ".join(map(str, places))
        raise ConfigError(Problem(flag, what, None, got, fix=f"give a run folder, or files without {flag}"))
    return places[0]


def _not_there(path: Path) -> str:
    """The message for a run folder that is not there: which of those beside it is meant."""
    beside = sorted(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else []
    near = closest(path.name, beside)
    meant = None if near is None else str(path.with_name(near))
    return explain(f"checkpoint error: {path} is not there", closest=meant)


def _named(places: Sequence[Path]) -> _Chosen:
    """Files that were named one by one."""
    for index, path in enumerate(places):
        if path.is_dir():
            fix = f"say which: --average {path} --best 5, or --last 5"
            raise ConfigError(Problem("--average", "names a run folder, but not which checkpoints", None, str(path),
                                      fix=fix))  # fmt: skip
        for other in places[:index]:
            if path.exists() and other.exists() and path.samefile(other):
                got = f"{other} and {path}"
                raise ConfigError(Problem("--average", "names one file twice", None, got, fix="name it once"))
    return _Chosen([*places], places[0].with_name("average.pth"))


def _of_run(folder: Path, count: int, *, is_best: bool) -> _Chosen:
    """The best epochs of a run by its monitor, or its last ones."""
    path, _ = newest_checkpoint(folder)
    state = load_checkpoint(path, with_shards=False)
    check_shape(state, {"epoch": COUNT, "monitor?": {"rule": TEXT}, "config?": Maybe({"trainer?": NAMED})}, str(path))
    if state["epoch"] == 0:
        fix = f"let it go on first: python train.py -r {folder}"
        raise CheckpointError(explain(f"checkpoint error: {folder} has done no whole epoch yet", fix=fix))
    # Files of later epochs are left from before the run went back.
    files = {epoch_of(each): each for each in epoch_checkpoints(folder) if epoch_of(each) <= state["epoch"]}
    epochs = ((state.get("config") or {}).get("trainer") or {}).get("epochs")
    note = f"The run has done {state['epoch']} of {epochs} epochs." if state["epoch"] != epochs else None
    if not is_best:
        wanted = sorted(files)[-count:]
        if len(wanted) < count:
            what = f"the last {counted(count, 'checkpoint')}"
            raise _too_few(folder, what, _listed(files), len(files), state["epoch"], count)
        return _Chosen(
            [files[each] for each in wanted], folder / f"average-last{count}.pth", f"last {count}", note=note
        )
    rule = (state.get("monitor") or {}).get("rule", "off")
    mode, name = parse_rule(rule) or ("off", "")
    if mode == "off":
        what = "needs a run with a monitor, which says what is best"
        raise ConfigError(Problem("--best", what, None, f'"trainer.monitor": "{rule}" in {path}', fix="use --last"))
    values = _values(folder, name, state["epoch"])
    wanted = sorted(values, key=lambda epoch: (values[epoch] if mode == "min" else -values[epoch], epoch))[:count]
    there = [each for each in wanted if each in files]
    if len(there) < count:
        missing = [each for each in wanted if each not in files]
        got = _listed(there) + (f", but not {_listed(missing)}" if there and missing else "")
        what = f"the best {counted(count, 'checkpoint')} by {rule}"
        raise _too_few(folder, what, got, len(there), len(values), count)
    output = folder / f"average-best{count}.pth"
    return _Chosen([files[each] for each in wanted], output, f"best {count} by {rule}", rule, values, note)


def _values(folder: Path, name: str, epoch: int) -> dict[int, float]:
    """The value of each whole epoch that has one."""
    try:
        rows = read_rows(folder / METRICS_NAME)
    except OSError as error:
        head = "checkpoint error: which epochs are the best cannot be told"
        got = f"{folder / METRICS_NAME}: {error.strerror or error}"
        raise CheckpointError(explain(head, got=got, fix="use --last, or name files one by one")) from error
    found = {row["epoch"]: row.get(name) for row in rows if "seconds" in row and row["epoch"] <= epoch}
    return {key: float(value) for key, value in found.items()
            if isinstance(value, (int, float)) and math.isfinite(value)}  # fmt: skip


def _listed(epochs: Iterable[int]) -> str:
    """As in `epochs 1, 2, 3`."""
    names = [*map(str, sorted(epochs))]
    return f"epoch{'' if len(names) == 1 else 's'} {', '.join(names)}" if names else "none"


def _too_few(folder: Path, what: str, got: str, num_there: int, num_done: int, count: int) -> CheckpointError:
    """The error for a run that has not so many checkpoints, by its length or since it has not kept them.

    Args:
        num_done: of its epochs, those that may be asked for.
    """
    key = f"trainer.keep_{what.split()[1]}={min(count, num_done)}"
    if num_there == num_done:
        fix = "ask for fewer: no more epochs are done"
    elif count <= num_done:
        fix = f"ask for fewer; a run keeps them with {key}"
    else:
        done = f"{counted(num_done, 'epoch')} {are(num_done)} done"
        fix = f"ask for at most {num_there}: {done}, and a run keeps all of them with {key}"
    return CheckpointError(explain(f"checkpoint error: {folder} does not hold {what}", got=got, fix=fix))


def _check_output(output: Path, *, may_replace: bool) -> None:
    if is_run_folder(output.parent) and is_of_run(output.name):
        what = "is a name that a run gives to its own checkpoints"
        raise ConfigError(Problem("--output", what, None, str(output), fix="give another name"))
    if output.exists() and not may_replace:
        raise CheckpointError(
            explain(f"checkpoint error: {output} exists already", fix="give another name with --output, or --overwrite")
        )


def _told(chosen: _Chosen, members: Sequence[Member], state: Mapping[str, Any]) -> Iterator[str]:
    run = f", the {chosen.what} of {chosen.paths[0].parent}" if chosen.what else ""
    yield f"The mean of {len(members)} checkpoint{'' if len(members) == 1 else 's'}{run}:"
    for each in members:
        value = f"  {chosen.rule.split()[-1]} {chosen.values[each.epoch]:.6g}" if chosen.rule else ""
        name = each.path.name if chosen.what else each.path
        weights = "" if each.weights == "raw" else "  the average that it holds"
        yield f"  {name}  epoch {each.epoch}{value}{weights}"
    if chosen.note is not None:
        yield chosen.note
    if any(name.endswith("running_var") for name in state["state_dict"]):
        yield "Statistics of batch norm are averaged too, not measured anew (docs/training.md)."
