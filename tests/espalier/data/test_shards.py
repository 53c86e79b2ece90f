"""The parts of the processes of a distributed run in each batch of a data loader."""

import contextlib
import itertools
import random
import time
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
    get_worker_info,
)

from base import BaseDataLoader, InMemoryDataset
from espalier.errors import ConfigError
from espalier.processes import collectives
from espalier.processes.shard import slice_of
from espalier.training.rng_state import get_rng_state
from tests.cases import cases

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # more workers than there are cores
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set"),
]


class Numbers(Dataset):
    """Sample `i` is the number `i`; `loaded` lists those that were asked for."""

    collate_fn = staticmethod(list)

    def __init__(self, size):
        self.size, self.loaded = size, []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.loaded.append(index)
        return index


class Stream(IterableDataset):
    """The numbers below `size`, each worker every so manyth."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __iter__(self):
        info = get_worker_info()
        return iter(range(self.size) if info is None else range(info.id, self.size, info.num_workers))


class StatefulStream(Stream):
    """Knows where it stands."""

    place = 0

    def __iter__(self):
        start, self.place = self.place, 0
        for self.place, number in enumerate(itertools.islice(super().__iter__(), start, None), start + 1):
            yield number

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


class Given(NamedTuple):
    """A batch as one process is given it, and what the loader tells of it."""

    samples: list
    num_global: int | None
    is_padding: bool


@contextlib.contextmanager
def as_process(rank, world_size):
    """Be one of several processes."""
    with patch.object(collectives, "rank", lambda: rank), patch.object(collectives, "world_size", lambda: world_size):
        yield


def samples_in(batch):
    """The numbers of a batch of any kind, or the one number where there are no batches."""
    numbers = batch[1] if isinstance(batch, (tuple, list)) and isinstance(batch[0], torch.Tensor) else batch
    numbers = numbers.tolist() if isinstance(numbers, torch.Tensor) else numbers
    return numbers if isinstance(numbers, list) else [numbers]


def one_pass(loader, rank=0, world_size=1, num_batches=None):
    """What one process is given in a pass, or in the beginning of one."""
    with as_process(rank, world_size):
        batches = itertools.islice(iter(loader), num_batches)
        return [Given(samples_in(batch), loader.num_global, loader.is_padding) for batch in batches]


def batches_alone(loader):
    """One pass of a process that is alone."""
    return [given.samples for given in one_pass(loader)]


def in_groups(samples, size):
    """Lists of `size` samples each, but for the last."""
    return [samples[at : at + size] for at in range(0, len(samples), size)]


def check_shards(whole, shards, has_batches=True):
    """The processes' batches are `whole` in order, all have as many, and padding is told where a part is empty."""
    for batch, *parts in zip(whole, *shards, strict=True):
        assert [number for each in parts if not each.is_padding for number in each.samples] == batch
        for rank, each in enumerate(parts):
            part = batch[slice_of(len(batch), rank, len(parts))]
            assert each == Given(part or batch[:1], len(batch) if has_batches else None, not part)


def shards_of(make, world_size, epoch=1, **options):
    """A pass of each process, each with a loader of its own."""
    loaders = [make(**options) for _ in range(world_size)]
    for loader in loaders:
        loader.seek(epoch)
    return [one_pass(loader, rank, world_size) for rank, loader in enumerate(loaders)]


def own_order(size=11, batch_size=4, **options):
    return BaseDataLoader(Numbers(size), batch_size, shuffle=True, seed=3, **options)


def in_memory(size=11, batch_size=4, **options):
    dataset = InMemoryDataset(torch.zeros(size, 1), torch.arange(size))
    return BaseDataLoader(dataset, batch_size, shuffle=True, seed=3, **options)


def sampler(size=11, batch_size=4, **options):
    data = Numbers(size)
    return BaseDataLoader(data, batch_size, sampler=RandomSampler(data), seed=3, **options)


