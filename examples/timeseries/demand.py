"""Two years of hourly demand, a model, its error, forecasts without one: python examples/timeseries/demand.py"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
CONFIG = Path(__file__).with_name("config.json")


class Forecaster(nn.Module):
    """Windows `(B, history, F)` to `(B, horizon, 1)`: what to add to the latest hours of the first column."""

    def __init__(self, history: int, horizon: int, in_features: int, width: int = 128):
        super().__init__()
        self.horizon = horizon
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(history * in_features, width), nn.ReLU(), nn.Linear(width, horizon)
        )

    def forward(self, x):
        return x[:, -self.horizon :, :1] + self.layers(x).unsqueeze(2)


def mean_absolute_error(output, target, scale=(1.0,)):
    """The mean distance of forecasts from what came, in units of the file where `scale` is that of the targets."""
    return ((output - target).abs() * torch.tensor(scale, device=output.device)).double().mean()


def forecasts_without_a_model(overrides=None):
    """The error on the test part of what came last, of the same hours of the day before, and of the week before."""
    import train
    from parse_config import ConfigParser

    trainer = train.build(ConfigParser.from_file(CONFIG, {"trainer.verbosity": 0, **(overrides or {})}))
    dataset, test = trainer.data_loader.dataset, trainer.data_loader.split_test()
    inputs, targets = (torch.cat(parts) for parts in zip(*test, strict=True))
    horizon, series = dataset.horizon, inputs[:, :, :1]
    found = {"last value": series[:, -1:], "day before": series[:, -24:][:, :horizon],
             "week before": series[:, -168:][:, :horizon]}  # fmt: skip
    return {name: float(mean_absolute_error(each, targets, dataset.target_std)) for name, each in found.items()}


def main(path: str = "data/demand.csv", days: int = 730) -> None:
    draw, hour = np.random.default_rng(0), np.arange(24 * days)
    weather, other = np.zeros(len(hour)), np.zeros(len(hour))  # what passes slowly
    for each in hour[1:]:
        weather[each] = 0.99 * weather[each - 1] + 0.5 * draw.normal()
        other[each] = 0.95 * other[each - 1] + 1.2 * draw.normal()
    is_weekend = hour // 24 % 7 >= 5
    of_day = np.sin(2 * np.pi * (hour / 24 - 0.3)) + 0.4 * np.sin(4 * np.pi * hour / 24)
    of_year = -10 * np.cos(2 * np.pi * hour / 24 / 365)
    temperature = 12 + of_year + 4 * np.sin(2 * np.pi * (hour / 24 - 0.4)) + weather
    demand = 100 + np.where(is_weekend, 12, 25) * of_day - 8 * is_weekend + 0.12 * (temperature - 16) ** 2 + other
    demand += 2 * draw.normal(size=len(hour))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.column_stack([hour, demand, temperature]), ["%d", "%.2f", "%.2f"], ",", comments="",
               header="hour,demand,temperature")  # fmt: skip


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
    for name, error in forecasts_without_a_model().items():
        print(f"{name}: mean absolute error {error:.2f}")
