"""The distances of the baselines: python -m examples.gan.baseline"""

import argparse

import torch

from data_loader.data_loaders import DigitsDataLoader
from examples.gan.metric import frechet_distance, images_of
from examples.gan.model import DCGAN


@torch.no_grad()
def main():
    real, test = (images_of(DigitsDataLoader("data/digits", 64, training=part)) for part in (True, False))
    torch.manual_seed(0)
    baselines = {
        "untrained generator": DCGAN(width=16)(torch.randn(1440, 64)),
        "each pixel drawn by itself": real.mean(0) + real.std(0) * torch.randn_like(real),
        "digits of the training part": real,
    }
    for name, images in baselines.items():
        print(f"{name}: distance {frechet_distance(images, test):.2f}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
