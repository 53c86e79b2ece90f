"""Accelerate: the loop stays, its parts are wrapped."""

from accelerate import Accelerator
from torch.utils.data import DataLoader

from benchmarks.contestants.hand import evaluate

CHOICES = "prepare and accelerator.backward around the loop by hand, as in its quick tour; save_state at the end"


def prepare(task):
    accelerator = Accelerator(cpu=True)
    model, criterion = task.model(), task.criterion()
    model, optimizer, loader = accelerator.prepare(
        model, task.optimizer(model.parameters()), DataLoader(task.train, task.batch_size, shuffle=True)
    )

    def fit():
        for _ in range(task.epochs):
            model.train()
            loss_sum, hits, count = 0.0, 0, 0
            for data, target in loader:
                optimizer.zero_grad()
                output = model(data)
                loss = criterion(output, target)
                accelerator.backward(loss)
                optimizer.step()
                loss_sum += loss.item() * len(target)
                hits += (output.argmax(dim=1) == target).sum().item()
                count += len(target)
            log = {"loss": loss_sum / count, "accuracy": hits / count}
        if task.test is not None:
            log["test_accuracy"] = evaluate(model, accelerator.prepare(DataLoader(task.test, task.batch_size)))
            accelerator.save_state(str(task.folder / "state"))
        return log

    return fit
