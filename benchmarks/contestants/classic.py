"""victoresque/pytorch-template, its loop written again: what the projects made from it do in every step.

Its tracker of metrics cannot be used: it writes through a DataFrame, which pandas 3 refuses. The sums in plain
floats here are faster than that ever was.
"""

import logging
import math
from datetime import datetime

import torch
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

CHOICES = (
    "its config.json: two workers where images are files, accuracy and top-3 accuracy; loss.item(), four scalars to "
    "TensorBoard in every step, make_grid at every log step and validation batch, histograms when it validates; no bar"
)
logger = logging.getLogger("classic")


def accuracy(output, target):
    with torch.no_grad():
        predicted = torch.argmax(output, dim=1)
        correct = torch.sum(predicted == target).item()
    return correct / len(target)


def top_k_acc(output, target, k=3):
    with torch.no_grad():
        predicted = torch.topk(output, k, dim=1)[1]
        correct = 0
        for i in range(k):
            correct += torch.sum(predicted[:, i] == target).item()
    return correct / len(target)


class Writer:
    """Its TensorboardWriter: tags with the mode, and the steps per second at every step."""

    def __init__(self, folder):
        self.writer = SummaryWriter(str(folder))
        self.step, self.mode, self.timer = 0, "", datetime.now()

    def set_step(self, step, mode="train"):
        self.mode, self.step = mode, step
        if step > 0:
            duration = datetime.now() - self.timer
            self.add_scalar("steps_per_sec", 1 / max(duration.total_seconds(), 1e-6))
        self.timer = datetime.now()

    def add_scalar(self, tag, value):
        self.writer.add_scalar(f"{tag}/{self.mode}", value, self.step)

    def add_image(self, tag, value):
        self.writer.add_image(f"{tag}/{self.mode}", value, self.step)

    def add_histogram(self, tag, value, bins):
        self.writer.add_histogram(tag, value, self.step, bins=bins)


class Tracker:
    def __init__(self, writer):
        self.writer, self.total, self.count = writer, {}, {}

    def update(self, key, value, n=1):
        self.writer.add_scalar(key, value)
        self.total[key] = self.total.get(key, 0.0) + value * n
        self.count[key] = self.count.get(key, 0) + n

    def result(self):
        return {key: self.total[key] / self.count[key] for key in self.total}


def prepare(task):
    model, criterion = task.model(), task.criterion()
    optimizer = task.optimizer(model.parameters())
    num_workers = 0 if task.test is None else 2
    loader = DataLoader(task.train, task.batch_size, shuffle=True, num_workers=num_workers)
    writer, log_step = Writer(task.folder), int(math.sqrt(task.batch_size))

    def train_epoch(epoch):
        model.train()
        metrics = Tracker(writer)
        for batch_idx, (data, target) in enumerate(loader):
            optimizer.zero_grad()
            output = model(data)
            loss = criterion(output, target)
            loss.backward()
            optimizer.step()
            writer.set_step((epoch - 1) * len(loader) + batch_idx)
            metrics.update("loss", loss.item())
            for metric in (accuracy, top_k_acc):
                metrics.update(metric.__name__, metric(output, target))
            if batch_idx % log_step == 0:
                logger.debug("Train Epoch: %d Loss: %.6f", epoch, loss.item())
                writer.add_image("input", make_grid(data, nrow=8, normalize=True))
        log = metrics.result()
        if task.test is not None:
            log["test_accuracy"] = valid_epoch(epoch)["accuracy"]
        return log

    @torch.no_grad()
    def valid_epoch(epoch):
        model.eval()
        metrics, valid_loader = Tracker(writer), DataLoader(task.test, task.batch_size, num_workers=num_workers)
        for batch_idx, (data, target) in enumerate(valid_loader):
            output = model(data)
            writer.set_step((epoch - 1) * len(valid_loader) + batch_idx, "valid")
            metrics.update("loss", criterion(output, target).item())
            for metric in (accuracy, top_k_acc):
                metrics.update(metric.__name__, metric(output, target))
            writer.add_image("input", make_grid(data, nrow=8, normalize=True))
        for name, parameter in model.named_parameters():
            writer.add_histogram(name, parameter, bins="auto")
        return metrics.result()

    def fit():
        for epoch in range(1, task.epochs + 1):
            log = train_epoch(epoch)
            print(log)
            state = {"epoch": epoch, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, task.folder / f"checkpoint-epoch{epoch}.pth")
            torch.save(state, task.folder / "model_best.pth")
        return log

    return fit
