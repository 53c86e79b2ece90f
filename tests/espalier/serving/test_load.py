"""Thirty-two clients at once, over real connections."""

import asyncio

import numpy as np
import pytest

from benchmarks.serving import batch_sizes, load, request_of
from tests.cases import cases
from tests.espalier.serving.served import listening, model_of_sums


@pytest.mark.parametrize("batch_size", cases([1, 16], 16))
def test_thirty_two_clients_each_get_their_own_answers(batch_size):
    """None is lost, none belongs to another; and they are computed together where that is allowed."""
    model = model_of_sums()
    inputs = np.random.default_rng(0).normal(size=(50, 3))
    labels = ["abc"[place] for place in inputs.argmax(1)]
    with listening(model, batch_size=batch_size) as address:
        port = int(address.rpartition(":")[2])
        asyncio.run(load(port, [request_of(row) for row in inputs], labels, 32, 640))
        mean = asyncio.run(batch_sizes(port))
    assert sum(model.network.sizes) == 640 and max(model.network.sizes) <= batch_size
    assert mean == 1 if batch_size == 1 else mean > 1
