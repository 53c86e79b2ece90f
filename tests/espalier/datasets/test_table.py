"""Laws of tables: fitted on the training rows alone, the same after JSON and in any order; and what is refused."""

import json
import logging
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from base import BaseDataLoader
from espalier.data.order import EpochOrder
from espalier.data.samples import is_deterministic, takes_tensors
from espalier.datasets import Table
from espalier.errors import ConfigError, DataError

NUMBERS = st.none() | st.floats(-1e6, 1e6, width=32)
CATEGORIES = st.none() | st.sampled_from(["red", "green", "blue", "7", "é"])
ROWS = st.tuples(NUMBERS, CATEGORIES, st.integers(-9, 9), st.booleans(), st.sampled_from(["no", "yes", "perhaps"]))
COLUMNS = ["size", "color", "count", "is_new", "answer"]
FULL = [(1.5, "red", 1, True, "no"), (2.5, "green", 2, False, "yes")]  # two classes, and no column without a value
OPTIONS = st.fixed_dictionaries({
    "categories": st.sampled_from(["one_hot", "index"]),
    "missing": st.sampled_from(["mean", "median", "indicator"]),
    "scale": st.sampled_from(["standard", "min_max", "none"]),
    "target": st.sampled_from(["answer", "is_new", "count"]),
    "scale_target": st.booleans(),
})  # fmt: skip
TYPES = {"size": "number", "color": "category"}  # of a column of gaps alone, too


def write(path, rows, columns=COLUMNS):
    """A CSV of these rows."""
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def table_of(folder, rows, **options):
    """The dataset of these rows."""
    return Table(write(folder / "t.csv", rows), types=TYPES, **options)


def samples_of(dataset, indices):
    """Inputs and targets as one flat list of numbers."""
    inputs, targets = dataset.batch(indices)
    parts = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
    return [each.tolist() for each in (*parts, targets)]


@given(rows=st.lists(ROWS, min_size=1, max_size=12), others=st.lists(ROWS, min_size=1, max_size=6), options=OPTIONS)
def test_rows_outside_of_the_training_part_change_no_fitted_value(tmp_path_factory, rows, others, options):
    """Nor any training sample; what is fitted stays the same through JSON, and in any order of the indices."""
    folder, train = tmp_path_factory.mktemp("table"), [*FULL, *rows]
    indices = range(len(train))
    dataset, changed = (table_of(folder, [*train, *rest], **options) for rest in (rows[:1], others))
    fitted = dataset.fit(indices)
    assert changed.fit(indices) == fitted == dataset.fit(list(indices)[::-1])
    assert json.loads(json.dumps(fitted)) == fitted
    dataset.use(json.loads(json.dumps(fitted)))
    changed.use(fitted)
    assert samples_of(dataset, indices) == samples_of(changed, indices)
    assert [getattr(dataset, name) for name in dataset.facts] == [getattr(changed, name) for name in changed.facts]


CELLS = st.sampled_from(
    ["?", "x", "", "NA", "1", "0.5", "-7", "1e300", "1e999", "007", "1.50", "TRUE", "True", "2024-01-31", "inf", "é"]
)
TRAINING = st.tuples(
    st.floats(-1e30, 1e30).map(repr),
    st.integers(-(2**62), 2**62).map(str),
    st.sampled_from(["True", "False"]),
    st.sampled_from(["", "-1.5", "12"]),
    st.sampled_from(["2024-01-31", "red", "blue", "007"]),
    st.sampled_from(["007", "7", "1.50", "8"]),
    st.sampled_from(["0", "1", "01"]),
)
KINDS_OF = {"f": "number", "i": "number", "b": "number", "g": "number", "t": "category", "c": "category"}


