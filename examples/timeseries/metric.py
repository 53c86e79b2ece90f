"""The error of forecasts."""

import torch


def mean_absolute_error(output, target, scale=(1.0,)):
    """The mean distance of forecasts from what came, in units of the file where `scale` is that of the targets."""
    return ((output - target).abs() * torch.tensor(scale, device=output.device)).double().mean()
