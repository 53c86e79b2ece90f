"""Inputs as a dataset gave them: numbers become what training had, and all else is told."""

import io
import re
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.utils.data import DataLoader
from torchvision.transforms.functional import to_pil_image

from espalier.config.trust import find_function
from espalier.datasets.decode import load_image
from espalier.errors import CheckpointError, DataError
from espalier.inference.feed import as_inputs
from espalier.preprocessing.kinds import load_preprocessing
from espalier.preprocessing.tensors import DTYPES
from tests.espalier.datasets.pictures import encoded, picture

POINTS = {"kind": "tensor", "like": [2], "dtype": "float32"}
ARRAY = {"kind": "array", "shape": [1, 3, 4], "dtype": "uint8", "mean": [77.5], "scale": [0.01]}


def one(value, state):
    """What becomes of one input."""
    (found,) = load_preprocessing(state).encode([value])
    return found


@given(values=arrays.arrays(st.sampled_from(["i1", "u1", "i4", ">i4", "u2", "i8", "f2", "f4", ">f8", "?"]), (3, 2)),
       name=st.sampled_from(["uint8", "int64", "float32", "float64", "int32", "float16"]))  # fmt: skip
def test_numbers_are_those_of_training_or_told(values, name):
    """A number is never another than it was, but for the rounding of floats."""
    state = {"kind": "tensor", "shape": [3, 2], "dtype": name}
    for form in (values, values.tolist(), values[:, ::-1][:, ::-1], torch.as_tensor(values.tolist())):
        try:
            found = one(form, state)
        except DataError as error:
            assert not name.startswith("float")
            assert "which training had" in str(error)
            with np.errstate(all="ignore"):
                assert not np.array_equal(values.astype(name), values)
        else:
            assert found.dtype == DTYPES[name]
            if not name.startswith("float"):
                assert np.array_equal(found.numpy(), values)
            elif name == "float64":
                assert np.array_equal(found.numpy(), values.astype(np.float64), equal_nan=True)


@pytest.mark.parametrize(
    ("value", "state", "message"),
    [
        (
            [1, 2, 3.5],
            {"kind": "tensor", "dtype": "int64"},
            "data error: the numbers of the input are not those of int64, which training had\n"
            "  got       torch.float32 from 1 to 3.5\n  expected  whole numbers that int64 holds",
        ),
        (
            3.0,
            POINTS,
            "data error: the input has another shape than those of training\n  got       ()\n"
            "  expected  an array such as of shape (2,), float32\n  fix       one sample is given as a list of one",
        ),
        (
            [[1, 2]],
            {"kind": "tensor", "shape": [2, None]},
            "data error: the input has another shape than those of training\n  got       (1, 2)\n"
            "  expected  an array of shape (2, any)",
        ),
        (
            "a.png",
            POINTS,
            'data error: the input is no array\n  got       "a.png": neither an array nor numbers\n'
            "  expected  an array such as of shape (2,), float32\n  fix       give the dataset a `preprocessing` that "
            "says how, as docs/inputs.md has it, and train again",
        ),
        (
            {"left": [1.0]},
            {"kind": "tensor", "items": {"left": {"shape": [1]}, "right": {"shape": [2]}}},
            'data error: the input lacks a part\n  got       a dict of ["left"]\n'
            "  expected  what the dataset gives: left: an array of shape (1,), right: an array of shape (2,)",
        ),
        (
            np.zeros((3, 5), np.uint8),
            ARRAY,
            "data error: the input has another shape than those of training\n  got       (3, 5)\n"
            "  expected  arrays of shape (1, 3, 4), uint8; or image files and PIL images, scaled to 3 x 4",
        ),
        (
            np.full((3, 4), 0.5),
            ARRAY,
            "data error: the numbers of the input are not those of uint8, which training had\n"
            "  got       torch.float64 from 0.5 to 0.5\n  expected  whole numbers that uint8 holds",
        ),
    ],
)
def test_what_is_no_input_is_told(value, state, message):
    """In one sentence."""
    with pytest.raises(DataError) as caught:
        one(value, state)
    assert str(caught.value) == message


def test_values_of_which_nothing_is_known_stay():
    """Texts, and objects of libraries, which a collate function may take; arrays become tensors."""
    thing = object()
    assert one("a text", {"kind": "tensor"}) == "a text"
    assert one(thing, {"kind": "tensor"}) is thing
    assert one(([1, 2], np.zeros(2)), {"kind": "tensor"})[1].dtype == torch.float32


