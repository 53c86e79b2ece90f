"""Files of predictions: what is read again is what was measured."""

import csv

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from base import BaseDataLoader
from espalier.errors import ConfigError, UserError
from espalier.evaluation.judged import Judge
from espalier.evaluation.predictions import write_predictions
from espalier.evaluation.recorder import Kept
from espalier.evaluation.request import Request, asked_for, evaluations_of
from espalier.evaluation.samples import SamplesSeen


class Named(TensorDataset):
    """Samples that have names, and classes that have some."""

    class_names = ("cat", "dog", "cow")

    def name_of(self, index):
        """As a file would be called."""
        return f'an "image", {index}.jpg'


def kept_of(path, loss, loader, model=lambda inputs: inputs):
    """What is kept of a pass over a loader."""
    kept, judge = Kept(path), Judge(loss)
    for inputs, target in loader:
        kept.add(judge(model(inputs), target))
    return kept


@pytest.fixture
def data():
    """Scores and classes of 23 samples."""
    drawn = torch.Generator().manual_seed(2)
    return torch.randn(23, 3, generator=drawn), torch.randint(0, 3, (23,), generator=drawn)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
@pytest.mark.parametrize("is_shuffled", [False, True])
def test_predictions_of_classes_are_read_again_as_they_were(tmp_path, data, suffix, is_shuffled):
    """To the bit, each with the number and the name of its sample, in whatever order they came."""
    path = tmp_path / f"out{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    loader = BaseDataLoader(Named(*data), batch_size=5, shuffle=is_shuffled, seed=4)
    write_predictions(path, kept_of(path, F.cross_entropy, loader), SamplesSeen(loader, 23))
    if suffix == ".npz":
        with np.load(path) as file:
            found = {name: file[name] for name in file.files}
        columns = {f"p_{name}": each for name, each in zip(found["classes"], found["probabilities"].T, strict=True)}
        frame = pd.DataFrame({**{name: found[name] for name in ("index", "name", "target", "prediction")}, **columns})
    elif suffix == ".csv":
        frame = pd.read_csv(path, dtype=dict.fromkeys(("p_cat", "p_dog", "p_cow"), "float32"))
    else:
        frame = pd.read_parquet(path)
    if suffix != ".npz":
        for name in ("target", "prediction"):
            assert frame.pop(f"{name}_class").tolist() == [Named.class_names[each] for each in frame[name]]
    assert list(frame) == ["index", "name", "target", "prediction", "p_cat", "p_dog", "p_cow"]
    assert (frame["index"].tolist() == list(range(23))) == (not is_shuffled)
    output, target = (each[frame["index"].tolist()] for each in data)
    assert frame["name"].tolist() == [f'an "image", {index}.jpg' for index in frame["index"]]
    assert frame["target"].tolist() == target.tolist()
    assert frame["prediction"].tolist() == output.argmax(1).tolist()
    assert np.array_equal(frame[["p_cat", "p_dog", "p_cow"]].to_numpy(np.float32), output.softmax(1).numpy())


def test_predictions_of_numbers_have_no_probabilities(tmp_path):
    """A column for each number of several."""
    path, values = tmp_path / "out.csv", torch.arange(8.0).reshape(4, 2) / 3
    loader = DataLoader(TensorDataset(values, 2 * values), batch_size=3)
    write_predictions(path, kept_of(path, nn.MSELoss(), loader), SamplesSeen(loader, 4))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "target_0", "target_1", "prediction_0", "prediction_1"]
    assert [np.float32(row["prediction_1"]) for row in rows] == values[:, 1].tolist()


@pytest.mark.parametrize("shape", [(), (1,), (3,), (3, 1), (3, 2), (2, 1, 2)])
def test_predictions_of_a_series_are_a_column_for_each_number(tmp_path, monkeypatch, shape):
    """Named by its place; axes of one value are none. A file of many rows is written in parts."""
    monkeypatch.setattr("espalier.evaluation.predictions._CELLS", 50)
    number, path = 100, tmp_path / "out.csv"
    values = torch.rand(number, *shape, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(values, 2 * values), batch_size=30)
    write_predictions(path, kept_of(path, nn.MSELoss(), loader), SamplesSeen(loader, number))
    frame = pd.read_csv(path, dtype="float32")
    places = ["".join(f"_{each}" for each in place) for place in np.ndindex(*(size for size in shape if size > 1))]
    assert list(frame) == ["index", *(f"target{each}" for each in places), *(f"prediction{each}" for each in places)]
    assert np.array_equal(frame[[f"prediction{each}" for each in places]], values.reshape(number, -1).numpy())


