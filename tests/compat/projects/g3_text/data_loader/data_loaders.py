import numpy as np
import torch
from torch.utils.data import Dataset
from base import BaseDataLoader

N_WORDS, N_TOPICS, LENGTH = 40, 4, 9


class Topics(Dataset):
    def __init__(self, n, seed):
        rng = np.random.RandomState(seed)
        self.topics = rng.rand(n, N_TOPICS) > 0.5
        # word w speaks of topic w % N_TOPICS
        weights = np.where(self.topics[:, np.arange(N_WORDS) % N_TOPICS], 1.0, 0.1)
        self.words = [rng.choice(N_WORDS, LENGTH, p=w / w.sum()) for w in weights]

    def __len__(self):
        return len(self.words)

    def __getitem__(self, i):
        return torch.from_numpy(self.words[i]), torch.from_numpy(self.topics[i]).float()


class TopicDataLoader(BaseDataLoader):
    def __init__(self, data_dir, batch_size, shuffle, validation_split, num_workers, training=True):
        super().__init__(Topics(60, 0) if training else Topics(30, 1), batch_size, shuffle, validation_split, num_workers)
