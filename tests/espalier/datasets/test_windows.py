"""Windows over a table or an array: what a sample is, that parts share no row, and what is wrong with a file."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from base import BaseDataLoader
from espalier.data.samples import is_deterministic, takes_tensors
from espalier.datasets import Windows
from espalier.errors import ConfigError, DataError


def series(folder, number=60, **columns):
    """A file whose first column says the row, as arguments for `Windows`; any numbers in the others."""
    draw = np.random.default_rng(0)
    frame = {"row": np.arange(number), "a": draw.normal(3, 2, number), "b": draw.normal(size=number), **columns}
    pd.DataFrame(frame).to_csv(folder / "series.csv", index=False)
    return {"path": str(folder / "series.csv"), "scale": "none"}


def rows_of(dataset, indices):
    """Which rows stand in these samples as inputs, and which as targets; the first column has to be the row."""
    inputs, targets = dataset.batch(indices)
    return {*inputs[..., 0].flatten().tolist()}, {*targets[..., 0].flatten().tolist()}


SIZES = {"history": st.integers(1, 9), "horizon": st.integers(1, 5), "stride": st.integers(1, 12)}


@given(**SIZES, start=st.integers(0, 3))
def test_sample_is_a_stretch_of_rows_and_the_rows_behind_it(tmp_path_factory, history, horizon, stride, start):
    """As slices of the table say; the last window is the last that fits."""
    args = series(tmp_path_factory.mktemp("series"), 30 + start)
    dataset = Windows(**args, target=["b", "a"], history=history, horizon=horizon, stride=stride)
    dataset.use(dataset.fit(np.arange(len(dataset))))
    table = pd.read_csv(args["path"])
    firsts = range(0, len(table) - history - horizon + 1, stride)
    assert len(dataset) == len(firsts)
    inputs, targets = dataset.batch(range(len(dataset)))
    for index, first in enumerate(firsts):
        middle = first + history
        wanted = torch.from_numpy(table[first:middle].to_numpy()).float()
        assert torch.equal(inputs[index], wanted) and torch.equal(dataset[index][0], wanted)
        wanted = torch.from_numpy(table[["b", "a"]][middle : middle + horizon].to_numpy()).float()
        assert torch.equal(targets[index], wanted)
    assert (dataset.in_features, dataset.num_outputs) == (3, 2)


@given(**SIZES, valid=st.integers(0, 60), test=st.integers(0, 60), batch_size=st.integers(1, 20))
def test_no_row_is_in_windows_of_two_parts(tmp_path_factory, history, horizon, stride, valid, test, batch_size):
    """Nor does another training window fit that shares none with the other parts; or the split is refused."""
    args = series(tmp_path_factory.mktemp("series"), 200)
    sizes = {"history": history, "horizon": horizon, "stride": stride}
    dataset = Windows(**args, **sizes)
    split = {"time": True, "valid": valid, "test": test}
    try:
        loader = BaseDataLoader(dataset, batch_size, shuffle=True, split=split, seed=0)
    except ConfigError:
        assert (
            valid + test == 0
            or min(each for each in (valid, test) if each) * stride < 3 * (history + horizon)
            or len(dataset) - valid - test < 3 * (history + horizon)
        )
        return
    parts = loader.parts.indices
    loader.parts.prepare()
    assert len(parts["test"]) == test
    rows = {name: set.union(*rows_of(dataset, part)) for name, part in parts.items() if len(part)}
    assert sum(map(len, rows.values())) == len(set.union(*rows.values()))
    later = set.union(set(), *(rows[name] for name in ("valid", "test") if name in rows))
    unused = [each for each in range(len(dataset) - valid - test) if each not in parts["train"]]
    assert all(set.union(*rows_of(dataset, [each])) & later for each in unused)


def test_scale_is_that_of_the_rows_of_training_windows(tmp_path):
    """Nothing that stands behind them changes a training sample; a constant column is 0."""
    args = {**series(tmp_path, 100, c=np.ones(100)), "scale": "standard", "history": 5, "horizon": 2, "target": "a"}
    split = {"time": True, "valid": 20, "test": 20}
    loader = BaseDataLoader(Windows(**args), 8, split=split, seed=0)
    training = torch.cat([inputs for inputs, _ in loader])
    fitted, table = loader.dataset.fitted, pd.read_csv(args["path"])
    num_rows = int(loader.parts.train_indices.max()) + 7
    assert num_rows == 100 - 6 - 2 * 20
    np.testing.assert_allclose([*fitted["mean"].values()], table[:num_rows].mean(), rtol=1e-9)
    np.testing.assert_allclose([*fitted["std"].values()][:3], table[:num_rows].std(ddof=0)[:3], rtol=1e-9)
    assert training[..., 3].eq(0).all()
    (mean,), (std,) = loader.dataset.target_mean, loader.dataset.target_std
    torch.testing.assert_close(
        loader.dataset[0][1].double()[:, 0] * std + mean, torch.tensor(table["a"][5:7].to_numpy())
    )
    table.loc[num_rows:, ["a", "b", "c"]] = 1e6
    table.to_csv(args["path"], index=False)
    again = BaseDataLoader(Windows(**args), 8, split=split, seed=0)
    assert torch.equal(torch.cat([inputs for inputs, _ in again]), training)


@pytest.mark.parametrize(
    "split", [{"valid": 0.2}, {"fold": 1, "num_folds": 3}, {"valid": 10, "test": 10, "group": "row"}], ids=str
)
def test_split_by_chance_is_refused(split, tmp_path):
    """Where windows overlap; those that do not are divided as any samples."""
    args = series(tmp_path, 200)
    with pytest.raises(ConfigError, match="share no row with a later part") as error:
        BaseDataLoader(Windows(**args, history=6, horizon=2), 8, split=split, seed=0)
    assert '"time": true' in str(error.value)
    loader = BaseDataLoader(Windows(**args, history=6, horizon=2, stride=8), 8, split=split, seed=0)
    assert sum(map(len, loader.parts.indices.values())) == 25


def test_rows_are_sorted_by_time_and_arrays_are_series(tmp_path):
    """Dates too; a column of an array is called by its number; loading draws nothing and takes tensors of indices."""
    order = np.random.default_rng(1).permutation(20)
    dates = pd.Series(pd.date_range("2026-01-01", periods=20).strftime("%Y-%m-%d"))[order]
    pd.DataFrame({"date": dates, "x": np.arange(20.0)[order]}).to_csv(tmp_path / "s.csv", index=False)
    np.save(tmp_path / "s.npy", np.arange(20))
    table = Windows(tmp_path / "s.csv", time="date", history=3, horizon=2, stride=5, scale="none")
    array = Windows(tmp_path / "s.npy", "0", history=3, horizon=2, stride=5, scale="none")
    for dataset in (table, array):
        dataset.use(dataset.fit(np.arange(4)))
        assert dataset.batch([1])[0].flatten().tolist() == [5, 6, 7]
        assert dataset.batch([1])[1].flatten().tolist() == [8, 9]
        assert is_deterministic(dataset) and takes_tensors(dataset)
    assert [*table.column("date")] == ["2026-01-04", "2026-01-09", "2026-01-14", "2026-01-19"]


def test_faults_are_explained(tmp_path):
    """Too few rows, gaps, texts, a column that is not there, and a sample before fitting."""
    gaps, texts = np.arange(60.0), np.array(["x"] * 60)
    gaps[4] = np.nan
    args = series(tmp_path, gaps=gaps, texts=texts)
    path = args["path"]
    cases = [
        ({"columns": ["a"], "history": 59, "horizon": 2},
         f"data error: {path} is shorter than a window\n  got       60 rows\n"
         "  expected  at least history + horizon, 61"),
        ({"columns": ["gaps"], "history": 5},
         f"data error: column 'gaps' of {path} has gaps, and windows need a value in each row\n"
         "  got       no value in 1 of 60 rows, the first is row 5\n  fix       fill them in the file"),
        ({"history": 5, "columns": ["texts"]},
         f"data error: column 'texts' of {path} holds something else than numbers\n  got       'x' in row 1\n"
         '  fix       if it is the time, "time": "texts"; else let "columns" name the others'),
        ({"history": 5, "columns": ["a"], "target": "c"},
         f"data error: {path} has no column 'c'\n  expected  one of: row, a, b, gaps, texts"),
    ]  # fmt: skip
    for arguments, message in cases:
        with pytest.raises(DataError) as error:
            Windows(**args, **arguments)
        assert str(error.value) == message
    dataset = Windows(**args, columns=["a"], history=5)
    with pytest.raises(DataError, match="before it is fitted"):
        dataset[0]
    with pytest.raises(DataError, match="'a' of .* is none of the training data"):
        dataset.use({"mean": {"b": 0.0}, "std": {"b": 1.0}})


@pytest.mark.parametrize("wrong", [{"history": 0}, {"horizon": 0}, {"stride": 1.5}, {"scale": "min_max"}], ids=str)
def test_argument_out_of_range_is_a_config_error(wrong, tmp_path):
    """Named as it stands in a config."""
    with pytest.raises(ConfigError) as error:
        Windows(**{**series(tmp_path), "history": 5, **wrong})
    assert [each.path for each in error.value.problems] == [f"data_loader.args.dataset.args.{next(iter(wrong))}"]
