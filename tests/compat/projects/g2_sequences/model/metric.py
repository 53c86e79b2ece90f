import torch


# these give tensors
def accuracy(output, target):
    return (output.argmax(dim=1) == target).float().mean()


def confidence(output, target):
    return torch.softmax(output.detach(), dim=1).max(dim=1)[0].mean()
