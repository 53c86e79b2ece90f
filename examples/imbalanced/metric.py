"""How well the rare class is found."""

import torch


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
