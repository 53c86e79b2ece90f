"""A law: predicting rows, texts and windows of the test data gives what its evaluation gives, bit for bit."""

from copy import deepcopy
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from espalier.config.file import load_config
from tests.cases import cases
from tests.espalier.inference.runs import check_parity, config_of, loaded, trained

ROOT = Path(__file__).resolve().parents[3]
HERE = "tests.espalier.inference.test_parity_of_rows"


class Mlp(nn.Module):
    """Rows `(B, F)`, or numbers and categories by name, to some outputs."""

    def __init__(self, in_features: int, num_outputs: int):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(in_features, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Linear(9, num_outputs))

    def forward(self, row=None, numbers=None, categories=None):
        return self.net(row if numbers is None else torch.cat([numbers, categories.float()], dim=1))


class Reader(nn.Module):
    """Ids `(B, L)`, padded or with lengths, to the scores of classes."""

    def __init__(self, vocab_size: int, num_classes: int):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(vocab_size, 6, padding_idx=0), nn.GRU(6, 5, batch_first=True)
        self.head = nn.Linear(5, num_classes)

    def forward(self, text):
        ids = text if isinstance(text, torch.Tensor) else text.values
        return self.head(self.rnn(self.embed(ids))[0].mean(dim=1))


class Ahead(nn.Module):
    """The last rows `(B, history, F)` to the next ones `(B, horizon, T)`."""

    def __init__(self, history: int, horizon: int, in_features: int, num_outputs: int):
        super().__init__()
        self.net, self.sizes = nn.Linear(history * in_features, horizon * num_outputs), (horizon, num_outputs)

    def forward(self, window):
        return self.net(window.flatten(1)).unflatten(1, self.sizes)


def double(inputs):
    """A transform of inputs, which are finished by then."""
    return inputs * 2 + 1


def split(text, mark):
    """A tokenizer of one's own."""
    return text.split(mark)


class Splitter:
    """One that is an object."""

    def __init__(self, mark: str):
        self.mark = mark

    def __call__(self, text):
        return text.split(self.mark)


def loader(kind, args, **own):
    """A data loader of some dataset of ours."""
    dataset = {"type": f"espalier.datasets.{kind}", "args": args}
    given = {"dataset": dataset, "batch_size": 7, "split": {"valid": 0.2, "test": 0.4}, **own}
    return {"type": "BaseDataLoader", "args": given}


