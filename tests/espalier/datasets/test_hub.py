"""Data sets of Hugging Face's library, from files made by the tests; only its absence is told without it."""

import copy
import sys

import numpy as np
import pytest
import torch

from base import BaseDataLoader
from espalier.datasets import HuggingFace, HuggingFaceStream
from espalier.errors import ConfigError, DataError


@pytest.fixture
def saved(tmp_path):
    """20 rows that `save_to_disk` wrote, as a split of two."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({
        "x": datasets.Sequence(datasets.Value("float32")),
        "label": datasets.ClassLabel(names=["no", "yes"]),
        "text": datasets.Value("string"),
    })  # fmt: skip
    rows = {"x": [[n, n / 2] for n in range(20)], "label": [n % 2 for n in range(20)], "text": list("ab" * 10)}
    data = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(tmp_path / "saved")
    return str(tmp_path / "saved")


@pytest.fixture
def table(tmp_path):
    """Two CSV files, as arguments."""
    pytest.importorskip("datasets")
    for number in range(2):
        rows = "".join(f"{n},{n % 3}\n" for n in range(20 * number, 20 * number + 20))
        (tmp_path / f"{number}.csv").write_text("x,y\n" + rows)
    files = [str(tmp_path / f"{number}.csv") for number in range(2)]
    return {"path": "csv", "input": "x", "target": "y", "args": {"data_files": files, "cache_dir": str(tmp_path / "c")}}


def test_missing_library_is_told_with_the_extra(monkeypatch):
    """It is not among the dependencies."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError) as error:
        HuggingFace("imdb", "text", "label")
    assert str(error.value) == (
        'data error: the library datasets of Hugging Face is not installed\n  fix       pip install -e ".[hub]"'
    )


def test_saved_rows_are_samples(saved):
    """Tensors, classes by their names, and columns to split by."""
    dataset = HuggingFace(saved, "x", "label")
    assert torch.equal(dataset[3][0], torch.tensor([3, 1.5]))
    assert dataset[3][1].item() == 1
    assert dataset.targets.tolist() == [0, 1] * 10
    assert dataset.column("text").tolist() == ["a", "b"] * 10
    assert {name: getattr(dataset, name) for name in dataset.facts} == {"num_classes": 2, "class_names": ["no", "yes"]}
    assert len(HuggingFace(saved, "x", "label", split="test")) == 1


def test_loader_splits_and_batches(saved):
    """By class; several inputs are a dict."""
    loader = BaseDataLoader(HuggingFace(saved, ["x", "text"], "label"), 4, split={"valid": 4, "stratify": True})
    inputs, targets = next(iter(loader))
    assert (inputs["x"].shape, len(inputs["text"]), targets.shape) == ((4, 2), 4, (4,))
    assert sorted(torch.cat([targets for _, targets in loader.split_validation()]).tolist()) == [0, 0, 1, 1]


def test_stream_resumes_in_the_middle(table):
    """The rest of the pass is that of one that went through."""
    loader = BaseDataLoader(HuggingFaceStream(**table), 4)
    expected = [inputs.tolist() for inputs, _ in loader]
    assert np.concatenate(expected).tolist() == list(range(40))
    first = BaseDataLoader(HuggingFaceStream(**table), 4)
    batches = iter(first)
    for _ in range(3):
        next(batches)
    second = BaseDataLoader(HuggingFaceStream(**table), 4)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert [inputs.tolist() for inputs, _ in second] == expected[3:]


def test_shuffled_stream_has_another_order_each_epoch(table):
    """All samples, in an order of seed and epoch."""
    loader = BaseDataLoader(HuggingFaceStream(**table, shuffle_buffer=10), 40)
    first, second = (next(iter(loader))[0].tolist() for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


def test_names_that_the_data_does_not_have_are_refused(saved, table):
    """Columns and splits, with the closest."""
    with pytest.raises(ConfigError) as error:
        HuggingFace(saved, "xx", "label")
    assert str(error.value) == (
        f"config error: data_loader.args.dataset.args.input names a column that {saved} does not have\n"
        '  got       "xx"\n  expected  one of: x, label, text\n  closest   x'
    )
    with pytest.raises(ConfigError) as error:
        HuggingFace(saved, "x", "label", split="tset")
    assert str(error.value) == (
        f"config error: data_loader.args.dataset.args.split is not in {saved}\n"
        '  got       "tset"\n  expected  one of: train, test\n  closest   test'
    )
    with pytest.raises(ConfigError, match='does not suit the data set csv\n  got       split "valid"'):
        HuggingFace(**table, split="valid")


def test_data_that_is_not_there_is_explained(table):
    """A file that is missing."""
    table["args"]["data_files"] = ["/nowhere/a.csv"]
    with pytest.raises(DataError, match="^data error: the data set csv cannot be loaded\n  got       .*nowhere"):
        HuggingFace(**table)
