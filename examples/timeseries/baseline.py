"""Forecasts without a model: python -m examples.timeseries.baseline"""

import argparse
from pathlib import Path

import torch

import train
from examples.timeseries.metric import mean_absolute_error
from parse_config import ConfigParser

CONFIG = Path(__file__).with_name("config.json")


def forecasts_without_a_model(overrides=None):
    """The error on the test part of what came last, of the same hours of the day before, and of the week before."""

    trainer = train.build(ConfigParser.from_file(CONFIG, {"trainer.verbosity": 0, **(overrides or {})}))
    dataset, test = trainer.data_loader.dataset, trainer.data_loader.split_test()
    inputs, targets = (torch.cat(parts) for parts in zip(*test, strict=True))
    horizon, series = dataset.horizon, inputs[:, :, :1]
    found = {"last value": series[:, -1:], "day before": series[:, -24:][:, :horizon],
             "week before": series[:, -168:][:, :horizon]}  # fmt: skip
    return {name: float(mean_absolute_error(each, targets, dataset.target_std)) for name, each in found.items()}


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name, error in forecasts_without_a_model().items():
        print(f"{name}: mean absolute error {error:.2f}")
