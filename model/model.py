"""Your networks. `arch.type` in the config names one of them."""

import torch.nn.functional as F
from torch import nn

from base import BaseModel


class MnistModel(BaseModel):
    """A small convolutional network, of the kind of LeNet, for 28x28 images of one channel."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.5):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.dropout2d = nn.Dropout2d(dropout)
        self.fc1 = nn.Linear(320, 50)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(50, num_classes)

    def forward(self, x):
        """Images `(B, 1, 28, 28)` to log-probabilities `(B, num_classes)`."""
        x = F.relu(F.max_pool2d(self.conv1(x), 2))  # (B, 10, 12, 12)
        x = F.relu(F.max_pool2d(self.dropout2d(self.conv2(x)), 2))  # (B, 20, 4, 4)
        x = F.relu(self.fc1(x.flatten(1)))  # (B, 50)
        return F.log_softmax(self.fc2(self.dropout(x)), dim=1)
