"""Laws of splits: disjoint parts, the right sizes, classes in proportion, groups whole, time in order."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.data.splits import parts_of
from espalier.errors import ConfigError, DataError

SIZES = st.one_of(st.floats(0, 0.4), st.integers(0, 8))
CLASSES = st.lists(st.sampled_from("abcd"), min_size=20, max_size=120)
SEEDS = st.integers(0, 2**64 - 1)


def columns_of(**values):
    """A dataset's columns; the targets are called `targets`."""
    return lambda name: values[name or "targets"]


def members(parts):
    """Every index of every part, sorted."""
    return sorted(np.concatenate([parts[name] for name in parts]).tolist())


@given(classes=CLASSES, valid=SIZES, test=SIZES, seed=SEEDS, is_stratified=st.booleans())
def test_shares_and_counts_divide_every_sample_once_and_exactly(classes, valid, test, seed, is_stratified):
    """Each part has the size that was asked for, the same each time, and no sample stands in two of them."""
    wanted = [size if isinstance(size, int) else int(len(classes) * size + 1e-9) for size in (valid, test)]
    split = {"valid": valid, "test": test, "stratify": is_stratified}
    if any(size and not number for size, number in zip((valid, test), wanted, strict=True)):
        with pytest.raises(ConfigError, match="leaves no sample for"):
            parts_of(split, len(classes), seed, columns_of(targets=classes))
        return
    parts = parts_of(split, len(classes), seed, columns_of(targets=classes))
    again = parts_of(split, len(classes), seed, columns_of(targets=classes))
    assert [len(parts["valid"]), len(parts["test"])] == wanted
    assert members(parts) == list(range(len(classes)))
    assert all(np.array_equal(parts[name], again[name]) for name in parts)


@given(classes=CLASSES, valid=st.floats(0.1, 0.4), test=st.floats(0.1, 0.4), seed=SEEDS)
def test_stratified_parts_have_each_class_in_proportion(classes, valid, test, seed):
    """No class is more than two samples off its share: one for each of the two cuts."""
    parts = parts_of({"valid": valid, "test": test, "stratify": True}, len(classes), seed, columns_of(targets=classes))
    classes = np.array(classes)
    for name in ("valid", "test"):
        for each in np.unique(classes):
            due = (classes == each).sum() * len(parts[name]) / len(classes)
            assert abs((classes[parts[name]] == each).sum() - due) < 2


@given(groups=st.lists(st.integers(0, 12), min_size=30, max_size=150), share=st.floats(0.15, 0.4), seed=SEEDS)
def test_groups_stay_whole_and_come_near_the_share(groups, share, seed):
    """All samples of a group stand in one part, whose size is off by less than the largest group."""
    groups = np.array(groups)
    try:
        parts = parts_of({"valid": share, "group": "who"}, len(groups), seed, columns_of(who=groups))
    except ConfigError:
        assert len(np.unique(groups)) < 4  # too few to divide
        return
    assert not {*groups[parts["train"]]} & {*groups[parts["valid"]]}
    assert members(parts) == list(range(len(groups)))
    assert abs(len(parts["valid"]) - share * len(groups)) <= np.bincount(groups).max()


