"""Requests that are computed together get their own answers, each once."""

import asyncio
import random
import threading

import pytest

from espalier.serving.batcher import Batcher
from espalier.serving.counters import Counters
from tests.cases import cases


class Squares:
    """Computes squares, and remembers the batches; a negative number is refused by all that come with it."""

    def __init__(self):
        self.batches = []

    def __call__(self, samples):
        self.batches.append(list(samples))
        if min(samples) < 0:
            raise ValueError(f"of {len(samples)}")
        return [each * each for each in samples]


class Held(Squares):
    """Goes on with its first batch when it may."""

    def __init__(self):
        super().__init__()
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, samples):
        self.has_begun.set()
        assert self.may_go_on.wait(60)
        return super().__call__(samples)


def answered(compute, requests, *, batch_size=8, most_wait_s=0.002, leaving=()):
    """What each request has got: its answers, or its exception. Those at the places `leaving` are cancelled."""

    async def run():
        batcher = Batcher(compute, batch_size, most_wait_s, Counters())
        batcher.start()
        tasks = []
        for place, samples in enumerate(requests):
            tasks.append(asyncio.create_task(batcher.answers_to(samples)))
            if place % 3 == 0:
                await asyncio.sleep(0)
        for place in leaving:
            tasks[place].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        await batcher.close()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("seed", cases([*range(30)], 0, 1, 2))
def test_batcher_answers_each_request_with_its_own(seed):
    """However many samples each has, whoever leaves, and whatever fails: the others have what belongs to them."""
    draw = random.Random(seed)
    requests = [[draw.randrange(1000) for _ in range(draw.choice([1, 1, 2, 5, 20]))] for _ in range(60)]
    bad = set(draw.sample(range(60), 5))
    for place in bad:
        requests[place][0] = -1
    leaving = set(draw.sample(range(60), 5))
    compute = Squares()
    found = answered(compute, requests, leaving=leaving)
    for place, (samples, got) in enumerate(zip(requests, found, strict=True)):
        if place in leaving and isinstance(got, asyncio.CancelledError):
            continue  # unless it was answered before
        if place in bad:
            assert str(got) == f"of {len(samples)}"
        else:
            assert got == [each * each for each in samples]
    whole = [each for each in compute.batches if min(each) >= 0]
    assert all(len(each) <= 8 or each in requests for each in whole)
    assert max(map(len, whole)) > 1


def test_batcher_keeps_the_order_of_requests():
    """Samples are computed in the order in which they came."""
    compute = Squares()
    answered(compute, [[number] for number in range(50)])
    assert [each for batch in compute.batches for each in batch] == [*range(50)]


def test_batcher_fills_a_batch_while_another_is_computed():
    """Those that came meanwhile go together, as many as a batch has."""
    compute = Held()

    async def run():
        batcher = Batcher(compute, 8, 0.0, Counters())
        batcher.start()
        first = asyncio.create_task(batcher.answers_to([0]))
        await asyncio.to_thread(compute.has_begun.wait)
        others = [asyncio.create_task(batcher.answers_to([number])) for number in range(1, 18)]
        await asyncio.sleep(0)
        compute.may_go_on.set()
        found = await asyncio.gather(first, *others)
        await batcher.close()
        return found

    assert asyncio.run(run()) == [[number * number] for number in range(18)]
    assert [len(each) for each in compute.batches] == [1, 8, 8, 1]


def test_batcher_does_not_compute_for_who_has_left():
    """A request that is cancelled while it waits is in no batch."""
    compute = Squares()
    answered(compute, [[1], [2], [3]], leaving=(1,), batch_size=1)
    assert [2] not in compute.batches


def test_batcher_that_is_closed_leaves_nobody_waiting():
    """A request that no batch has taken ends when the batcher does."""

    async def run():
        batcher = Batcher(Squares(), 8, 60.0, Counters())
        batcher.start()
        task = asyncio.create_task(batcher.answers_to([1]))
        await asyncio.sleep(0.01)
        assert batcher.num_waiting == 1 and batcher.is_alive(1.0)
        await batcher.close()
        await asyncio.wait([task], timeout=5)
        return task.cancelled(), batcher.is_alive(1.0)

    assert asyncio.run(run()) == (True, False)


def test_batcher_that_hangs_is_not_alive():
    """A batch that is in the works for longer than any may take says so."""
    compute = Held()

    async def run():
        batcher = Batcher(compute, 8, 0.0, Counters())
        batcher.start()
        task = asyncio.create_task(batcher.answers_to([3]))
        await asyncio.to_thread(compute.has_begun.wait)
        await asyncio.sleep(0.02)
        seen = batcher.is_alive(600.0), batcher.is_alive(0.01)
        compute.may_go_on.set()
        assert await task == [9]
        await batcher.close()
        return seen

    assert asyncio.run(run()) == (True, False)
