"""What any process of a run wants is known to all of them, soon and at little cost."""

import pytest

from engine import agreement, distributed


@pytest.fixture
def questions(monkeypatch):
    """Be one of two processes, on a clock of its own; `ask` goes through batches and tells which of them asked."""
    clock, asked = [0.0], []

    def largest(values):
        asked.append(True)
        return list(values)

    monkeypatch.setattr(agreement.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "largest", largest)
    of_run = agreement.Agreement()

    def ask(num_batches, seconds):
        numbers = []
        for number in range(num_batches):
            clock[0] += seconds
            asked.clear()
            of_run.of(True)
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
