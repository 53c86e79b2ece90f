from abc import abstractmethod

import numpy as np
import torch.nn as nn


class BaseModel(nn.Module):
    """
    Parent of all models
    """
    @abstractmethod
    def forward(self, *inputs):
        """
        What the model computes
        """
        raise NotImplementedError

    def __str__(self):
        """
        The usual text, and how many parameters are trained
        """
        count = sum(int(np.prod(p.size())) for p in self.parameters() if p.requires_grad)
        return '{}\nTrainable parameters: {}'.format(super().__str__(), count)
