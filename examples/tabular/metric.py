"""The share of the variance that is explained."""


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