@given(
    rows=st.lists(TRAINING, min_size=2, max_size=8),
    others=st.lists(st.tuples(*[CELLS] * 6, st.sampled_from(["0", "1", "maybe", "12", "0.5"])), min_size=1, max_size=4),
    task=st.sampled_from([None, "classification", "regression"]),
    decimal=st.sampled_from([".", ","]),
)
def test_whatever_stands_in_other_rows_changes_no_fitted_value(tmp_path_factory, rows, others, task, decimal):
    """Texts, gaps, huge numbers, other kinds: kinds are those of the training rows, and numbers the same to the bit."""
    folder = tmp_path_factory.mktemp("table")
    full = [("1.5", "3", "True", "2", "red", "7", "0"), ("2.5", "4", "False", "3", "blue", "8", "1")] * 2
    train = [tuple(cell.replace(".", decimal) for cell in row) for row in [*full, *rows]]
    fitted = []
    for rest in ([], others):
        lines = [";".join(row) for row in ["fibgtcy", *train, *rest]]
        path = folder / f"{len(rest)}.csv"
        path.write_text("\n".join(lines), encoding="utf-8")
        dataset = Table(path, "y", task=task, types={"c": "category"}, read={"sep": ";", "decimal": decimal})
        fitted.append(dataset.fit(range(len(train))))
    assert fitted[0] == fitted[1]
    assert {each["name"]: each["kind"] for each in fitted[0]["columns"]} == KINDS_OF
    assert fitted[0].get("classes") == (None if task == "regression" else ["0", "1"])
    dataset.use(fitted[0])
    dataset.check_samples(range(len(train)))


@pytest.mark.parametrize(
    ("cell", "got"), [("x", "'x' in row 5; text in 1 of 6 rows"), ("1e39", "1e+39 in row 5"), ("inf", "inf in row 5")]
)
def test_other_row_that_is_no_number_is_refused_before_a_run(tmp_path, cell, got):
    """With column, row and value; not while it is in no part."""
    lines = ["a,y", "1,2.5", "2,3.5", "3,4.5", "4,0.5", f"{cell},1.5", "6,2.5"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    (tmp_path / "valid.txt").write_text("4")
    dataset = Table(tmp_path / "t.csv", "y")
    loader = BaseDataLoader(dataset, 2, split={"files": {"valid": str(tmp_path / "valid.txt")}})
    with pytest.raises(DataError) as error:
        _ = loader.parts.fitted
    assert f"column 'a' of {tmp_path / 't.csv'} holds" in str(error.value)
    assert f"\n  got       {got}\n" in str(error.value)
    assert ("na_values" in str(error.value)) is True
    dataset.check_samples([0, 1, 2, 3, 5])
    assert dataset.batch([0, 5])[0].isfinite().all()
    sent = pickle.loads(pickle.dumps(dataset))  # as to a worker
    assert torch.equal(sent.batch([0, 5])[0], dataset.batch([0, 5])[0])
    with pytest.raises(DataError) as told:
        sent.batch([4])
    assert str(told.value) == str(error.value)


def test_dates_of_digits_keep_their_leading_zeros(tmp_path):
    """Which a column of numbers has lost, unless another row holds a text."""
    (tmp_path / "t.csv").write_text("day,y\n01021970,0.5\n31121970,1.5\n")
    dataset = Table(tmp_path / "t.csv", "y", types={"day": "date:%d%m%Y"}, scale="none")
    dataset.use(dataset.fit([0, 1]))
    assert dataset.inputs.flatten().tolist() == [31, 364]


@given(rows=st.lists(ROWS, min_size=1, max_size=8), others=st.lists(ROWS, max_size=8), options=OPTIONS)
def test_samples_do_not_depend_on_what_was_used_before(tmp_path_factory, rows, others, options):
    """Nor on the other rows of a file: a row is the same sample in another file with the same fitted values."""
    folder, train = tmp_path_factory.mktemp("table"), [*FULL, *rows]
    dataset = table_of(folder, [*FULL, *others, *train], **options)
    later = range(len(FULL) + len(others), len(dataset))
    first = dataset.fit(later)
    dataset.use(first)
    samples = samples_of(dataset, later)
    dataset.use(dataset.fit(range(len(FULL) + len(others))))
    dataset.use(first)
    assert samples_of(dataset, later) == samples
    alone = table_of(folder, train, **options)
    alone.use(first)
    assert samples_of(alone, range(len(train))) == samples


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=9),
    scale=st.sampled_from(["standard", "min_max", "none"]),
)
def test_training_numbers_are_scaled_as_was_asked(tmp_path_factory, values, scale):
    """Mean 0 and standard deviation 1, or from 0 to 1, or as in the file; a constant column is 0."""
    assume(max(values) - min(values) > 1e-3 or max(values) == min(values))
    path = write(
        tmp_path_factory.mktemp("table") / "t.csv", {"x": values, "y": [*"ab", *"b" * (len(values) - 2)]}, ["x", "y"]
    )
    dataset = Table(path, "y", scale=scale)
    dataset.use(dataset.fit(range(len(dataset))))
    found = dataset.inputs[:, 0].double().numpy()
    if scale == "none":
        assert np.allclose(found, values)
    elif max(values) == min(values):
        assert (found == 0).all()
    elif scale == "standard":
        assert np.allclose([found.mean(), found.std()], [0, 1], atol=1e-4)
    else:
        assert np.allclose([found.min(), found.max()], [0, 1], atol=1e-6)


