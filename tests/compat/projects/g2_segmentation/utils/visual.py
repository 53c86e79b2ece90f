import torch


def colour_map(palette):
    return torch.tensor(palette, dtype=torch.uint8)


def paint(mask, colours):
    """ (H, W) classes -> (3, H, W) picture """
    return colours[mask.cpu()].permute(2, 0, 1)
