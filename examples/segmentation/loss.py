"""A loss that is the Dice score of probabilities."""

import torch.nn.functional as F


def dice_loss(output, target):
    """1 - Dice of the probabilities over a batch, mean of the classes. Scores (B, K, H, W), masks (B, H, W).

    Source: Milletari, Navab, Ahmadi 2016, arXiv:1606.04797.
    """
    truth = F.one_hot(target, output.shape[1]).movedim(-1, 1)  # (B, K, H, W)
    shares = output.float().softmax(dim=1)
    overlap, total = (shares * truth).sum((0, 2, 3)), (shares + truth).sum((0, 2, 3))  # (K,)
    return 1 - ((2 * overlap + 1) / (total + 1)).mean()
