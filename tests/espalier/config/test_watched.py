"""Rules for what is watched."""

import pytest

from espalier.config.watched import no_rule, parse_rule


@pytest.mark.parametrize(
    ("rule", "parsed"),
    [
        ("min val_loss", ("min", "val_loss")),
        (" max  val_accuracy ", ("max", "val_accuracy")),
        ("min two words", ("min", "two words")),
        ("off", ("off", "")),
        (" off", ("off", "")),
        ("off val_loss", None),
        ("min", None),
        ("Min val_loss", None),
        ("val_loss", None),
        ("", None),
    ],
)
def test_rule_is_a_direction_and_a_name_or_off(rule, parsed):
    """Any other text is none."""
    assert parse_rule(rule) == parsed


@pytest.mark.parametrize(
    ("rule", "fix"),
    [
        ("None", 'write "monitor": "off"'),
        ("MAX accuracy", 'write "monitor": "max accuracy"'),
        ("val_loss", 'write "monitor": "min val_loss", say'),
        ("accuracy", 'write "monitor": "max accuracy"'),
        ("lowest", 'write "monitor": "min val_loss", say'),
    ],
)
def test_no_rule_says_what_was_probably_meant(rule, fix):
    """By the names that are reported."""
    assert no_rule(rule, ["loss", "accuracy", "val_loss"]).fix == fix
