"""Laws of rows: whoever hands them in, they become the inputs that the table of training has for them, to the bit."""

import json

import pandas as pd
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import default_collate

from espalier.datasets import Table
from espalier.errors import DataError
from espalier.preprocessing.kinds import load_preprocessing

TRAINING = st.tuples(
    st.none() | st.floats(-1e30, 1e30).map(repr),
    st.integers(-(2**62), 2**62).map(str),
    st.sampled_from(["True", "False"]),
    st.sampled_from(["", "NA", "red", "blue", "007", "é"]),
    st.sampled_from(["007", "7", "1.50", "8", ""]),
    st.sampled_from(["07", "10", "x"]),
    st.sampled_from(["2024-01-31", "1950-12-01T08:30:00.125", ""]),
    st.sampled_from(["31.01.2024", "01.02.1980", ""]),
)
FULL = [("1.5", "3", "True", "red", "7", "x", "2024-01-31", "31.01.2024"),
        ("2.5", "4", "False", "blue", "8", "07", "2024-02-01", "01.02.2024")]  # fmt: skip
CELLS = st.sampled_from(["?", "x", "", "NA", "1", "0.5", "-7", "1e300", "1e999", "007", "7.0", "1.50", "TRUE", "True",
                         "2024-01-31", "31.01.2024", "inf", "é", " 3", "red", "9", "999"])  # fmt: skip
COLUMNS = ["float", "whole", "truth", "text", "code", "zip", "day", "date"]
TYPES = {"code": "category", "zip": "category", "day": "date", "date": "date:%d.%m.%Y"}
OPTIONS = st.fixed_dictionaries({
    "categories": st.sampled_from(["one_hot", "index"]),
    "missing": st.sampled_from(["mean", "median", "indicator"]),
    "scale": st.sampled_from(["standard", "min_max", "none"]),
    "read": st.fixed_dictionaries({
        "sep": st.sampled_from([",", ";"]),
        "na_values": st.sampled_from([["?"], [999], {"zip": ["x"]}, []]),
        "keep_default_na": st.booleans(),
        "dtype": st.sampled_from([None, {"zip": "str"}]),
    }),
})  # fmt: skip


def write(path, rows, columns, sep):
    """A CSV of these cells."""
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False, sep=sep)
    return path


def finished(preprocessing, inputs):
    """What a model would be given for inputs, each by itself; a message for one that cannot be used."""
    encoded = preprocessing.encode(inputs)
    found = []
    for index in range(len(encoded)):
        try:
            found.append(preprocessing.module(default_collate([encoded[index]])))
        except DataError as error:
            found.append(str(error))
    return found


def sample(table, index):
    """The input that a table has for a row; None where it refuses it."""
    try:
        return table.batch([index])[0]
    except DataError:
        return None


def equal(one, other):
    """Whether inputs are the same to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()


OTHER = st.tuples(*[CELLS] * 6, st.sampled_from(["2024-01-31", "", "1999-12-31T23:59:59.999999"]),
                  st.sampled_from(["31.01.2024", ""]))  # fmt: skip


@given(rows=st.lists(TRAINING, max_size=8), others=st.lists(OTHER, min_size=1, max_size=4), options=OPTIONS)
def test_rows_become_the_inputs_of_the_table_to_the_bit(tmp_path_factory, rows, others, options):
    """Out of another file with other columns and without the target, and as dicts of texts, alone and together."""
    folder, train = tmp_path_factory.mktemp("rows"), [*FULL, *rows]
    sep = options["read"]["sep"]
    path = write(folder / "all.csv", [(*row, i % 2) for i, row in enumerate([*train, *others])], [*COLUMNS, "y"], sep)
    try:
        table = Table(path, "y", types=TYPES, task="classification", **options)
        table.use(table.fit(range(len(train))))
    except DataError:  # a column without a value, or a text among dates
        assume(False)
    preprocessing = load_preprocessing(json.loads(json.dumps(table.preprocessing)))
    expected = [sample(table, len(train) + place) for place in range(len(others))]
    of_file = write(folder / "new.csv", [("", *row[::-1]) for row in others], ["more", *COLUMNS[::-1]], sep)
    dicts = [dict(zip(COLUMNS, row, strict=True)) for row in others]
    ahead = load_preprocessing({**preprocessing.state, "is_ahead": True})
    for inputs in (preprocessing.read_file(of_file), dicts):
        for found, right in zip(finished(preprocessing, inputs), expected, strict=True):
            assert isinstance(found, str) if right is None else equal(found, right)
    encoded = ahead.encode(others)
    for place, right in enumerate(expected):
        assert right is None or equal(default_collate([encoded[place]]), right)
    for each, right in zip(dicts, expected, strict=True):
        (found,) = finished(preprocessing, [each])
        assert isinstance(found, str) if right is None else equal(found, right)


@given(rows=st.lists(TRAINING, max_size=6), options=OPTIONS)
def test_what_the_table_says_of_a_row_is_a_row(tmp_path_factory, rows, options):
    """`raw_input`, by which an exported file is compared on real rows, becomes the input again."""
    train = [*FULL, *rows]
    path = write(tmp_path_factory.mktemp("rows") / "t.csv", [(*row, i % 2) for i, row in enumerate(train)],
                 [*COLUMNS, "y"], options["read"]["sep"])  # fmt: skip
    try:
        table = Table(path, "y", types=TYPES, task="classification", **options)
        table.use(table.fit(range(len(train))))
    except DataError:
        assume(False)
    raw = [table.raw_input(index) for index in range(len(train))]
    for found, index in zip(finished(load_preprocessing(table.preprocessing), raw), range(len(train)), strict=True):
        right = sample(table, index)
        assert isinstance(found, str) if right is None else equal(found, right)
