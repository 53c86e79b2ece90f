"""The shape of messages, and how commands show them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    Problem,
    TrainingError,
    UserError,
    chain_of,
    closest,
    explain,
    printable,
    shorten,
)


def test_explain_gives_a_line_for_each_answer():
    """Answers stand under the head in their order, and None leaves its line out."""
    assert explain("head", "c.json:3", got="1", expected=None, fix="write 2") == (
        "head\n"
        "  from      c.json:3\n"
        "  got       1\n"
        "  fix       write 2"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 3 µm, 精度\n\tnext", "Größe 3 µm, 精度\n\tnext"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\rb\x9b31m\x00", "a\\rb\\x9b31m\\x00"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("\udc1b", "\\udc1b"),
    ],
)
def test_printable_escapes_what_would_steer_a_terminal(text, shown):
    """Letters of any language, line ends and tabs stay; control characters become escapes, in messages too."""
    assert printable(text) == shown
    assert "\x1b" not in explain(text, got=text)


def test_problem_with_every_answer_has_the_five_line_shape():
    """All five questions are answered in the order of the house."""
    problem = Problem("a.b", "is wrong", "c.json:3", "1", "one of: x", "x", 'write "x"')
    assert str(problem) == (
        "config error: a.b is wrong\n"
        "  from      c.json:3\n"
        "  got       1\n"
        "  expected  one of: x\n"
        "  closest   x\n"
        '  fix       write "x"'
    )


def test_config_error_lists_all_problems_by_path():
    """Several faults come in one message, sorted."""
    assert str(ConfigError([Problem("b", "is wrong"), Problem("a.c", "is worse", got="1")])) == (
        "config error: a.c is worse\n"
        "  got       1\n"
        "config error: b is wrong"
    )  # fmt: skip


@pytest.mark.parametrize("kind", [CheckpointError, ConfigError, DataError, TrainingError])
def test_user_errors_are_value_errors(kind):
    """Code that knows nothing of this framework can catch them as ValueError."""
    assert issubclass(kind, UserError)
    assert issubclass(kind, ValueError)


@pytest.mark.parametrize(
    ("word", "known", "near"),
    [("learning_rate", ["lr", "learn_rate"], "learn_rate"), ("Addam", ["Adam", "AdamW"], "Adam"), ("zzz", ["lr"], None),
     ("a", [], None)],
)  # fmt: skip
def test_closest_gives_the_nearest_word_or_none(word, known, near):
    """Only a word that is really like the given one is proposed."""
    assert closest(word, known) == near


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", '"a"'), (0.01, "0.01"), (None, "null"), ([1, {"a": True}], '[1, {"a": true}]'), ({1, }, "\"{1}\"")],
)  # fmt: skip
def test_shorten_value_is_json_text(value, text):
    """Values look as in the config; what has no JSON form is shown by its repr."""
    assert shorten(value) == text


@settings(deadline=None)
@given(st.text() | st.lists(st.integers()), st.integers(5, 100))
def test_shorten_never_exceeds_the_width(value, width):
    """A long value is cut, with dots where something is missing."""
    text = shorten(value, width)
    assert len(text) <= width
    assert text == shorten(value, 10**9) or text.endswith("...")


def test_chain_of_an_error_that_led_to_itself_ends():
    """An error that is raised again, from what it led to, has itself among its causes."""
    first, second = ValueError("first"), RuntimeError("second")
    second.__cause__, first.__cause__ = first, second
    assert [*chain_of(first)] == [first, second]
    assert [*chain_of(None)] == []
