"""test.py as a user runs it."""

import csv
import json
import math
import shutil

import numpy as np
import pytest

from espalier.journal.sample_values import read_sample_values


@pytest.fixture
def run_folder(finished, tmp_path):
    """A copy of a finished run that a test may change."""
    folder = tmp_path / "saved" / "models" / "Digits" / finished[0].name
    shutil.copytree(finished[0], folder)
    return folder


def test_test_run_folder_evaluates_its_best_and_writes_report(run_folder, run):
    """A run folder stands for its best checkpoint; the table is printed, test.json and its samples are written."""
    before = {path.name for path in run_folder.iterdir()}
    result = run("test.py", "-r", run_folder)
    assert result.returncode == 0, result.stderr
    report = json.loads((run_folder / "test.json").read_text())["evaluations"][-1]
    assert (report["checkpoint"], report["num_samples"]) == ("model_best.pth", 359)
    assert list(report["metrics"]) == ["loss", "accuracy", "top_k_acc"]
    low, high = report["intervals"]["accuracy"]
    assert low < report["metrics"]["accuracy"] < high
    shown = f"  accuracy         {report['metrics']['accuracy']:.6g} [{low:.4g}, {high:.4g}]"
    assert shown in result.stdout.splitlines()
    assert {path.name for path in run_folder.iterdir()} - before == {"test.json", "test"}
    (own,) = report["sets"]
    found = read_sample_values(run_folder / own["samples"])
    assert found.index.tolist() == [*range(359)]
    assert len({*found.target.tolist()}) == 10
    means = {name: values.mean() for name, values in found.values.items()}
    assert means == pytest.approx(report["metrics"], rel=1e-5)
    assert not (run_folder.parents[2] / "log").exists()


def test_test_on_validation_data_gives_the_numbers_of_training(run_folder, tmp_path, run):
    """The same code evaluates in training and here: on the same samples the numbers are equal."""
    other = json.loads((run_folder / "config.json").read_text())
    split = tmp_path / "split.json"
    # The validation samples of training are those the loader splits off.
    module = tmp_path / "valid_part.py"
    module.write_text(
        "from data_loader.data_loaders import DigitsDataLoader\n"
        "def validation(**arguments):\n"
        "    return DigitsDataLoader(**arguments).split_validation()\n"
    )
    arguments = {**other["data_loader"]["args"], "batch_size": 7}
    split.write_text(json.dumps({"test_data_loader": {"type": "valid_part.validation", "args": arguments}}))
    result = run("test.py", "-r", run_folder / "last.pth", "-c", split, env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    told = json.loads((run_folder / "metrics.jsonl").read_text().splitlines()[-1])
    found = json.loads((run_folder / "test.json").read_text())["evaluations"][-1]["metrics"]
    assert found["accuracy"] == pytest.approx(told["val_accuracy"], rel=1e-6)
    assert found["loss"] == pytest.approx(told["val_loss"], rel=1e-6)


@pytest.mark.slow
def test_test_moved_checkpoint_without_config_uses_the_one_inside(run_folder, tmp_path, run):
    """A checkpoint that was sent to somebody is evaluated without its config.json."""
    moved = tmp_path / "mail" / "received.pth"
    moved.parent.mkdir()
    shutil.copyfile(run_folder / "model_best.pth", moved)
    result = run("test.py", "-r", moved)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in moved.parent.iterdir()) == ["received.pth", "test", "test.json"]


def test_test_override_reaches_the_data(run_folder, run):
    """key.path=value works here too."""
    result = run("test.py", "-r", run_folder, "data_loader.args.data_dir=nowhere")
    assert (result.returncode, result.stderr) == (
        2,
        "data error: nowhere/digits.npz is not there\n"
        "  from      command line, data_loader.args.data_dir\n"
        "  fix       data_loader.args.data_dir is the folder of digits.npz, by default data/digits\n",
    )


def test_test_damaged_checkpoint_is_refused(run_folder, run):
    """One changed byte in the weights is found before anything is evaluated."""
    path = run_folder / "model_best.pth"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    result = run("test.py", "-r", path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"checkpoint error: {path} is damaged\n  got       the part ")
    assert result.stderr.endswith(" fails its check\n")


