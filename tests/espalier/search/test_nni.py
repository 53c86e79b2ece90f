"""Spaces of NNI, held against what its documentation says of each kind."""

import argparse
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.config.space import space_of
from espalier.errors import ConfigError
from espalier.search.command import tree_of_command
from espalier.search.nni import is_nni, read_nni
from tests.conftest import TINY_CONFIG
from tests.espalier.search.studies import SPACE, config_of_study


def read(kind, values, name="lr"):
    """One range."""
    (each,) = read_nni({name: {"_type": kind, "_value": values}}, TINY_CONFIG).values()
    return each


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 20), st.integers(1, 30), st.integers(1, 8), st.sampled_from([1, 0.25]))
def test_quniform_has_the_values_of_nni(low, width, q, unit):
    """clip(round(uniform(low, high) / q) * q, low, high), all that come out of it and no other."""
    low, high, q = low * unit, (low + width) * unit, q * unit
    drawn = np.linspace(low, high, 16 * width + 1)  # q is 8 units at most, so between any two halves of it
    expected = {*np.clip(np.round(drawn / q) * q, low, high)}
    (found,) = space_of({"lr": read("quniform", [low, high, q])}).values()
    is_list = found.kind == "choice"
    values = found.choices if is_list else np.arange(found.low, found.high + found.step / 2, found.step)
    assert {*values} == expected


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("randint", [1, 5], {"type": "int", "low": 1, "high": 4}),
        ("randint", [3, 4], {"type": "choice", "choices": [3]}),
        ("uniform", [0.1, 0.5], {"type": "float", "low": 0.1, "high": 0.5}),
        ("loguniform", [1e-4, 0.1], {"type": "float", "low": 1e-4, "high": 0.1, "log": True}),
        ("quniform", [0, 10, 2.5], {"type": "float", "low": 0.0, "high": 10.0, "step": 2.5}),
        ("quniform", [2, 10, 5], {"type": "choice", "choices": [2, 5, 10]}),
        ("quniform", [1, 100, 1], {"type": "int", "low": 1, "high": 100, "step": 1}),
        ("choice", [2, "a", None], {"type": "choice", "choices": [2, "a", None]}),
        ("choice", [{"_name": "x"}, 2], {"type": "choice", "choices": [{"_name": "x"}, 2]}),
    ],
)
def test_kinds_of_nni_are_ours(kind, values, expected):
    """The examples of its documentation, and what is beside them."""
    assert read(kind, values) == expected


def test_nested_choices_are_sections_with_arguments():
    """Their `_name` is the type; inside there may be choices again, and plain values."""
    inner = {"_type": "choice", "_value": [{"_name": "Sub", "depth": {"_type": "randint", "_value": [1, 3]}}]}
    values = [{"_name": "Wide", "width": {"_type": "uniform", "_value": [0, 1]}, "bias": True},
              {"_name": "Deep", "block": inner}, {"_name": "Plain"}]  # fmt: skip
    assert read("choice", values, "arch") == {"type": "choice", "choices": [
        {"type": "Wide", "args": {"width": {"type": "float", "low": 0, "high": 1}, "bias": True}},
        {"type": "Deep", "args": {"block": {"type": "choice", "choices": [
            {"type": "Sub", "args": {"depth": {"type": "int", "low": 1, "high": 2}}}]}}},
        {"type": "Plain", "args": {}},
    ]}  # fmt: skip


WRONG = {
    "normal": ({"lr": {"_type": "normal", "_value": [0, 1]}}, "is normal, which no sampler here has"),
    "qloguniform": ({"lr": {"_type": "qloguniform", "_value": [1, 8, 1]}}, "fix       use loguniform, or a choice"),
    "no such kind": ({"lr": {"_type": "unifrom", "_value": [0, 1]}}, "tune.space.lr is no range of NNI"),
    "ours beside theirs": ({"lr": SPACE["optimizer.args.lr"]}, "tune.space.lr is no range of NNI"),
    "no list": ({"lr": {"_type": "uniform", "_value": 1}}, "expected  {"),
    "too few": ({"lr": {"_type": "quniform", "_value": [0, 1]}}, 'expected  "_value": [low, high, q]'),
    "texts": ({"lr": {"_type": "uniform", "_value": ["0", "1"]}}, 'expected  "_value": [low, high]'),
    "upside down": ({"lr": {"_type": "randint", "_value": [5, 5]}}, "expected  a low below the high"),
    "no step": ({"lr": {"_type": "quniform", "_value": [0, 1, 0]}}, "and a q above 0"),
    "tiny step": ({"lr": {"_type": "quniform", "_value": [0, 1, 1e-9]}}, "fewer than 10000 multiples of q"),
    "no such name": ({"learnign": {"_type": "uniform", "_value": [0, 1]}}, "names no value of the config"),
    "several": ({"type": {"_type": "choice", "_value": [1]}}, "expected  arch.type, data_loader.type, optimizer.type"),
}  # fmt: skip


@pytest.mark.parametrize(("space", "words"), WRONG.values(), ids=WRONG)
def test_what_is_no_space_of_nni_is_told(space, words):
    """With the name that stands in the file."""
    with pytest.raises(ConfigError) as error:
        read_nni(space, TINY_CONFIG)
    assert words in str(error.value)


@pytest.mark.parametrize("space", [SPACE, {"lr": {"_type": "loguniform", "_value": [1e-4, 0.1]}}])
def test_space_may_be_the_name_of_a_file(tmp_path, space):
    """Ours or that of NNI; the study has it in its config, and needs the file no more."""
    (tmp_path / "search_space.json").write_text(json.dumps(space))
    config = config_of_study(tmp_path, {"space": str(tmp_path / "search_space.json")})
    (tmp_path / "config.json").write_text(json.dumps(config))
    given = argparse.Namespace(config=tmp_path / "config.json", resume=None, overrides=[], name=None, jobs=None,
                               trials=None, seeds=None, folds=None, grid=None)  # fmt: skip
    found = tree_of_command(given).values["tune"]["space"]
    assert not is_nni(found)
    assert [*found] == ["optimizer.args.lr"] and found["optimizer.args.lr"] | {"log": True} == SPACE[
        "optimizer.args.lr"
    ]
