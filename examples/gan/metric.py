"""How far made up images are from real ones."""

import torch
import torch.nn.functional as F


def frechet_distance(images, others):
    """Between means and covariances of images (N, 1, 28, 28), each as its 7x7 means of 4x4 pixels.

    Source: Heusel et al. 2017, arXiv:1706.08500, which has features of a classifier in place of pixels.
    """
    points = [F.avg_pool2d(each, 4).flatten(1).double() for each in (images, others)]  # (N, 49)
    means, (one, other) = [each.mean(0) for each in points], [torch.cov(each.T) for each in points]
    root = torch.linalg.eigvals(one @ other).real.clamp(min=0).sqrt().sum()  # trace of the root of the product
    return float(((means[0] - means[1]) ** 2).sum() + one.trace() + other.trace() - 2 * root)


def images_of(loader):
    """All images of a loader, (N, 1, 28, 28)."""
    return torch.cat([images for images, _ in loader])
