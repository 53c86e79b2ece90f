"""The least that trains at all: one tensor, one gather a batch, the fastest form of the optimizer, nothing else."""

import torch

CHOICES = (
    "all data one tensor, index_select of a permutation, Adam fused; no bar, no log; from the shell no garbage "
    "collector"
)


def prepare(task):
    model, criterion = task.model(), task.criterion()
    optimizer = task.optimizer(model.parameters(), fused=task.is_fused)
    inputs, targets = task.inputs, task.targets

    def fit():
        for _ in range(task.epochs):
            loss_sum, hits = 0.0, 0
            for chosen in torch.randperm(len(inputs)).split(task.batch_size):
                data, target = inputs.index_select(0, chosen), targets.index_select(0, chosen)
                optimizer.zero_grad()
                output = model(data)
                loss = criterion(output, target)
                loss.backward()
                optimizer.step()
                loss_sum += loss.item() * len(target)
                hits += (output.argmax(dim=1) == target).sum().item()
            log = {"loss": loss_sum / len(inputs), "accuracy": hits / len(inputs)}
        return log

    return fit
