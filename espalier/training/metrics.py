"""Loss and metrics over an epoch: means of batches, and metrics that need all of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from espalier.checkpoints.saved_shape import unlike
from espalier.config.metric_names import named_numbers
from espalier.data.batch import shape_of, to_device
from espalier.errors import CheckpointError, ConfigError, Problem, TrainingError, UserError, explain
from espalier.processes import collectives
from espalier.processes.group import processes_of_run
from espalier.training.metric_tracker import MetricTracker, _WeightedSum, mean_of


class EpochMetrics(MetricTracker):
    """A `MetricTracker` that also measures.

    Args:
        losses: names that `update` is called with.
        metrics: by their `__name__`: functions `(output, target)` that give the mean over a batch, or objects with
            `update(output, target)`, `compute()` and `reset()`, as in torchmetrics, which see the whole epoch. Of
            these a copy is kept, so that training and validation do not mix.
        device: where such objects keep their state.
    """

    def __init__(self, losses: Sequence[str], metrics: Sequence[Callable[..., Any]], device: torch.device) -> None:
        self.whole: dict[str, Any] = {m.__name__: copy.deepcopy(m) for m in metrics if _is_whole(m)}
        self.means = {m.__name__: m for m in metrics if not _is_whole(m)}
        self._parts: dict[str, list[str]] = {}  # of a mean that is several, the names of all
        self.metrics = [metric.__name__ for metric in metrics]
        for metric in self.whole.values():
            if hasattr(metric, "to"):
                metric.to(device)
        self.losses = tuple(losses)
        self._num_measured = 0  # samples
        super().__init__(*losses, *self.means)
        self.names = [*losses, *(metric.__name__ for metric in metrics)]

    def reset(self) -> None:
        """Forget the epoch."""
        super().reset()
        self._parts, self._num_measured = {}, 0
        for metric in self.whole.values():
            metric.reset()

    def check_mergeable(self) -> None:
        """Make sure that what several processes have counted can be brought together.

        Raises:
            ConfigError: a metric that sees the whole epoch has no `merge_state(other)`.
        """
        for name, metric in self.whole.items():
            if not hasattr(metric, "merge_state") and not _is_collection(metric):
                what = f"{name} sees the whole epoch, but its parts on several processes cannot be brought together"
                raise ConfigError(Problem("metrics", what, fix="give its class a method merge_state(other)"))

    def measure(self, output: Any, target: Any, n: int) -> None:
        """Count the metrics of a batch of `n` samples; none of an output of None."""
        if output is None:
            return
        self._num_measured += n
        with torch.set_grad_enabled(False):  # at half the cost of no_grad, which is two of them
            for name in self.metrics:
                try:
                    self._measure(name, output, target, n)
                except UserError:
                    raise
                except Exception as error:
                    head = f"training error: the metric {name} failed: {type(error).__name__}: {error}"
                    got = f"output {shape_of(output)}, target {shape_of(target)}"
                    raise TrainingError(explain(head, got=got, then="--debug shows the traceback")) from error

    def _measure(self, name: str, output: Any, target: Any, n: int) -> None:
        if name in self.whole:
            self.whole[name].update(output, target)
            return
        value = self.means[name](output, target)
        if type(value) is float or (isinstance(value, torch.Tensor) and value.dim() == 0):  # nearly always
            self.update(name, value, n)
            return
        for key, number in named_numbers(name, value).items():
            self._add_part(name, key)
            self.update(key, number, n)

    def _add_part(self, name: str, key: str) -> None:
        if key != name and key not in self._parts.setdefault(name, []):
            if key in self._sums:
                what = f"{key} is a number of the metric {name}, and the name of another"
                raise ConfigError(Problem("metrics", what, fix='give one of them another "name"'))
            self._parts[name].append(key)
            self._sums[key] = _WeightedSum()

    def _add_parts(self, parts: Mapping[str, Sequence[str]]) -> None:
        for name, keys in parts.items():
            for key in keys:
                self._add_part(name, key)

    def result(self) -> dict[str, float]:
        """The value of every name over the epoch so far, in the order of losses and metrics.

        What no batch had is left out: the loss of an output that the model gives in training alone, or all metrics.
        """
        if self.meet is not None:
            self.meet()
        measured = collectives.gather((self._parts, self._num_measured))
        for parts, _ in measured:  # a process that had no such batch lacks some
            self._add_parts(parts)
        self._sums = {key: self._sums[key] for key in (*self._keys, *sorted(self._sums.keys() - set(self._keys)))}
        totals = self._totals()
        lacking = self._lacking(totals, sum(number for _, number in measured))
        found: dict[str, float] = {}
        for name in self.names:
            if name in self.whole and name not in lacking:
                numbers = named_numbers(name, self._computed(name))
                found.update({key: float(value) for key, value in numbers.items()})
            elif name not in lacking:
                found.update({key: mean_of(*totals[key]) for key in self._parts.get(name) or [name]})
        return found

    def _lacking(self, totals: Mapping[str, tuple[float, float]], num_measured: int) -> set[str]:
        """What no batch had, while it had others."""
        counted = {key for key, (_, weight) in totals.items() if weight}
        if not counted and not num_measured:
            return set()
        metrics = () if num_measured else self.metrics
        return {name for name in (*self.losses, *metrics) if name not in counted}

    @property
    def num_samples(self) -> int:
        """How many samples of this process were counted, by means or by metrics that see the whole epoch."""
        return max(super().num_samples, self._num_measured)

    def _computed(self, name: str) -> Any:
        metric = _of_all(self.whole[name])
        try:
            return metric.compute()
        except UserError:
            raise
        except Exception as error:
            head = f"training error: the metric {name} failed: {type(error).__name__}: {error}"
            raise TrainingError(explain(head, then="--debug shows the traceback")) from error

    def state_dict(self) -> dict[str, Any]:
        """What is counted so far, of sums and of metrics that see the whole epoch."""
        parts = {"parts": copy.deepcopy(self._parts)} if self._parts else {}
        whole = {name: _state_of(metric) for name, metric in self.whole.items()}
        is_usual = self._num_measured == super().num_samples
        measured = {} if is_usual else {"measured": self._num_measured}
        return {"sums": super().state_dict(), "whole": whole, **parts, **measured}

    def merge_state(self, other: MetricTracker) -> None:
        """Add what `other` has counted, of other samples."""
        assert isinstance(other, EpochMetrics)
        self._add_parts(other._parts)
        for name, keys in self._parts.items():
            for key in keys:
                other._add_part(name, key)
        super().merge_state(other)
        self._num_measured += other._num_measured
        for name, metric in self.whole.items():
            _merge(metric, other.whole[name])

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Go on from `state`, on `device`.

        Raises:
            CheckpointError: what a metric has saved is of another kind than it has.
        """
        self._parts, self._sums = {}, {key: self._sums[key] for key in self._keys}
        self._add_parts(state.get("parts") or {})
        super().load_state_dict(state["sums"], device)
        self._num_measured = state.get("measured", super().num_samples)
        for name, metric in self.whole.items():
            saved = state["whole"][name]
            if (found := _unlike(saved, _state_of(metric))) is not None:
                raise CheckpointError(explain(f"checkpoint error: the state of {name} does not fit", got=found))
            _load(metric, to_device(saved, torch.device(device)))


