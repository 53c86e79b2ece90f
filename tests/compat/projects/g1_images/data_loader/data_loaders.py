import torch
from torch.utils.data import TensorDataset
from base import BaseDataLoader


class BarsDataLoader(BaseDataLoader):
    """
    6x6 pictures with a horizontal or a vertical bar
    """
    def __init__(self, data_dir, batch_size, shuffle, validation_split, num_workers, training=True):
        g = torch.Generator().manual_seed(0 if training else 1)
        n = 80 if training else 30
        target = torch.randint(0, 2, (n,), generator=g)
        data = torch.randn(n, 1, 6, 6, generator=g) * 0.5
        for i in range(n):
            place = int(torch.randint(0, 6, (1,), generator=g))
            if target[i] == 0:
                data[i, 0, place] += 1.5
            else:
                data[i, 0, :, place] += 1.5
        self.data_dir = data_dir
        self.dataset = TensorDataset(data, target)
        super(BarsDataLoader, self).__init__(self.dataset, batch_size, shuffle, validation_split, num_workers)
