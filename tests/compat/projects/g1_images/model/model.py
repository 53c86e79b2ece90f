import torch.nn as nn
import torch.nn.functional as F
from base import BaseModel


class BarsModel(BaseModel):
    def __init__(self, num_classes=2):
        super(BarsModel, self).__init__()
        self.fc1 = nn.Linear(36, 16)
        self.fc2 = nn.Linear(16, num_classes)

    def forward(self, x):
        x = F.relu(self.fc1(x.view(x.size(0), -1)))
        x = F.dropout(x, training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)