@given(classes=CLASSES, num_folds=st.integers(2, 6), test=st.integers(0, 5), seed=SEEDS, is_grouped=st.booleans())
def test_folds_validate_every_sample_once_and_leave_the_test_part_alone(classes, num_folds, test, seed, is_grouped):
    """Over all folds the validation parts are all that is not tested, each class even over them."""
    groups = [index // 2 for index in range(len(classes))]
    split = {"num_folds": num_folds, "test": test, "stratify": True, "group": "who" if is_grouped else None}
    folds = [parts_of({**split, "fold": fold}, len(classes), seed, columns_of(targets=classes, who=groups))
             for fold in range(1, num_folds + 1)]  # fmt: skip
    assert all(members(parts) == list(range(len(classes))) for parts in folds)
    assert all(np.array_equal(parts["test"], folds[0]["test"]) for parts in folds)
    validated = np.sort(np.concatenate([parts["valid"] for parts in folds]))
    assert validated.tolist() == sorted({*range(len(classes))} - {*folds[0]["test"].tolist()})
    if not is_grouped:
        counts = [[sum(classes[i] == each for i in parts["valid"]) for parts in folds] for each in "abcd"]
        assert all(max(row) - min(row) <= 1 for row in counts)


@given(times=st.lists(st.integers(0, 50), min_size=20, max_size=80), seed=SEEDS)
def test_time_validates_after_what_is_trained_on(times, seed):
    """Nothing in the training part is later than anything validated, nor that than anything tested."""
    times = np.array(times)
    parts = parts_of({"valid": 0.2, "test": 0.1, "time": "when"}, len(times), seed, columns_of(when=times))
    assert times[parts["train"]].max() <= times[parts["valid"]].min()
    assert times[parts["valid"]].max() <= times[parts["test"]].min()
    in_order = parts_of({"valid": 5, "time": True}, 20, seed, columns_of())
    assert in_order["valid"].tolist() == [15, 16, 17, 18, 19]


def test_a_known_split_is_the_same_on_every_machine():
    """Its indices, written down."""
    parts = parts_of({"valid": 3, "test": 2, "stratify": True}, 12, 123, columns_of(targets=list("aaabbbbccccc")))
    known = {"train": [0, 4, 5, 6, 7, 9, 11], "valid": [1, 3, 10], "test": [2, 8]}
    assert {name: part.tolist() for name, part in parts.items()} == known


def test_a_column_names_the_parts():
    """Also by the usual other names, in any case."""
    values = ["train", "Val", "TEST ", "training", "dev"]
    parts = parts_of({"column": "part"}, 5, 0, columns_of(part=values))
    assert {name: part.tolist() for name, part in parts.items()} == {"train": [0, 3], "valid": [1, 4], "test": [2]}
    with pytest.raises(DataError) as error:
        parts_of({"column": "part"}, 3, 0, columns_of(part=["train", "x", "valid"]))
    assert (
        str(error.value)
        == """data error: column 'part' does not say which samples train, validate and test
  got       'x' in 1 of 3 samples
  expected  one of: train, valid, test"""
    )


@pytest.mark.parametrize(
    "days", [["2020-01-31", "2019-12-01 10:00", "2021"], np.array(["2020-01", "2019-12", "2021-01"])]
)
def test_texts_are_an_order_of_time_where_they_are_iso_dates(days):
    """Their order as texts is that in time then; numbers and dates have their own."""
    parts = parts_of({"valid": 1, "time": "day"}, 3, 0, columns_of(day=days))
    assert parts["valid"].tolist() == [2]


@pytest.mark.parametrize("text", ["31.12.2020", "12/31/2020", "Monday", "10", "2020/1/5"])
def test_texts_whose_order_is_not_that_of_time_are_refused(text):
    """The last by the alphabet would be tested, and nobody told."""
    with pytest.raises(DataError) as error:
        parts_of({"valid": 1, "time": "day"}, 2, 0, columns_of(day=["2020-12-31", text]))
    assert str(error.value) == (
        "data error: column 'day' holds texts, whose order is that of the alphabet, not of time\n"
        f"  got       '{text}'\n"
        "  expected  numbers, or dates such as 2024-12-31\n"
        "  fix       write them so, or name a column of numbers"
    )


def test_files_name_the_parts_in_three_formats(tmp_path):
    """Text, JSON and NumPy; what no file names is trained on."""
    (tmp_path / "valid.txt").write_text("1\n3\n")
    (tmp_path / "test.json").write_text(json.dumps([0]))
    np.save(tmp_path / "train.npy", np.array([2, 4]))
    files = {"valid": str(tmp_path / "valid.txt"), "test": str(tmp_path / "test.json")}
    parts = parts_of({"files": files}, 6, 0, columns_of())
    assert {name: part.tolist() for name, part in parts.items()} == {"train": [2, 4, 5], "valid": [1, 3], "test": [0]}
    parts = parts_of({"files": {**files, "train": str(tmp_path / "train.npy")}}, 6, 0, columns_of())
    assert parts["train"].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n1\n", "data error: the files of data_loader.args.split.files name a sample twice\n"
                   "  got       1 of them, the first is 1\n  expected  each in one part, once"),
        ("7\n", "data error: {path} names samples that are not there\n  got       7 to 7\n  expected  from 0 to 4"),
        ("a\n", "data error: {path} cannot be read as indices\n"
                "  got       invalid literal for int() with base 10: 'a'\n"
                "  expected  whole numbers, one a line; or a list in .json; or an array in .npy"),
    ],
)  # fmt: skip
def test_files_of_indices_that_are_none_are_refused(tmp_path, text, message):
    """Twice, out of range, or no number."""
    path = tmp_path / "valid.txt"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        parts_of({"files": {"valid": str(path)}}, 5, 0, columns_of())
    assert str(error.value) == message.format(path=path)


@pytest.mark.parametrize(
    ("split", "faults"),
    [
        ({"vali": 0.2}, ["vali is not a key of a split"]),
        ({"valid": 1.0, "test": -1}, ["test is out of range", "valid is out of range"]),
        ({"valid": True}, ["valid is out of range"]),
        ({"valid": 0.2, "group": "a", "time": "b"}, [" says in two ways which samples to take: group and time"]),
        ({"column": "a", "valid": 0.1}, ["valid does not go with column, which names every part"]),
        ({"fold": 1}, ["num_folds is missing beside fold"]),
        ({"fold": 6, "num_folds": 5}, ["fold is out of range"]),
        ({"fold": 1, "num_folds": 5, "valid": 0.1}, ["valid does not go with fold: a fold is the validation part"]),
        ({"fold": 0, "num_folds": 1}, ["fold is out of range", "num_folds is out of range"]),
        (0.2, [" is no section"]),
        ({}, [" names no part to split off"]),
        ({"stratify": True, "seed": 3, "valid": None}, [" names no part to split off"]),
    ],
)
def test_a_wrong_split_is_refused_with_all_its_faults(split, faults):
    """Before any data is looked at."""
    with pytest.raises(ConfigError) as error:
        parts_of(split, 100, 0, None)
    heads = [f"{problem.path} {problem.what}" for problem in error.value.problems]
    assert heads == [f"data_loader.args.split{'' if fault[0] == ' ' else '.'}{fault}" for fault in faults]


def test_what_cannot_divide_is_refused():
    """Missing values, a column of pairs, and targets that are no classes."""
    with pytest.raises(DataError, match="no value in 1 of 20, the first is number 3"):
        parts_of({"valid": 2, "group": "a"}, 20, 0, columns_of(a=[*range(3), np.nan, *range(16)]))
    with pytest.raises(DataError, match=r"values of shape \(20, 2\)"):
        parts_of({"valid": 2, "stratify": True}, 20, 0, columns_of(targets=np.zeros((20, 2))))
    with pytest.raises(ConfigError, match="numbers such as 0.5"):
        parts_of({"valid": 2, "stratify": True}, 20, 0, columns_of(targets=np.arange(20) / 2))
