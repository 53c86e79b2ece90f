import numpy as np
import torch
from torch.utils.data import Dataset
from torch.utils.data.sampler import SubsetRandomSampler
from base import BaseDataLoader

SEEDS = {'train': 1, 'valid': 2, 'test': 3}
PER_SCENE = 4


class Blobs(Dataset):
    """ Discs and squares on noise; four pictures show the same scene """

    def __init__(self, split):
        rng = np.random.RandomState(SEEDS[split])
        n_scenes = 10 if split == 'train' else 3
        y, x = np.mgrid[0:12, 0:12]
        self.images, self.masks, self.scenes = [], [], []
        for scene in range(n_scenes):
            (cx, cy), (sx, sy) = rng.randint(3, 9, 2), rng.randint(0, 8, 2)
            mask = np.zeros((12, 12), dtype='int64')
            mask[sy:sy + 4, sx:sx + 4] = 2
            mask[(x - cx) ** 2 + (y - cy) ** 2 < 8] = 1
            for _ in range(PER_SCENE):
                self.images.append((np.array([0, 1, -1])[mask] + rng.randn(12, 12) * 0.3).astype('float32'))
                self.masks.append(mask)
                self.scenes.append(scene)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return torch.from_numpy(self.images[index])[None], torch.from_numpy(self.masks[index])


class BlobDataLoader(BaseDataLoader):
    def __init__(self, data_dir, batch_size, shuffle=True, validation_split=0.0, num_workers=1, split='train'):
        self.data_dir = data_dir
        self.scenes = np.array(Blobs(split).scenes)
        dataset = Blobs(split)
        super().__init__(dataset, batch_size, shuffle, validation_split, num_workers, collate_fn=self.collate)

    @staticmethod
    def collate(batch):
        images, masks = zip(*batch)
        return torch.stack(images), torch.stack(masks)

    def _split_sampler(self, split):
        # pictures of one scene stay together
        if split == 0.0:
            return None, None
        n_valid = int(self.n_samples * split)
        scenes = np.unique(self.scenes)
        np.random.RandomState(0).shuffle(scenes)
        held = scenes[:max(1, round(n_valid / PER_SCENE))]
        valid_idx = np.flatnonzero(np.isin(self.scenes, held))
        train_idx = np.flatnonzero(~np.isin(self.scenes, held))

        # no shuffle with a sampler
        self.shuffle = False
        self.n_samples = len(train_idx)
        return SubsetRandomSampler(train_idx), SubsetRandomSampler(valid_idx)
