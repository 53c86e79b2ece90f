"""Processes in a loop over batches: where each is and what it wants is known to all, soon and at little cost."""

import contextlib
import os
import threading

import pytest

from espalier.errors import TrainingError
from espalier.processes import collectives, lockstep
from espalier.processes.group import AloneInLoop
from espalier.processes.lockstep import Lockstep
from tests.ranks import run_ranks

dist = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked from this one")


@pytest.fixture
def questions(monkeypatch):
    """Be one of two processes, on a clock of its own; `ask` goes through batches and tells which of them asked."""
    clock, asked = [0.0], []

    def largest(values):
        asked.append(True)
        return [values[0], values[0], *values[2:]]  # the other is at the same place

    monkeypatch.setattr(lockstep.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(collectives, "world_size", lambda: 2)
    monkeypatch.setattr(collectives, "all_reduce_max", largest)
    loop = lockstep.Lockstep("a loop", is_training=False)

    def ask(num_batches, seconds):
        numbers = []
        for number in range(num_batches):
            clock[0] += seconds
            asked.clear()
            loop.after_batch(0, True, is_each=lambda: False)
            numbers += [number] * len(asked)
        return numbers

    return ask


def test_slow_batches_ask_every_time(questions):
    """A second is long enough to ask in."""
    assert questions(4, 1.0) == [0, 1, 2, 3]


def test_fast_batches_ask_ever_more_seldom_down_to_a_few_times_a_second(questions):
    """At 128 batches a second every 32nd."""
    assert questions(100, 1 / 128) == [0, 2, 6, 14, 30, 62, 94]


def test_batches_that_turn_slow_are_asked_after_as_many_as_were_fast(questions):
    """A few that were loaded ahead do not make all deaf for an epoch."""
    questions(10, 0.0001)
    assert questions(12, 1.0) == [4, 5, 6, 7, 8, 9, 10, 11]


def test_a_process_alone_meets_itself():
    """Its wishes are known at once, and it comes to the end of its loops."""
    loop = AloneInLoop()
    assert loop.after_batch(0, True, False, is_each=lambda: False).flags == (True, False)
    assert loop.before_update(1, 0, True).is_in_step
    assert (loop.leave(1, is_at_end=True), loop.leave(1)) == (True, False)


@dist
def test_a_wish_of_one_is_known_to_all_at_the_same_question(monkeypatch):
    """And they ask at the same ones, however fast each is."""

    def action(rank):
        loop, found = Lockstep("a loop", is_training=False), []
        for number in range(40):
            if rank == 1:
                threading.Event().wait(0.004)
            found.append(loop.after_batch(number, rank == 1 and number > 9, False, is_each=lambda: False).flags)
        return found

    monkeypatch.setattr(lockstep, "EVERY_S", 0.02)
    first, second = run_ranks(2, action, timeout=30)
    assert first == second
    number = first.index([True, False])
    assert 9 < number < 30
    assert [False, True] not in first and [True, False] not in first[:10]


BETWEEN, LEAVE, END = "between", "leave", "end"


def walk(way):
    """Go through such a loop: numbers are updates by the optimizer of that number; what of it was done, and told."""
    loop, batch_idx, done = Lockstep("a loop", is_training=True), 0, []
    for step in way:
        if step in (LEAVE, END):
            done.append("whole" if loop.leave(batch_idx, is_at_end=step == END) else "left")
            break
        between = step == BETWEEN
        found = loop.after_batch(batch_idx, is_each=lambda: True) if between else loop.before_update(batch_idx, step)
        if found.is_over and between:
            assert not loop.leave(batch_idx)
            done.append("left")
            break
        if between:
            batch_idx += 1
        elif found.is_in_step:
            done.append(f"{batch_idx}/{step}")
    return done


@dist
@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        (([0, BETWEEN, 0, BETWEEN, END],) * 2, (["0/0", "1/0", "whole"],) * 2),
        (([0, BETWEEN, LEAVE], [0, BETWEEN, 0, BETWEEN]), (["0/0", "left"],) * 2),
        (([0, LEAVE], [0, BETWEEN, 0, BETWEEN]), (["0/0", "left"],) * 2),
        (([0, LEAVE], [0, LEAVE]), (["0/0", "left"],) * 2),
        (([0, BETWEEN, LEAVE], [0, BETWEEN, END]), (["0/0", "left"],) * 2),
        (([0, BETWEEN, END], [0, BETWEEN, 0, BETWEEN]), (["0/0", "left"],) * 2),
        (([BETWEEN, 0, BETWEEN, END], [0, BETWEEN, 0, BETWEEN, END]), (["1/0", "whole"],) * 2),
        (([0, BETWEEN, END], [0, 1, BETWEEN, END]), (["0/0", "whole"],) * 2),
        (([1, BETWEEN, END], [0, 1, BETWEEN, END]), (["0/1", "whole"],) * 2),
        (([0, BETWEEN, END], [0, 0, BETWEEN, END]), (["0/0", "whole"],) * 2),
        (([1, 0, BETWEEN, END], [0, BETWEEN, END]), (["whole"],) * 2),
        (([0, LEAVE], [0, BETWEEN, 0, BETWEEN], [0, BETWEEN, END]), (["0/0", "left"],) * 3),
    ],
    ids=[
        "together", "left before an update", "left after it", "left by both", "left at the end", "fewer batches",
        "no update", "no second one", "no first one", "once or twice", "in another order", "three",
    ],
)  # fmt: skip
def test_processes_do_what_all_of_them_do_and_end_together(ways, expected):
    """Whatever one of them leaves out, or leaves."""
    found = run_ranks(len(ways), lambda rank: walk(ways[rank]), timeout=30)
    assert tuple(found) == expected