def weighted(size=11, batch_size=4, **options):
    chosen = WeightedRandomSampler([1.0] * size, size, generator=torch.Generator().manual_seed(5))
    return BaseDataLoader(Numbers(size), batch_size, sampler=chosen, seed=3, **options)


def batch_sampler(size=11, batch_size=4, **options):
    data = Numbers(size)
    return BaseDataLoader(
        data, 1, batch_sampler=BatchSampler(RandomSampler(data), batch_size, False), seed=3, **options
    )


def stream(size=11, batch_size=4, **options):
    return BaseDataLoader(Stream(size), batch_size, collate_fn=list if batch_size else None, seed=3, **options)


def stateful_stream(size=11, batch_size=4, **options):
    return BaseDataLoader(StatefulStream(size), batch_size, collate_fn=list if batch_size else None, seed=3, **options)


def single(size=11, **options):
    return BaseDataLoader(Numbers(size), None, shuffle=True, seed=3, collate_fn=int, **options)


def single_of_sampler(size=11, **options):
    data = Numbers(size)
    return BaseDataLoader(data, None, sampler=RandomSampler(data), seed=3, collate_fn=int, **options)


def single_in_memory(size=11, **options):
    return in_memory(size, None, collate_fn=lambda sample: int(sample[1]), **options)


def single_of_stream(size=11, **options):
    return stream(size, None, **options)


def single_of_stateful_stream(size=11, **options):
    return stateful_stream(size, None, **options)


MAPS = [own_order, in_memory, sampler, weighted, batch_sampler]
STREAMS = [stream, stateful_stream]
SINGLE_MAPS = [single, single_of_sampler, single_in_memory]
SINGLES = [*SINGLE_MAPS, single_of_stream, single_of_stateful_stream]


# Parts


@given(size=st.integers(1, 40), world_size=st.integers(1, 6), batch_size=st.integers(1, 9), epoch=st.integers(1, 99),
       shuffle=st.booleans(), drop_last=st.booleans())  # fmt: skip
def test_processes_partition_any_data(size, world_size, batch_size, epoch, shuffle, drop_last):
    """Every sample that one process would be given is given to one of any number of them, once, and in order."""

    def make():
        return BaseDataLoader(Numbers(size), batch_size, shuffle=shuffle, seed=3, drop_last=drop_last)

    alone = make()
    alone.seek(epoch)
    whole, shards = batches_alone(alone), shards_of(make, world_size, epoch)
    if world_size == 1:
        assert shards == [[Given(batch, None, False) for batch in whole]]
    else:
        check_shards(whole, shards)


@pytest.mark.parametrize("world_size", cases([2, 3, 4], 3))
@pytest.mark.parametrize("size", [1, 2, 5, 8, 11])
@pytest.mark.parametrize("make", MAPS + STREAMS)
def test_shards_make_the_batches_of_one_process(make, size, world_size):
    """Whatever gives the samples; with a last batch that is short, and one with fewer samples than processes."""
    check_shards(batches_alone(make(size)), shards_of(make, world_size, size=size))


@pytest.mark.parametrize("world_size", [2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 5, 8, 11])
@pytest.mark.parametrize("make", SINGLES)
def test_shards_without_batches_are_one_sample_each(make, size, world_size):
    """So many samples in a row are a sample for each process; a last group that is short is padded with its first."""
    samples = [number for batch in batches_alone(make(size)) for number in batch]
    check_shards(in_groups(samples, world_size), shards_of(make, world_size, size=size), has_batches=False)


@pytest.mark.parametrize("make", cases([own_order, in_memory, batch_sampler, *STREAMS], own_order, stateful_stream))
def test_shards_with_workers_make_the_batches_of_one_process(make):
    """Marks fit the batches though workers are asked ahead."""
    check_shards(batches_alone(make(num_workers=2)), shards_of(make, 3, num_workers=2))


def test_shards_without_batches_with_workers_are_those_without():
    """Workers are asked for one sample at a time."""
    assert shards_of(single, 2, num_workers=2) == shards_of(single, 2)