@pytest.mark.parametrize(
    "state",
    [
        {"kind": "tensor", "shape": "large"},
        {"kind": "tensor", "dtype": "load"},
        {"kind": "tensor", "items": 3},
        {"kind": "tensor", "items": {"a": 1}},
        {"kind": "array", "shape": [1]},
        {"kind": "array", "shape": [1], "dtype": "__class__"},
        {"kind": "array", "shape": [1], "dtype": "uint8", "layout": "NCHW"},
        {"kind": "function"},
        {"kind": "function", "function": "os.system"},
        {"kind": "function", "function": "torch.load"},
        {"kind": "function", "function": "data_loader.data_loaders.np.load"},
        {"kind": "function", "function": "torch"},
        {"kind": 3},
        {"kind": "images"},
        {"kind": "dataset", "why": "it is so"},
    ],
    ids=str,
)
def test_malformed_or_foreign_state_is_a_checkpoint_error(state):
    """It came out of a file, and runs nothing that is not the project's own."""
    with pytest.raises(CheckpointError, match="^checkpoint error: "):
        load_preprocessing(state)


def test_function_of_foreign_code_is_refused_by_name():
    """And named."""
    with pytest.raises(CheckpointError) as caught:
        load_preprocessing({"kind": "function", "function": "os.system"})
    assert str(caught.value) == (
        'checkpoint error: inputs are read by "os.system", which may not be used\n'
        "  got       a name that leads to foreign code\n"
        "  expected  a function in data_loader, model, trainer, or in a module that the config of the run names"
    )


def test_row_of_columns_is_an_input():
    """Its column by name, or the input alone; several stay a dict."""
    single = {"kind": "tensor", "columns": ["x"], "like": [2], "dtype": "float32"}
    assert torch.equal(one({"x": [1, 2], "y": 3}, single), one([1, 2], single))
    several = {"kind": "tensor", "columns": ["x", "z"]}
    assert {*one({"x": [1.0], "y": 3, "z": "text"}, several)} == {"x", "z"}
    with pytest.raises(DataError) as caught:
        one({"y": 3}, single)
    assert str(caught.value) == "data error: the row has no 'x'\n  got       [\"y\"]\n  expected  x"


@pytest.mark.parametrize(
    ("inputs", "count"),
    [("a.png", 1), (b"bytes", 1), (3.5, 1), (np.float32(2), 1), (torch.tensor(1), 1), (io.BytesIO(b"a\nb\n"), 1),
     (["a", "b"], 2), (np.zeros((4, 2)), 4), ((each for each in "abc"), 3), ({"a", "b"}, 2), (iter([]), 0)],
    ids=lambda each: type(each).__name__ if not isinstance(each, int) else str(each),
)  # fmt: skip
def test_inputs_are_several_unless_they_can_only_be_one(inputs, count):
    """What `predict` is called with."""
    assert len(as_inputs(inputs)) == count


def test_docs_datasets_say_how_an_input_is_made(root, monkeypatch):
    """Those of docs/inputs.md, whose function is one in a module that a config names."""
    blocks = re.findall(r"```python\n(.*?)```", (root / "docs/inputs.md").read_text(), re.DOTALL)
    room = {"torch": torch}
    exec("\n".join(blocks), room)
    assert one(np.zeros((300, 400), np.uint8), room["Scans"].preprocessing).shape == (1, 224, 224)
    readings = room["Readings"]()
    readings.values = torch.tensor([[1.0, 2, 3, 4], [3, 4, 5, 6]])
    readings.use(readings.fit([0, 1]))
    module = types.ModuleType("data_loader.readings")
    module.centred = lambda values, mean: torch.tensor(values) - torch.tensor(mean)
    monkeypatch.setitem(sys.modules, "data_loader.readings", module)
    preprocessing = load_preprocessing(
        readings.preprocessing, lambda name: find_function(name, [name.rpartition(".")[0]])
    )
    assert preprocessing.takes == "4 numbers"
    assert preprocessing.encode([[2.0, 3, 4, 6]])[0].tolist() == [0, 0, 0, 1]


def test_file_of_an_image_is_one_in_each_of_its_forms(tmp_path):
    """Of images in memory as of those in files: by its path, open, as bytes, as a PIL image."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture(), "PNG"))
    content = path.read_bytes()
    forms = [str(path), path, content, bytearray(content), memoryview(content), io.BytesIO(content),
             to_pil_image(load_image(path))]  # fmt: skip
    for state in (ARRAY, {"kind": "image", "size": [3, 4], "channels": 1}):
        first, *others = DataLoader(load_preprocessing(state).encode(forms), batch_size=None)
        assert all(torch.equal(each, first) for each in others)
