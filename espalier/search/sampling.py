"""What a search asks of Optuna: the values of the next trial, and whether one that runs may be given up.

Its storage is a journal file in the folder of the study, or whatever `tune.storage` names. What a new trial is given is
a function of the seed, its number, and what is known of the trials then; who asks, and how often it was begun, is not.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from espalier.config.objects import signature_of
from espalier.config.space import Range, sample
from espalier.config.suggestions import install_command
from espalier.config.tune import is_search
from espalier.errors import ConfigError, Problem, closest, shorten
from espalier.file_lock import file_lock
from espalier.rng import mix_seed
from espalier.search.objectives import Rule
from espalier.search.study import Study, Trial
from espalier.seeds import DEFAULT_SEED

JOURNAL = "journal.log"


class Sampling:
    """The study as Optuna knows it.

    Args:
        study: with a space.
        rules: its objectives.

    Raises:
        ConfigError: Optuna is not installed; it has no such sampler or pruner, or they do not take these arguments; the
            storage cannot be used.
    """

    def __init__(self, study: Study, rules: Sequence[Rule]) -> None:
        check_search(study.section, len(rules))
        import optuna

        self._own, self._space, self._section, self._rules = study, study.space, study.section, rules
        seeds = self._section.get("seed"), study.config.get("seed"), DEFAULT_SEED
        self._seed = next(int(each) for each in seeds if each is not None)
        directions: list[Any] = ["maximize" if mode == "max" else "minimize" for mode, _ in rules]
        pruner = _strategy(self._section, "pruner", 0) or optuna.pruners.NopPruner()
        name = f"{study.config['name']}/{study.name}"
        url = self._section.get("storage")
        path, got = ("tune.storage", url) if url is not None else ("tune", str(study.folder / JOURNAL))
        origin = study.tree.origin(("tune", "storage")) if url is not None else None
        try:
            storage = storage_of(study.folder, self._section)
            self._study = optuna.create_study(storage=storage, study_name=name, directions=directions, pruner=pruner,
                                              load_if_exists=True)  # fmt: skip
        except Exception as error:  # of whatever database
            what = f"cannot be used: {str(error).strip().partition(chr(10))[0]}"
            fix = None if url is not None else "remove the journal: it is written again from the trials"
            raise ConfigError(Problem(path, what, origin, shorten(got), fix=fix)) from error
        if not self._knows_only_ours():
            what = f"has other trials under the name of this study, {name}"
            fix = f"give this study a name of its own, --name {study.name}2, or remove the other one"
            raise ConfigError(Problem(path, what, origin, shorten(got), fix=fix))

    def _knows_only_ours(self) -> bool:
        ours = {each.number: each.record["params"] for each in self._own.trials()}
        return all(
            known.params.items() <= ours.get(known.number, known.params).items()
            and (ours or not known.state.is_finished())
            for known in self._study.get_trials(deepcopy=False)
        )

    def _restore(self) -> None:
        """Tell Optuna again of trials that a lost or cut journal has lost."""
        for trial in self._own.trials():
            known = self._study.get_trials(deepcopy=False)
            if trial.number < len(known) and known[trial.number].params == trial.record["params"]:
                continue
            while trial.number >= len(self._study.get_trials(deepcopy=False)):
                self._study.ask()
            identity = self._study.get_trials(deepcopy=False)[trial.number]._trial_id
            self._study._storage.set_trial_system_attr(identity, "fixed_params", trial.record["params"])
            self._values(self._optuna_trial(trial.number))

    def sample(self, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """What trial `number` sets in the config, by dotted path; and its parameters."""
        self._restore()
        self.tell_all(self._own.trials())
        trials = self._study.get_trials(deepcopy=False)
        if number < len(trials):  # asked for by a process that was killed before it could write that down
            trial = self._optuna_trial(number)
        else:
            self._study.sampler = _strategy(self._section, "sampler", mix_seed(self._seed, number) % 2**31)
            trial = self._study.ask()
        return self._values(trial), trial.params

    def _values(self, trial: Any) -> Any:
        with _without_warnings():  # of a range that is no multiple of its step
            return sample(self._space, lambda each: _suggested(trial, each))

    def tell_all(self, trials: Sequence[Trial]) -> None:
        """Tell how those of these ended that Optuna takes for running."""
        known = self._study.get_trials(deepcopy=False)
        for trial in trials:
            is_new = trial.number < len(known) and not known[trial.number].state.is_finished()
            if is_new and trial.state is not None:
                self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        import optuna

        states = {"finished": optuna.trial.TrialState.COMPLETE, "pruned": optuna.trial.TrialState.PRUNED,
                  "failed": optuna.trial.TrialState.FAIL}  # fmt: skip
        state = states[str(trial.state)]
        values = [trial.record["objectives"][name] for _, name in self._rules] if trial.state == "finished" else None
        self._study.tell(trial.number, values, state, skip_if_finished=True)

    def may_go_on(self, number: int, step: int, value: float) -> bool:
        """Report the value of a running trial at a step; False where the pruner gives it up."""
        trial = self._optuna_trial(number)
        if step not in self._study.get_trials(deepcopy=False)[number].intermediate_values:
            trial.report(value, step)
        return not trial.should_prune()

    def _optuna_trial(self, number: int) -> Any:
        from optuna.trial import Trial as OptunaTrial

        return OptunaTrial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)


def require_optuna() -> Any:
    """The module.

    Raises:
        ConfigError: it is not installed; names the extra.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        what, fix = "is searched by Optuna, which is not installed", install_command("optuna")
        raise ConfigError(Problem("tune.space", what, fix=fix)) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def storage_of(folder: Path, section: Mapping[str, Any]) -> Any:
    """Where Optuna keeps the study."""
    if section.get("storage") is not None:
        import optuna

        return optuna.storages.get_storage(section["storage"])
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = folder / JOURNAL
    lock: Any = _Lock(path.with_name(".journal.lock"))
    _drop_half_line(path, lock)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _drop_half_line(path: Path, lock: Any) -> None:
    """Cut off what a process that was killed, or a full disk, has left of a last line: Optuna would add to it."""
    lock.acquire()
    try:
        if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    finally:
        lock.release()


