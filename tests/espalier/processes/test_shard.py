"""The shard of a rank in a global batch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.processes import collectives
from espalier.processes.shard import BatchInfo, Shard, own_shard, slice_of


@given(size=st.integers(0, 1000), num_shards=st.integers(1, 64))
def test_slices_of_all_shards_are_the_whole_and_differ_by_one_at_most(size, num_shards):
    """In their order, and each sample in one of them."""
    slices = [slice_of(size, index, num_shards) for index in range(num_shards)]
    assert [each for part in slices for each in range(part.start, part.stop)] == [*range(size)]
    lengths = [part.stop - part.start for part in slices]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(
    ("index", "found"),
    [(0, ([1], BatchInfo(2, True))), (1, ([1], BatchInfo(2, False))), (2, ([2], BatchInfo(2, False)))],
)
def test_shard_without_a_sample_is_given_the_first_as_padding(index, found):
    """It computes with the others, and counts for nothing."""
    assert Shard(index, 3, is_single=False).of([1, 2]) == found


@pytest.mark.parametrize(("is_single", "num"), [(False, 7), (True, 3)])
def test_shard_knows_how_many_global_batches_there_are(is_single, num):
    """Without batches one is a sample for each process, and the last may lack some."""
    assert Shard(0, 3, is_single).num_batches(7) == num


@pytest.mark.parametrize(("num_ranks", "found"), [(1, None), (3, Shard(2, 3, is_single=True))])
def test_own_shard_is_that_of_the_rank(monkeypatch, num_ranks, found):
    """A process alone has none."""
    monkeypatch.setattr(collectives, "world_size", lambda: num_ranks)
    monkeypatch.setattr(collectives, "rank", lambda: 2)
    assert own_shard(is_single=True) == found