PENGUINS = [
    ("Adelie", "Dream", 39.0, 3700, "m", 2007),
    ("Adelie", "Biscoe", None, 3800, "f", 2007),
    ("Gentoo", "Biscoe", 47.0, 4500, None, 2008),
    ("Gentoo", "Torgersen", 50.0, 5700, "f", 2009),
    ("Chinstrap", "Dream", 46.0, 3500, "m", 2009),
]
PENGUIN_COLUMNS = ["species", "island", "bill", "mass", "sex", "year"]


def penguins(folder, **options):
    """Five of them; not fitted."""
    options = {"target": "species", "features": ["island", "bill", "sex"], **options}
    return Table(write(folder / "penguins.csv", PENGUINS, PENGUIN_COLUMNS), **options)


def test_a_table_is_one_tensor_and_a_batch_one_gather(tmp_path):
    """By name: unseen and missing categories are all zero, a gap is filled by the mean of the training rows."""
    dataset = penguins(tmp_path)
    dataset.use(dataset.fit([0, 1, 2]))
    assert dataset.feature_names == ["island=Biscoe", "island=Dream", "bill", "sex=f", "sex=m"]
    assert dataset.inputs.tolist() == [
        [0, 1, -1, 0, 1], [1, 0, 0, 1, 0], [1, 0, 1, 0, 0], [0, 0, 1.75, 1, 0], [0, 1, 0.75, 0, 1],
    ]  # fmt: skip
    assert dataset.inputs.dtype == torch.float32
    assert (dataset.in_features, dataset.num_outputs, dataset.num_classes) == (5, 2, 2)
    assert dataset.class_names == ["Adelie", "Gentoo"]
    assert dataset.facts == ("in_features", "num_outputs", "feature_names", "num_classes", "class_names")
    assert takes_tensors(dataset)
    assert is_deterministic(dataset)
    ((inputs, targets),) = BaseDataLoader(torch.utils.data.Subset(dataset, [3, 0]), 2)
    assert torch.equal(inputs, dataset.inputs[[3, 0]])
    assert (targets.tolist(), targets.dtype) == ([1, 0], torch.int64)


def test_indicators_say_where_a_value_is_missing(tmp_path):
    """For each column that has gaps in the training rows."""
    dataset = penguins(tmp_path, missing="indicator", scale="none")
    dataset.use(dataset.fit([0, 1, 2]))
    assert dataset.feature_names[2:] == ["bill", "bill is missing", "sex=f", "sex=m", "sex is missing"]
    assert dataset.inputs[:3, 2:].tolist() == [[39, 0, 0, 1, 0], [43, 1, 1, 0, 0], [47, 0, 0, 0, 1]]
    dataset = penguins(tmp_path, missing="indicator", scale="none")
    dataset.use(dataset.fit([0, 3, 4]))
    assert dataset.in_features == 5