def test_test_without_arguments_prints_help_and_exits_2(run):
    """No arguments: how to use it, exit 2."""
    result = run("test.py")
    assert result.returncode == 2
    assert result.stderr.startswith("usage: test.py [-h [KEY]] [-r RUN [RUN ...]] [-c FILE]")


@pytest.mark.slow
def test_test_checkpoint_copied_beside_another_config_uses_its_own(run_folder, tmp_path, run):
    """A config.json that happens to lie in the folder of a copied checkpoint is not taken for that of its run."""
    copied = tmp_path / "project" / "model.pth"
    copied.parent.mkdir()
    shutil.copyfile(run_folder / "model_best.pth", copied)
    (copied.parent / "config.json").write_text('{"name": "Other"}')
    result = run("test.py", "-r", copied)
    assert result.returncode == 0, result.stderr
    assert json.loads((copied.parent / "test.json").read_text())["evaluations"][-1]["num_samples"] == 359


def test_test_override_of_what_it_sets_itself_is_refused(run_folder, run):
    """A value that test.py would overwrite is refused, not dropped."""
    result = run("test.py", "-r", run_folder, "data_loader.args.validation_split=0.5")
    assert (result.returncode, result.stderr) == (
        2,
        "config error: data_loader.args.validation_split is set by test.py\n"
        "  from      command line\n"
        '  fix       for other data write a "test_data_loader" section\n',
    )


def test_test_config_without_data_is_refused(run_folder, tmp_path, run):
    """-c with a config that has no data section asks for nothing that can be done."""
    (tmp_path / "no_data.json").write_text('{"name": "Other"}')
    result = run("test.py", "-r", run_folder, "-c", tmp_path / "no_data.json")
    assert (result.returncode, result.stderr) == (
        2,
        "config error: -c names a config without data\n  expected  a data_loader or test_data_loader section\n",
    )


@pytest.mark.slow
def test_test_evaluates_everything_unless_its_own_command_says_less(run_folder, tmp_path, run):
    """A limit of the training run and a `drop_last` are no concern of a test; test.json keeps all evaluations apart."""
    config = json.loads((run_folder / "config.json").read_text())
    config["trainer"]["limit_valid_batches"] = 2
    (run_folder / "config.json").write_text(json.dumps(config))
    assert run("test.py", "-r", run_folder).returncode == 0
    few = run("test.py", "-r", run_folder, "trainer.limit_valid_batches=2")
    assert "lr_scheduler" not in few.stdout + few.stderr  # advice for training
    assert ", 64 samples, the first 2 batches alone\n" in few.stdout
    own = {"type": "torch.utils.data.DataLoader", "args": {
        "dataset": {"type": "torchvision.datasets.FakeData", "args": {
            "size": 50, "image_size": [1, 28, 28], "transform": {"type": "torchvision.transforms.ToTensor"}}},
        "batch_size": 32, "drop_last": True}}  # fmt: skip
    (tmp_path / "own.json").write_text(json.dumps({"test_data_loader": own}))
    for _ in range(2):
        result = run("test.py", "-r", run_folder, "-c", tmp_path / "own.json")
        assert result.returncode == 0, result.stderr
    found = json.loads((run_folder / "test.json").read_text())["evaluations"]
    told = [(each["section"], each["limit_valid_batches"], each["num_samples"]) for each in found]
    assert told == [("data_loader", None, 359), ("data_loader", 2, 64), ("test_data_loader", None, 50)]