@pytest.mark.parametrize("make", [single_of_stream, single_of_stateful_stream])
def test_shards_of_streams_in_workers_without_batches_hold_each_sample_once(make):
    """Each worker makes groups of what it reads."""
    shards = shards_of(make, 2, num_workers=2)
    groups = [[number for each in parts if not each.is_padding for number in each.samples]
              for parts in zip(*shards, strict=True)]  # fmt: skip
    assert groups == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9]]


@pytest.mark.parametrize("make", [own_order, stream])
def test_shards_that_are_pinned_keep_what_goes_with_them(make):
    """Pinning takes batches apart and puts them together again."""
    check_shards(batches_alone(make()), shards_of(make, 2, pin_memory=True))


@pytest.mark.parametrize("make", [own_order, sampler, *STREAMS])
def test_shards_drop_an_incomplete_last_batch_alike(make):
    """What is dropped is the batch of all processes, not the part of some."""
    whole = batches_alone(make(drop_last=True))
    assert [len(batch) for batch in whole] == [4, 4]
    check_shards(whole, shards_of(make, 3, drop_last=True))


def test_shards_of_data_in_memory_are_asked_for_by_tensors(monkeypatch):
    """A part is cut out of the order like a whole batch."""
    asked, gather = [], InMemoryDataset.batch

    def seen(self, indices):
        asked.append(type(indices))
        return gather(self, indices)

    loader = in_memory()
    monkeypatch.setattr(InMemoryDataset, "batch", seen)
    one_pass(loader, 1, 2)
    assert asked == [torch.Tensor] * 3


def test_shards_of_data_in_memory_without_batches_are_asked_for_by_numbers():
    """A dataset that changes single samples is asked as by one process."""

    class Named(InMemoryDataset):
        def __getitem__(self, index):
            return type(index).__name__

    data = Named(torch.zeros(3, 1), torch.arange(3))
    with as_process(0, 2):
        assert list(BaseDataLoader(data, None, collate_fn=str)) == ["int", "int"]


def test_shards_load_no_sample_of_others():
    """Map-style data is loaded where it is used."""
    loader = own_order()
    given = one_pass(loader, 1, 2)
    assert loader.dataset.loaded == [number for each in given for number in each.samples]


@pytest.mark.parametrize("make", [own_order, sampler, batch_sampler])
def test_shards_come_at_the_same_time_on_each_process(make):
    """Batches are given in order, also where `in_order` would let fast workers go first."""

    class Slow(Numbers):
        def __getitem__(self, index):
            time.sleep(0.1 if get_worker_info().id == 0 else 0.0)
            return index

    expected = shards_of(make, 2)
    with patch.object(Numbers, "__getitem__", Slow.__getitem__):
        assert shards_of(make, 2, num_workers=2, in_order=False) == expected


# Order


@pytest.mark.parametrize("make", [own_order, sampler, weighted, batch_sampler, single])
def test_order_of_processes_is_a_function_of_seed_and_epoch(make):
    """Epochs differ, and each is the same again; no global generator matters."""
    torch.manual_seed(1)
    first, second = shards_of(make, 2, epoch=1), shards_of(make, 2, epoch=2)
    torch.manual_seed(2)
    assert (shards_of(make, 2, epoch=1), shards_of(make, 2, epoch=2)) == (first, second)
    assert first != second


@pytest.mark.parametrize("make", cases([own_order, stream], stream))
def test_order_with_persistent_workers_is_that_of_each_epoch(make):
    """Workers that live through several epochs give the process its part in each."""
    kept = make(num_workers=1, persistent_workers=True)
    passes = [one_pass(kept, 1, 2) for _ in range(2)]
    assert passes == [shards_of(make, 2, epoch, num_workers=1)[1] for epoch in (1, 2)]


def test_order_with_persistent_workers_follows_the_number_of_processes():
    """Workers that make parts of batches are not kept for other parts."""
    kept = stream(num_workers=1, persistent_workers=True)
    for world_size in (1, 3, 2):
        assert one_pass(kept, 0, world_size) == shards_of(stream, world_size, num_workers=1)[0]


