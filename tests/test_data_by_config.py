"""Data by config, as a user runs it: divided, learned from, asked by the model, and tested on what is left."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

CONFIG = {
    "name": "Points",
    "n_gpu": 0,
    "seed": 1,
    "data_loader": {
        "type": "base.BaseDataLoader",
        "args": {
            "dataset": {"type": "points.Points", "args": {}},
            "batch_size": 16,
            "shuffle": True,
            "split": {"valid": 0.2, "test": 0.1, "stratify": True},
        },
    },
    "arch": {
        "type": "torch.nn.Linear",
        "args": {"in_features": "${data.in_features}", "out_features": "${data.num_classes}"},
    },
    "loss": {"type": "torch.nn.CrossEntropyLoss", "args": {"weight": "${data.class_weights}"}},
    "metrics": ["accuracy"],
    "optimizer": {"type": "Adam", "args": {"lr": 0.05}},
    "trainer": {"epochs": 2, "monitor": "min val_loss", "tensorboard": False},
}
MODULE = """
import torch
from torch.utils.data import Dataset

class Points(Dataset):
    facts = ("in_features",)
    in_features = 4

    def __init__(self, num_samples=200, offset=100.0):
        self.targets = torch.arange(num_samples) % 3
        noise = torch.randn(num_samples, 4, generator=torch.Generator().manual_seed(0))
        self.values = noise + 3 * self.targets[:, None] + offset

    def __len__(self):
        return len(self.values)

    def fit(self, indices):
        print("learning")
        chosen = self.values[indices]
        return {"mean": chosen.mean(0).tolist(), "std": chosen.std(0).tolist()}

    def use(self, fitted):
        self.mean, self.std = torch.tensor(fitted["mean"]), torch.tensor(fitted["std"])

    def __getitem__(self, index):
        return (self.values[index] - self.mean) / self.std, self.targets[index]
"""


@pytest.fixture(scope="module")
def train(run, tmp_path_factory):
    """Run a command on this config, with a dataset as a student writes it."""
    folder = tmp_path_factory.mktemp("points")
    (folder / "points.py").write_text(MODULE)

    def command(script, *arguments, **changes):
        config = {**CONFIG, **changes, "trainer": {**CONFIG["trainer"], "save_dir": str(folder / "saved")}}
        (folder / "config.json").write_text(json.dumps(config))
        asked = arguments if "-r" in arguments else ("-c", folder / "config.json", *arguments)
        return run(script, *asked, env={"PYTHONPATH": str(folder)})

    command.folder = folder
    return command


@pytest.fixture(scope="module")
def trained(train):
    """A finished run."""
    result = train("train.py", "name=Trained")
    assert result.returncode == 0, result.stderr
    return folder_of(result)


def folder_of(result):
    """Where a finished training says that its results are."""
    return Path(re.search(r"Results are in (.*)\.$", result.stdout, re.MULTILINE).group(1))


def test_checkpoint_holds_what_was_learned_and_told(trained):
    """Plain values, learned once."""
    state = torch.load(trained / "model_best.pth", weights_only=True)
    assert {name: len(values) for name, values in state["data"]["fitted"].items()} == {"mean": 4, "std": 4}
    assert (state["data"]["facts"]["in_features"], state["data"]["facts"]["num_classes"]) == (4, 3)
    saved = json.loads((trained / "config.json").read_text())
    assert saved["arch"]["args"]["out_features"] == "${data.num_classes}"


def test_test_takes_the_test_part_and_learns_nothing(train, trained):
    """A tenth of the data, with the numbers of the checkpoint; other data is seen by those numbers, too."""
    result = train("test.py", "-r", trained)
    assert result.returncode == 0, result.stderr
    assert "learning" not in result.stdout
    assert ", 20 samples" in result.stdout.splitlines()[0]
    other = trained.parent / "other.json"
    arguments = {"dataset": {"type": "points.Points", "args": {"num_samples": 30, "offset": 0.0}}, "batch_size": 8}
    other.write_text(json.dumps({"test_data_loader": {"type": "base.BaseDataLoader", "args": arguments}}))
    result = train("test.py", "-r", trained, "-c", other)
    assert result.returncode == 0, result.stderr
    found = json.loads((trained / "test.json").read_text())["evaluations"]
    assert "learning" not in result.stdout
    assert found[-1]["metrics"]["loss"] > 10 > 1 > found[-2]["metrics"]["loss"]  # it is far off the learned mean


def test_run_goes_on_with_what_it_had_learned(train, trained):
    """From a checkpoint, not from the data."""
    result = train("train.py", "-r", trained, "trainer.epochs=3")
    assert result.returncode == 0, result.stderr
    assert "learning" not in result.stdout
    states = [torch.load(trained / f"checkpoint-epoch{epoch}.pth", weights_only=True) for epoch in (2, 3)]
    assert states[0]["data"] == states[1]["data"]


def test_data_that_grew_are_not_what_the_run_was_divided_by(train, trained):
    """A test part may hold samples that were trained on: refused. Training goes on, or begins anew, and says so."""
    grown = "data_loader.args.dataset.args.num_samples=230"
    result = train("test.py", "-r", trained, grown)
    assert (result.returncode, result.stderr) == (
        2,
        "data error: the split is another than in training: its test part may have samples that were trained on\n"
        "  got       the data, or what says how it is divided (`split`, `seed`), has changed since\n"
        '  fix       bring that back, or name test data of their own in a "test_data_loader" section\n',
    )
    newest = shutil.copytree(trained, trained.parent / "grown")
    result = train("train.py", "-r", newest, "trainer.epochs=4", grown)
    assert result.returncode == 0, result.stderr
    assert "The training part has other samples than in the checkpoint, so those that validate or test" in result.stdout
    result = train("train.py", "-c", train.folder / "config.json", "-r", trained, "trainer.epochs=1", grown)
    assert result.returncode == 0, result.stderr
    assert "The data has taught other values than in the checkpoint (mean, std), which its weights" in result.stdout


def section(num_samples, **dataset):
    """A loader of points of its own."""
    dataset = {"type": "points.Points", "args": {"num_samples": num_samples, **dataset}}
    return {"type": "base.BaseDataLoader", "args": {"dataset": dataset, "batch_size": 8}}


@pytest.mark.slow
def test_check_finds_test_data_that_train_wherever_they_stand(train):
    """In a section of its own or in several by name: how many, and which; what cannot be read is told as well."""
    several = {"seen": section(200), "other": section(30, offset=0.0)}
    result = train(
        "train.py",
        "--check",
        "data_loader.args.split=null",
        test_data_loader=several,
        valid_data_loader=section(30, offset=50.0),
    )
    assert result.returncode == 0, result.stderr
    doubts = [line for line in result.stdout.splitlines() if line.startswith("But")]
    shown = ", ".join(f"{each} (as {each})" for each in range(5))
    whole = f"200 of 200 samples of the test (seen) data are in the training data, too: {shown} and 195 more."
    assert doubts == [f"But {whole} What is measured on them says nothing of new data."]
    table = {"type": "espalier.datasets.Table", "args": {"path": "gone.csv", "target": "y"}}
    gone = {"type": "base.BaseDataLoader", "args": {"dataset": table, "batch_size": 8}}
    result = train("train.py", "--check", test_data_loader=gone)
    assert result.returncode == 0, result.stderr
    assert "But the test data cannot be read, as test.py will have to: " in result.stdout


@pytest.mark.slow
def test_split_without_a_test_part_has_nothing_to_test(train):
    """Whoever asks is told what to write."""
    result = train("train.py", "name=NoTest", "data_loader.args.split.test=0", "trainer.epochs=1")
    assert result.returncode == 0, result.stderr
    folder = folder_of(result)
    result = train("test.py", "-r", folder)
    assert (result.returncode, result.stderr) == (
        2,
        f"config error: data_loader.args.split has no test part\n  from      {folder}/config.json:14\n"
        '  fix       give it one, as in "test": 0.1, or write a "test_data_loader" section\n',
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("arch.args.in_features=${data.features}", """\
config error: arch.args.in_features asks for what the data does not know
  from      command line
  got       ${data.features}
  expected  one of: in_features, num_samples, num_classes, class_weights
  closest   in_features
