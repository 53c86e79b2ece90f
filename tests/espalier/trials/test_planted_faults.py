"""What --check says of data sets with one planted fault each, and that it says nothing of good ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import data_loader.data_loaders as module_data
import train
from espalier.errors import SampleError, UserError
from espalier.trials.check import try_out
from parse_config import ConfigParser

HERE = __name__
NUM = 240


def net(num_features=4, num_outputs=3):
    """A linear model of whatever shape the input has."""
    return nn.Sequential(nn.Flatten(), nn.Linear(num_features, num_outputs))


def points(fault=None, target="class"):
    """Three even classes of normal points; or with a fault."""
    x = torch.randn(NUM, 4, generator=torch.Generator().manual_seed(0))
    y = torch.arange(NUM) % 3
    if target == "number":
        y = x.sum(1, keepdim=True)
    if target == "share":
        y = (x.sum(1, keepdim=True) > 0).float()
    if fault == "rare":
        y = torch.where(torch.arange(NUM) % 40 == 0, 2, torch.arange(NUM) % 2)
    elif fault == "constant":
        x[:, 2] = 1.0
    elif fault == "NaN in an input":
        x[100, 2] = float("nan")
    elif fault == "NaN in a target":
        y = y.float()
        y[100] = float("nan")
    elif fault == "infinite":
        x[:, 1] = float("inf")
    elif fault == "classes from 1":
        y = y + 1
    elif fault == "negative":
        y = y - 1
    elif fault == "one wrong class":
        y[100] = 7
    elif fault == "one class":
        y = y * 0
    elif fault == "large numbers":
        y = y * 1000
    elif fault == "several classes":
        y = y + (torch.arange(NUM) % 3)[:, None]
    elif fault == "shape (B,)":
        y = y[:, 0]
    elif fault == "scale":
        x = x * 50 + 100
    elif fault == "share of 2":
        y = y * 2
    elif fault == "duplicates":
        x[NUM // 2 :] = x[: NUM // 2]
    elif fault == "no class in validation":
        y = torch.where(torch.arange(NUM) >= 180, torch.arange(NUM) % 2, y)
    elif fault == "other classes in validation":
        y = torch.where(torch.arange(NUM) >= 180, (torch.arange(NUM) % 10 == 0).long() * (1 + torch.arange(NUM) % 2), y)
    types = {"int32 classes": (x, y.int()), "float classes": (x, y.float()), "float64": (x.double(), y),
             "bytes": ((x * 20 + 100).byte(), y), "classes (B, 1)": (x, y.reshape(-1, 1))}  # fmt: skip
    data = TensorDataset(*types.get(fault, (x, y)))
    data.targets = y
    return data


class Plain(Dataset):
    """As a student writes it."""

    def __init__(self, fault=None):
        self.data, self.fault = points(), fault

    def __len__(self):
        return NUM

    def __getitem__(self, index):
        x, y = self.data[index]
        if self.fault == "sizes":
            return torch.zeros(3, 8 + index % 2, 8), int(y)
        return (x.numpy().astype("float64") if self.fault == "float64" else x), int(y) + (self.fault == "range")


class Stream(IterableDataset):
    """One after the other."""

    def __init__(self, fault=None):
        self.fault = fault

    def __iter__(self):
        return iter(points(self.fault))


def files(kind, folder, fault):
    """A dataset section over files: clean, or with a fault."""
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(NUM, 4)).astype("float32"), [index % 3 for index in range(NUM)]
    if kind == "Table":
        cells = [",".join(f"{value:.3f}" for value in row) + f",c{label}" for row, label in zip(x, labels, strict=True)]
        if fault == "constant":
            cells = [f"1.0,{each.partition(',')[2]}" for each in cells]
        cells = ["," + cells[0].partition(",")[2], *cells[1:]] if fault == "gap" else cells
        (folder / "t.csv").write_text("\n".join(["width,b,c,d,kind", *cells]))
        return "Table", {"path": f"{folder}/t.csv", "target": "kind", "missing": "refuse" if fault == "gap" else "mean"}
    if kind == "Arrays":
        np.save(folder / "x.npy", x.astype("float64") if fault == "float64" else x)
        np.save(folder / "y.npy", np.array(labels, dtype="int32" if fault == "int32" else "int64"))
        return "Arrays", {"inputs": f"{folder}/x.npy", "targets": f"{folder}/y.npy"}
    if kind == "Text":
        words = [" ".join(generator.choice(list("abcdefgh"), 4)) + f" w{index}" for index in range(NUM)]
        rows = [f"{word},k{label}" for word, label in zip(words, labels, strict=True)]
        (folder / "t.csv").write_text("\n".join(["text,kind", *rows]))
        return "Text", {"path": f"{folder}/t.csv", "text": "text", "target": "kind"}
    for index in range(48):
        place = folder / "images" / "abc"[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        size = 9 if fault == "sizes" and index == 7 else 8
        Image.fromarray(generator.integers(0, 255, (8, size, 3), dtype=np.uint8)).save(place / f"{index}.png")
    if fault == "broken":
        (folder / "images" / "b" / "7.png").write_bytes(b"no image")
    return "ImageFolder", {"root": f"{folder}/images"}


class Words(nn.Module):
    """The mean of embeddings."""

    def __init__(self, vocab_size, num_outputs):
        super().__init__()
        self.table, self.head = nn.Embedding(vocab_size, 4), nn.Linear(4, num_outputs)

    def forward(self, ids):
        """Scores."""
        return self.head(self.table(ids).mean(1))


LOSSES = {"class": "CrossEntropyLoss", "number": "MSELoss", "share": "BCEWithLogitsLoss"}
BY_TIME = {"split": {"valid": 60, "time": True}}


def said(folder, kind="points", target="class", num_outputs=None, options=None, loss=None, metrics=None, run=try_out,
         **arguments):  # fmt: skip
    """All doubts, or the error."""
    given, kind_of_data = {**({"target": target} if kind == "points" else {}), **arguments}, f"{HERE}.{kind}"
    arch = {"type": f"{HERE}.net", "args": {"num_outputs": num_outputs or (3 if target == "class" else 1)}}
    if kind in ("Table", "Arrays", "Text", "ImageFolder"):
        name, given = files(kind, folder, arguments.get("fault"))
        kind_of_data = f"espalier.datasets.{name}"
    elif kind == "FakeData":
        kind_of_data, of_it = "espalier.datasets.Torchvision", {"size": 60, "image_size": [3, 8, 8], "num_classes": 3}
        given = {"name": "FakeData", "root": str(folder), "args": of_it}
    if kind == "Text":
        sizes = {"vocab_size": "${data.vocab_size}" if arguments.get("fault") != "few rows" else 5, "num_outputs": 3}
        arch = {"type": f"{HERE}.Words", "args": sizes}
    elif kind in ("ImageFolder", "FakeData"):
        arch["args"]["num_features"] = 192
    division = {} if kind == "Stream" else {"split": {"valid": 0.2, "test": 0.1, "seed": 1}, "shuffle": True}
    loader = {"dataset": {"type": kind_of_data, "args": given}, "batch_size": 32, **division, **(options or {})}
    config = {
        "name": "Planted", "n_gpu": 0, "seed": 1,
        "data_loader": {"type": "base.BaseDataLoader", "args": loader},
        "arch": arch, "loss": f"torch.nn.{loss or LOSSES[target]}", "metrics": metrics or [],
        "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
        "trainer": {"epochs": 1, "tensorboard": False, "verbosity": 0, "save_dir": str(folder)},
    }  # fmt: skip
    config["loss"] = {"type": config["loss"]}
    (folder / "run").mkdir()
    try:
        lines = run(train.build(ConfigParser(config, run_folder=folder / "run", continues_run=False)), module_data)
    except (UserError, SampleError) as error:
        return [str(error)]
    return [line for line in lines if line.startswith("But ")]


CASES = {
    "rare": ({"fault": "rare"}, "training samples, class "),
    "no class in validation": ({"fault": "no class in validation", "options": BY_TIME}, "the validation data has "),
    "other classes": ({"fault": "other classes in validation", "options": BY_TIME}, "the validation data has "),
    "constant": ({"fault": "constant"}, "1 of 4 features has one value"),
    "scale": ({"fault": "scale"}, "not normalised"),
    "share of 2": ({"fault": "share of 2", "target": "share"}, "targets from 0 to 2"),
    "duplicates": ({"fault": "duplicates"}, "are in the training data, too"),
    "NaN in an input": ({"fault": "NaN in an input"}, "in sample 100"),
    "NaN in a target": ({"fault": "NaN in a target", "target": "number"}, "are NaN, in sample 100"),
    "infinite": ({"fault": "infinite"}, "input values of the first batch are infinite, in samples"),
    "classes from 1": ({"fault": "classes from 1"}, "let the dataset count classes from 0: target - 1"),
    "negative": ({"fault": "negative"}, "let the dataset count classes from 0"),
    "one wrong class": ({"fault": "one wrong class"}, " 7"),
    "too few outputs": ({"num_outputs": 2}, "give the model 3 outputs"),
    "one class": ({"fault": "one class"}, "all training samples are of one class"),
    "large numbers": ({"fault": "large numbers", "target": "number"}, "a loss of such numbers learns slowly"),
    "several classes": ({"fault": "several classes", "target": "share"}, "CrossEntropyLoss with"),
    "shape (B,)": ({"fault": "shape (B,)", "target": "share"}, "target.reshape(output.shape)"),
    "int32 classes": ({"fault": "int32 classes"}, "let the dataset give classes as int(label)"),
    "float classes": ({"fault": "float classes"}, "let the dataset give classes as int(label)"),
    "classes (B, 1)": ({"fault": "classes (B, 1)"}, "target.squeeze(1)"),
    "float64": ({"fault": "float64"}, "let the dataset give float32"),
    "bytes": ({"fault": "bytes"}, "the inputs are bytes from 0 to 255"),
    "numbers as classes": ({"target": "number", "loss": "CrossEntropyLoss"}, "take torch.nn.MSELoss"),
    "numbers as classes, 3": ({"target": "number", "loss": "CrossEntropyLoss", "num_outputs": 3}, "nn.MSELoss"),
    "3 outputs for a number": ({"target": "number", "num_outputs": 3}, "give the model 1 output"),
    "classes as numbers": ({"loss": "MSELoss"}, "take torch.nn.CrossEntropyLoss"),
    "accuracy of a number": ({"target": "number", "metrics": ["accuracy"]}, "the metric accuracy is the same whatever"),
    "plain: float64": ({"kind": "Plain", "fault": "float64"}, "let the dataset give float32"),
    "plain: range": ({"kind": "Plain", "fault": "range"}, "let the dataset count classes from 0"),
    "plain: sizes": ({"kind": "Plain", "fault": "sizes"}, "samples of different shape cannot be one batch"),
    "stream: classes from 1": ({"kind": "Stream", "fault": "classes from 1"}, "let the dataset count classes from 0"),
    "stream: float64": ({"kind": "Stream", "fault": "float64"}, "let the dataset give float32"),
    "table: gap": ({"kind": "Table", "fault": "gap"}, "width"),
    "table: constant": ({"kind": "Table", "fault": "constant"}, "width"),
    "table: too few outputs": ({"kind": "Table", "num_outputs": 2}, "give the model 3 outputs"),
    "texts: too few rows": ({"kind": "Text", "fault": "few rows"}, "0 to 4, since it has 5 rows"),
    "images: sizes": ({"kind": "ImageFolder", "fault": "sizes"}, "b/7.png"),
    "images: broken": ({"kind": "ImageFolder", "fault": "broken"}, "b/7.png"),
    "fake images: too few outputs": ({"kind": "FakeData", "num_outputs": 2}, "give the model 3 outputs"),
}  # fmt: skip
KINDS = ("Plain", "Stream", "Table", "Text", "Arrays", "ImageFolder", "FakeData")
CLEAN = [
    {},
    {"target": "number"},
    {"target": "share"},
    *({"kind": kind} for kind in KINDS),
    {"kind": "Arrays", "fault": "float64"},
]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_planted_fault_is_named(tmp_path, generators_restored, name):
    """In a sentence, or in the error that ends the check."""
    arguments, part = CASES[name]
    found = said(tmp_path, **arguments)
    assert any(part in each for each in found), found


@pytest.mark.slow
@pytest.mark.parametrize("arguments", CLEAN)
def test_nothing_is_said_of_good_data(tmp_path, generators_restored, arguments):
    """No false alarm."""
    found = said(tmp_path, **arguments)
    assert [each for each in found if "the data is the limit" not in each] == []  # of a busy machine
