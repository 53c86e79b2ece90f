import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import transforms
from base import BaseDataLoader


class Stripes(Dataset):
    """ 10x10 pictures with stripes in one of four directions """

    def __init__(self, root, train=True, transform=None):
        self.root = root
        self.transform = transform
        rng = np.random.RandomState(1 if train else 2)
        n = 80 if train else 30
        self.targets = rng.randint(0, 4, n)
        y, x = np.mgrid[0:10, 0:10]
        waves = [x, y, x + y, x - y]
        self.data = [((np.sin(waves[t] * 1.5 + rng.rand() * 6) + rng.randn(10, 10) * 0.3) * 60 + 128)
                     .clip(0, 255).astype('uint8') for t in self.targets]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        img = self.data[index]
        if self.transform is not None:
            img = self.transform(img)
        return img, int(self.targets[index])


class StripesDataLoader(BaseDataLoader):
    """
    Loads stripes
    """
    def __init__(self, data_dir, batch_size, shuffle=True, validation_split=0.0, num_workers=1, training=True):
        trsfm = transforms.Compose([
            transforms.ToTensor(),
            transforms.Normalize((0.5,), (0.25,))
        ])
        if training:
            trsfm = transforms.Compose([trsfm, transforms.RandomErasing(p=0.3)])
        self.data_dir = data_dir
        self.dataset = Stripes(self.data_dir, train=training, transform=trsfm)
        super().__init__(self.dataset, batch_size, shuffle, validation_split, num_workers)