def test_order_of_two_open_passes_has_the_info_of_each():
    """Passes over the same loader at the same time do not mix."""
    loader = own_order(size=9)
    with as_process(0, 2):
        ahead, behind = iter(loader), iter(loader)
        infos = []
        for each in (ahead, ahead, behind, ahead, behind, behind):
            next(each)
            infos.append((loader.num_global, loader.is_padding))
    assert infos == [(4, False), (4, False), (4, False), (1, True), (4, False), (1, True)]


class Noisy(Numbers):
    """Sample `i` is the number `i` and one from each generator."""

    def __getitem__(self, index):
        return index, random.random(), float(np.random.rand()), torch.rand(()).item()


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_noise_of_samples_is_that_of_one_process(world_size):
    """What is drawn for a sample is a function of (seed, epoch, index)."""
    loader = BaseDataLoader(Noisy(11), 4, shuffle=True, seed=3)
    expected = {sample[0]: sample for batch in loader for sample in batch}
    shards = shards_of(lambda: BaseDataLoader(Noisy(11), 4, shuffle=True, seed=3), world_size)
    found = {sample[0]: sample for shard in shards for each in shard for sample in each.samples}
    assert found == expected


class Thinned(StatefulStream):
    """Leaves out a sample now and then, by chance."""

    def __iter__(self):
        return (number for number in super().__iter__() if random.random() < 0.7)


class PlainThinned(Stream):
    """The same, of one that does not know where it stands, and has an order by chance."""

    def __iter__(self):
        order = torch.randperm(self.size).tolist()
        return (number for number in order if np.random.rand() < 0.7)


