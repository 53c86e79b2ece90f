"""`key.path=value` tokens."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.config.overrides import parse_override
from espalier.errors import ConfigError

KEYS = st.lists(st.text(min_size=1, max_size=6).filter(lambda key: not set(key) & set("=.")), min_size=1, max_size=4)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(KEYS, VALUES)
def test_parse_override_any_json_value_round_trips(keys, value):
    """A value written as JSON is read back, whatever it and its path are."""
    assert parse_override(f"{'.'.join(keys)}={json.dumps(value)}") == (tuple(keys), value)


@given(st.text(alphabet=st.characters(categories=("L",)), max_size=10).filter(
    lambda text: text not in ("true", "false", "null", "NaN", "Infinity")
))  # fmt: skip
def test_parse_override_word_that_is_no_json_is_taken_as_text(text):
    """Words need no quotes."""
    assert parse_override(f"name={text}") == (("name",), text)


@pytest.mark.parametrize(
    ("token", "parsed"),
    [
        ("optimizer.args.lr=1e-3", (("optimizer", "args", "lr"), 0.001)),
        ("arch.type=torchvision.models.resnet18", (("arch", "type"), "torchvision.models.resnet18")),
        ("trainer.monitor=min val_loss", (("trainer", "monitor"), "min val_loss")),
        ("user.query=a=b", (("user", "query"), "a=b")),
        ("metrics.0=accuracy", (("metrics", "0"), "accuracy")),
        ("lr_scheduler=null", (("lr_scheduler",), None)),
        ("name=", (("name",), "")),
        ('name="1"', (("name",), "1")),
        ("a=[1, 2", (("a",), "[1, 2")),
    ],
)
def test_parse_override_token_gives_path_and_value(token, parsed):
    """The first `=` ends the path, and what follows is JSON if it can be."""
    assert parse_override(token) == parsed


@pytest.mark.parametrize("token", ["optimizer.args.lr", "", "=1", ".a=1", "a.=1", "a..b=1"])
def test_parse_override_token_without_a_path_or_a_value_is_refused(token):
    """A token that sets nothing is an error, not ignored."""
    with pytest.raises(ConfigError) as error:
        parse_override(token)
    assert str(error.value) == (
        f"config error: {token} is not an override\n"
        "  from      command line\n"
        "  expected  key.path=value, such as optimizer.args.lr=0.01"
    )


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 100_000], ids=["long number", "deep nesting"])
def test_parse_override_value_python_cannot_read_is_no_traceback(text):
    """A value beyond Python's limits is text or a config error, nothing else."""
    try:
        assert parse_override(f"a={text}") == (("a",), text)
    except ConfigError as error:
        assert str(error).startswith("config error: a")