def test_a_median_fills_as_it_says(tmp_path):
    """Not the mean."""
    dataset = penguins(tmp_path, missing="median", scale="none")
    dataset.use(dataset.fit([0, 1, 2, 3]))
    assert dataset.inputs[1, dataset.feature_names.index("bill")] == 47


def test_indexed_categories_are_for_embeddings(tmp_path):
    """Numbers and categories apart, in single samples, lists of them and batches; 0 is missing or unseen."""
    dataset = penguins(tmp_path, categories="index", missing="indicator")
    dataset.use(dataset.fit([0, 1, 2]))
    assert dataset.feature_names == ["bill", "bill is missing", "island", "sex"]
    assert (dataset.in_features, dataset.cardinalities) == (2, [3, 3])
    loader = BaseDataLoader(dataset, 4, sampler=EpochOrder(np.arange(4), False, 0))
    loader.parts.load_fitted(dataset.fit([0, 1, 2]))
    inputs, targets = next(iter(loader))
    assert inputs["numbers"].tolist() == [[-1, 0], [0, 1], [1, 0], [1.75, 0]]
    assert inputs["categories"].tolist() == [[2, 2], [1, 1], [1, 0], [0, 1]]
    assert (inputs["categories"].dtype, targets.tolist()) == (torch.int64, [0, 0, 1, 1])
    for index, (sample, target) in enumerate(dataset.__getitems__([0, 1, 2, 3])):
        assert all(torch.equal(sample[name], inputs[name][index]) for name in inputs)
        assert torch.equal(dataset[index][0]["numbers"], sample["numbers"])
        assert target == targets[index]
    plain = next(iter(torch.utils.data.DataLoader(dataset, 4)))
    assert torch.equal(plain[0]["categories"], inputs["categories"])


def test_a_table_without_one_kind_of_column_has_an_empty_tensor_for_it(tmp_path):
    """So that a model need not ask."""
    dataset = penguins(tmp_path, categories="index", features=["bill"])
    dataset.use(dataset.fit([0, 1, 2]))
    assert dataset[0][0]["categories"].shape == (0,)
    dataset = penguins(tmp_path, categories="index", features=["sex"])
    dataset.use(dataset.fit([0, 1, 2]))
    assert dataset[0][0]["numbers"].shape == (0,)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_loader_fits_on_its_training_part_and_tells_what_it_knows(tmp_path, num_workers):
    """Split by a column that is no input; facts and class weights are plain values."""
    parts = ["train", "test", "train", "valid", "train"]
    rows = [(*row[:5], part) for row, part in zip([*PENGUINS[:4], PENGUINS[0]], parts, strict=True)]
    path = write(tmp_path / "t.csv", rows, [*PENGUIN_COLUMNS[:5], "part"])
    dataset = Table(path, "species", features=["island", "bill"])
    loader = BaseDataLoader(dataset, 2, split={"column": "part"}, num_workers=num_workers)
    assert loader.parts.fitted == dataset.fit([0, 2, 4])
    assert [loader.parts.fact(name) for name in ("in_features", "num_classes", "class_names")] == [
        3,
        2,
        ["Adelie", "Gentoo"],
    ]
    assert loader.parts.fact("class_weights") == [0.75, 1.5]
    found = [
        targets.tolist() for each in (loader, loader.split_validation(), loader.split_test()) for _, targets in each
    ]
    assert found == [[0, 1], [0], [1], [0]]