@dist
@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        (([0, LEAVE], [0, BETWEEN]), "Rank 0 left a loop in batch 0 (by break or return): all processes end it here."),
        (([0, BETWEEN, END], [0, BETWEEN, 0, BETWEEN]),
         "Rank 0 has no batch left in a loop, after 1: all processes end it here."),
        (([BETWEEN, END], [0, BETWEEN, END]),
         "A step is left out in batch 0 of a loop, since rank 0 makes none there (by continue, say)."),
    ],
    ids=["left", "end", "no update"],
)  # fmt: skip
def test_what_one_process_does_otherwise_is_told_once_with_its_rank(ways, expected, caplog):
    """By each of them; only what rank 0 says is shown."""

    def action(rank):
        walk(ways[rank])
        return caplog.messages

    assert run_ranks(2, action, timeout=30) == [[expected]] * 2


@dist
def test_processes_in_different_loops_are_told_of_each_other():
    """None of them waits for ever."""

    def action(rank):
        loop = Lockstep(f"loop {rank}", is_training=rank == 0)
        with pytest.raises(TrainingError) as caught:
            loop.after_batch(0, is_each=lambda: True)
        return str(caught.value)

    assert run_ranks(2, action, timeout=30) == [
        "training error: the processes of the run are in different loops\n"
        "  got       rank 0 in loop 0, rank 1 in loop 1\n"
        "  expected  every process goes through the same loops over self.batches(...)\n"
        "  fix       let what one process decides be decided by all, as by torch.distributed.all_reduce"
    ] * 2  # fmt: skip


@dist
def test_an_update_that_failed_is_not_gone_on_from():
    """The others wait for the gradients of this process."""

    def action(rank):
        loop = Lockstep("a loop", is_training=True)
        collectives.barrier()
        if rank == 0:
            return None
        with contextlib.suppress(MemoryError), loop.updating():
            raise MemoryError
        with pytest.raises(TrainingError) as caught:
            loop.after_batch(0, is_each=lambda: True)
        return str(caught.value)

    assert run_ranks(2, action, timeout=30)[1] == (
        "training error: an update of rank 1 has failed, and its error was caught\n"
        "  from      a loop\n"
        "  fix       let it end the run: the other processes wait for the gradients of this one"
    )
