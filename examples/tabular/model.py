"""A network for tables."""

from torch import nn

from base import BaseModel


class Mlp(BaseModel):
    """Inputs `(B, in_features)` to outputs `(B, num_outputs)`, by two hidden layers."""

    def __init__(self, in_features: int, num_outputs: int, width: int = 64, dropout: float = 0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, num_outputs),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)
