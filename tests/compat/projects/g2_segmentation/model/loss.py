import torch.nn as nn
import torch.nn.functional as F


class DiceCE(nn.Module):
    def __init__(self, weight=0.5):
        super().__init__()
        self.weight = weight

    def forward(self, output, target):
        ce = F.cross_entropy(output, target)
        prob = output.softmax(1)
        hot = F.one_hot(target, output.shape[1]).permute(0, 3, 1, 2).float()
        dice = 1 - (2 * (prob * hot).sum() + 1) / (prob.sum() + hot.sum() + 1)
        return self.weight * ce + (1 - self.weight) * dice
