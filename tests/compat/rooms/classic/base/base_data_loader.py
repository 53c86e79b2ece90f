import numpy as np
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import default_collate
from torch.utils.data.sampler import SubsetRandomSampler


class BaseDataLoader(DataLoader):
    """
    Parent of all data loaders
    """
    def __init__(self, dataset, batch_size, shuffle, validation_split, num_workers, collate_fn=default_collate):
        self.validation_split = validation_split
        self.shuffle = shuffle
        self.batch_idx = 0
        self.n_samples = len(dataset)
        self.sampler, self.valid_sampler = self._split_sampler(self.validation_split)
        self.init_kwargs = dict(dataset=dataset, batch_size=batch_size, shuffle=self.shuffle,
                                collate_fn=collate_fn, num_workers=num_workers)
        super().__init__(sampler=self.sampler, **self.init_kwargs)

    def _split_sampler(self, split):
        if split == 0.0:
            return None, None

        order = np.arange(self.n_samples)
        np.random.seed(0)
        np.random.shuffle(order)

        if isinstance(split, int):
            assert split > 0
            assert split < self.n_samples, "more validation samples than there are samples"
            held_out = split
        else:
            held_out = int(self.n_samples * split)

        valid_sampler = SubsetRandomSampler(order[:held_out])
        train_sampler = SubsetRandomSampler(np.delete(order, np.arange(held_out)))

        # a DataLoader takes either a sampler or shuffle
        self.shuffle = False
        self.n_samples = len(train_sampler)
        return train_sampler, valid_sampler

    def split_validation(self):
        if self.valid_sampler is None:
            return None
        return DataLoader(sampler=self.valid_sampler, **self.init_kwargs)