def write_table(path, number=60):
    """Numbers, gaps, texts, dates and zips, a class, and a number to predict."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "size": rng.normal(5, 3, number).round(3), "zip": rng.choice(["007", "7", "80331", "x1"], number),
        "day": pd.date_range("2025-01-30 03:04:05.678", periods=number, freq="37h").astype(str),
        "city": rng.choice(["Bern", "Zürich", "NA", ""], number), "kind": rng.choice([1, 2, 5], number),
        "price": rng.normal(1e5, 3e4, number), "answer": np.where(rng.random(number) < 0.5, "yes", "no"),
    })  # fmt: skip
    frame.loc[::7, "size"] = None
    frame.to_csv(path, index=False)
    return path


TABLES = {
    "classes": ({"target": "answer", "drop": ["price"]}, {}),
    "numbers": ({"target": "price", "drop": ["answer"], "scale_target": True, "missing": "indicator"}, {}),
    "by index": ({"target": "answer", "categories": "index", "missing": "median"}, {}),
    "transform": ({"target": "answer", "scale": "min_max"}, {"transform": {"type": f"{HERE}.double_transform"}}),
    "workers": ({"target": "answer"}, {"num_workers": 1, "cache": "memory"}),
}


def double_transform():
    """The transform as a config builds it."""
    return double


@pytest.mark.parametrize("name", cases(TABLES, "by index", "transform"))
def test_rows_are_prepared_as_in_evaluation(tmp_path, name):
    """Out of a file without the target; a prediction is in units of the file."""
    args, own = TABLES[name]
    path = write_table(tmp_path / "t.csv")
    given = {"path": str(path), "types": {"day": "date", "zip": "category", "kind": "category"}, **args}
    is_classes = args["target"] == "answer"
    size = {"in_features": 5 if name == "by index" else "${data.in_features}", "num_outputs": "${data.num_outputs}"}
    config = config_of(tmp_path, loader("Table", given, **own), arch={"type": f"{HERE}.Mlp", "args": size},
                       **({} if is_classes else {"loss": {"type": "torch.nn.MSELoss"}, "metrics": []}))  # fmt: skip
    if name == "by index":
        config["arch"]["args"]["in_features"] = 3 + 3
    run = trained(config)
    texts = pd.read_csv(path, dtype=str, keep_default_na=False)

    def rows(chosen):
        texts.iloc[chosen].drop(columns=args["target"]).to_csv(tmp_path / "new.csv", index=False)
        return str(tmp_path / "new.csv")

    found = check_parity(run, rows)
    given = texts.head(3).to_dict("records")
    assert [each.label for each in loaded(run).predict(given, batch_size=1)] == loaded(run).predict(given).labels
    if is_classes:
        assert found.names == ["no", "yes"]
    else:
        assert abs(float(np.mean(found.values)) - 1e5) < 5e4  # untrained, about the mean


TEXTS = {
    "plain": ({}, {}),
    "lengths": ({"tokenizer": "characters", "max_length": 9},
                {"collate_fn": {"type": "espalier.data.collate.Pad", "args": {"lengths": True, "multiple_of": 4}}}),
    "tokenizer": ({"tokenizer": {"type": f"{HERE}.split", "args": {"mark": "o"}, "partial": True}}, {}),
    "object": ({"tokenizer": {"type": f"{HERE}.Splitter", "args": {"mark": "o"}}}, {}),
    "buckets": ({}, {"sampler": {"type": "espalier.data.length_buckets.LengthBuckets"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", cases(TEXTS, "lengths", "object"))
def test_texts_are_prepared_as_in_evaluation(tmp_path, name):
    """With the tokenizer and the collate function of the config."""
    args, own = TEXTS[name]
    rng = np.random.default_rng(0)
    words = np.array(["good", "bad", "Don't", "été", "हिन्दी", "7.5"])
    texts = [" ".join(rng.choice(words, rng.integers(0, 9))) for _ in range(50)]
    pd.DataFrame({"text": texts, "label": ["a", "b"] * 25}).to_csv(tmp_path / "t.csv", index=False)
    size = {"vocab_size": "${data.vocab_size}", "num_classes": "${data.num_classes}"}
    config = config_of(tmp_path, loader("Text", {"path": str(tmp_path / "t.csv"), **args}, **own),
                       arch={"type": f"{HERE}.Reader", "args": size})  # fmt: skip
    run = trained(config)
    found = check_parity(run, lambda chosen: [texts[each] for each in chosen])
    assert found.names == ["a", "b"]
    assert loaded(run).predict("good bad").labels[0] in found.names


@pytest.mark.parametrize("name", cases({"one": "a", "several": ["b", "a"], "all": None}, "several"))
def test_windows_are_prepared_as_in_evaluation(tmp_path, name):
    """Predictions are in units of the file, of the rows after the last."""
    target = {"one": "a", "several": ["b", "a"], "all": None}[name]
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(100, 5, 90), "b": rng.normal(-1e4, 1, 90)}).assign(time=range(90))
    frame.to_csv(tmp_path / "s.csv", index=False)
    args = {"path": str(tmp_path / "s.csv"), "target": target, "time": "time", "history": 4, "horizon": 3}
    size = {key: f"${{data.{key}}}" for key in ("history", "horizon", "in_features", "num_outputs")}
    config = config_of(tmp_path, loader("Windows", args, split={"valid": 0.2, "test": 0.3, "time": True}),
                       arch={"type": f"{HERE}.Ahead", "args": size}, loss={"type": "torch.nn.MSELoss"},
                       metrics=[])  # fmt: skip
    run = trained(config)
    model = loaded(run)
    windows = model.preprocessing.read_windows(tmp_path / "s.csv")
    found = check_parity(run, lambda chosen: windows[chosen])
    about = {"one": [100], "several": [-1e4, 100], "all": [100, -1e4]}[name]
    assert np.abs(np.asarray(found.values).mean(axis=(0, 1)) - about).max() < 10
    (ahead,) = model.predict(tmp_path / "s.csv")
    assert ahead.value.shape == (3, len(about))
    assert np.array_equal(ahead.value, model.predict(frame)[0].value)
    assert np.allclose(ahead.value, model.predict(windows[-1])[0].value)


EXAMPLES = {"tabular/config": "cars.csv", "imbalanced/config": "payments.csv", "text/config": "news.csv",
            "text/baseline": "news.csv", "timeseries/config": "demand.csv"}  # fmt: skip
MAKERS = {"payments.csv": "imbalanced.fraud", "news.csv": "text.news", "demand.csv": "timeseries.demand"}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_say_of_their_test_data_what_was_counted(tmp_path, name):
    """Out of their files, without the column that is predicted."""
    path = tmp_path / EXAMPLES[name]
    if path.name in MAKERS:
        import_module(f"examples.{MAKERS[path.name]}").main(path)
    else:
        path.write_bytes((ROOT / "examples/tabular/cars.csv").read_bytes())
    config = deepcopy(load_config(ROOT / f"examples/{name}.json").values)
    config["data_loader"]["args"]["dataset"]["args"]["path"] = str(path)
    config["trainer"].update(epochs=1, save_dir=str(tmp_path / "saved"), tensorboard=False)
    run = trained(config)
    preprocessing = loaded(run).preprocessing

    def inputs(chosen):
        if path.name == "demand.csv":
            return preprocessing.read_windows(path)[chosen]
        if path.name == "news.csv":
            texts = preprocessing.read_file(path)
            return [texts[each] for each in chosen]
        frame = pd.read_csv(path, dtype=str, keep_default_na=False).iloc[chosen]
        frame.drop(columns=preprocessing.state["target"]).to_csv(tmp_path / "new.csv", index=False)
        return str(tmp_path / "new.csv")

    check_parity(run, inputs)
