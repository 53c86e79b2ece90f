"""Your metrics. `metrics` in the config names them; each gives the mean over the batch, as a tensor on its device.

In double precision, so that shares of an epoch are exact, however its samples are divided into batches. Of targets that
are shares of classes `(B, K)`, as mixup and cutmix make them, the largest counts.
"""

from espalier.device import to_double


def accuracy(output, target):
    """The share of samples whose highest score is at the target. Scores `(B, K)`, class indices `(B,)`."""
    target = target.argmax(dim=1) if target.shape == output.shape else target
    return to_double(output.argmax(dim=1) == target).mean()


def top_k_acc(output, target, k: int = 3):
    """The share of samples whose target is among the `k` highest scores. Scores `(B, K)`, class indices `(B,)`."""
    target = target.argmax(dim=1) if target.shape == output.shape else target
    highest = output.topk(k, dim=1).indices  # (B, k)
    return to_double((highest == target.unsqueeze(1)).any(dim=1)).mean()