class _Lock:
    """A lock that the operating system frees when its process dies: Optuna's own stays, and is waited for."""

    def __init__(self, path: Path) -> None:
        self._path, self._held = path, contextlib.ExitStack()

    def acquire(self) -> bool:
        self._held.enter_context(file_lock(self._path, "writes the journal of this study"))
        return True

    def release(self) -> None:
        self._held.close()


def _suggested(trial: Any, each: Range) -> Any:
    if each.kind == "choice":
        labels = each.labels
        return labels.index(trial.suggest_categorical(each.name, labels))
    if each.kind == "int":
        return trial.suggest_int(each.name, each.low, each.high, log=each.log, step=int(each.step or 1))
    return trial.suggest_float(each.name, each.low, each.high, log=each.log, step=each.step)


def check_search(section: Mapping[str, Any], num_objectives: int) -> None:
    """Make sure that what is searched can be: Optuna is there, and has its sampler and pruner.

    Raises:
        ConfigError: it cannot; or several objectives are pruned.
    """
    if not is_search(section):
        return
    require_optuna()
    for name in ("sampler", "pruner"):
        _strategy(section, name, 0)
    if section.get("pruner") is not None and num_objectives > 1:
        what, fix = "does not go with several objectives, of which none says alone what is worse", "remove it"
        raise ConfigError(Problem("tune.pruner", what, got=shorten(section["pruner"]), fix=fix))


def _strategy(section: Mapping[str, Any], name: str, seed: int) -> Any:
    """The sampler or pruner of a section; of a sampler that is left out TPE, of a pruner None."""
    import optuna

    given = section.get(name)
    if given is None:
        return None if name == "pruner" else optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    kind, args = (given, {}) if isinstance(given, str) else (given.get("type"), dict(given.get("args") or {}))
    room = getattr(optuna, f"{name}s")
    known = [each for each in room.__all__ if each.lower().endswith(name) and not each.startswith("Base")]
    if kind not in known:
        what, near = f"names no {name} of Optuna", closest(str(kind), known)
        raise ConfigError(Problem(f"tune.{name}", what, None, shorten(given), f"one of: {', '.join(known)}", near))
    if isinstance(args.get("wrapped_pruner"), (str, dict)):  # of PatientPruner
        args["wrapped_pruner"] = _strategy({"pruner": args["wrapped_pruner"]}, "pruner", seed)
    made = getattr(room, kind)
    try:
        with _without_warnings():
            return made(**args) if "seed" in args or name == "pruner" else _with_seed(made, args, seed)
    except (TypeError, ValueError) as error:
        raise ConfigError(Problem(f"tune.{name}.args", f"does not fit: {error}", got=shorten(args))) from error


def _with_seed(made: Any, args: dict[str, Any], seed: int) -> Any:
    signature = signature_of(made)
    takes_it = signature is not None and "seed" in signature.parameters
    return made(**args, **({"seed": seed} if takes_it else {}))


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is experimental
        yield


class Judge:
    """Gives up a run that the pruner takes for hopeless; what it was given before it was killed is not asked again.

    Args:
        name: of the value that is looked at, the first objective.
        by_steps: whether a value is known by the optimizer steps before it, rather than by epochs.
    """

    def __init__(self, sampling: Sampling, number: int, name: str, *, by_steps: bool) -> None:
        self._sampling, self._number, self._name, self._by_steps = sampling, number, name, by_steps

    def __call__(self, point: Any) -> str | None:
        """The reason to stop, or None."""
        value = point.values.get(self._name)
        if value is None or not math.isfinite(value):
            return None
        step = point.step if self._by_steps else point.epoch
        try:
            goes_on = self._sampling.may_go_on(self._number, step, value)
        except Exception as error:  # a database that is gone for a while: the run is worth more
            logging.getLogger("trainer").warning("The pruner of the study could not be asked: %s", error)
            return None
        return None if goes_on else PRUNED


PRUNED = "the pruner of its study"
