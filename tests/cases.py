"""Cases of a law: some for every day, all of them in the slow run."""

import pytest
from hypothesis import settings


def cases(all_of_them, *quick):
    """The cases as parameters; those that are not `quick` run with `make slow`."""
    assert all(each in all_of_them for each in quick)
    return [each if each in quick else pytest.param(each, marks=pytest.mark.slow) for each in all_of_them]


def costly(law):
    """A law of hypothesis, a single example of which takes long: a quarter as many."""
    return settings(max_examples=settings().max_examples // 4)(law)
