import random

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from base import BaseDataLoader


class Sequences(Dataset):
    """ Digits, and their sum modulo 3 """

    def __init__(self, n, seed):
        rng = random.Random(seed)
        self.seqs = [[rng.randrange(10) for _ in range(rng.randrange(2, 9))] for _ in range(n)]

    def __len__(self):
        return len(self.seqs)

    def __getitem__(self, idx):
        seq = self.seqs[idx]
        return torch.tensor(seq) + 2, sum(seq) % 3


def pad_collate(batch):
    seqs, target = zip(*batch)
    lengths = torch.tensor([len(s) for s in seqs])
    return pad_sequence(seqs, batch_first=True), lengths, torch.tensor(target)


class SequenceDataLoader(BaseDataLoader):
    def __init__(self, data_dir, batch_size, shuffle, validation_split, num_workers, training=True, logger=None):
        self.data_dir = data_dir
        dataset = Sequences(90, seed=3) if training else Sequences(40, seed=4)
        if logger is not None:
            logger.info('longest sequence: %d', max(len(s) for s in dataset.seqs))
        super().__init__(dataset, batch_size, shuffle, validation_split, num_workers, pad_collate)
