"""The loop written by hand, with two processes that load the data."""

from benchmarks.contestants import hand

CHOICES = "as by hand, with num_workers=2"


def prepare(task):
    hand.NUM_WORKERS = 2
    return hand.prepare(task)