def test_targets_of_a_regression_stand_against_outputs_without_broadcasting(tmp_path):
    """As `Linear(..., 1)` gives them; scaled, they go back to the units of the file."""
    dataset = penguins(tmp_path, target="mass", features=["island"], scale_target=True)
    fitted = dataset.fit([0, 1, 2])
    assert fitted["target"] == {"mean": 4000.0, "std": pytest.approx(355.902608)}
    dataset.use(fitted)
    inputs, targets = dataset.batch([0, 1, 2, 3])
    assert (targets.shape, targets.dtype, dataset.num_outputs) == ((4, 1), torch.float32, 1)
    assert nn.Linear(dataset.in_features, 1)(inputs).shape == targets.shape
    back = targets * dataset.target_std + dataset.target_mean
    assert back.flatten().tolist() == pytest.approx([3700, 3800, 4500, 5700])
    assert dataset.facts[-2:] == ("target_mean", "target_std")
    plain = penguins(tmp_path, target="mass", task="regression")
    plain.use(plain.fit([0, 1, 2]))
    assert plain.targets.flatten().tolist() == [3700, 3800, 4500, 5700, 3500]


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1] * 10, "classification"),
        ([0.0, 1.0] * 10, "classification"),
        ([0.5, 1.0] * 10, "regression"),
        ([True, False] * 10, "classification"),
        (["a", "b"] * 10, "classification"),
        (list(range(20)), "regression"),
        (list(range(20)) * 2, "classification"),
        (list(range(21)) * 2, "regression"),
    ],
)
def test_the_target_tells_the_task(tmp_path, caplog, values, task):
    """By its type and, of whole numbers, by how many there are; a line of the log says so."""
    path = write(tmp_path / "t.csv", {"x": range(len(values)), "y": values}, ["x", "y"])
    with caplog.at_level(logging.INFO):
        assert Table(path, "y").fit(range(len(values)))["task"] == task
    assert caplog.messages == [f"The target 'y' of {path} makes this a {task}."]


def test_classes_that_are_numbers_stand_in_their_order(tmp_path):
    """10 after 9, and not after 1."""
    path = write(tmp_path / "t.csv", {"x": range(6), "y": [10, 9, 1, 10, 9, 1]}, ["x", "y"])
    dataset = Table(path, "y")
    dataset.use(dataset.fit(range(6)))
    assert dataset.class_names == ["1", "9", "10"]
    assert dataset.targets.tolist() == [2, 1, 0, 2, 1, 0]


def test_columns_and_targets_are_there_before_anything_is_fitted(tmp_path):
    """For splits, also the columns that are no inputs."""
    dataset = penguins(tmp_path, features=None, drop=["year"])
    assert dataset.features == ["island", "bill", "mass", "sex"]
    assert dataset.column("year").tolist() == [2007, 2007, 2008, 2009, 2009]
    assert dataset.targets.tolist() == ["Adelie"] * 2 + ["Gentoo"] * 2 + ["Chinstrap"]
    assert np.isnan(dataset.column("bill")[1])
    with pytest.raises(DataError) as error:
        dataset.column("yaer")
    assert (
        str(error.value) == f"data error: {tmp_path / 'penguins.csv'} has no column 'yaer'\n"
        "  expected  one of: species, island, bill, mass, sex, year\n  closest   year"
    )


def test_dates_are_days(tmp_path):
    """ISO 8601, with a form of their own, with times and zones; usable to split by time."""
    columns = {"a": ["1970-01-02", "1970-01-03T12:00:00"], "b": ["31.01.1970", "01.02.1970"], "y": ["u", "v"],
               "c": ["1970-01-01T02:00:00+01:00", None]}  # fmt: skip
    path = write(tmp_path / "t.csv", columns, list(columns))
    types = {"a": "date", "b": "date:%d.%m.%Y", "c": "date"}
    dataset = Table(path, "y", types=types, scale="none", features=["a", "b", "c"])
    dataset.use(json.loads(json.dumps(dataset.fit([0, 1]))))
    assert dataset.inputs.tolist() == [[1, 30, pytest.approx(1 / 24)], [2.5, 31, pytest.approx(1 / 24)]]
    assert dataset.column("b").tolist() == [30, 31]
    with pytest.raises(DataError) as error:
        Table(path, "y", types={"b": "date"})
    assert (
        str(error.value)
        == f"data error: column 'b' of {path} holds text that is no date\n  got       '31.01.1970' in row 1\n"
        "  expected  a date such as 2026-03-31\n"
        '  fix       give the form that dates have, as in "types": {"b": "date:%d.%m.%Y"}'
    )