def test_predictions_of_labels_are_columns_by_their_names(tmp_path):
    """Each label has its target, its prediction and its probability under its name."""
    drawn = torch.Generator().manual_seed(0)
    data = Named(torch.randn(9, 3, generator=drawn), torch.rand(9, 3, generator=drawn).round())
    path = tmp_path / "out.csv"
    loader = DataLoader(data, batch_size=4)
    write_predictions(path, kept_of(path, nn.BCEWithLogitsLoss(), loader), SamplesSeen(loader, 9))
    frame = pd.read_csv(path)
    assert list(frame)[2:] == [f"{kind}_{name}" for kind in ("target", "prediction", "p") for name in Named.class_names]
    assert (frame["prediction_dog"] == (frame["p_dog"] >= 0.5)).all()
    assert frame["target_cow"].tolist() == data.tensors[1][:, 2].tolist()


def test_predictions_of_one_number_are_a_column(tmp_path):
    """Outputs (B, 1) with targets (B,) too."""
    path, values = tmp_path / "out.npz", torch.arange(4.0)
    loader = DataLoader(TensorDataset(values[:, None], values), batch_size=3)
    write_predictions(path, kept_of(path, nn.L1Loss(), loader), SamplesSeen(loader, 4))
    with np.load(path) as file:
        assert sorted(file.files) == ["index", "prediction", "target"]
        assert file["prediction"].tolist() == file["target"].tolist() == [0, 1, 2, 3]


def test_predictions_of_pixels_go_into_arrays_alone(tmp_path):
    """A table has a row for each sample."""
    loader = DataLoader(TensorDataset(torch.randn(3, 2, 4, 5), torch.zeros(3, 4, 5).long()), batch_size=2)
    path = tmp_path / "out.npz"
    write_predictions(path, kept_of(path, F.cross_entropy, loader), SamplesSeen(loader, 3))
    with np.load(path) as file:
        assert file["prediction"].shape == (3, 4, 5)
    with pytest.raises(ConfigError) as error:
        kept_of(tmp_path / "out.csv", F.cross_entropy, loader)
    assert str(error.value) == (
        "config error: --predictions has no such form in .csv\n  from      command line\n"
        f"  got       a prediction of shape (4, 5) for each sample\n  fix       write {path}"
    )


def test_predictions_of_something_else_are_refused():
    """At the first batch."""
    with pytest.raises(ConfigError, match="--predictions needs a tensor of outputs, and one of targets"):
        Kept("out.csv").add(Judge(nn.MSELoss())([torch.zeros(2)], [torch.zeros(2)]))


def test_predictions_that_cannot_be_written_are_an_error(tmp_path, data):
    """A folder in the place of the file, say."""
    path = tmp_path / "out.csv"
    path.mkdir()
    loader = DataLoader(TensorDataset(*data), batch_size=5)
    with pytest.raises(UserError, match="could not be written"):
        write_predictions(path, kept_of(path, F.cross_entropy, loader), SamplesSeen(loader, 23))


class Flags:
    """A command line that was read."""

    def __init__(self, **given):
        defaults = {"predictions": None, "confusion": False, "per_class": False, "worst": None, "intervals": False,
                    "tta": None}  # fmt: skip
        self.__dict__.update({**defaults, **given})


@pytest.mark.parametrize(("given", "what"), [
    ({"predictions": "out.txt"}, "--predictions names no format that can be written"),
    ({"predictions": "not/there/out.csv"}, "--predictions names a folder that is not there"),
    ({"predictions": "/proc/out.csv"}, "--predictions names a folder that cannot be written to"),
    ({"worst": 0}, "--worst is no number of samples"),
    ({"tta": "hflip,vflop"}, "--tta names no view"),
    ({"tta": "user.tta:0"}, "--tta names no view"),
])  # fmt: skip
def test_request_of_what_there_is_not_is_refused(given, what):
    """Before anything is loaded."""
    with pytest.raises(ConfigError) as error:
        asked_for(Flags(**given))
    assert str(error.value).splitlines()[0] == f"config error: {what}"


