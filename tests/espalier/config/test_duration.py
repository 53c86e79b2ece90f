"""Lengths of time, as SLURM writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.config.duration import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:00:00", 0),
        ("0:00:01", 1),
        ("00:59:59", 3599),
        ("12:30:00", 45_000),
        ("1-00:00:00", 86_400),
        ("1-12:30:05", 131_405),
        ("100:00:00", 360_000),
        ("007-01:00:00", 608_400),
    ],
)
def test_seconds_of_a_time_is_their_number(text, seconds):
    """Hours, minutes and seconds, with days or without; hours may be more than a day has."""
    assert seconds_of(text) == seconds


@given(days=st.integers(0, 99), hours=st.integers(0, 99), minutes=st.integers(0, 59), seconds=st.integers(0, 59))
def test_seconds_of_any_time_adds_up(days, hours, minutes, seconds):
    """Each part counts once."""
    expected = 86_400 * days + 3600 * hours + 60 * minutes + seconds
    assert seconds_of(f"{days}-{hours}:{minutes:02}:{seconds:02}") == expected


OTHER_FORMS = ("", "30", "30:00", "1:2:3", "0:60:00", "0:00:60", "-1:00:00", "1.5:00:00", "2 h", " 1:00:00",
               "1:00:00\n", "1-2-3:00:00", "١:00:00")  # fmt: skip


@pytest.mark.parametrize("text", OTHER_FORMS)
def test_seconds_of_another_form_is_refused(text):
    """What is no time is not guessed at."""
    with pytest.raises(ValueError) as error:
        seconds_of(text)
    assert str(error.value) == f"{text!r} is no time of the form hours:minutes:seconds"
