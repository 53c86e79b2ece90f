"""Laws of windows: the last rows of a series become the inputs that the dataset of training has for them."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espalier.datasets import Windows
from espalier.errors import DataError
from espalier.preprocessing.kinds import load_preprocessing
from tests.cases import costly

VALUES = st.floats(-1e9, 1e9) | st.integers(-(2**40), 2**40)


def windows_of(path, rows, **options):
    """A dataset of these rows, in a shuffled file, fitted on the first window."""
    frame = pd.DataFrame(rows, columns=["a", "b"])
    frame.insert(0, "time", pd.date_range("2026-03-01", periods=len(rows), freq="h").astype(str))
    frame.sample(frac=1, random_state=0).to_csv(path, index=False)
    dataset = Windows(path, time="time", **options)
    dataset.use(dataset.fit([0]))
    return dataset


def inputs_of(preprocessing, inputs):
    """What a model would be given for them, `(N, history, F)`."""
    encoded = preprocessing.encode(inputs)
    encoded = torch.stack([encoded[index] for index in range(len(encoded))])
    return encoded if preprocessing.module is None else preprocessing.module(encoded)


@costly
@given(rows=st.lists(st.tuples(VALUES, VALUES), min_size=5, max_size=12), history=st.integers(1, 3),
       horizon=st.integers(1, 2), stride=st.integers(1, 3), target=st.sampled_from([None, "b", ["b", "a"]]),
       scale=st.sampled_from(["standard", "none"]))  # fmt: skip
def test_windows_become_the_inputs_of_the_dataset_to_the_bit(tmp_path_factory, rows, **options):
    """All of a file, as arrays, lists, tables and dicts; of a longer series the last rows, in the order of time."""
    path, history = tmp_path_factory.mktemp("windows") / "s.csv", options["history"]
    dataset = windows_of(path, rows, **options)
    state = json.loads(json.dumps(dataset.preprocessing))
    preprocessing, ahead = load_preprocessing(state), load_preprocessing({**state, "is_ahead": True})
    windows = preprocessing.read_windows(path)
    expected = dataset.batch(range(len(dataset)))[0]
    assert len(windows) == len(range(0, len(rows) - history + 1, options["stride"]))
    assert windows[:, :, 0].tolist() == [[float(row[0]) for row in rows[start : start + history]]
                                         for start in range(0, len(rows) - history + 1, options["stride"])]  # fmt: skip
    windows = windows[: len(dataset)]
    frames = [pd.DataFrame(each, columns=["a", "b"])[["b", "a"]] for each in windows]
    dicts = [each.to_dict("records") for each in frames]
    raw = [dataset.raw_input(index) for index in range(len(dataset))]
    for inputs in (windows, torch.tensor(windows), windows.tolist(), frames, dicts, raw):
        for each in (preprocessing, ahead):
            assert inputs_of(each, inputs).numpy().tobytes() == expected.numpy().tobytes()
    end = len(rows) - options["horizon"]
    dataset = Windows(path, time="time", **options | {"stride": 1})
    dataset.use(dataset.fit([0]))
    state = dataset.preprocessing
    known = pd.read_csv(path).sort_values("time")[:end].sample(frac=1, random_state=1)
    known.to_csv(path, index=False)
    for inputs in (known, known.to_dict("records"), [path], np.array(rows, dtype=float)[:end]):
        assert torch.equal(inputs_of(load_preprocessing(state), inputs)[0], dataset.batch([len(dataset) - 1])[0][0])


def test_series_of_one_column_needs_no_second_dimension(tmp_path):
    """As an array `(rows,)`, and in a file of NumPy."""
    np.save(tmp_path / "s.npy", np.arange(8.0))
    dataset = Windows(tmp_path / "s.npy", history=3)
    dataset.use(dataset.fit([0, 1]))
    preprocessing = load_preprocessing(dataset.preprocessing)
    expected = dataset.batch([2])[0]
    for inputs in (np.array([2.0, 3, 4]), [[2, 3, 4], [2, 3, 4]], np.array([[[2.0], [3], [4]]])):
        assert torch.equal(inputs_of(preprocessing, inputs)[:1], expected)
    assert inputs_of(preprocessing, [str(tmp_path / "s.npy")]).shape == (1, 3, 1)


CASES = {
    "short": ([[1.0, 2]], "data error: the series is too short to predict what comes next\n"
              "  got       1 row\n  expected  at least 2"),
    "gap": ([[1.0, 2], [3, None]], "data error: 'b' has no number in a row that counts\n"
            "  got       NaN in the last row\n  expected  a number of at most 3.4e+38 in each of the rows"),
    "large": ([[1.0, 1e39], [3, 4]], "data error: 'b' has no number in a row that counts\n"
              "  got       1e+39 in row 2 from the end\n  expected  a number of at most 3.4e+38 in each of the rows"),
    "text": (pd.DataFrame({"a": [1, 2], "b": ["1", "x"]}), "data error: 'b' has no number in a row that counts\n"
             '  got       "x" in the last row\n  expected  a number of at most 3.4e+38 in each of the rows'),
    "lacking": (pd.DataFrame({"a": [1, 2], "bb": [1, 2]}), "data error: the series has no 'b'\n"
                '  got       ["a", "bb"]\n  expected  ["a", "b"]\n  closest   bb'),
    "wide": (np.zeros((2, 3)), "data error: the input has another shape than those of training\n"
             "  got       (2, 3)\n  expected  the last 2 rows of a series, or more: arrays (2, 2), tables with the "
             'columns ["a", "b"], or files of them'),
    "other": ("nothing.csv", "data error: there is no file nothing.csv"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "message"), CASES.values(), ids=CASES)
def test_input_that_cannot_be_used_is_told(tmp_path, monkeypatch, given, message):
    """And the others are not concerned."""
    monkeypatch.chdir(tmp_path)
    dataset = windows_of(tmp_path / "s.csv", np.arange(12.0).reshape(6, 2).tolist(), history=2)
    encoded = load_preprocessing(dataset.preprocessing).encode([given, np.zeros((2, 2))])
    assert encoded[1].tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError) as error:
        encoded[0]
    assert str(error.value) == message
