"""What users switch on, written by hand: bf16, gradients of two batches, clipping, an average of the weights."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

CHOICES = (
    "as by hand, with autocast to bf16, a step for every two batches, clip_grad_norm_ to 1 and an AveragedModel with "
    "decay 0.999 (get_ema_multi_avg_fn)"
)


def prepare(task):
    model, criterion = task.model(), task.criterion()
    optimizer = task.optimizer(model.parameters())
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    loader = DataLoader(task.train, task.batch_size, shuffle=True)

    def step():
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(model)

    def fit():
        for _ in range(task.epochs):
            model.train()
            loss_sum, hits, count = 0.0, 0, 0
            for index, (data, target) in enumerate(loader, 1):
                with torch.autocast("cpu", torch.bfloat16):
                    output = model(data)
                    loss = criterion(output, target)
                (loss / 2).backward()
                if index % 2 == 0 or index == len(loader):
                    step()
                loss_sum += loss.item() * len(target)
                hits += (output.argmax(dim=1) == target).sum().item()
                count += len(target)
            log = {"loss": loss_sum / count, "accuracy": hits / count}
            print(log)
        return log

    return fit