def test_test_predictions_read_again_give_the_accuracy_that_was_printed(run_folder, tmp_path, run):
    """The file, the matrix, the table and the metric are about the same samples."""
    asked = ("--predictions", tmp_path / "out.csv", "--confusion", "--per-class", "--worst", "25")
    result = run("test.py", "-r", run_folder, *asked)
    assert result.returncode == 0, result.stderr
    found = json.loads((run_folder / "test.json").read_text())["evaluations"][-1]
    (of_set,) = found["sets"]
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["prediction"] == row["target"] for row in rows)
    assert right / len(rows) == found["metrics"]["accuracy"]
    counts = of_set["confusion"]["counts"]
    assert sum(counts[index][index] for index in range(10)) == right
    assert sum(each["support"] for each in of_set["per_class"]) == len(rows) == 359
    assert [row["index"] for row in rows] == [str(index) for index in range(359)]
    worst = of_set["worst"]["samples"]
    losses = [each["loss"] for each in worst]
    assert losses == sorted(losses, reverse=True)
    for each in worst[:3]:
        row = rows[each["index"]]
        assert -math.log(float(row[f"p_{each['target']}"])) == pytest.approx(each["loss"], rel=1e-3)
        assert (run_folder / each["picture"]).is_file()
    assert (run_folder / of_set["worst"]["picture"]).is_file()
    assert of_set["predictions"] == "out.csv"


@pytest.fixture(scope="module")
def run_of_numbers(tmp_path_factory, run):
    """The folder of a short run of a regression, on a table."""
    tmp_path = tmp_path_factory.mktemp("numbers")
    rows = "".join(f"{index / 10},{(index * 7 % 10) / 10},{index / 5 + 1}\n" for index in range(40))
    (tmp_path / "table.csv").write_text("a,b,y\n" + rows)
    data = {"type": "BaseDataLoader", "args": {
        "dataset": {"type": "espalier.datasets.Table", "args": {"path": str(tmp_path / "table.csv"), "target": "y"}},
        "batch_size": 8, "split": {"valid": 0.2, "test": 0.3}}}  # fmt: skip
    config = {"name": "Numbers", "n_gpu": 0, "arch": {"type": "torch.nn.Linear", "args": {
        "in_features": 2, "out_features": 1}}, "data_loader": data, "loss": "torch.nn.MSELoss", "metrics": [],
        "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
        "trainer": {"epochs": 1, "save_dir": str(tmp_path / "saved"), "tensorboard": False}}  # fmt: skip
    (tmp_path / "numbers.json").write_text(json.dumps(config))
    result = run("train.py", "-c", tmp_path / "numbers.json")
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "saved" / "models" / "Numbers").iterdir()
    return folder


@pytest.mark.parametrize("flag", [pytest.param("--confusion", marks=pytest.mark.slow), "--per-class"])
def test_test_numbers_have_no_classes(run_of_numbers, run, flag):
    """A regression is told so; its predictions and its worst samples are to be had."""
    folder = run_of_numbers
    refused = run("test.py", "-r", folder, flag)
    assert (refused.returncode, refused.stderr) == (
        2,
        f"config error: {flag} needs classes\n"
        "  from      command line\n"
        "  got       the targets are numbers, not classes\n"
        "  fix       leave it out; --predictions and --worst tell of single samples\n",
    )
    result = run("test.py", "-r", folder, "--worst", "2", "--predictions", folder / "out.npz")
    assert result.returncode == 0, result.stderr
    found = json.loads((folder / "test.json").read_text())["evaluations"][-1]
    with np.load(folder / "out.npz") as file:
        errors = (file["prediction"] - file["target"]) ** 2
    assert errors.mean() == pytest.approx(found["metrics"]["loss"], rel=1e-5)
    assert found["sets"][0]["worst"]["samples"][0]["loss"] == pytest.approx(errors.max(), rel=1e-5)
    assert found["sets"][0]["predictions"] == "out.npz"
    assert found["intervals"].keys() == {"loss"}


