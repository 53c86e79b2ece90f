import torch.nn as nn
from base import BaseModel


class Generator(BaseModel):
    def __init__(self, z_dim, hidden=32):
        super(Generator, self).__init__()
        self.net = nn.Sequential(
            nn.Linear(z_dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, 2),
        )

    def forward(self, z):
        return self.net(z)


class Discriminator(BaseModel):
    def __init__(self, hidden=32):
        super(Discriminator, self).__init__()
        self.net = nn.Sequential(
            nn.Linear(2, hidden),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.1),
            nn.Linear(hidden, 1),
        )

    def forward(self, x):
        return self.net(x)
