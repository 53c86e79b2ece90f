"""A DCGAN for 28x28 digits. Source: Radford, Metz, Chintala 2016, arXiv:1511.06434."""

import torch
from torch import nn

from base import BaseModel


class DCGAN(BaseModel):
    """Two networks in one model: the config gives each its optimizer by its name here."""

    def __init__(self, latent=64, width=32):
        super().__init__()
        self.latent = latent
        self.generator = nn.Sequential(
            nn.Linear(latent, 4 * width * 7 * 7, bias=False),
            nn.Unflatten(1, (4 * width, 7, 7)),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False),  # (B, 64, 14, 14)
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, 1, 4, 2, 1),  # (B, 1, 28, 28)
            nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1),  # (B, 32, 14, 14)
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),  # (B, 64, 7, 7)
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(2 * width * 7 * 7, 1),
        )

    def forward(self, noise):
        """Images (B, 1, 28, 28) in the range of the normalised data, of noise (B, latent)."""
        return 1.49 * self.generator(noise) + 0.58

    def draw(self, count, device):
        """Noise for so many images."""
        return torch.randn(count, self.latent, device=device)

    def example_inputs(self, num):
        """Noise for export.py to try a file on, since no data has any."""
        return self.draw(num, next(self.parameters()).device)
