"""Rows of data sets of Hugging Face's library become what its format for torch gives."""

import json

import pytest
import torch

from espalier.datasets import HuggingFace
from espalier.preprocessing.kinds import load_preprocessing

CASES = {
    "whole": ("int64", [1, 2**60]), "small": ("uint8", [1, 255]), "float": ("float64", [0.1, 3.0]),
    "truth": ("bool", [True, False]), "list": (["int32"], [[1, 2], [3]]), "text": ("string", ["a", "é"]),
    "matrix": ([["float64"]], [[[1, 2]], [[3, 4]]]),
}  # fmt: skip


def same(one, other):
    """Whether two values are the same, type for type."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("name", CASES)
def test_rows_are_what_the_library_gives(tmp_path, name):
    """By themselves and as one of several columns; whole numbers among decimal ones, too."""
    datasets = pytest.importorskip("datasets")

    def feature(kind):
        return datasets.Sequence(feature(kind[0])) if isinstance(kind, list) else datasets.Value(kind)

    kind, values = CASES[name]
    columns = {"input": values, "other": ["x", "y"], "label": [0, 1]}
    kinds = {"input": feature(kind), "other": feature("string"), "label": feature("int64")}
    datasets.Dataset.from_dict(columns, features=datasets.Features(kinds)).save_to_disk(tmp_path / "saved")
    rows = [{"input": values[place], "other": columns["other"][place]} for place in range(2)]
    for names in ("input", ["input", "other"]):
        dataset = HuggingFace(str(tmp_path / "saved"), names, "label")
        preprocessing = load_preprocessing(json.loads(json.dumps(dataset.preprocessing)))
        for inputs in (rows, values) if isinstance(names, str) else (rows,):
            encoded = preprocessing.encode(inputs)
            for index in range(2):
                assert same(dataset[index][0], encoded[index])
