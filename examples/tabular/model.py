"""A network for tables, and the share of the variance that it explains."""

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


class R2:
    """1 - (squared errors) / (squared deviations of the targets from their mean), over a whole epoch."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.count, self.total, self.squares, self.errors = 0, 0.0, 0.0, 0.0

    def update(self, output, target):
        output, target = output.double(), target.double()
        self.count += target.numel()
        self.total += float(target.sum())
        self.squares += float((target**2).sum())
        self.errors += float(((output - target) ** 2).sum())

    def compute(self):
        deviations = self.squares - self.total**2 / self.count
        return 1 - self.errors / deviations if deviations else float("nan")

    def merge_state(self, other):
        for name in ("count", "total", "squares", "errors"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
