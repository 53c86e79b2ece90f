import torch


def hamming(output, target):
    with torch.no_grad():
        return ((output > 0).float() == target).float().mean().item()
