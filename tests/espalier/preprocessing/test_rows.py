"""Laws of rows: whoever hands them in, they become the inputs that the table of training has for them, to the bit."""

import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import default_collate

from espalier.datasets import Table
from espalier.errors import CheckpointError, DataError
from espalier.preprocessing.kinds import load_preprocessing
from tests.cases import costly

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


@costly
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


@costly
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


PLAIN = {"fill": 0.0, "center": 0.0, "scale": 1.0, "has_gaps": False, "is_inferred": True}
STATE = {
    "kind": "row", "categories": "one_hot", "missing": "indicator", "target": "y", "is_csv": True,
    "read": {"thousands": "'", "na_values": ["?", -1]},
    "columns": [{"name": "age", "kind": "number", **PLAIN}, {"name": "day", "kind": "date", **PLAIN},
                {"name": "date", "kind": "date:%d.%m.%Y", **PLAIN},
                {"name": "code", "kind": "category", "has_gaps": True, "is_inferred": True, "categories": ["1", "7"]}],
}  # fmt: skip
GOOD = {"age": 3, "day": "2026-03-31", "date": "31.03.2026", "code": "7"}
INPUT = [3.0, 20543.0, 20543.0, 0.0, 1.0, 0.0]
LEAVES = (st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2)
          | st.dates() | st.datetimes() | st.decimals() | st.complex_numbers()
          | st.sampled_from(["1", "NA", "2024-01-01", 10**400, "1'000", "9999-12-31", 20240101, pd.NaT, pd.NA, object(),
                             np.int8(3), np.datetime64("NaT"), np.datetime64("2026-01-01"), np.array(3), np.str_("a"),
                             pd.Timestamp("2026-01-01", tz="UTC"), Decimal("sNaN")]))  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.text(max_size=2), each, max_size=2),
    max_leaves=3,
)
ANY = (st.fixed_dictionaries(dict.fromkeys(GOOD, VALUES)) | st.dictionaries(st.sampled_from([*GOOD]), VALUES)
       | st.lists(VALUES, min_size=4, max_size=4) | VALUES.filter(lambda each: not isinstance(each, str)))  # fmt: skip


@given(rows=st.lists(ANY, max_size=3))
def test_whatever_is_handed_in_concerns_no_other_row(rows):
    """A row is an input or a sentence, the same alone as beside others."""
    preprocessing = load_preprocessing(STATE)
    (good, *found) = finished(preprocessing, [GOOD, *rows])
    assert good.tolist() == [INPUT]
    for row, beside in zip(rows, found, strict=True):
        try:
            (alone,) = finished(preprocessing, [row])
        except DataError as error:
            alone = str(error)
        assert alone == beside if isinstance(alone, str) else equal(alone, beside)
        assert not isinstance(alone, str) or alone.startswith("data error: ")


SAME = {
    "texts": {"age": "3", "day": "20260331", "date": "31.03.2026", "code": "07"},
    "numbers": {"age": 3.0, "day": 20260331, "date": "31.03.2026", "code": 7.0},
    "objects": {"age": Decimal("3.0"), "day": pd.Timestamp("2026-03-31"), "date": datetime.date(2026, 3, 31),
                "code": np.int8(7)},
    "more columns": {**GOOD, "y": "?", "more": [1, 2]},
    "in order": ["3", "2026-03-31", "31.03.2026", "7"],
    "an array": np.array(["3", "2026-03-31", "31.03.2026", "7"]),
    "a series": pd.Series(GOOD),
}  # fmt: skip


@pytest.mark.parametrize("row", SAME.values(), ids=SAME)
def test_row_may_come_in_many_forms(row):
    """By itself too, where that is a dict."""
    preprocessing = load_preprocessing(STATE)
    assert finished(preprocessing, [row])[0].tolist() == [INPUT]
    if isinstance(row, dict):
        assert finished(preprocessing, row)[0].tolist() == [INPUT]


def test_frame_may_have_any_types_of_columns():
    """Categories, nullable numbers, times with a zone; and columns by name in a dict."""
    preprocessing = load_preprocessing(STATE)
    columns = {"code": pd.Series(["7", None], dtype="category"), "age": pd.Series([3, None], dtype="Int64"),
               "date": ["31.03.2026", None], "day": pd.to_datetime(pd.Series(["2026-03-31T00:00Z", None]), utc=True),
               "y": [1, 2]}  # fmt: skip
    for inputs in (pd.DataFrame(columns), columns):
        assert [each.tolist() for each in finished(preprocessing, inputs)] == [[INPUT], [[0, 0, 0, 0, 0, 1]]]


@pytest.mark.parametrize("gap", [None, "", "NA", "?", float("nan"), pd.NA, pd.NaT, "-1", -1, -1.0])
def test_what_was_no_value_in_the_file_of_training_is_none_here(gap):
    """Also as a number, where `na_values` has it."""
    row = {**GOOD, "age": gap}
    assert finished(load_preprocessing(STATE), [row])[0].tolist() == [[0, *INPUT[1:]]]


