"""MMEngine: Runner with its default hooks."""

from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from benchmarks.tasks import accuracy

CHOICES = "Runner with its default hooks (a log line every 10 steps, a checkpoint an epoch)"


class Model(BaseModel):
    def __init__(self, task):
        super().__init__()
        self.model, self.criterion = task.model(), task.criterion()
        self.hits = []

    def forward(self, data, target, mode="loss"):
        output = self.model(data)
        self.hits.append(accuracy(output.detach(), target))
        return {"loss": self.criterion(output, target), "accuracy": self.hits[-1]}


def prepare(task):
    model = Model(task)
    runner = Runner(
        model,
        work_dir=str(task.folder),
        train_dataloader=DataLoader(task.train, task.batch_size, shuffle=True),
        optim_wrapper={"optimizer": task.optimizer(model.parameters())},
        train_cfg={"by_epoch": True, "max_epochs": task.epochs},
    )

    def fit():
        runner.train()
        steps = len(runner.train_dataloader)
        losses = list(runner.message_hub.get_scalar("train/loss").data[0])[-steps:]
        hits = model.hits[-steps:]
        return {"loss": float(sum(losses) / len(losses)), "accuracy": float(sum(hits) / len(hits))}

    return fit