def test_categories_are_the_same_whatever_type_a_file_gives_them(tmp_path):
    """Whole numbers with a gap are floats to pandas, and truth values objects."""
    rows = {"a": [1, 2, 3], "b": [True, False, True], "y": ["u", "v", "u"]}
    whole = Table(write(tmp_path / "whole.csv", rows, list(rows)), "y", types={"a": "category"})
    rows.update(a=[1, None, 3], b=[True, None, False])
    gaps = Table(write(tmp_path / "gaps.csv", rows, list(rows)), "y", types={"a": "category"})
    fitted = whole.fit([0, 1, 2])
    assert fitted["columns"][0]["categories"] == ["1", "2", "3"]
    gaps.use(fitted)
    assert gaps.inputs[:, :3].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_what_pandas_calls_categories_are_categories_and_dates_no_numbers(tmp_path, monkeypatch):
    """Whatever the categories are, also of a target; as they come out of a Parquet file."""
    days = pd.to_datetime(["2024-01-01", "2024-01-02"] * 2)
    frame = pd.DataFrame({"a": pd.Categorical([2, 1, 2, 1]), "b": pd.Categorical([0.5, 0.25] * 2), "when": days})
    monkeypatch.setattr("espalier.datasets.table.load_table", lambda *_, **__: frame)
    fitted = Table("t.parquet", "b").fit(range(4))
    assert (fitted["task"], fitted["classes"]) == ("classification", ["0.25", "0.5"])
    assert [column["kind"] for column in fitted["columns"]] == ["category", "date"]
    for options in ({"target": "a", "types": {"when": "number"}}, {"target": "when"}):
        with pytest.raises(DataError) as error:
            Table("t.parquet", **options).fit(range(4))
        assert (
            str(error.value) == "data error: column 'when' of t.parquet is of no kind that can be used here\n"
            f'  got       values such as {days[0]!r}\n  expected  numbers\n  fix       leave it out: "drop": ["when"]'
        )


def test_what_no_training_row_has_is_told(tmp_path, caplog):
    """Categories and gaps, with how many rows; constant columns, and texts that are all different."""
    path = tmp_path / "penguins.csv"
    dataset = penguins(tmp_path)
    dataset.use(dataset.fit([0, 2]))
    dataset.use(dataset.fit([0, 2]))
    assert caplog.messages[:3] == [
        f"Column 'island' of {path} has categories that no training row has, in 1 of 5 rows, which count as missing: "
        '["Torgersen"].',
        f"Column 'bill' of {path} has gaps in 1 of 5 rows, but in no training row.",
        f"Column 'sex' of {path} has categories that no training row has, in 2 of 5 rows, which count as missing: "
        '["f"].',
    ]
    assert len(caplog.messages) == 3  # once
    caplog.clear()
    columns = {"a": [5] * 30, "b": [f"name {number}" for number in range(30)], "y": ["u", "v"] * 15}
    path = write(tmp_path / "t.csv", columns, list(columns))
    Table(path, "y").fit(range(30))
    assert caplog.messages == [
        f"Column 'a' of {path} has one value in all 30 training rows, so it tells nothing.",
        f"Column 'b' of {path} has 30 different texts in 30 training rows: as a category it tells little. "
        'Leave it out ("drop"), or say in "types" that it holds dates or numbers.',
    ]