REFUSED = {
    "text": ({"age": "many"}, "data error: 'age' has a value that cannot be used\n  got       \"many\"\n"
             "  expected  a number of at most 3.4e+38, or no value"),
    "large": ({"age": 1e39}, "data error: 'age' has a value that cannot be used\n  got       1e+39\n"
              "  expected  a number of at most 3.4e+38, or no value"),
    "no date": ({"date": "2026-03-31"}, "data error: 'date' has a value that cannot be used\n"
                '  got       "2026-03-31"\n  expected  a date of the form %d.%m.%Y, or no value'),
    "list": ({"code": [1]}, "data error: 'code' has a value that cannot be used\n  got       [1]\n"
             "  expected  a text, a number or a truth value, or no value"),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "message"), REFUSED.values(), ids=REFUSED)
def test_cell_that_cannot_be_used_is_told(changed, message):
    """Of that row alone."""
    assert finished(load_preprocessing(STATE), [{**GOOD, **changed}]) == [message]


def test_lacking_column_is_told():
    """Of one row among others, and of a whole table."""
    preprocessing = load_preprocessing(STATE)
    row = {**GOOD, "ages": 3}
    del row["age"]
    told = ("data error: the {} has no 'age'\n  got       day, date, code, ages\n  expected  age, day, date, code\n"
            "  closest   ages\n  fix       {}")  # fmt: skip
    of_row = told.format("row", "give null, or None, where there is no value")
    assert finished(preprocessing, [row, GOOD])[0] == of_row
    for inputs, message in (([row], of_row), (pd.DataFrame([row]), told.format(
            "table", "name it as in training; its cells may be empty"))):  # fmt: skip
        with pytest.raises(DataError) as error:
            preprocessing.encode(inputs)
        assert str(error.value) == message


def test_new_categories_and_gaps_are_told_once(caplog):
    """And not those of rows that are not used."""
    preprocessing = load_preprocessing(STATE)
    for _ in range(2):
        preprocessing.encode([{**GOOD, "code": "8"}, {**GOOD, "age": None}, {**GOOD, "code": "9", "day": "x"}])
    assert [record.getMessage() for record in caplog.records] == [
        "Column 'age' of the inputs has gaps in 1 of 2 rows, but in no training row.",
        "Column 'code' of the inputs has categories that no training row has, in 1 of 2 rows, which count as missing: "
        '["8"].',
    ]


def test_file_without_a_header_may_lack_the_target(tmp_path):
    """The names of the others are still their own; and all rows are read, however many training took."""
    read = {"header": None, "names": ["age", "y", "day", "date", "code"], "nrows": 1, "usecols": None}
    preprocessing = load_preprocessing({**STATE, "read": read})
    for name, target in (("with.csv", "1,"), ("without.csv", "")):
        (tmp_path / name).write_text(f"3,{target}2026-03-31,31.03.2026,7\n" * 3)
        assert [each.tolist() for each in finished(preprocessing, preprocessing.read_file(tmp_path / name))] == [
            [INPUT]
        ] * 3
    read = {"usecols": ["age", "y", "day", "date", "code"], "dtype": {"y": "float"}, "parse_dates": ["y", "day"],
            "index_col": "y"}  # fmt: skip
    preprocessing = load_preprocessing({**STATE, "read": read})
    pd.DataFrame([GOOD]).assign(more=1).to_csv(tmp_path / "some.csv", index=False)
    assert finished(preprocessing, [tmp_path / "some.csv"])[0].tolist() == [INPUT]


def test_options_that_no_checkpoint_holds_are_told_when_a_file_is_read(tmp_path):
    """Such as functions; rows can be given all the same."""
    (tmp_path / "t.csv").write_text("a,y\n1,2.5\n2,3.5\n3,1.5\n")
    table = Table(tmp_path / "t.csv", "y", read={"converters": {"a": float}})
    table.use(table.fit(range(3)))
    preprocessing = load_preprocessing(json.loads(json.dumps(table.preprocessing)))
    assert equal(finished(preprocessing, [{"a": 2}])[0], table.batch([1])[0])
    with pytest.raises(DataError) as error:
        preprocessing.read_file(tmp_path / "t.csv")
    assert str(error.value) == (
        f"data error: {tmp_path / 't.csv'} cannot be read as the file of training was\n"
        "  got       options of its reader that are no plain values, such as functions\n"
        "  fix       read it yourself, and give the DataFrame to predict"
    )


WRONG = {
    "no columns": {"columns": 3}, "no column": {"columns": [3]}, "no name": {"columns": [{"kind": "number"}]},
    "no kind": {"columns": [{**STATE["columns"][0], "kind": "weight"}]},
    "no form": {"columns": [{**STATE["columns"][0], "kind": "date:%Q"}]},
    "no number": {"columns": [{**STATE["columns"][0], "fill": "3"}]},
    "no texts": {"columns": [{**STATE["columns"][3], "categories": [3]}]},
    "no options": {"read": 3}, "nothing": {"columns": []},
}  # fmt: skip


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG)
def test_malformed_state_is_refused(changed):
    """By a sentence that says of what."""
    with pytest.raises(CheckpointError, match="^checkpoint error: how rows are prepared"):
        load_preprocessing({**STATE, **changed})
