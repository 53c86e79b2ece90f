"""A learning rate that rises until the loss does too: `train.py --find-lr`.

Source: Smith 2017, Cyclical Learning Rates for Training Neural Networks, arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from espalier.data.loaders import Endless
from espalier.runs.find_run import save_root
from espalier.training.combined_optimizer import members_of
from espalier.training.nonfinite import NonFiniteError
from espalier.training.parts import by_name, parts_in
from espalier.training.rehearsal import Rehearsal
from espalier.trials.few_batches import FewBatches, loss_in, train_on

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
SMOOTHING = 0.8  # what is left of the average in each step
STILL = 10  # steps at the lowest rates, which change nothing: their losses differ by chance
WIDTH = 6  # steps over which a descent is measured


@dataclass
class Curve:
    """Losses at rising learning rates, and their running average (exponential, its bias corrected)."""

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smooth: list[float] = field(default_factory=list)
    _average: float = 0.0

    def add(self, rate: float, loss: float) -> None:
        """One more point."""
        self._average = SMOOTHING * self._average + (1 - SMOOTHING) * loss
        self.rates.append(rate)
        self.losses.append(loss)
        self.smooth.append(self._average / (1 - SMOOTHING ** len(self.rates)))

    @property
    def noise(self) -> float:
        """How far losses are apart by chance."""
        return max(self.losses[:STILL]) - min(self.losses[:STILL])

    @property
    def lowest(self) -> int:
        """The index of the lowest smoothed loss."""
        return self.smooth.index(min(self.smooth))

    @property
    def is_over(self) -> bool:
        """Whether the smoothed loss is four times its best; where that is negative, above it by three times its size.

        Where the loss goes through zero its size says nothing: it must be above by more than chance.
        """
        best = min(self.smooth)
        return len(self.smooth) > STILL and self.smooth[-1] > best + 3 * max(abs(best), self.noise)

    @property
    def falls(self) -> bool:
        """Whether the loss is ever lower than at the lowest rates by more than chance."""
        level = fmean(self.losses[:STILL])
        return len(self.losses) > STILL and level - min(self.smooth) > max(self.noise / 2, 1e-3 * abs(level))

    @property
    def steepest(self) -> int:
        """The index where the loss falls fastest over the logarithm of the rate."""
        # An average lags behind, by four steps with this smoothing: the descent after a point is the one at it.
        ends = range(WIDTH, max(WIDTH, self.lowest) + 1)
        return min(ends, key=lambda end: self.smooth[end] - self.smooth[end - WIDTH]) - WIDTH


class Rates:
    """The learning rates of all parameter groups, each with its share of the one that is told.

    That is `optimizer.args.lr` of the config, of the first optimizer where there are several.
    """

    def __init__(self, optimizers: Any) -> None:
        first = main_rate(next(iter(members_of(parts_in(optimizers)[0]).values())))
        self._shares: list[tuple[dict[str, Any], float]] = []
        self._words: dict[str, float] = {}
        named = by_name(optimizers) or {str(index): each for index, each in enumerate(optimizers)}
        for name, optimizer in named.items():
            for section, member in members_of(optimizer, f"optimizer.{name}".rstrip(".")).items():
                self._add(section, member, first)

    def _add(self, section: str, optimizer: Any, first: float) -> None:
        """The rates of one optimizer, as shares of the first one's."""
        self._words[f"{section}.args.lr"] = main_rate(optimizer) / first if first else 1.0
        for index, group in enumerate(optimizer.param_groups):
            share = float(group["lr"]) / first if first else 1.0
            self._shares.append((group, share))
            if "lr" in group.get("own", ()):
                words = f"{section}.param_groups.{group.get('entry', index)}.lr"
                self._words[words] = share / group.get("lr_mult", 1.0)

    def set(self, rate: float) -> None:
        """Let the next steps be made with it."""
        for group, share in self._shares:
            group["lr"] = rate * share

    def words(self, rate: float) -> str:
        """What sets it on the command line."""
        return " ".join(f"{path}={rate * share:.2g}" for path, share in self._words.items())


