import torch
import torch.nn.functional as F


def gan_loss(logits, is_real):
    target = torch.ones_like(logits) if is_real else torch.zeros_like(logits)
    return F.binary_cross_entropy_with_logits(logits, target)
