"""Iterable datasets: streams that are entered where they stood, and what workers make of them."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import IterableDataset, get_worker_info

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.errors import CheckpointError, DataError
from espalier.training.rng_state import get_rng_state, set_rng_state
from tests.espalier.data.test_samples import MEMORY, Noisy, draws, is_same_rng, label, loader_at, noise_in

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than there are cores


class Shards(IterableDataset):
    """One shard for each worker, or all in a row without any: shard, place in it, and noise.

    It goes on from where it stands, and at its end goes back to the beginning for the next pass.
    """

    lengths = (7, 2, 4)

    def __init__(self):
        self.place = 0

    def numbers(self):
        """What this process is to give."""
        info = get_worker_info()
        all_of_them = [(shard, place) for shard, length in enumerate(self.lengths) for place in range(length)]
        if info is None:
            return all_of_them
        return [each for each in all_of_them if each[0] % info.num_workers == info.id]

    def __iter__(self):
        numbers = self.numbers()
        while self.place < len(numbers):
            shard, place = numbers[self.place]
            self.place += 1
            yield torch.tensor([100 * shard + place, *draws()], dtype=torch.float64)
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


class Seekable(Shards):
    """Begins where it was told to go on, and else at the beginning: it has nothing to go back to at its end."""

    def __init__(self):
        self.start = self.place = 0

    def __iter__(self):
        start, self.start = self.start, 0
        for number, (shard, place) in enumerate(self.numbers()[start:], start + 1):
            self.place = number
            yield torch.tensor([100 * shard + place, *draws()], dtype=torch.float64)

    def load_state_dict(self, state):
        self.start = self.place = state["place"]


class Emptied(Shards):
    """The second worker has nothing at all."""

    lengths = (4, 0, 3)


class Epochs(Shards):
    """A stream with an order for each epoch, of which it is told."""

    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def numbers(self):
        return [(self.epoch, place) for _, place in super().numbers()]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_stream_with_set_epoch_is_told_of_each_pass_and_after_a_resume(workers):
    """`set_epoch` is called before each pass, also the one that is entered in its middle."""
    loader = BaseDataLoader(Epochs(), 2, num_workers=workers, collate_fn=list)
    passes = [{int(sample[0]) // 100 for batch in loader for sample in batch} for _ in range(2)]
    assert passes == [{1}, {2}]
    begun = iter(loader)
    next(begun)
    fresh = BaseDataLoader(Epochs(), 2, num_workers=workers, collate_fn=list)
    fresh.load_state_dict(loader.state_dict())
    assert {int(sample[0]) // 100 for batch in fresh for sample in batch} == {3}


class Words(IterableDataset):
    """Text, word by word."""

    words = ("one", "skipped", "two", "skipped", "three")

    def __init__(self):
        self.place = 0

    def __iter__(self):
        while self.place < len(self.words):
            self.place += 1
            yield self.words[self.place - 1]
        self.place = 0

    state_dict, load_state_dict = Shards.state_dict, Shards.load_state_dict


def stream(kind=Shards, batch_size=3, num_workers=0, **options):
    """A loader over a stream, its run's generators at the same place each time."""
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    return BaseDataLoader(kind(), batch_size, seed=3, num_workers=num_workers, **options)


def rows_of(batches):
    """Batches as lists of numbers."""
    return [batch.reshape(-1, 4).tolist() for batch in batches]


@pytest.mark.parametrize(
    ("kind", "num_workers", "options"),
    [
        (Shards, 0, {}),
        (Shards, 0, {"batch_size": None}),
        (Shards, 0, {"drop_last": True}),
        (Seekable, 0, {}),
        (Shards, 2, {}),
        *(
            pytest.param(kind, num_workers, options, marks=pytest.mark.slow)
            for kind in (Shards, Seekable, Emptied)
            for num_workers in (1, 2, 3)
            for options in ({"batch_size": 4}, {"batch_size": None}, {"drop_last": True}, {"prefetch_factor": 1})
        ),
    ],
    ids=label,
)
def test_stream_stopped_at_any_batch_goes_on_as_undisturbed(kind, num_workers, options, tmp_path):
    """What comes after any batch of a pass is what would have come, noise and all."""
    whole = stream(kind, num_workers=num_workers, **options)
    states, generators, expected = [whole.state_dict()], [get_rng_state()], []
    for batch in whole:
        expected += rows_of([batch])
        states.append(whole.state_dict())
        generators.append(get_rng_state())
    differing = []
    save_checkpoint({"state_dict": {}, "states": states}, tmp_path / "states.pth")
    states = load_checkpoint(tmp_path / "states.pth")["states"]
    for number, (state, generator) in enumerate(zip(states, generators, strict=True)):
        resumed = stream(kind, num_workers=num_workers, **options)
        resumed.load_state_dict(state)
        set_rng_state(generator)
        if rows_of(resumed) != expected[number:]:
            differing.append(number)
    assert differing == [], f"batches, of {len(expected)}, after which it goes on otherwise"


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("number", [3])
def test_stream_pass_after_one_that_was_gone_on_with_is_the_next(num_workers, number):
    """The pass after the one that was entered in its middle is the whole next one."""
    whole, resumed = stream(Seekable, num_workers=num_workers), stream(Seekable, num_workers=num_workers)
    batches = iter(whole)
    for _ in range(number):
        next(batches)
    resumed.load_state_dict(whole.state_dict())
    numbers = [[[row[0] for row in batch] for batch in rows_of(each)] for each in (resumed, resumed, stream(Seekable))]
    if num_workers == 0:
        assert numbers[1] == numbers[2]
    assert sorted(itertools.chain(*numbers[1])) == sorted(itertools.chain(*numbers[2]))


