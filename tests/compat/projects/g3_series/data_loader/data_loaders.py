import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from base.base_data_loader import BaseDataLoader


class Windows(Dataset):
    def __init__(self, window, training=True):
        rng = np.random.RandomState(11)
        t = np.arange(260)
        series = np.sin(t / 5.0) + 0.5 * np.sin(t / 2.3) + rng.randn(260) * 0.1
        series = series[:180] if training else series[180:]
        self.series = torch.tensor(series, dtype=torch.float32)
        self.window = window

    def __len__(self):
        return len(self.series) - self.window

    def __getitem__(self, i):
        return self.series[i:i + self.window], self.series[i + self.window]


class WindowDataLoader(BaseDataLoader):
    def __init__(self, data_dir, batch_size, window, shuffle=True, validation_split=0.0, num_workers=1, training=True):
        self.dataset = Windows(window, training)
        super().__init__(self.dataset, batch_size, shuffle, validation_split, num_workers)


class PlainWindowLoader(DataLoader):
    """ nothing of the template """
    def __init__(self, data_dir, batch_size, window, shuffle=False, training=True):
        super().__init__(Windows(window, training), batch_size=batch_size, shuffle=shuffle)