"""),
        ("data_loader.args.split.valid=2.0", """\
config error: data_loader.args.split.valid is out of range
  from      command line
  got       2.0
  expected  a share from 0.0 to below 1.0, or a number of samples
"""),
        ("data_loader.args.split.valid=0", """\
config error: trainer.monitor watches val_loss, which no epoch reports
  from      {folder}/config.json:1
  got       "min val_loss"
  expected  one of: loss, accuracy
  closest   loss
  fix       there is no validation data: set data_loader.args.split.valid, or write a valid_data_loader section
"""),
    ],
)  # fmt: skip
def test_faults_are_found_before_data_is_read(train, override, message):
    """By the check of the whole config."""
    result = train("train.py", override)
    assert (result.returncode, result.stderr) == (2, message.replace("{folder}", str(train.folder)))


SETS = {
    name: {"type": "base.BaseDataLoader", "args": {"dataset": {"type": "points.Points", "args": {
        "num_samples": 30, "offset": offset}}, "batch_size": 16}}
    for name, offset in (("clean", 100.0), ("noisy", 102.0))
}  # fmt: skip


def rows_of(folder):
    """The numbers of a run."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_several_sets_are_evaluated_each_under_its_name(train):
    """In epochs, before the first step, amid an epoch, and by test.py; any value is monitored; all is resumed."""
    options = ("trainer.monitor=min val_noisy_loss", "trainer.evaluate_first=true", "trainer.eval_every_steps=8")
    result = train("train.py", "name=Sets", *options, valid_data_loader=SETS, test_data_loader=SETS)
    assert result.returncode == 0, result.stderr
    folder = folder_of(result)
    names = [f"val_{name}_{value}" for name in SETS for value in ("loss", "accuracy")]
    rows = rows_of(folder)
    assert [(row["step"], [name for name in row if name.startswith("val_")]) for row in rows] == [
        (step, names) for step in (0, 8, 9, 16, 18)
    ]
    result = train("test.py", "-r", folder)
    assert result.returncode == 0, result.stderr
    report = json.loads((folder / "test.json").read_text())["evaluations"][-1]
    assert (list(report["metrics"]), report["num_samples"]) == ([name.removeprefix("val_") for name in names], 60)
    best = torch.load(folder / "model_best.pth", weights_only=True)["monitor_best"]
    assert best == min(row["val_noisy_loss"] for row in rows[1:])


@pytest.mark.slow
def test_run_with_several_sets_is_the_same_after_a_stop(train):
    """Stopped in the middle of an epoch and continued, it gives the same numbers."""
    rows = []
    for name, limits in (("Whole", [{}]), ("Cut", [{"trainer.max_steps": 12}, {"trainer.max_steps": 18}])):
        options = [f"name={name}", "trainer.monitor=min val_noisy_loss", "trainer.eval_every_steps=8"]
        folder = None
        for limit in limits:
            given = [*options[1:], *(f"{key}={value}" for key, value in limit.items())]
            start = ["-r", folder, *given[2:]] if folder else [options[0], *given]
            result = train("train.py", *start, valid_data_loader=SETS)
            assert result.returncode == 0, result.stderr
            folder = folder_of(result)
        rows.append([{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(folder)])
    whole, cut = rows
    assert cut[-1] == whole[-1]
