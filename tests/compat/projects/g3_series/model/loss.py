import torch.nn.functional as F


def mse(output, target):
    return F.mse_loss(output, target)
