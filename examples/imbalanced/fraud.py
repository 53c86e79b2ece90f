"""Payments of which one in fifty is a fraud, a model, its metrics and its curve: python -m examples.imbalanced.fraud"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainer import Trainer


class Net(nn.Sequential):
    """Payments `(B, in_features)` to scores `(B, 2)`."""

    def __init__(self, in_features: int, width: int = 64):
        super().__init__(
            nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
        )


class Frauds:
    """How well class 1 is found, over a whole epoch: three numbers.

    Average precision goes by the order of the scores alone: at each fraud, the share of frauds among all that score as
    high or higher, and the mean of these. By chance it is the share of frauds in the data. Recall is the share of
    frauds that are called so, precision the share of those called so that are.
    """

    def __init__(self):
        self.reset()

    def reset(self):
        self.scores, self.labels = [], []

    def update(self, output, target):
        self.scores.append((output[:, 1] - output[:, 0]).double().cpu())  # above 0: class 1
        self.labels.append(target.cpu())

    def compute(self):
        scores, labels = torch.cat(self.scores), torch.cat(self.labels).double()
        hits = labels[scores.argsort(descending=True, stable=True)]
        precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)  # among the n highest, for each n
        frauds, called, found = labels.sum(), (scores > 0).sum(), labels[scores > 0].sum()
        return {
            "average_precision": (precision * hits).sum() / frauds.clamp(min=1),
            "recall": found / frauds.clamp(min=1),
            "precision": found / called.clamp(min=1),
        }

    def merge_state(self, other):
        self.scores, self.labels = self.scores + other.scores, self.labels + other.labels


class CurveTrainer(Trainer):
    """The stock loop, and after each epoch the precision-recall curve of the validation part in TensorBoard."""

    def on_epoch_end(self, log):
        frauds = self.valid_metrics.whole["frauds"]
        scores, labels = torch.cat(frauds.scores), torch.cat(frauds.labels)
        self.writer.add_pr_curve("precision_recall", labels, scores.sigmoid(), self.step)


def main(path: str = "data/payments.csv", size: int = 30_000) -> None:
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(size, 6))  # amount, hour, distance, age, ..., each in its standard deviation
    risk = 1.6 * np.abs(inputs[:, 0]) + 1.4 * inputs[:, 1] * inputs[:, 2] + 0.8 * inputs[:, 3]
    risk += 0.9 * draw.normal(size=size)  # what no column tells
    is_fraud = risk > np.quantile(risk, 0.98)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.column_stack([inputs, is_fraud]), "%.4f," * 6 + "%d", comments="",
               header="amount,hour,distance,age,visits,items,is_fraud")  # fmt: skip
    print(f"The payments are in {path}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