def test_a_class_that_no_training_row_has_is_refused_by_name_when_it_is_asked_for(tmp_path):
    """Not while its rows are in no part that is used."""
    dataset = penguins(tmp_path)
    with pytest.raises(DataError) as error:
        dataset[0]
    assert (
        str(error.value)
        == f"data error: {tmp_path / 'penguins.csv'} gives no sample before it is fitted on the training "
        "part\n  fix       the data loader does so; by hand: dataset.use(dataset.fit(indices))"
    )
    dataset.use(dataset.fit([0, 1, 2]))
    assert dataset.batch([0, 3])[1].tolist() == [0, 1]
    with pytest.raises(DataError) as error:
        dataset.batch(torch.tensor([0, 4]))
    assert (
        str(error.value)
        == f"data error: class 'Chinstrap' of {tmp_path / 'penguins.csv'} is not in the training part\n"
        "  got       column 'species' has it in 1 of 5 rows, such as row 5\n"
        "  expected  every class among the training samples\n"
        '  fix       divide by class, "split": {"stratify": true}'
    )


AGES = {"age": ["31", "?", "45", "50"], "y": ["u", "v", "u", "v"]}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (AGES, {},
         "column 'age' of {path} holds text among its numbers\n  got       '?' in row 2; text in 1 of 4 rows\n"
         '  fix       if it stands for a missing value, "read": {{"na_values": ["?"]}}; if all are texts, '
         '"types": {{"age": "category"}}'),
        ({**AGES, "age": ["a", "b", "1", None]}, {"types": {"age": "number"}},
         "column 'age' of {path} holds text among its numbers\n  got       'a' in row 1; text in 2 of 4 rows\n"
         '  fix       if it stands for a missing value, "read": {{"na_values": ["a"]}}; if all are texts, '
         '"types": {{"age": "category"}}'),
        ({**AGES, "age": [1, 2, float("inf"), None]}, {}, "column 'age' of {path} holds a number out of range\n"
         "  got       inf in row 3\n  expected  at most 3.4e+38\n"
         "  fix       mend the row, or name it as missing in na_values of read"),
        ({**AGES, "y": ["u", None, "v", None]}, {"types": {"age": "category"}}, "the target 'y' of {path} has gaps\n"
         "  got       no value in 2 of 4 rows, the first is row 2\n  fix       take these rows out of the file"),
        ({**AGES, "age": [1, 2, None, 4]}, {"missing": "refuse"}, "column 'age' of {path} has gaps\n"
         '  got       no value in 1 of 4 rows, the first is row 3\n  fix       "missing": "mean", or "drop": ["age"]'),
        ({**AGES, "age": [None, None, None, 4]}, {}, "column 'age' of {path} has no value in the training part\n"
         '  got       2 gaps\n  fix       leave it out: "drop": ["age"]'),
        ({**AGES, "age": [1, 2, 3, 4], "y": ["u", "u", "v", "v"]}, {}, "'y' of {path} has one class alone\n"
         '  got       ["u"] in all 2 training samples\n  expected  at least two classes'),
        ({**AGES, "y": ["a", "b", "1", "2"]}, {"types": {"age": "category"}, "task": "regression"},
         "column 'y' of {path} holds text among its numbers\n  got       'a' in row 1; text in 2 of 4 rows\n"
         '  fix       if it stands for a missing value, "read": {{"na_values": ["a"]}}; if all are texts, '
         '"types": {{"y": "category"}}'),
        ({**AGES, "age": ["1.2.2026"] * 4}, {"types": {"age": "date:%Q"}},
         "'%Q' is no form of a date for column 'age' of {path}\n  got       'Q' is a bad directive in format '%Q'\n"
         "  expected  as in date:%d.%m.%Y"),
        ({"age;y": ["1;u", "2;v"]}, {}, "{path} has no column 'y'\n  expected  one of: age;y\n"
         '  fix       let read say how cells are divided: {{"sep": ";"}}'),
    ],
)  # fmt: skip
def test_data_that_cannot_be_used_is_refused(tmp_path, columns, options, message):
    """With column, row and value; here the first two rows are the training part."""
    path = write(tmp_path / "t.csv", columns, list(columns))
    with pytest.raises(DataError) as error:
        dataset = Table(path, "y", **options)
        dataset.use(dataset.fit([0, 1]))
        dataset.check_samples(range(len(dataset)))
    assert str(error.value) == "data error: " + message.format(path=path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "?", 2],
         "column 'a' of {path} holds text among its numbers\n  got       '?' in row 2; text in 1 of 3 rows\n"
         '  fix       if it stands for a missing value, write null; if all are texts, "types": {{"a": "category"}}'),
        ([1, "2", 3], "column 'a' of {path} holds numbers and texts\n"
         '  fix       say what they are: "types": {{"a": "number"}}'),
    ],
)  # fmt: skip
def test_json_that_mixes_numbers_and_texts_is_refused(tmp_path, values, message):
    """Unless types says what they are."""
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps({"a": value, "y": "uvw"[row]}) for row, value in enumerate(values)))
    with pytest.raises(DataError) as error:
        Table(path, "y").fit([0, 1, 2])
    assert str(error.value) == "data error: " + message.format(path=path)
    assert Table(path, "y", types={"a": "category"}).fit([0, 1, 2])["columns"][0]["categories"]


