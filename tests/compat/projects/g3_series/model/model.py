import torch.nn as nn
from base.base_model import BaseModel


class TCN(BaseModel):
    def __init__(self, channels=8):
        super().__init__()
        self.conv1 = nn.Conv1d(1, channels, 3, padding=1)
        self.conv2 = nn.Conv1d(channels, channels, 3, padding=2, dilation=2)
        self.head = nn.Linear(channels, 1)

    def forward(self, x):
        x = self.conv1(x.unsqueeze(1)).relu()
        x = self.conv2(x).relu()
        return self.head(x.mean(dim=2)).squeeze(1)
