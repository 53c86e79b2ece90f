"""Laws of spaces: their ends, their samples, and what is no space."""

import copy
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espalier.config.space import Range, ends, is_range, sample, space_of
from espalier.config.tree import ConfigTree
from espalier.config.tune import check_tune
from tests.conftest import TINY_CONFIG

CASES = pytest.mark.parametrize("cases", [40, pytest.param(2000, marks=pytest.mark.slow)])
LR = "optimizer.args.lr"
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, width=16) | st.text(max_size=3)
TEXTS = st.text(max_size=3)
JSON = st.recursive(LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(TEXTS, each, max_size=3),
                    max_leaves=6)  # fmt: skip


def distinct(values):
    """Lists of them that a space takes: no two have the same text."""
    return st.lists(values, min_size=1, max_size=3, unique_by=lambda each: json.dumps(each, sort_keys=True))


@st.composite
def numbers(draw):
    """Ranges of numbers."""
    kind, log = draw(st.sampled_from(["float", "int"])), draw(st.booleans())
    low, high = sorted(draw(st.lists(st.integers(1 if log else -50, 50), min_size=2, max_size=2, unique=True)))
    step = {} if log or not draw(st.booleans()) else {"step": draw(st.integers(1, min(5, high - low)))}
    return {"type": kind, "low": low, "high": high, "log": log, **step}


def choices(values):
    """Choices with these in them, alone or inside of objects."""
    parts = values | st.lists(values, max_size=2) | st.fixed_dictionaries({"type": st.just("X"), "args": st.fixed_dictionaries({"a": values})})  # fmt: skip  # noqa: E501
    return st.builds(lambda each: {"type": "choice", "choices": each}, distinct(parts))


RANGES = st.recursive(numbers() | choices(LEAVES), choices, max_leaves=4)
SPACES = st.dictionaries(st.sampled_from([LR, "optimizer.args.momentum", "arch.args.dropout"]), RANGES, min_size=1)
# Ranges with a fault now and then, and anything else.
KINDS = st.sampled_from(["float", "int", "choice", "loguniform"]) | JSON
FAULTY = JSON | RANGES | st.fixed_dictionaries({}, optional={
    "type": KINDS, "low": JSON, "high": JSON, "step": JSON, "log": JSON, "args": JSON,
    "choices": st.lists(RANGES | JSON, max_size=3) | JSON})  # fmt: skip


def faults_of(tune):
    """What the check finds in a `tune` section."""
    return [*check_tune(ConfigTree({**copy.deepcopy(TINY_CONFIG), "tune": tune}))]


def is_inside(space, value):
    """Whether a value may come out of a space."""
    if isinstance(space, Range):
        if space.kind == "choice":
            return any(is_inside(each, value) for each in space.choices)
        return type(value) in (int, float) and space.low <= value <= space.high
    if isinstance(space, dict):
        return (
            isinstance(value, dict) and [*space] == [*value] and all(is_inside(space[key], value[key]) for key in space)
        )
    if isinstance(space, list):
        return (isinstance(value, list) and len(space) == len(value)
                and all(map(is_inside, space, value)))  # fmt: skip
    return type(space) is type(value) and space == value


def are_covered(space, values):
    """Whether each end of each range, and each choice, is among some values."""
    if isinstance(space, Range) and space.kind == "choice":
        return all(are_covered(each, [value for value in values if is_inside(each, value)]) for each in space.choices)
    if isinstance(space, Range):
        return {space.low, space.high} <= {value for value in values if type(value) in (int, float)}
    if isinstance(space, (dict, list)):
        keys = space if isinstance(space, dict) else range(len(space))
        return bool(values) and all(are_covered(space[key], [value[key] for value in values]) for key in keys)
    return space in values


@CASES
def test_ends_are_inside_and_cover_each_end_and_each_choice(cases):
    """Also of ranges inside a choice, and of choices inside of those."""

    @settings(max_examples=cases, deadline=None, suppress_health_check=[*HealthCheck])
    @given(SPACES)
    def law(section):
        assert faults_of({"space": section}) == []
        space = space_of(section)
        found = ends(space)
        assert all(is_inside(space, each) for each in found)
        assert are_covered(space, found)

    law()


@CASES
def test_samples_are_inside_and_each_range_is_asked_for_once_by_a_name_of_its_own(cases):
    """Of what is not chosen nothing is asked."""

    @settings(max_examples=cases, deadline=None, suppress_health_check=[*HealthCheck])
    @given(SPACES, st.randoms(use_true_random=False))
    def law(section, random):
        asked = []

        def choose(each):
            asked.append(each.name)
            if each.kind == "choice":
                assert len({*map(repr, each.labels)}) == len(each.labels)
                return random.randrange(len(each.choices))
            return random.randint(math.ceil(each.low), math.floor(each.high))

        space = space_of(section)
        assert is_inside(space, sample(space, choose))
        assert len({*asked}) == len(asked)

    law()


@CASES
def test_any_json_as_a_space_is_a_space_or_a_config_error(cases):
    """Nothing else happens, also in a grid."""

    @settings(max_examples=cases, deadline=None, suppress_health_check=[*HealthCheck])
    @given(st.dictionaries(st.sampled_from([LR, "arch", "optimiser.lr", "", "tune"]), FAULTY) | JSON, JSON)
    def law(section, grid):
        faults = faults_of({"space": section})
        assert all(str(each) for each in faults)
        if not faults and isinstance(section, dict):
            assert all(map(is_range, section.values()))
            space = space_of(section)
            assert all(is_inside(space, each) for each in ends(space))
        faults_of({"grid": grid})
        faults_of({"grid": {LR: grid}})

    law()


def test_choices_that_python_takes_for_equal_are_told_apart():
    """1, 1.0 and true: a study knows each by a label of its own."""
    (each,) = space_of({LR: {"type": "choice", "choices": [1, True, 1.0, None, "1"]}}).values()
    assert each.labels == [1, "1: true", "2: 1.0", None, "1"]
