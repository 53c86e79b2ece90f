import numpy as np
import torch
from torch.utils.data import TensorDataset
from base import BaseDataLoader


class RingDataLoader(BaseDataLoader):
    def __init__(self, data_dir, batch_size, shuffle=True, validation_split=0.0, num_workers=1, training=True):
        rng = np.random.RandomState(7)
        angle = rng.uniform(0, 2 * np.pi, 160)
        points = np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.randn(160, 2) * 0.05
        self.data_dir = data_dir
        self.dataset = TensorDataset(torch.from_numpy(points).float())
        super().__init__(self.dataset, batch_size, shuffle, validation_split, num_workers)
