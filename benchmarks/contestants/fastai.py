"""fastai: Learner with its progress bar."""

from functools import partial

import torch
from fastai.basics import AvgLoss, DataLoaders, Learner, OptimWrapper, accuracy
from fastai.callback.progress import ProgressCallback  # which makes itself a default
from torch.utils.data import Subset

CHOICES = (
    "DataLoaders.from_dsets, Learner.fit with its defaults (bar, table of epochs) and the optimizer of PyTorch in "
    "OptimWrapper; metrics of the training batches on; the last, short batch kept; "
    "one batch to validate on, since it wants one"
)
assert ProgressCallback is not None


def prepare(task):
    device = torch.device("cpu")
    valid = Subset(task.train, range(task.batch_size))
    loaders = DataLoaders.from_dsets(
        task.train, valid, bs=task.batch_size, device=device, num_workers=0, drop_last=False
    )
    learner = Learner(
        loaders,
        task.model(),
        loss_func=task.criterion(),
        opt_func=partial(OptimWrapper, opt=task.algorithm),
        lr=task.lr,
        metrics=[accuracy, AvgLoss()],
        path=task.folder,
    )
    learner.recorder.train_metrics = True

    def fit():
        learner.fit(task.epochs)
        names, values = learner.recorder.metric_names[1:], learner.recorder.values[-1]
        log = dict(zip(names, values, strict=False))  # the later train_loss is that of AvgLoss, the first is smoothed
        return {"loss": float(log["train_loss"]), "accuracy": float(log["train_accuracy"])}

    return fit