def main_rate(optimizer: Any) -> float:
    """What `args.lr` in the config sets."""
    rates = [float(group["lr"]) / group.get("lr_mult", 1.0) for group in optimizer.param_groups]
    rate = float(optimizer.defaults.get("lr", rates[-1]))
    return rate if rate in rates else rates[-1]  # a schedule has changed it, as OneCycleLR does


def find_lr(trainer: Any) -> bool:
    """Train at ever higher learning rates, and tell at which the loss falls fastest and at which it is lowest."""
    schedules = ", ".join(type(each).__name__ for each in parts_in(trainer.lr_scheduler))
    rehearsal = trainer.rehearse(only_training=True)
    rates, marks = Rates(trainer.optimizer), dict[str, float]()
    name, curve = _search(rehearsal, trainer.data_loader, rates)
    if curve.falls:
        fastest, lowest = curve.rates[curve.steepest], curve.rates[curve.lowest]
        print(f"The {name} falls fastest, over the logarithm of the rate, at {fastest:.2g}: {rates.words(fastest)}")
        print(f"It is lowest at {lowest:.2g}; a tenth of that is {lowest / 10:.2g}: {rates.words(lowest / 10)}")
        print("Add the words of one of them to the command, or what lies between.")
        if schedules:
            print(f"{schedules} was left out here; a schedule with rates of its own, as max_lr, wants them there.")
        marks = {f"falls fastest: {fastest:.2g}": fastest, f"a tenth of the lowest: {lowest / 10:.2g}": lowest / 10}
    else:
        print(f"The {name} never falls, so no learning rate can be suggested. Does --overfit 1 learn anything?")
    config = rehearsal.config
    folder = save_root(config["trainer"])
    print(draw(curve, name, marks, folder / f"find-lr-{config['name']}.png"))
    return curve.falls


def _search(rehearsal: Rehearsal, loader: Any, rates: Rates) -> tuple[str, Curve]:
    """The name of the loss, and its curve; each epoch is one step."""
    name, curve = "loss", Curve()
    stream = Endless(loader).begin()
    print(f"{'learning rate':>13} {'smoothed loss':>14}")
    for index in range(STEPS):
        rate = LOWEST * (HIGHEST / LOWEST) ** (index / (STEPS - 1))
        rates.set(rate)
        batches = [next(stream) for _ in range(rehearsal.accumulate)]
        try:
            name, loss = loss_in(train_on(rehearsal, FewBatches(loader, batches)))
        except NonFiniteError:
            loss = math.nan
        if not math.isfinite(loss):
            print(f"{rate:>13.2g} {'no number':>14}")
            break
        curve.add(rate, loss)
        if index % 9 == 0 or curve.is_over:
            print(f"{rate:>13.2g} {curve.smooth[-1]:>14.4g}")
        if curve.is_over:
            break
    return name, curve


def draw(curve: Curve, name: str, marks: dict[str, float], path: Path) -> str:
    """Draw the curve into a file; says where it is, or why there is none."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return 'For a picture of it matplotlib is needed: pip install -e ".[plots]"'
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel=name)
    axes.plot(curve.rates, curve.losses, color="0.8", label="of each step")
    axes.plot(curve.rates, curve.smooth, label="smoothed")
    for (text, rate), color in zip(marks.items(), ("C1", "C2"), strict=False):
        axes.axvline(rate, color=color, linestyle="--", label=text)
    if marks:  # what comes after the divergence would leave no room for the rest
        level, best = fmean(curve.losses[:STILL]), min(curve.losses)
        axes.set_ylim(best - 0.1 * (level - best), level + 0.5 * (level - best))
    axes.legend()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        return f"The picture could not be written: {error}"
    return f"The curve is drawn in {path}."
