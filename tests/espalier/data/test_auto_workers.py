"""How many workers `"num_workers": "auto"` takes."""

import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from base import BaseDataLoader
from espalier.data import auto_workers
from espalier.data.auto_workers import num_cores, num_workers_of
from espalier.errors import ConfigError


class Files(Dataset):
    """Read one by one."""


class Stream(IterableDataset):
    """Its order depends on the number of workers."""

    def __iter__(self):
        return iter(())


@pytest.fixture
def cores(monkeypatch):
    """Let the machine have so many cores, and so many processes on them."""

    def say(number, processes=1):
        monkeypatch.setattr(auto_workers, "num_cores", lambda: number)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))

    return say


@pytest.mark.parametrize(("number", "processes", "workers"), [(1, 1, 0), (2, 1, 1), (4, 2, 1), (8, 1, 7), (64, 2, 8)])
def test_auto_leaves_a_core_for_the_training_process(cores, number, processes, workers):
    """Of those that each process has, and no more than eight."""
    cores(number, processes)
    assert num_workers_of("auto", Files()) == workers


def test_auto_takes_none_where_none_pays(cores, monkeypatch):
    """For data in memory and streams, and in a notebook whose classes a spawned process cannot see."""
    cores(8)
    assert num_workers_of("auto", TensorDataset(torch.zeros(2))) == num_workers_of("auto", Stream()) == 0
    monkeypatch.setattr(auto_workers, "is_interactive", lambda: True)
    monkeypatch.setattr(auto_workers.multiprocessing, "get_start_method", lambda: "spawn")
    assert num_workers_of("auto", Files()) == 0
    assert BaseDataLoader(TensorDataset(torch.zeros(2)), 1, num_workers="auto", prefetch_factor=2, timeout=3,
                          persistent_workers=True).num_workers == 0  # fmt: skip


def test_other_texts_are_refused():
    """As in a config."""
    with pytest.raises(ConfigError) as error:
        num_workers_of("all", Files())
    assert (
        str(error.value)
        == """config error: data_loader.args.num_workers has a value that does not fit
  got       "all"
  expected  a whole number of at least 0 or "auto\""""
    )


@pytest.mark.parametrize(("text", "cores"), [("max 100000", 6), ("200000 100000", 2), ("50000 100000", 1), ("x", 6)])
def test_cores_are_those_of_the_container(monkeypatch, text, cores):
    """Whatever the machine has beside it."""
    monkeypatch.setattr(auto_workers.os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(auto_workers.Path, "read_text", lambda self, encoding: text)
    assert num_cores() == cores