@pytest.mark.parametrize(
    ("options", "faults"),
    [
        ({"missing": "means", "scale": "minmax", "task": "regresion"},
         ["missing is no choice", "scale is no choice", "task is no choice"]),
        ({"categories": "onehot", "types": {"bill": "numbr"}},
         ["categories is no choice", "types.bill is no kind of column"]),
        ({"features": ["bill", "species"]}, ["features names the target"]),
        ({"features": ["bill"], "drop": ["bill"]}, [" leaves no column to predict the target by"]),
        ({"features": ["bill"], "types": {"year": "category"}}, ["types names a column that is no feature"]),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_with_all_their_faults(tmp_path, options, faults):
    """As those of a config."""
    with pytest.raises(ConfigError) as error:
        penguins(tmp_path, **options)
    heads = [f"{problem.path} {problem.what}" for problem in error.value.problems]
    assert heads == [f"data_loader.args.dataset.args{'' if fault[0] == ' ' else '.'}{fault}" for fault in faults]


def test_very_many_categories_are_refused_as_inputs_but_not_as_indices(tmp_path):
    """They would fill the memory."""
    columns = {"id": [f"n{number}" for number in range(10_001)], "y": ["u"] * 5000 + ["v"] * 5001}
    path = write(tmp_path / "t.csv", columns, list(columns))
    dataset = Table(path, "y")
    with pytest.raises(DataError) as error:
        dataset.use(dataset.fit(range(10_001)))
    assert (
        str(error.value) == f"data error: the columns of {path} make 10,001 inputs\n"
        "  got       10,001 of them for the categories of 'id'\n  expected  at most 10,000\n"
        '  fix       "categories": "index", or "drop": ["id"]'
    )
    dataset = Table(path, "y", categories="index")
    dataset.use(dataset.fit(range(10_001)))
    assert dataset.cardinalities == [10_002]


def test_another_file_needs_the_columns_that_were_fitted(tmp_path):
    """In any order, and more of them; a lacking one is named."""
    fitted = penguins(tmp_path).fit([0, 1, 2])
    path = write(tmp_path / "other.csv", [("Gentoo", "m", 1.0, "Dream")], ["species", "sex", "bill", "island"])
    other = Table(path, "species")
    other.use(fitted)
    assert other.feature_names == ["island=Biscoe", "island=Dream", "bill", "sex=f", "sex=m"]
    assert other[0][1] == 1
    path = write(tmp_path / "less.csv", [("Gentoo", "m", 1.0)], ["species", "sex", "Bill"])
    with pytest.raises(DataError, match="has no column 'island'"):
        Table(path, "species").use(fitted)
