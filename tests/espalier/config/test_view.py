"""A config with its origins, and two configs side by side."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.config.interpolation import interpolate
from espalier.config.json_text import parse_json
from espalier.config.tree import ConfigTree
from espalier.config.view import difference, leaves, with_origins

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, {}),
        ({"a": 1, "b": {"c": [2, {"d": None}]}}, {("a",): 1, ("b", "c", 0): 2, ("b", "c", 1, "d"): None}),
        ({"a": {}, "b": [], "c": [[]]}, {("a",): {}, ("b",): [], ("c", 0): []}),
    ],
)
def test_leaves_are_the_values_by_path(values, found):
    """Sections and lists are gone into; what is empty is a value."""
    assert leaves(values) == found


def test_with_origins_shows_each_value_and_where_it_was_written():
    """A line a value, the origins below each other; what comes from nowhere has none."""
    tree = parse_json('{"name": "Net",\n"metrics": ["accuracy",\n"top_k_acc"],\n"user": {}}', "c.json")
    tree.set(("metrics", "0"), "mse", "command line")
    tree.values["late"] = 1
    assert with_origins(tree) == (
        'name = "Net"             c.json:1\n'
        'metrics.0 = "mse"        command line\n'
        'metrics.1 = "top_k_acc"  c.json:3\n'
        "user = {}                c.json:4\n"
        "late = 1"
    )


def test_with_origins_long_value_does_not_push_the_others_away():
    """The column of origins stands no further right than 60 characters."""
    tree = parse_json(json.dumps({"a": 1, "b": "x" * 300}), "c.json")
    first, second = with_origins(tree).splitlines()
    assert first == f"{'a = 1':<60}  c.json:1"
    assert second == f'b = "{"x" * 196}...  c.json:1'


def test_with_origins_says_what_the_data_will_tell():
    """The value is not known before the data is loaded."""
    tree = parse_json('{"arch": {"type": "f", "args": {"n": "${data.num_classes}"}}}', "c.json")
    interpolate(tree)
    assert with_origins(tree).splitlines()[1].endswith("  c.json:1, known when data_loader is built")


def test_with_origins_empty_config_is_empty():
    """There is nothing to show of nothing."""
    assert with_origins(ConfigTree({})) == ""


def test_difference_names_what_went_came_and_changed_by_path():
    """Only what differs is told, sorted by path."""
    first = {"same": [1], "lr": 0.1, "gone": {"a": 1}, "list": [1, 2], "kind": 1, "flag": 1}
    second = {"same": [1], "lr": 0.2, "came": "x", "list": [1], "kind": 1.0, "flag": True}
    assert difference(ConfigTree(first), ConfigTree(second)) == [
        '+ came = "x"',
        "~ flag = 1 -> true",
        "- gone.a = 1",
        "~ kind = 1 -> 1.0",
        "- list.1 = 2",
        "~ lr = 0.1 -> 0.2",
    ]


@pytest.mark.parametrize(
    ("first", "second", "lines"),
    [
        ({"a": {}}, {"a": []}, ["~ a = {} -> []"]),
        ({"a": {}}, {"a": {"b": 1}}, ["- a = {}", "+ a.b = 1"]),
        ({"a": [0]}, {"a": [False]}, ["~ a.0 = 0 -> false"]),
        ({"a": None}, {}, ["- a = null"]),
        ({}, {"b": 1}, ["+ b = 1"]),
    ],
)
def test_difference_of_edge_cases_is_told(first, second, lines):
    """Empty sections, null and values of another type are differences too."""
    assert difference(ConfigTree(first), ConfigTree(second)) == lines


@given(OBJECTS, OBJECTS)
def test_difference_is_empty_only_for_equal_configs(first, second):
    """A config differs from itself in nothing, and from another in something."""
    assert difference(ConfigTree(first), ConfigTree(first)) == []
    is_same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (difference(ConfigTree(first), ConfigTree(second)) == []) is is_same
