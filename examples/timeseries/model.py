"""A network that forecasts from a window of the past."""

from torch import nn


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