@pytest.mark.parametrize("num_workers", [0, 3])
def test_stream_of_a_fresh_pass_gives_every_sample_once(num_workers):
    """Shards of unequal length are gone through whole."""
    found = [int(row[0]) for batch in rows_of(stream(num_workers=num_workers)) for row in batch]
    assert sorted(found) == [*range(7), 100, 101, *range(200, 204)]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_stream_state_after_loading_is_the_one_loaded(num_workers):
    """A run that is stopped again before its first batch is saved where it stood."""
    loader = stream(num_workers=num_workers)
    batches = iter(loader)
    next(batches), next(batches)
    again = stream(num_workers=num_workers)
    again.load_state_dict(loader.state_dict())
    assert again.state_dict() == loader.state_dict()


def test_stream_state_is_behind_what_was_consumed():
    """Workers that have read ahead do not count."""
    loader = stream(num_workers=2, batch_size=1, prefetch_factor=4)
    batches = iter(loader)
    places = []
    for _ in range(3):
        next(batches)
        places.append([state and state["dataset"]["place"] for state in loader.state_dict()["workers"]])
    assert places == [[1, None], [1, 1], [2, 1]]


def test_stream_state_is_not_changed_by_reading_on():
    """A state that was taken is a copy."""
    loader = stream(num_workers=0, batch_size=1)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    before = repr(state)
    list(batches)
    assert repr(state) == before


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2), (2, 0), (0, 2), (0, 1), (1, 0)])
def test_stream_read_on_by_another_number_of_workers_is_refused(before, after):
    """Each worker has its own share, so that their number must stay; the message says what it was."""
    loader = stream(num_workers=before)
    next(iter(loader))
    with pytest.raises(CheckpointError) as caught:
        stream(num_workers=after).load_state_dict(loader.state_dict())
    assert str(caught.value) == (
        "checkpoint error: iterable data goes on only with as many workers as it was read with\n"
        f"  got       {after}\n"
        f"  expected  {before}\n"
        f"  fix       data_loader.args.num_workers={before}"
    )


@pytest.mark.parametrize(("before", "after"), [(2, 1), (0, 2)])
def test_stream_between_two_passes_takes_another_number_of_workers(before, after):
    """Where no worker is in the middle of its share, their number may change."""
    loader = stream(num_workers=before)
    list(loader)
    again = stream(num_workers=after)
    again.load_state_dict(loader.state_dict())
    assert again.epoch == 2
    assert len(torch.cat(list(again))) == 13


@pytest.mark.parametrize("num_workers", [1])
def test_stream_with_workers_leaves_the_generators_of_the_run_alone(num_workers):
    """Noise that workers draw is none of the run's."""
    loader, before = stream(num_workers=num_workers), get_rng_state()
    assert all(is_same_rng(get_rng_state(), before) for _ in loader)


def test_stream_without_workers_draws_from_the_run():
    """In the training process a stream draws like the model, from the generators that a checkpoint holds."""
    found = rows_of(stream())
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    assert [row[1:] for batch in found for row in batch] == [draws() for _ in range(13)]


def test_stream_noise_of_workers_and_epochs_differs():
    """No two workers, and no two passes, draw the same numbers."""
    loader = stream(num_workers=2)
    rows = [tuple(row[1:]) for _ in range(2) for batch in rows_of(loader) for row in batch]
    assert len(set(rows)) == len(rows) == 26


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(("batch_size", "expected"), [(None, list(Words.words)), (1, [[word] for word in Words.words])])
def test_stream_of_words_gives_every_word(num_workers, batch_size, expected):
    """No sample is mistaken for a mark of the framework."""
    assert list(BaseDataLoader(Words(), batch_size, num_workers=num_workers)) == expected


