"""Is A better than B: the tests of their difference, over the same test samples and over seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from espalier.report.bootstrap import interval_of_mean
from espalier.report.evaluations import Tested, Values, common_tests, mean_values
from espalier.report.resamples import Permuted, permutation_test, sign_flip_test
from espalier.report.sides import Side
from espalier.report.statistics import Difference, holm, mcnemar, paired_t, welch
from espalier.report.table import values_shown

SIGNIFICANT = 0.05
_WELCH = "Welch's t"
_LOWER = {"loss", "error", "mse", "mae", "rmse", "nll", "perplexity", "brier", "wer", "cer", "fid"}
_HIGHER = {"acc", "accuracy", "f1", "precision", "recall", "auc", "auroc", "iou", "dice", "r2", "map", "psnr", "ssim"}

Over = Literal["samples", "seeds"]


@dataclass
class Finding:
    """One test of one metric.

    Attributes:
        metric: its name.
        over: which other values there might have been: other test samples, or other seeds.
        name: of the test that gives p.
        numbers: samples; or runs of A and of B.
        means: of A and of B.
        difference: A - B, with an interval, and p.
        permuted: over seeds what a permutation test says, too.
        holm: p as several metrics that are tested at once need it.
    """

    metric: str
    over: Over
    name: str
    numbers: tuple[int, ...]
    means: tuple[float, float]
    difference: Difference
    permuted: Permuted | None = None
    holm: float = 1.0

    @property
    def is_paired(self) -> bool:
        """Whether each value of A has one of B that it belongs to."""
        return self.name != _WELCH

    @property
    def is_significant(self) -> bool:
        """Whether chance alone gives as much in fewer than 5 of 100 cases."""
        return self.holm < SIGNIFICANT


@dataclass
class Versus:
    """What is known of A against B.

    Attributes:
        sides: A and B.
        tests: the evaluations by `test.py` that are compared; None: over seeds the best epochs are.
        mismatch: why these are not compared sample by sample, where they could be but for that.
        findings: the metric that is watched first.
        untested: a sentence for each metric that has no test.
    """

    sides: tuple[Side, Side]
    tests: Tested | None
    mismatch: str | None = None
    findings: list[Finding] = field(default_factory=list)
    untested: list[str] = field(default_factory=list)

    @property
    def is_paired(self) -> bool:
        """Whether both have runs of the same seeds, which are compared as pairs."""
        return self.sides[0].seeds == self.sides[1].seeds

    def over(self, over: Over) -> list[Finding]:
        """The findings of one kind."""
        return [each for each in self.findings if each.over == over]

    def by_metric(self) -> dict[str, list[Finding]]:
        """The findings of each metric."""
        names = dict.fromkeys(each.metric for each in self.findings)
        return {name: [each for each in self.findings if each.metric == name] for name in names}

    def rule(self, metric: str) -> str | None:
        """`min` or `max`, by the monitor or the name of a metric; None where it is not known which is better."""
        words = {*re.split(r"[^a-z0-9]+", metric.lower())}
        monitors = [run.monitor for side in self.sides for run in side.runs if run.monitor]
        watched = [mode for mode, name in monitors if _base(name) == _base(metric)]
        known = "min" if words & _LOWER else "max" if words & _HIGHER else None
        return watched[0] if watched else known


def versus(first: Side, second: Side) -> Versus:
    """Compare two sides.

    - Over test samples, where `test.py` has left the values of each for all runs (the mean over the runs of a side):
      McNemar's test of what is right or wrong, a permutation test of anything else.
    - Over seeds, where both have several runs: the paired t test where the seeds are the same, Welch's where not.
    """
    sides = first, second
    found = Versus(sides, common_tests(sides))
    values = None
    if found.tests is not None:
        values, found.mismatch = mean_values(sides, found.tests)
    if values is not None:
        _over_samples(found, *values)
    if min(len(first.runs), len(second.runs)) > 1:
        _over_seeds(found)
    watched = {_base(run.monitor[1]) for side in sides for run in side.runs if run.monitor}
    found.findings.sort(key=lambda each: _base(each.metric) not in watched)
    return found


def _base(name: str) -> str:
    return name.removeprefix("val_")


def _over_samples(found: Versus, first: Values, second: Values) -> None:
    """The same samples, each with a value of A and one of B."""
    findings = []
    for name in [name for name in first if name in second]:
        differences = first[name] - second[name]
        interval = interval_of_mean(differences)
        if interval is None:
            bad = (~np.isfinite(differences)).sum()
            found.untested.append(f"{name} is not finite for {bad} test samples, so no test of it is possible.")
            continue
        if {*np.unique(differences).tolist()} <= {-1.0, 0.0, 1.0}:
            test, p = "McNemar", mcnemar(int((differences > 0).sum()), int((differences < 0).sum()))
        else:
            test, p = "permutation", sign_flip_test(differences).p
        means = float(first[name].mean()), float(second[name].mean())
        findings.append(Finding(name, "samples", test, (len(differences),), means,
                                Difference(means[0] - means[1], interval, p)))  # fmt: skip
    _add(found, findings)


def _over_seeds(found: Versus) -> None:
    """Runs of several seeds, each with one value."""
    first, second = (_values(found, index) for index in (0, 1))
    findings = []
    for name in [name for name in first if name in second]:
        one, two = np.asarray(first[name]), np.asarray(second[name])
        difference = paired_t((one - two).tolist()) if found.is_paired else welch(one.tolist(), two.tolist())
        if difference is None:
            what = "differs by the same in all pairs" if found.is_paired else "is the same in all runs of a side"
            found.untested.append(f"{name} {what}, so no test of it over seeds is possible.")
            continue
        other = sign_flip_test(one - two) if found.is_paired else permutation_test(one, two)
        findings.append(Finding(name, "seeds", "paired t" if found.is_paired else _WELCH, (len(one), len(two)),
                                (float(one.mean()), float(two.mean())), difference, permuted=other))  # fmt: skip
    _add(found, findings)


def _values(found: Versus, side: int) -> dict[str, list[float]]:
    """The numbers that all runs of a side have: of the test, or else of the best epoch."""
    runs = found.sides[side].runs
    if found.tests is None:
        rows, names = [run.best or {} for run in runs], values_shown(runs)
    else:
        rows = [_metrics(test) for test in found.tests.of[side]]
        names = [*rows[0]]
    return {name: [row[name] for row in rows] for name in names if all(_is_finite(row.get(name)) for row in rows)}


def _metrics(test: Mapping[str, Any]) -> dict[str, Any]:
    metrics = test.get("metrics")
    return dict(metrics) if isinstance(metrics, Mapping) else {}


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _add(found: Versus, findings: list[Finding]) -> None:
    """Add those of one kind: what is tested at once is judged together."""
    for each, p in zip(findings, holm([each.difference.p for each in findings]), strict=True):
        each.holm = p
    found.findings += findings
