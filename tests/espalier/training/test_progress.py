"""Where in the data a run stands."""

import pytest

from base import BaseDataLoader
from espalier.data.loaders import data_state, load_data_state, obstacle_in


@pytest.mark.parametrize("now", [12, 13])
def test_load_data_state_of_data_that_has_grown_is_told(now, caplog):
    """A dataset of another size is named, for its order is another; one of the same size is not."""
    state = data_state(BaseDataLoader(range(12), 4), False)
    load_data_state(BaseDataLoader(range(now), 4), state)
    told = "The training data had 12 samples in the checkpoint and has 13 now: the run will not end as it would have."
    assert caplog.messages == [told] * (now - 12)


def test_obstacle_to_entering_names_a_missing_loader():
    """A trainer that keeps its data under another name is spoken of, not the type of nothing."""
    assert obstacle_in(None) == "The trainer has no data_loader that could be entered in the middle"
