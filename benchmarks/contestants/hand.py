"""A loop written by hand over a DataLoader: the reference of every ratio."""

import torch
from torch.utils.data import DataLoader

CHOICES = "TensorDataset and DataLoader(shuffle=True); loss.item() and the number of hits added up; no bar, no log"
NUM_WORKERS = 0


def prepare(task):
    model, criterion = task.model(), task.criterion()
    optimizer = task.optimizer(model.parameters())
    loader = DataLoader(task.train, task.batch_size, shuffle=True, num_workers=NUM_WORKERS)

    def fit():
        for _ in range(task.epochs):
            model.train()
            loss_sum, hits, count = 0.0, 0, 0
            for data, target in loader:
                optimizer.zero_grad()
                output = model(data)
                loss = criterion(output, target)
                loss.backward()
                optimizer.step()
                loss_sum += loss.item() * len(target)
                hits += (output.argmax(dim=1) == target).sum().item()
                count += len(target)
            log = {"loss": loss_sum / count, "accuracy": hits / count}
            print(log)
        if task.test is not None:
            log["test_accuracy"] = evaluate(model, DataLoader(task.test, task.batch_size, num_workers=NUM_WORKERS))
            torch.save(
                {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, task.folder / "last.pth"
            )
        return log

    return fit


@torch.no_grad()
def evaluate(model, loader):
    """The share of hits."""
    model.eval()
    hits, count = 0, 0
    for data, target in loader:
        hits += (model(data).argmax(dim=1) == target).sum().item()
        count += len(target)
    return hits / count
