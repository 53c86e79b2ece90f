"""What the trials of a study are compared by: values of the epoch that is kept, or what is measured of the run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from espalier.config.check_processes import processes_asked
from espalier.config.watched import parse_rule
from espalier.errors import ConfigError, Problem
from espalier.report.record import RunRecord

Rule = tuple[str, str]  # "min" or "max", and the name of the value
MEASURED = ("parameters", "latency", "seconds", "peak_memory")
_FORWARDS = 30  # of which the median is taken


def rules_of(config: Mapping[str, Any]) -> list[Rule]:
    """The objectives of a study: those of `tune.objectives`, or what `trainer.monitor` watches.

    Raises:
        ConfigError: there is none.
    """
    asked = config["tune"].get("objectives") or [config["trainer"].get("monitor") or "off"]
    rules = [rule for each in asked if (rule := parse_rule(each)) is not None and rule[1]]
    if not rules:
        fix = 'write "monitor": "max val_accuracy" under trainer, or "objectives": [...] under tune'
        raise ConfigError(Problem("trainer.monitor", "is off: nothing says which run is better", fix=fix))
    asked_for, path = processes_asked(dict(config))
    if asked_for > 1 and any(name == "latency" for _, name in rules):
        what = "is measured of one process, and a trial has several"
        raise ConfigError(Problem("tune.objectives", what, got=f"{path} = {asked_for}", fix='remove "latency"'))
    return rules


def needs_trainer(rules: Sequence[Rule]) -> bool:
    """Whether an objective is measured by `measure`."""
    return not {"parameters", "latency"}.isdisjoint(name for _, name in rules)


def measure(trainer: Any, rules: Sequence[Rule]) -> dict[str, float]:
    """What of the objectives only the trainer knows, after its run.

    `parameters`: how many the model has. `latency`: the milliseconds of a forward pass of one batch as validation has
    it, or training where there is none; the median of 30, on the device of the run, beside whatever else runs there.
    """
    names, found = [name for _, name in rules], {}
    if "parameters" in names:
        found["parameters"] = float(sum(each.numel() for each in trainer.model.parameters()))
    if "latency" in names:
        found["latency"] = _latency(trainer)
    return found


def _latency(trainer: Any) -> float:
    import torch  # which who only looks at a study must not wait for

    loader = trainer.data_loader if trainer.valid_data_loader is None else trainer.valid_data_loader
    trainer.model.eval()
    seconds: list[float] = []
    with torch.no_grad():
        _, batch = next(trainer.batches(loader))
        inputs, _ = trainer.unpack(batch)
        for _ in range(_FORWARDS):
            began = time.perf_counter()
            trainer.forward(inputs)
            if trainer.device.type != "cpu":
                torch.accelerator.synchronize()
            seconds.append(time.perf_counter() - began)
    return 1000 * median(seconds)


def objectives_of(record: RunRecord, rules: Sequence[Rule], measured: Mapping[str, float]) -> dict[str, float]:
    """The value of each objective that is a finite number: of the best epoch by `trainer.monitor`, else of the last.

    `seconds` are those of all epochs; `peak_memory`, in bytes, is that of the GPU, or of the process.
    """
    row = record.best or {}
    memory = (record.processes[-1:] or [{}])[0].get("peak_memory_bytes") or {}
    known = {**row, **measured, "seconds": record.seconds, "peak_memory": memory.get("device") or memory.get("process")}
    found = {name: known.get(name) for _, name in rules}
    return {name: float(value) for name, value in found.items()
            if isinstance(value, (int, float)) and math.isfinite(value)}  # fmt: skip


def best_of(trials: Sequence[Any], rules: Sequence[Rule]) -> list[Any]:
    """Of the finished trials those than which none is better, by number: of several objectives the Pareto front.

    Of one objective it is one trial, of equal ones the first.
    """
    finished = [each for each in trials if each.state == "finished"]
    if len(rules) == 1:
        return sorted(finished, key=lambda each: (_costs(each, rules), each.number))[:1]
    return [each for each in finished
            if not any(_is_better(_costs(other, rules), _costs(each, rules)) for other in finished)]  # fmt: skip


def _costs(trial: Any, rules: Sequence[Rule]) -> list[float]:
    values = trial.record["objectives"]
    return [values[name] * (-1 if mode == "max" else 1) for mode, name in rules]


def _is_better(costs: Sequence[float], others: Sequence[float]) -> bool:
    return costs != others and all(one <= other for one, other in zip(costs, others, strict=True))
