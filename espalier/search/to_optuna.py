"""A study as one of Optuna: for what Optuna works out of its trials, and for its dashboard."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from espalier.checkpoints.run_folder import TIME_FORMAT
from espalier.config.suggestions import install_command
from espalier.errors import UserError, explain
from espalier.search.axes import axes_of
from espalier.search.record import StudyRecord, TrialRecord, is_number

LEAST_TRIALS = 10  # finished ones, for an importance to mean anything
STEADY_TRIALS = 50  # Optuna's own advice: five among the best tenth


class NoOptunaError(UserError):
    """Optuna is not installed."""


def importances(record: StudyRecord) -> dict[str, dict[str, float]]:
    """For each objective the share of each parameter in what makes the best tenth of the trials, by the parameter.

    Source: Watanabe, Bansal and Hutter, PED-ANOVA, IJCAI 2023 (arXiv 2304.10255), as Optuna has it.

    Raises:
        NoOptunaError: it is not installed.
        ValueError: it finds nothing in these trials.
    """
    study = optuna_study(record, only=("finished",))
    import optuna

    found = {}
    for index, (mode, name) in enumerate(record.rules):
        sign = -1 if mode == "max" else 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that low values count as good ones, which is what is asked for here
            found[name] = optuna.importance.get_param_importances(
                study,
                evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
                target=lambda trial, sign=sign, index=index: sign * trial.values[index],  # type: ignore[misc]
            )
    return {name: {key: float(value) for key, value in shares.items()} for name, shares in found.items()}


def require_optuna() -> None:
    """Make sure that it is there.

    Raises:
        NoOptunaError: it is not installed; names the extra.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        head = "report error: this needs Optuna, which is not installed"
        raise NoOptunaError(explain(head, fix=install_command("optuna"))) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def optuna_study(record: StudyRecord, only: tuple[str, ...] | None = None, storage: Any = None) -> Any:
    """The same trials in a study of Optuna.

    Args:
        only: the states of those that it gets; None for all.
        storage: of Optuna; None for memory. A study of this name there is replaced.
    """
    require_optuna()
    import optuna

    if storage is not None:
        with suppress(KeyError):
            optuna.delete_study(study_name=record.name, storage=storage)
    directions: Any = ["maximize" if mode == "max" else "minimize" for mode, _ in record.rules]
    study = optuna.create_study(storage=storage, study_name=record.name, directions=directions)
    spaces = {axis.key: _distribution(axis.key, record) for axis in axes_of(record)}
    study.add_trials([_trial(each, record, spaces) for each in record.trials if only is None or each.state in only])
    return study


def _distribution(key: str, record: StudyRecord) -> Any:
    """What a parameter is taken from; of a list, or a damaged space, one of the values that there are."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    known = record.ranges.get(key)
    if known is None or known.kind == "choice":
        values = [_plain(each.params[key]) for each in record.trials if key in each.params]
        return CategoricalDistribution([*dict.fromkeys([*(known.labels if known else ()), *values])])
    if known.kind == "int":
        return IntDistribution(int(known.low), int(known.high), log=known.log, step=int(known.step or 1))
    return FloatDistribution(known.low, known.high, log=known.log, step=known.step)


def _plain(value: Any) -> Any:
    """A value as Optuna takes one for a category."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else json.dumps(value)


def _fits(value: Any, space: Any) -> bool:
    if hasattr(space, "choices"):
        return _plain(value) in space.choices
    return is_number(value) and space.low <= value <= space.high


def _trial(each: TrialRecord, record: StudyRecord, spaces: Mapping[str, Any]) -> Any:
    import optuna

    states = {"finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING",
              "stopped": "WAITING", "waiting": "WAITING"}  # fmt: skip
    params = {key: _plain(value) for key, value in each.params.items() if _fits(value, spaces[key])}
    told = {"trial": each.number, "run": each.trial.run_folder.name, **({"reason": each.reason} if each.reason else {})}
    made = optuna.create_trial(
        state=optuna.trial.TrialState[states[each.state]], params=params, user_attrs=told,
        distributions={key: spaces[key] for key in params}, intermediate_values=dict(_curve(each, record)),
        values=[each.objectives[name] for _, name in record.rules] if each.state == "finished" else None,
    )  # fmt: skip
    times = [_time(entry.get(name)) for name, entry in _ends(each)]
    if made.datetime_start is not None and times and times[0] is not None:
        made.datetime_start = times[0]
        if made.datetime_complete is not None:
            made.datetime_complete = times[1] or times[0] + timedelta(seconds=each.seconds or 0)
    return made


def _ends(each: TrialRecord) -> list[tuple[str, Mapping[str, Any]]]:
    """Where it stands when the run began and when it ended."""
    processes = [] if each.run is None else each.run.processes
    return [("started", processes[0]), ("ended", processes[-1])] if processes else []


def _time(text: Any) -> datetime | None:
    """As Optuna has it, of the clock on the wall."""
    with suppress(TypeError, ValueError):
        return datetime.strptime(text, TIME_FORMAT).astimezone().replace(tzinfo=None)
    return None


def _curve(each: TrialRecord, record: StudyRecord) -> Iterator[tuple[int, float]]:
    """The one objective by epoch."""
    if len(record.rules) == 1:
        for row in [] if each.run is None else each.run.epochs:
            if is_number(row.get(record.rules[0][1])):
                yield row["epoch"], row[record.rules[0][1]]


def fill_dashboard(record: StudyRecord | None, path: Path) -> str:
    """Copy the study into a database of SQLite, in place of the copy of before. Returns the command that shows it.

    Raises:
        UserError: there is no study, or the file cannot hold it.
    """
    if record is None:
        fix = "name the folder of a study, saved/studies/<name>/<study>"
        raise UserError(explain("report error: --dashboard is for one study", fix=fix))
    require_optuna()
    import optuna

    url = f"sqlite:///{path}"
    try:
        optuna_study(record, storage=optuna.storages.RDBStorage(url))
    except Exception as error:  # of SQLAlchemy, Alembic or Optuna
        first = str(error).strip().partition("\n")[0]
        fix = "name a file of its own, in a folder that is there"
        raise UserError(explain(f"report error: {path} cannot hold the study", got=first, fix=fix)) from error
    return f"optuna-dashboard {shlex.quote(url)}"
