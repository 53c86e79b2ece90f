"""The stock loop, with a curve."""

import torch

from trainer.trainer import Trainer


class CurveTrainer(Trainer):
    """The stock loop, and after each epoch the precision-recall curve of the validation part in TensorBoard."""

    def on_epoch_end(self, log):
        frauds = self.valid_metrics.whole["frauds"]
        scores, labels = torch.cat(frauds.scores), torch.cat(frauds.labels)
        self.writer.add_pr_curve("precision_recall", labels, scores.sigmoid(), self.step)
