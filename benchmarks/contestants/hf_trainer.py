"""The Trainer of Transformers."""

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

CHOICES = (
    "its defaults (bar, a log every 500 steps, checkpoints) but for a constant learning rate and max_grad_norm=0, so "
    "that it computes the same; accuracy added up in compute_loss"
)


class Wrapped(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.model, self.criterion = task.model(), task.criterion()

    def forward(self, data, labels=None):
        output = self.model(data)
        return {"loss": self.criterion(output, labels), "logits": output}


class Counting(Trainer):
    """Adds up loss and hits of the training batches."""

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        loss, output = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if model.training:
            target = inputs["labels"]
            self.hits += (output["logits"].argmax(dim=1) == target).sum().item()
            self.loss_sum += loss.item() * len(target)
            self.count += len(target)
        return (loss, output) if return_outputs else loss


class Anew(TrainerCallback):
    """Each epoch is counted by itself."""

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.trainer.hits, self.trainer.count, self.trainer.loss_sum = 0, 0, 0.0


def collate(samples):
    labels = torch.stack([torch.as_tensor(label) for _, label in samples])
    return {"data": torch.stack([data for data, _ in samples]), "labels": labels}


def hits_of(prediction):
    return {"accuracy": float((prediction.predictions.argmax(axis=1) == prediction.label_ids).mean())}


def prepare(task):
    model = Wrapped(task)
    whole = {"eval_strategy": "epoch", "save_strategy": "epoch"} if task.test is not None else {}
    arguments = TrainingArguments(
        output_dir=str(task.folder),
        num_train_epochs=task.epochs,
        per_device_train_batch_size=task.batch_size,
        per_device_eval_batch_size=task.batch_size,
        learning_rate=task.lr,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        use_cpu=True,
        dataloader_pin_memory=False,
        **whole,
    )
    trainer = Counting(
        model,
        arguments,
        data_collator=collate,
        train_dataset=task.train,
        eval_dataset=task.test,
        optimizers=(task.optimizer(model.parameters()), None),
        compute_metrics=hits_of,
    )

    anew = Anew()
    anew.trainer = trainer
    trainer.add_callback(anew)

    def fit():
        trainer.train()
        log = {"loss": trainer.loss_sum / trainer.count, "accuracy": trainer.hits / trainer.count}
        if task.test is not None:
            log["test_accuracy"] = next(
                row["eval_accuracy"] for row in trainer.state.log_history if "eval_accuracy" in row
            )
        return log

    return fit