def test_request_of_parquet_without_its_package_names_the_extra(monkeypatch):
    """It is in no other way needed."""
    monkeypatch.setattr("espalier.evaluation.request.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"fix       pip install -e \"\.\[parquet\]\""):
        asked_for(Flags(predictions="out.parquet"))


def test_request_of_nothing_needs_no_outputs():
    """A plain evaluation keeps none."""
    assert not asked_for(Flags()).needs_outputs
    assert Request(worst=1).needs_outputs


def several(*places, configs=None, overrides=(), predictions="out.csv"):
    """The evaluations of a command: checkpoint, config, values and file of each."""
    given = Flags(resume=list(places), config=configs, overrides=list(overrides), predictions=predictions)
    return [(each.resume, each.config, each.overrides, str(request.predictions))
            for each, request in evaluations_of(given)]  # fmt: skip


def test_request_of_one_evaluation_is_as_it_was():
    """One checkpoint, and data of one config or none."""
    assert several("saved/run", overrides=["a=1"]) == [("saved/run", None, ["a=1"], "out.csv")]
    assert several("saved/run", configs=["c.json"]) == [("saved/run", "c.json", [], "out.csv")]


def test_request_of_several_is_each_checkpoint_with_each_config():
    """Their files have the names of both; one that is named twice is evaluated once."""
    found = several("saved/a", "saved/b", "saved/a", configs=["configs/x.json", "y.json"])
    assert [each[:2] for each in found] == [(place, config) for place in ("saved/a", "saved/b")
                                            for config in ("configs/x.json", "y.json")]  # fmt: skip
    assert [each[3] for each in found] == ["out-a-x.csv", "out-a-y.csv", "out-b-x.csv", "out-b-y.csv"]


def test_request_of_several_of_one_name_counts_them():
    """None writes over another."""
    assert [each[3] for each in several("one/run", "other/run")] == ["out-run-1.csv", "out-run-2.csv"]


@given(st.lists(st.sampled_from(["a/x", "b/x", "X", "x-1", "c/x-1", "x-3", "d/x-2"]), min_size=1, unique=True))
def test_request_of_any_names_gives_each_its_own_file(places):
    """Also where a number behind one makes the name of another, and where a file system takes X for x."""
    files = [each[3].casefold() for each in several(*places)]
    assert len({*files}) == len(files)


def test_request_takes_values_behind_a_checkpoint_for_the_config(tmp_path):
    """As they always stood there; but not the name of a file."""
    (tmp_path / "lr=1.pth").touch()
    named = str(tmp_path / "lr=1.pth")
    assert several("saved/run", "a.b=1", named, overrides=["c=2"], predictions=None) == [
        ("saved/run", None, ["c=2", "a.b=1"], "None"), (named, None, ["c=2", "a.b=1"], "None")]  # fmt: skip


def test_request_without_a_checkpoint_is_refused():
    """Values alone are none."""
    with pytest.raises(ConfigError, match="-r names no checkpoint"):
        several("a.b=1")


def test_request_of_views_is_a_list():
    """Each once."""
    assert asked_for(Flags(tta="hflip,user.tta:4,hflip")).tta == ("hflip", "user.tta:4")


class Scaled(Named):
    """Numbers that the dataset has scaled, and files with names that are no UTF-8."""

    target_mean, target_std = 10.0, 4.0

    def name_of(self, index):
        """With a byte that is no text."""
        return f"\udcff{index}.jpg"


def test_predictions_of_scaled_numbers_are_in_units_of_the_file(tmp_path):
    """Targets as well; and names are text whatever files are called."""
    path, values = tmp_path / "out.csv", torch.tensor([[0.0], [0.5], [-1.0]])
    loader = DataLoader(Scaled(values, values + 1), batch_size=2)
    write_predictions(path, kept_of(path, nn.MSELoss(), loader), SamplesSeen(loader, 3))
    assert path.read_text().splitlines() == [
        "index,name,target,prediction", "0,\\xff0.jpg,14.0,10.0", "1,\\xff1.jpg,16.0,12.0", "2,\\xff2.jpg,10.0,6.0",
    ]  # fmt: skip
