"""A law: predict.py says of the test files what test.py has counted, to the last digit; for files of each kind.

For digits tests/test_predict.py holds to it every day.
"""

import csv
import json

import numpy as np
import pytest

from tests.cases import cases
from tests.espalier.datasets.pictures import write_folder

RNG = np.random.default_rng(5)
TOPICS = {"sea": "ship wave harbour salt storm", "sky": "cloud wing storm sun bird", "soil": "root worm sun stone rain"}


def folder(place, part):
    """Images in folders; those of the test part in the order of their paths."""
    root = write_folder(place / part, {"cat": 7, "dog": 9, "emu": 4}, ".jpg", height=12, width=14)
    return {"type": "espalier.datasets.ImageFolder", "args": {"root": str(root), "size": 10}}, [root]


def table(place, part):
    """Rows with numbers, categories and gaps in a CSV."""
    rows = [(f"{RNG.normal():.4f}" if RNG.random() > 0.1 else "", RNG.choice(["red", "007", ""]), RNG.integers(0, 9),
             RNG.choice(["no", "yes"])) for _ in range(60)]  # fmt: skip
    path = place / f"{part}.csv"
    path.write_text("size,colour,count,sold\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    args = {"path": str(path), "target": "sold", "missing": "indicator", "types": {"colour": "category"}}
    return {"type": "espalier.datasets.Table", "args": args}, [path]


def prices(place, part):
    """Rows in Parquet, and a target that training scales."""
    import pandas as pd

    path = place / f"{part}.parquet"
    frame = pd.DataFrame({"size": RNG.normal(size=50), "rooms": RNG.integers(1, 6, 50)})
    frame.assign(price=lambda each: 1e5 * each["rooms"] + 3e4 * each["size"]).to_parquet(path)
    args = {"path": str(path), "target": "price", "scale_target": True}
    return {"type": "espalier.datasets.Table", "args": args}, [path]


def written(number):
    """Texts and their topics."""
    found = [(topic, " ".join(RNG.choice(words.split(), RNG.integers(1, 9)))) for topic, words in TOPICS.items()
             for _ in range(number)]  # fmt: skip
    return [found[place] for place in RNG.permutation(len(found))]


def texts(place, part):
    """Texts in a CSV."""
    path = place / f"{part}.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("topic", "words"), *written(12)])
    args = {"path": str(path), "text": "words", "target": "topic"}
    return {"type": "espalier.datasets.Text", "args": args}, [path]


def text_files(place, part):
    """A text in each file, a folder for each topic."""
    for number, (topic, text) in enumerate(written(6)):
        (place / part / topic).mkdir(parents=True, exist_ok=True)
        (place / part / topic / f"{number:02d}.txt").write_text(text + "\nand more\n")
    return {"type": "espalier.datasets.Text", "args": {"path": str(place / part)}}, [place / part]


def series(place, part):
    """All windows of a series."""
    path = place / f"{part}.csv"
    rows = [f"{hour},{np.sin(hour / 3):.5f},{RNG.normal():.5f}" for hour in range(70)]
    path.write_text("hour,load,wind\n" + "\n".join(rows) + "\n")
    args = {"path": str(path), "time": "hour", "target": "load", "history": 6, "horizon": 2}
    return {"type": "espalier.datasets.Windows", "args": args}, [path, "--every-window"]


def arrays(place, part):
    """Samples in a .npy file."""
    np.save(place / f"{part}.npy", RNG.normal(size=(50, 5)).astype(np.float32))
    np.save(place / f"{part}_targets.npy", RNG.integers(0, 3, 50))
    args = {"inputs": str(place / f"{part}.npy"), "targets": str(place / f"{part}_targets.npy"), "normalize": "fit"}
    return {"type": "espalier.datasets.Arrays", "args": args}, [place / f"{part}.npy"]


def labels(place, part):
    """The same with several labels for each."""
    dataset, inputs = arrays(place, part)
    np.save(place / f"{part}_targets.npy", RNG.integers(0, 2, (50, 3)).astype(np.float32))
    return dataset, inputs


HERE = "tests.espalier.inference.runs"
MLP = {"type": "examples.tabular.model.Mlp", "args": {"in_features": "${data.in_features}", "num_outputs": 3}}
ONE_SCORE = {"type": MLP["type"], "args": {"in_features": "${data.in_features}", "num_outputs": 1}}
BAG = {"type": "examples.text.model.Gru", "args": {"vocab_size": "${data.vocab_size}", "num_classes": 3}}
FORECASTER = {"type": "examples.timeseries.model.Forecaster",
              "args": {"history": 6, "horizon": 2, "in_features": "${data.in_features}"}}  # fmt: skip
ENTROPY, ERRORS = "torch.nn.CrossEntropyLoss", "torch.nn.MSELoss"
LENGTHS = {"collate_fn": {"type": "espalier.data.collate.Pad", "args": {"lengths": True}}}
KINDS = {
    "folder": (folder, {"type": f"{HERE}.Net"}, ENTROPY, {}),
    "table": (table, {**MLP, "args": {**MLP["args"], "num_outputs": 2}}, ENTROPY, {}),
    "labels": (labels, MLP, "torch.nn.BCEWithLogitsLoss", {}),
    "prices": (prices, ONE_SCORE, ERRORS, {}),
    "texts": (texts, BAG, ENTROPY, LENGTHS),
    "text files": (text_files, BAG, ENTROPY, LENGTHS),
    "series": (series, FORECASTER, ERRORS, {}),
    "arrays": (arrays, MLP, ENTROPY, {}),
}


def rows_of(path):
    """The rows of a CSV, without what tells of targets and names."""
    with path.open(newline="") as file:
        return [{name: cell for name, cell in row.items() if not name.startswith(("target", "name"))}
                for row in csv.DictReader(file)]  # fmt: skip


@pytest.mark.parametrize("kind", cases(KINDS))
def test_predicting_the_test_files_says_what_was_evaluated(run, tmp_path, kind):
    """The same rows, cells as texts."""
    make, arch, loss, loader = KINDS[kind]

    def section(part):
        dataset, inputs = make(tmp_path, part)
        return {"type": "BaseDataLoader", "args": {"dataset": dataset, "batch_size": 8, **loader}}, inputs

    (training, _), (test, inputs) = section("train"), section("test")
    config = {"name": "Law", "n_gpu": 0, "seed": 3, "data_loader": training, "test_data_loader": test, "arch": arch,
              "loss": {"type": loss}, "metrics": [], "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
              "trainer": {"epochs": 1, "monitor": "off", "tensorboard": False,
                          "save_dir": str(tmp_path / "saved")}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    trained = run("train.py", "-c", tmp_path / "config.json")
    assert trained.returncode == 0, trained.stderr
    (folder,) = (tmp_path / "saved" / "models" / "Law").iterdir()
    tested = run("test.py", "-r", folder, "--predictions", tmp_path / "told.csv")
    assert tested.returncode == 0, tested.stderr
    said = run("predict.py", "-r", folder, *inputs, "-o", tmp_path / "said.csv")
    assert said.returncode == 0, said.stderr
    expected = rows_of(tmp_path / "told.csv")
    assert len(expected) > 15
    found = rows_of(tmp_path / "said.csv")
    assert found[: len(expected)] == expected
    # What comes behind the last rows of a series is predicted, too.
    assert len(found) == len(expected) + 2 * (kind == "series")
