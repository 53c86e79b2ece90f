"""Lightning Fabric: the loop stays, its parts are wrapped."""

from lightning.fabric import Fabric
from torch.utils.data import DataLoader

CHOICES = "setup, setup_dataloaders and fabric.backward around the loop by hand; it has no bar and no log of its own"


def prepare(task):
    fabric = Fabric(accelerator="cpu")
    fabric.launch()
    model, criterion = task.model(), task.criterion()
    model, optimizer = fabric.setup(model, task.optimizer(model.parameters()))
    loader = fabric.setup_dataloaders(DataLoader(task.train, task.batch_size, shuffle=True))

    def fit():
        for _ in range(task.epochs):
            model.train()
            loss_sum, hits, count = 0.0, 0, 0
            for data, target in loader:
                optimizer.zero_grad()
                output = model(data)
                loss = criterion(output, target)
                fabric.backward(loss)
                optimizer.step()
                loss_sum += loss.item() * len(target)
                hits += (output.argmax(dim=1) == target).sum().item()
                count += len(target)
            log = {"loss": loss_sum / count, "accuracy": hits / count}
        return log

    return fit
