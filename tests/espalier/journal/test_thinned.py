"""A bounded number of samples out of any number."""

import pytest
import torch

from espalier.journal.thinned import Thinned


@pytest.mark.parametrize("most", [1, 2, 7, 100])
@pytest.mark.parametrize("sizes", [[50], [7, 20, 23], [1] * 50, [16, 0, 34]])
def test_thinned_is_every_so_manyth_sample_however_they_come(most, sizes):
    """From the first on, evenly: at most so many, and more than half as many where there were enough."""
    samples, thinned = torch.arange(50), Thinned(most)
    for batch in samples.split(sizes):
        own = thinned.choose(len(batch))
        thinned.add(number=batch[own], square=batch[own] ** 2)
    kept = thinned.take()
    steps = {*kept["number"].diff().tolist()}
    assert kept["number"][0] == 0 and len(steps) <= 1
    assert min(most, 50) / 2 < len(kept["number"]) <= most
    assert torch.equal(kept["square"], kept["number"] ** 2)


def test_thinned_samples_of_another_shape_are_passed_over():
    """As those of a batch that is padded to another length."""
    thinned = Thinned(10)
    thinned.add(output=torch.zeros(2, 3))
    thinned.add(output=torch.zeros(2, 4))
    assert thinned.take()["output"].shape == (2, 3)


def test_thinned_of_nothing_is_empty():
    """No sample came."""
    assert Thinned(10).take() == {}