def _unlike(saved: dict[str, Any], own: dict[str, Any]) -> str | None:
    """Where the state of a metric is of another kind than it has; anything that is no state would replace a method."""
    other = next((name for name in saved if name not in own), None)
    return unlike(saved, own, is_measured=True) if other is None else f"{other}, which it does not have"


def load_share(tracker: MetricTracker, states: Sequence[dict[str, Any]], device: torch.device) -> None:
    """Go on in `tracker` from what several processes had counted, each of those now with a part, on `device`."""
    for index, state in enumerate(collectives.own_share(states)):
        part = tracker if index == 0 else copy.deepcopy(tracker)
        part.load_state_dict(state, device)
        if index > 0:
            tracker.merge_state(part)


def _of_all(metric: Any) -> Any:
    """A metric of what all processes have seen."""
    if processes_of_run().is_alone:
        return metric
    if hasattr(metric, "metric_state"):
        return _merged(metric, collectives.gather(to_device(_state_of(metric), torch.device("cpu"))))
    first, *others = collectives.gather(metric)
    for other in others:
        first.merge_state(other)
    return first


def _merged(metric: Any, states: Sequence[dict[str, Any]]) -> Any:
    """A copy of a metric of torchmetrics with what all processes have seen.

    It would bring them together itself, but those that saw no sample have nothing to send where a state is a list, and
    a mean over processes would count them.

    Source: `torchmetrics.Metric._sync_dist`, for the reduction of each state.
    """
    merged = copy.deepcopy(metric)
    for name, part in _parts(merged):
        saw_some = [each[name] for each in states if each[name]["update_count"]] or [states[0][name]]
        part._update_count, part._computed = max(each["update_count"] for each in saw_some), None
        part._to_sync = part.sync_on_compute = False
        value: Any
        for key, reduce in part._reductions.items():
            values = to_device([each["state"][key] for each in saw_some], part.device)
            if isinstance(values[0], list):
                value = [item for items in values for item in items]
                value = value if reduce is None or not value else reduce(value)
            else:
                value = torch.stack(values) if reduce is None else reduce(torch.stack(values))
            setattr(part, key, value)
    return merged


def _merge(metric: Any, other: Any) -> None:
    if not _is_collection(metric):
        metric.merge_state(other)
        return
    for (_, own), (_, its) in zip(metric.items(), other.items(), strict=True):
        own.merge_state(its)


def _state_of(metric: Any) -> dict[str, Any]:
    if _is_collection(metric):  # those that share a state get it only when asked for
        list(metric.items())
    if hasattr(metric, "metric_state"):  # torchmetrics leaves most of this out of its state_dict
        return {name: {"state": dict(part.metric_state), "update_count": part._update_count}
                for name, part in _parts(metric)}  # fmt: skip
    return dict(metric.state_dict()) if hasattr(metric, "state_dict") else dict(vars(metric))


def _load(metric: Any, saved: dict[str, Any]) -> None:
    if hasattr(metric, "metric_state"):
        for name, part in _parts(metric):
            part._update_count, part._computed = saved[name]["update_count"], None
            for key, value in saved[name]["state"].items():
                setattr(part, key, value)
    elif hasattr(metric, "load_state_dict"):
        metric.load_state_dict(saved)
    else:
        vars(metric).update(saved)


def _parts(metric: Any) -> list[tuple[str, Any]]:
    """A metric of torchmetrics and those it is made of."""
    return [(name, part) for name, part in metric.named_modules() if hasattr(part, "_update_count")]


def _is_collection(metric: Any) -> bool:
    return hasattr(metric, "compute_groups")


def _is_whole(metric: Any) -> bool:
    return all(callable(getattr(metric, name, None)) for name in ("update", "compute", "reset"))