class StatefulThinned(PlainThinned):
    """Draws an order when it begins, and has a state."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@pytest.mark.parametrize("kind", [Thinned, PlainThinned, StatefulThinned])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_noise_of_streams_is_the_same_on_each_process(kind, num_workers):
    """A stream that draws gives each process the same samples, whatever its generators hold, and leaves them alone."""
    shards = []
    for rank in range(2):
        torch.manual_seed(rank)
        random.seed(rank)
        np.random.seed(rank)
        loader = BaseDataLoader(kind(30), 4, collate_fn=list, seed=3, num_workers=num_workers)
        before = get_rng_state()
        shards.append(one_pass(loader, rank, 2))
        after = get_rng_state()
        assert before["python"][1].equal(after["python"][1]) and before["numpy"][1].equal(after["numpy"][1])
        assert before["torch"].equal(after["torch"])
    batches = [a.samples * (not a.is_padding) + b.samples for a, b in zip(*shards, strict=True)]
    samples = [number for batch in batches for number in batch]
    assert len(set(samples)) == len(samples) and 10 < len(samples) < 30
    assert all(len(batch) == 4 for batch in batches[:-1])


# Positions


@pytest.mark.parametrize("processes", [(1, 2), (2, 3), (3, 1), (4, 2)])
@pytest.mark.parametrize("make", [own_order, in_memory, sampler, batch_sampler, stateful_stream])
def test_state_goes_on_with_another_number_of_processes(make, processes):
    """What is left of a pass is the same batches; where the data stands is the same on each process."""
    before, after = processes
    states = []
    for rank in range(before):
        loader = make(17)
        one_pass(loader, rank, before, num_batches=2)
        states.append(loader.state_dict())
    assert states == [states[0]] * before
    shards = []
    for rank in range(after):
        loader = make(17)
        loader.load_state_dict(states[0])
        shards.append(one_pass(loader, rank, after))
    rest = batches_alone(make(17))[2:]
    if after == 1:
        assert [given.samples for given in shards[0]] == rest
    else:
        check_shards(rest, shards)


@pytest.mark.parametrize("processes", [(1, 2), (2, 3), (3, 1)])
@pytest.mark.parametrize("make", [*SINGLE_MAPS, single_of_stateful_stream])
def test_state_without_batches_goes_on_with_another_number_of_processes(make, processes):
    """Positions count the samples of all processes."""
    before, after = processes
    loader = make(17)
    one_pass(loader, 0, before, num_batches=2)
    state = loader.state_dict()
    shards = []
    for rank in range(after):
        loader = make(17)
        loader.load_state_dict(state)
        shards.append(one_pass(loader, rank, after))
    rest = [batch[0] for batch in batches_alone(make(17))][2 * before :]
    if after == 1:
        assert [given.samples[0] for given in shards[0]] == rest
    else:
        check_shards(in_groups(rest, after), shards, has_batches=False)


@pytest.mark.parametrize("make", cases([own_order, batch_sampler, stateful_stream], stateful_stream))
def test_state_with_workers_ahead_is_behind_what_was_given(make):
    """Batches that workers have loaded already are given again, with what goes with them."""
    loader = make(17, num_workers=2)
    one_pass(loader, 1, 2, num_batches=3)
    shards = []
    for rank in range(3):
        resumed = make(17, num_workers=2)
        resumed.load_state_dict(loader.state_dict())
        shards.append(one_pass(resumed, rank, 3))
    check_shards(batches_alone(make(17, num_workers=2))[3:], shards)


@pytest.mark.parametrize("make", [own_order, sampler, batch_sampler])
def test_seek_gives_each_process_its_part_of_the_rest(make):
    """Batches are counted alike on any number of processes."""
    shards = []
    for rank in range(3):
        loader = make()
        loader.seek(2, batch=1)
        shards.append(one_pass(loader, rank, 3))
    alone = make()
    alone.seek(2)
    check_shards(batches_alone(alone)[1:], shards)


def test_seek_without_batches_counts_one_sample_for_each_process():
    """As a pass does."""
    loader = single()
    with as_process(1, 3):
        loader.seek(2, batch=1)
    assert one_pass(loader, 1, 3) == shards_of(single, 3, epoch=2)[1][1:]


@pytest.mark.parametrize("make", [own_order, single])
def test_give_back_lets_the_last_batch_be_given_again(make):
    """On each process its part."""
    loader, resumed = make(), make()
    with as_process(1, 2):
        given = one_pass(loader, 1, 2, num_batches=2)
        loader.give_back()
        resumed.load_state_dict(loader.state_dict())
    assert one_pass(resumed, 1, 2, num_batches=1) == given[1:]


@pytest.mark.parametrize("make", [own_order, single])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_indices_are_those_of_the_process(make, world_size):
    """A batch is named by the samples that were loaded for it here."""
    for rank in range(world_size):
        loader = make()
        given = one_pass(loader, rank, world_size)
        with as_process(rank, world_size):
            assert [loader.indices(1, batch) for batch in range(len(given))] == [each.samples for each in given]


@pytest.mark.parametrize("make", MAPS + STREAMS + SINGLES)
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_length_is_the_number_of_batches_on_each_process(make, world_size):
    """Also of the last, incomplete one."""
    for rank in range(world_size):
        with as_process(rank, world_size):
            loader = make()
            assert len(loader) == len(one_pass(loader, rank, world_size))


# What is not divided


class Everything(BaseDataLoader):
    """Gives every process everything."""

    is_divided = False


@pytest.mark.parametrize("data", [Numbers(11), Stream(11)])
def test_loader_that_is_not_divided_gives_everything(data):
    """By a class attribute, to be changed in an instance too."""
    loader = Everything(data, 4, collate_fn=list)
    expected = [Given(batch, None, False) for batch in ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10])]
    assert one_pass(loader, 1, 2) == expected
    loader.is_divided = True
    assert one_pass(loader, 1, 2)[0] == Given([2, 3], 4, False)


def test_loader_that_is_not_divided_has_validation_data_that_is_not():
    """The samples that are split off are given like the others."""
    loader = Everything(Numbers(11), 4, validation_split=3, seed=3).split_validation()
    assert [len(each.samples) for each in one_pass(loader, 1, 2)] == [3]


@pytest.mark.parametrize("as_batches", [False, True])
def test_distributed_sampler_is_left_to_divide_the_samples(as_batches):
    """What it gives to a process is for that process alone."""
    data = Numbers(8)
    order = DistributedSampler(data, num_replicas=2, rank=1, shuffle=False)
    options = {"batch_sampler": BatchSampler(order, 2, False)} if as_batches else {"sampler": order}
    loader = BaseDataLoader(data, 1 if as_batches else 2, **options)
    assert one_pass(loader, 1, 2) == [Given([1, 3], None, False), Given([5, 7], None, False)]


class Shards(IterableDataset):
    """Deals out its numbers itself: to each process every so manyth."""

    is_sharded = True

    def __len__(self):
        return 16

    def __iter__(self):
        return iter(range(collectives.rank(), 16, collectives.world_size()))


class StatefulShards(Shards):
    """Knows where it stands."""

    place = 0

    def __iter__(self):
        start, self.place = self.place, 0
        for self.place, number in enumerate(list(super().__iter__())[start:], start + 1):
            yield number

    state_dict, load_state_dict = StatefulStream.state_dict, StatefulStream.load_state_dict


@pytest.mark.parametrize("kind", [Shards, StatefulShards])
def test_shards_of_a_dataset_make_batches_of_an_even_part(kind):
    """Batches of all processes together have `batch_size` samples."""
    loader = BaseDataLoader(kind(), 8, collate_fn=list)
    assert one_pass(loader, 1, 2) == [Given([1, 3, 5, 7], None, False), Given([9, 11, 13, 15], None, False)]
    assert len(loader) == 2


def test_shards_of_a_dataset_that_knows_where_it_stands_go_on_there():
    """A process goes on in its own shard."""
    loader, resumed = (BaseDataLoader(StatefulShards(), 4, collate_fn=list) for _ in range(2))
    one_pass(loader, 1, 2, num_batches=3)
    resumed.load_state_dict(loader.state_dict())
    assert one_pass(resumed, 1, 2) == [Given([13, 15], None, False)]


def test_shards_of_a_dataset_without_batches_are_left_as_they_are():
    """Each process is given its own samples."""
    assert [each.samples for each in one_pass(BaseDataLoader(Shards(), None), 1, 4)] == [[1], [5], [9], [13]]


def test_shards_of_a_dataset_that_would_differ_in_size_are_refused():
    """The message says what a batch must be."""
    loader = BaseDataLoader(Shards(), 8)
    with as_process(0, 3), pytest.raises(ConfigError) as caught:
        iter(loader)
    assert str(caught.value) == (
        "config error: data_loader.args.batch_size cannot be divided among 3 processes\n"
        "  got       8\n"
        "  expected  a multiple of 3, since Shards shards itself"
    )


def test_info_of_a_process_that_is_alone_again_is_empty():
    """Nothing is left of a pass before."""
    loader = BaseDataLoader(Numbers(5), 4, sampler=SequentialSampler(Numbers(5)))
    assert one_pass(loader, 0, 2)[-1] == Given([4], 1, True)
    assert one_pass(loader)[-1] == Given([4], None, False)


@given(size=st.integers(1, 30), processes=st.lists(st.integers(1, 4), min_size=1, max_size=4), data=st.data())
def test_state_gone_on_with_any_numbers_of_processes_gives_every_sample_once(size, processes, data):
    """Stopped again and again, and each time continued by others."""
    make = data.draw(st.sampled_from([own_order, sampler, stateful_stream, single]))
    state, seen = make(size).state_dict(), []
    for world_size in itertools.cycle(processes):
        shards, num_batches = [], data.draw(st.integers(1, 3))
        for rank in range(world_size):
            loader = make(size)
            loader.load_state_dict(state)
            shards.append(one_pass(loader, rank, world_size, num_batches))
        together = itertools.chain.from_iterable(zip(*shards, strict=True))
        seen += [number for each in together if not each.is_padding for number in each.samples]
        state = loader.state_dict()
        if state["epoch"] == 2:
            break
    assert seen == [number for batch in batches_alone(make(size)) for number in batch]
