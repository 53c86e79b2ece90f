"""Ignite: an engine with metrics and a progress bar."""

from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import ModelCheckpoint
from ignite.handlers.tqdm_logger import ProgressBar
from ignite.metrics import Accuracy, Loss
from torch.utils.data import DataLoader

CHOICES = "create_supervised_trainer with Accuracy and Loss of the training batches attached, and ProgressBar"


def prepare(task):
    model, criterion = task.model(), task.criterion()
    optimizer = task.optimizer(model.parameters())
    loader = DataLoader(task.train, task.batch_size, shuffle=True)
    trainer = create_supervised_trainer(
        model, optimizer, criterion, output_transform=lambda x, y, y_pred, loss: (y_pred.detach(), y)
    )
    Accuracy().attach(trainer, "accuracy")
    Loss(criterion).attach(trainer, "loss")
    ProgressBar().attach(trainer)
    log = {}

    @trainer.on(Events.EPOCH_COMPLETED)
    def remember(engine):
        log.update(engine.state.metrics)

    if task.test is not None:
        evaluator = create_supervised_evaluator(model, {"test_accuracy": Accuracy()})
        test_loader = DataLoader(task.test, task.batch_size)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(test_loader))
        saver = ModelCheckpoint(str(task.folder), require_empty=False)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, saver, {"model": model, "optimizer": optimizer})

    def fit():
        trainer.run(loader, max_epochs=task.epochs)
        if task.test is not None:
            log.update(evaluator.state.metrics)
        return dict(log)

    return fit
