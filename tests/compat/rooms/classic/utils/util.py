import json
from collections import OrderedDict
from itertools import repeat
from pathlib import Path

import pandas as pd
import torch


def ensure_dir(dirname):
    dirname = Path(dirname)
    if not dirname.is_dir():
        dirname.mkdir(parents=True, exist_ok=False)


def read_json(fname):
    with Path(fname).open('rt') as file:
        return json.load(file, object_hook=OrderedDict)


def write_json(content, fname):
    with Path(fname).open('wt') as file:
        json.dump(content, file, indent=4, sort_keys=False)


def inf_loop(data_loader):
    ''' a data loader without end '''
    for loader in repeat(data_loader):
        yield from loader


def prepare_device(n_gpu_use):
    """
    The device to compute on, and the indices of the GPUs
    """
    found = torch.cuda.device_count()
    if n_gpu_use > 0 and found == 0:
        print("Warning: there is no GPU here, training goes on the CPU.")
        n_gpu_use = 0
    if n_gpu_use > found:
        print("Warning: {} GPU(s) wanted, {} found.".format(n_gpu_use, found))
        n_gpu_use = found
    return torch.device('cuda:0' if n_gpu_use > 0 else 'cpu'), list(range(n_gpu_use))


class MetricTracker:
    # upstream keeps its numbers in a DataFrame and writes through .values, which pandas 3 refuses
    def __init__(self, *keys, writer=None):
        self.writer = writer
        self._keys = keys
        self.reset()

    def reset(self):
        self._total = {key: 0.0 for key in self._keys}
        self._counts = {key: 0 for key in self._keys}

    @property
    def _data(self):
        return pd.DataFrame({'total': pd.Series(self._total, dtype='float64'),
                             'counts': pd.Series(self._counts, dtype='float64'),
                             'average': pd.Series(self.result(), dtype='float64')})

    def update(self, key, value, n=1):
        if self.writer is not None:
            self.writer.add_scalar(key, value)
        self._total[key] += float(value) * n
        self._counts[key] += n

    def avg(self, key):
        return self._total[key] / self._counts[key] if self._counts[key] else 0.0

    def result(self):
        return {key: self.avg(key) for key in self._total}