def test_test_several_checkpoints_and_data_sets_are_as_one_by_one(run_folder, tmp_path, run):
    """Each checkpoint on each data set gets its own entry, its own file, and the numbers that it has alone."""
    own = json.loads((run_folder / "config.json").read_text())["data_loader"]
    for name, size in (("small", 7), ("large", 90)):
        sized = {**own, "args": {**own["args"], "batch_size": size}}
        (tmp_path / f"{name}.json").write_text(json.dumps({"data_loader": sized}))
    other = tmp_path / "other" / "model.pth"
    other.parent.mkdir()
    shutil.copyfile(run_folder / "checkpoint-epoch1.pth", other)
    data = ("-c", tmp_path / "small.json", "-c", tmp_path / "large.json")
    result = run("test.py", "-r", run_folder, other, *data, "--predictions", tmp_path / "out.csv")
    assert result.returncode == 0, result.stderr
    found = [json.loads((each / "test.json").read_text())["evaluations"] for each in (run_folder, other.parent)]
    assert [each["data"]["args"]["batch_size"] for both in found for each in both] == [7, 90, 7, 90]
    files = [each["sets"][0]["predictions"] for both in found for each in both]
    assert files == [f"out-{which}-{name}.csv" for which in (run_folder.name, "other-model")
                     for name in ("small", "large")]  # fmt: skip
    assert all((tmp_path / name).is_file() for name in files)
    (other.parent / "test.json").unlink()
    alone = run("test.py", "-r", other, "-c", tmp_path / "large.json")
    assert alone.returncode == 0, alone.stderr
    (told,) = json.loads((other.parent / "test.json").read_text())["evaluations"]
    before = found[1][1]
    assert "samples" in told["sets"][0]
    assert told["sets"][0].items() <= before["sets"][0].items()
    assert {**told, "sets": None} == {**before, "sets": None}


@pytest.mark.slow
def test_test_views_are_averaged_and_stand_apart(run_folder, tmp_path, run):
    """The mean over views is another evaluation than that of the images alone; a block of the config is a view."""
    config = json.loads((run_folder / "config.json").read_text())
    shift = {"type": "RandomAffine", "args": {"degrees": 0, "translate": [0.05, 0.05]}}
    (run_folder / "config.json").write_text(json.dumps({**config, "user": {"shift": shift}}))
    for asked in ([], ["--tta", "five_crop,user.shift:2"], ["--tta", "vflip"]):
        result = run("test.py", "-r", run_folder, *asked, "--predictions", tmp_path / "out.npz")
        assert result.returncode == 0, result.stderr
    assert ", 359 samples, the mean of 2 views\n" in result.stdout
    found = json.loads((run_folder / "test.json").read_text())["evaluations"]
    assert [each["tta"] for each in found] == [None, ["five_crop", "user.shift:2"], ["vflip"]]
    plain, shifted, flipped = (each["metrics"]["accuracy"] for each in found)
    assert abs(plain - shifted) < 0.05
    assert flipped < plain  # a digit is none upside down
    with np.load(tmp_path / "out.npz") as file:
        right = file["probabilities"][np.arange(359), file["target"]]
    assert -np.log(right).mean() == pytest.approx(found[-1]["metrics"]["loss"], rel=1e-4)


def test_test_views_of_rows_are_refused(run_of_numbers, run):
    """A row of a table cannot be flipped."""
    result = run("test.py", "-r", run_of_numbers, "--tta", "hflip")
    assert (result.returncode, result.stderr) == (
        2,
        "config error: --tta needs a model whose input is one tensor of images (B, C, H, W)\n"
        "  from      command line\n"
        "  got       a tensor (8, 2) of float32\n"
        "  fix       leave it out\n",
    )


TWO = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}  # as torchrun has it


def test_test_in_a_second_process_leaves_it_to_the_first(tmp_path, run):
    """It ends well at once, whatever it was told, and says and writes nothing."""
    result = run("test.py", "-r", tmp_path / "none", env={**TWO, "RANK": "1", "LOCAL_RANK": "1"})
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.slow
def test_test_in_the_first_of_two_processes_evaluates_everything(run_folder, run):
    """Without waiting for the other."""
    result = run("test.py", "-r", run_folder, "n_gpu=0", env={**TWO, "RANK": "0", "LOCAL_RANK": "0"})
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "Evaluation needs one process; the others of the 2 end."
    assert lines[1].endswith("model_best.pth, epoch 2, 359 samples")
    assert len(json.loads((run_folder / "test.json").read_text())["evaluations"]) == 1