@pytest.mark.parametrize("kind", [Shards, Seekable])
@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_stream_pass_that_was_left_is_not_gone_on_with(kind, num_workers):
    """The next pass after one that was left begins at the beginning, as it does in a run resumed between the two."""
    left = stream(kind, num_workers=num_workers)
    next(iter(left))
    resumed = stream(kind, num_workers=num_workers)
    resumed.seek(2)
    numbers = [[[row[0] for row in batch] for batch in rows_of(each)] for each in (left, resumed)]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_stream_sought_after_a_part_of_it_was_read_begins_anew(num_workers):
    """Going back to the beginning of an epoch, as a rollback does, gives the epoch from its beginning."""
    loader = stream(num_workers=num_workers)
    next(iter(loader))
    loader.seek(1)
    found = [int(row[0]) for batch in rows_of(loader) for row in batch]
    assert sorted(found) == [*range(7), 100, 101, *range(200, 204)]


class Half(IterableDataset):
    """Tells where it stands, but cannot be put there."""

    def __iter__(self):
        return iter(range(5))

    def state_dict(self):
        return {}


class Plain(IterableDataset):
    """Only a row of numbers."""

    def __iter__(self):
        return iter(range(5))


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [(Noisy(), True), (MEMORY, True), ([1, 2, 3], True), (Shards(), True), (Half(), False), (Plain(), False)],
    ids=label,
)
def test_is_resumable_of_all_but_streams_without_a_state(dataset, expected):
    """A stream that cannot both tell and set where it stands is entered at its beginning only."""
    assert BaseDataLoader(dataset, 2).is_resumable is expected


@pytest.mark.parametrize("dataset", [Half(), Plain()], ids=["half", "plain"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_stream_without_a_state_is_read_as_by_a_data_loader(dataset, num_workers):
    """A stream that cannot be entered in the middle is still read, and its state is the epoch."""
    loader = BaseDataLoader(dataset, 5, num_workers=num_workers)
    rows = [batch.tolist() for batch in loader]
    assert rows == [[0, 1, 2, 3, 4]] * max(1, num_workers)
    assert (loader.state_dict()["epoch"], loader.state_dict()["workers"]) == (2, [])


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_workers_started_in_another_way_load_the_same(context):
    """Where workers are not forked, as on other systems, samples and the places of streams are the same."""
    options = {"num_workers": 2, "multiprocessing_context": context}
    assert noise_in(loader_at(2, **options)) == noise_in(loader_at(2))
    expected = rows_of(stream(num_workers=2))
    loader, resumed = stream(**options), stream(**options)
    batches = iter(loader)
    before = rows_of([next(batches), next(batches), next(batches)])
    resumed.load_state_dict(loader.state_dict())
    assert before + rows_of(resumed) == expected


@pytest.mark.slow
@given(lengths=st.lists(st.integers(0, 6), min_size=2, max_size=3), batch_size=st.integers(1, 4), data=st.data())
def test_stream_of_any_shards_stopped_anywhere_gives_every_sample_once(lengths, batch_size, data):
    """Whatever the shards are, what came before the stop and what comes after it is the whole, in its order."""
    kind = type("Any", (Shards,), {"lengths": tuple(lengths)})
    expected = rows_of(stream(kind, batch_size, len(lengths)))
    number = data.draw(st.integers(0, len(expected)))
    first = stream(kind, batch_size, len(lengths))
    batches = iter(first)
    before = rows_of([next(batches) for _ in range(number)])
    second = stream(kind, batch_size, len(lengths))
    second.load_state_dict(first.state_dict())
    assert before + rows_of(second) == expected


def _open_file(worker_id):
    """What a `worker_init_fn` does: it gives the dataset of its worker something that only this worker has."""
    get_worker_info().dataset.file = worker_id


class Opened(Noisy):
    """Needs what `_open_file` gives it."""

    file: int

    def __getitem__(self, index):
        return self.file


class OpenedShards(Shards):
    """Needs what `_open_file` gives it."""

    file: int

    def __iter__(self):
        yield from (self.file for _ in super().__iter__())


@pytest.mark.parametrize("context", [None, pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dataset", [Opened(), OpenedShards()], ids=["map-style", "iterable"])
def test_worker_init_fn_finds_the_dataset_itself(dataset, context):
    """What is around a dataset does not stand between it and what a worker does to it first."""
    options = {"num_workers": 2, "multiprocessing_context": context, "worker_init_fn": _open_file}
    files = {number for batch in BaseDataLoader(dataset, 2, **options) for number in batch.tolist()}
    assert files == {0, 1}


def test_message_of_a_stream_that_has_to_be_told_where_it_stands():
    """As litdata's dataset, whose place its own loader counts."""

    class Counted(IterableDataset):
        def __iter__(self):
            return iter(range(3))

        def state_dict(self, num_samples_yielded, num_workers):
            return {}

        def load_state_dict(self, state): ...

    with pytest.raises(DataError, match="the state_dict of .*Counted has to be told how far it was read") as caught:
        BaseDataLoader(Counted(), 2)
    assert "got       missing a required argument: 'num_samples_yielded'" in str(caught.value)
