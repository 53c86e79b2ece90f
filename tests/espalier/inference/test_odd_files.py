"""Whatever files predict.py is given, it ends by itself, says what is wrong with each, and predicts the good ones."""

import io
import json

import numpy as np
import pytest
import torch
from torch import nn

from espalier.inference.command import predict_files
from espalier.inference.meaning import CLASSES, Meaning
from espalier.inference.model import Model
from espalier.inference.request import Request
from espalier.preprocessing.kinds import load_preprocessing
from tests.cases import cases
from tests.espalier.datasets.pictures import encoded, picture
from tests.espalier.inference.odd_files import array_bytes, write_odd_files


class Sums(nn.Module):
    """Sums of anything to scores of two classes."""

    def forward(self, x):
        x = torch.cat([each.flatten(1).float() for each in (x.values() if isinstance(x, dict) else [x])], dim=1)
        return torch.stack([x.sum(1), -x.sum(1)], dim=1)


def column(name, **facts):
    """What a table has fitted of a column."""
    return {"name": name, "has_gaps": False, "is_inferred": True, **facts}


NUMBER = {"kind": "number", "fill": 0.0, "center": 0.0, "scale": 1.0}
STATES = {
    "image": ({"kind": "image", "size": 8, "mean": [0.5] * 3, "std": [0.2] * 3}, encoded(picture(), "JPEG"), ".jpg"),
    "png": ({"kind": "image", "size": [9, 7], "channels": 1}, encoded(picture(), "PNG"), ".png"),
    "array": ({"kind": "array", "shape": [3, 6, 6], "dtype": "uint8"}, encoded(picture(), "PNG"), ".png"),
    "tensor": ({"kind": "tensor", "shape": [5], "dtype": "float32"}, array_bytes(np.ones((2, 5), "f4")), ".npy"),
    "unknown": ({"kind": "tensor"}, array_bytes(np.ones((2, 5), "f4")), ".npy"),
    "row": ({"kind": "row", "columns": [column("a", **NUMBER), column("b", kind="category", categories=["x", "y"])],
             "categories": "one_hot", "missing": "mean", "target": "t", "is_csv": True, "read": {}},
            b"a,b,more\n1.5,x,3\n-2,z,\n", ".csv"),
    "text": ({"kind": "text", "tokenizer": "words", "vocabulary": ["a", "few"], "max_length": 9, "column": "text",
              "is_folder": False, "is_csv": True, "read": {}}, b"a few words\n\nmore of them\n", ".txt"),
    "window": ({"kind": "window", "columns": ["a", "b"], "mean": [0.0, 1.0], "std": [1.0, 2.0], "history": 3,
                "horizon": 1, "stride": 1, "time": None, "target": ["a"], "is_csv": True, "read": {}},
               b"a,b\n1,2\n3,4\n5,6\n7,8\n", ".csv"),
}  # fmt: skip


def model_of(state):
    """A model with a preprocessing."""
    return Model(Sums().eval(), load_preprocessing(state), Meaning(CLASSES, names=("more", "less")),
                 torch.device("cpu"), batch_size=8)  # fmt: skip


@pytest.mark.parametrize("kind", cases(STATES, "text"))
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_odd_files_end_nothing_and_good_ones_are_predicted(tmp_path, capsys, kind, seed):
    """Of hundreds of files in one command; each bad one is named."""
    state, good, ending = STATES[kind]
    paths, sure = write_odd_files(tmp_path / "odd", good, ending, seed)
    assert len(paths) > 120
    said = tmp_path / "said.json"
    code = predict_files(
        model_of(state), Request(tuple(map(str, paths)), said, workers=0), io.TextIOWrapper(io.BytesIO())
    )
    found = json.loads(said.read_text())
    names = {each["name"] for each in found}
    told = capsys.readouterr().err
    assert code == 1
    assert "Traceback" not in told
    for path in sure:
        name = str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
        assert any(each == name or each.startswith((f"{name}:", f"{name}[")) for each in names), (path, told)
    last = told.splitlines()[-1]
    number = int(last.split()[0].replace(",", ""))
    assert number == len(found)
    assert last.endswith(f"could not be used: {said}")
