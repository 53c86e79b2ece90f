"""Lightning: LightningModule and Trainer."""

import lightning as L
from torch.utils.data import DataLoader

from benchmarks.tasks import accuracy

CHOICES = "Trainer with its defaults (bar, TensorBoard, checkpoint an epoch); log_dict(on_step=False, on_epoch=True)"


class Module(L.LightningModule):
    def __init__(self, task):
        super().__init__()
        self.task, self.model, self.criterion = task, task.model(), task.criterion()

    def training_step(self, batch, batch_idx):
        data, target = batch
        output = self.model(data)
        loss = self.criterion(output, target)
        log = {"loss": loss, "accuracy": accuracy(output, target)}
        self.log_dict(log, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        data, target = batch
        self.log("test_accuracy", accuracy(self.model(data), target))

    def configure_optimizers(self):
        return self.task.optimizer(self.parameters())


def prepare(task):
    module = Module(task)
    loader = DataLoader(task.train, task.batch_size, shuffle=True)
    test_loader = None if task.test is None else DataLoader(task.test, task.batch_size)
    trainer = L.Trainer(max_epochs=task.epochs, accelerator="cpu", default_root_dir=task.folder)

    def fit():
        trainer.fit(module, loader, test_loader)
        return {name: float(value) for name, value in trainer.callback_metrics.items()}

    return fit
