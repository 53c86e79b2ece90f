"""The sentences a run says."""

from pathlib import Path

import pytest
import torch

from espalier.errors import python_command
from espalier.journal.log_lines import closing_lines, epoch_line, opening_lines
from espalier.training.run_config import RunConfig
from parse_config import ConfigParser


@pytest.fixture
def model():
    """A model of 1,200 parameters, 200 of them frozen."""
    model = torch.nn.Sequential(torch.nn.Linear(10, 100, bias=False), torch.nn.Linear(100, 2, bias=False))
    model[1].weight.requires_grad_(False)
    return model


def test_opening_lines_of_a_new_run_say_what_is_about_to_happen(tiny_config, model):
    """Folder, config, seed, device, model and data, a fact a line."""
    config = ConfigParser(tiny_config, run_id="first")
    folder = Path(tiny_config["trainer"]["save_dir"]) / "models" / "Tiny" / "first"
    assert opening_lines(RunConfig(config), model, torch.device("cpu"), "1", 1500, 1_234_567, 7) == [
        f"Run {folder}.",
        "Config Tiny.",
        "Seed 7.",
        "Device cpu, world size 1, precision fp32.",
        "Model Sequential with 1,200 parameters, 1,000 of them trainable.",
        "1,500 steps per epoch, 1,234,567 training samples.",
    ]


def test_opening_lines_of_a_changed_run_name_checkpoint_and_overrides(tiny_config, model):
    """What the run starts from, and what the command line changed, stand in the first lines."""
    changes = {("optimizer", "args", "lr"): 0.5, ("name",): "Other"}
    config = ConfigParser(tiny_config, "old/last.pth", changes, run_id="second")
    folder = Path(tiny_config["trainer"]["save_dir"]) / "models" / "Other" / "second"
    assert opening_lines(RunConfig(config), model, torch.device("cpu"), "1", 1, 1, 7)[:2] == [
        f"Run {folder}, started from {Path('old/last.pth')}.",
        'Config Other, with optimizer.args.lr=0.5, name="Other" from the command line.',
    ]


def test_opening_lines_name_what_the_data_has_told(tiny_config, model):
    """The values that stand in place of `${data.NAME}`, long ones cut."""
    config = ConfigParser(tiny_config)
    config.tree.facts = {"num_classes": 3, "class_weights": [0.5] * 100}
    lines = opening_lines(RunConfig(config), model, torch.device("cpu"), "1", 1, 1, 7)
    assert lines[-2].startswith("Told by the data: num_classes 3, class_weights [0.5, 0.5, ")
    assert lines[-2].endswith("....")


def test_opening_lines_of_data_without_a_length_say_so(tiny_config, model):
    """A stream of unknown length is no zero, and the sentence stays one."""
    lines = opening_lines(RunConfig(ConfigParser(tiny_config)), model, torch.device("cpu"), "1", None, None, None)
    assert lines[-1] == "Unknown number of steps per epoch, unknown number of training samples."


def test_epoch_line_gives_the_numbers_in_the_order_of_the_log():
    """Loss, metrics, learning rate and time, four digits each."""
    log = {"epoch": 3, "loss": 0.123456, "val_loss": torch.tensor(1.5), "hits": 12}
    assert epoch_line(log, 10, [0.001], 12.34, is_best=False) == (
        "Epoch 3/10  loss 0.1235  val_loss 1.5  hits 12  lr 0.001  12.3 s"
    )


def test_epoch_line_of_the_best_epoch_says_so():
    """The reader sees which epoch model_best.pth holds; several learning rates stand side by side."""
    assert epoch_line({"epoch": 1, "loss": 2.0}, 1, [0.1, 0.01], 1.0, is_best=True) == (
        "Epoch 1/1  loss 2  lr 0.1/0.01  1.0 s  best so far"
    )


def test_epoch_line_gives_the_learning_rate_once():
    """A log that has one of that name tells it itself."""
    assert epoch_line({"epoch": 1, "lr": 0.5}, 1, [0.1], 1.0, is_best=False) == "Epoch 1/1  lr 0.5  1.0 s"


@pytest.mark.parametrize("best", ["model_best.pth", "last.pth"])
def test_closing_lines_name_the_folder_and_the_command_to_go_on_with(tmp_path, best):
    """The last line can be pasted: the best checkpoint where there is one, else the last."""
    (tmp_path / "last.pth").touch()
    (tmp_path / best).touch()
    assert closing_lines(tmp_path, 5, 61.25) == [
        f"Trained to epoch 5 in 61.2 s. Results are in {tmp_path}.",
        f"To evaluate: {python_command()} test.py -r {tmp_path / best}",
    ]


def test_closing_lines_folder_with_a_space_is_quoted(tmp_path):
    """The command works as it stands, whatever the folder is called."""
    folder = tmp_path / "my runs"
    folder.mkdir()
    (folder / "last.pth").touch()
    assert closing_lines(folder, 1, 1.0)[1] == f"To evaluate: {python_command()} test.py -r '{folder / 'last.pth'}'"


def test_closing_lines_name_no_command_that_is_not_there(tmp_path, monkeypatch):
    """Without a checkpoint, or in a project without test.py, nothing is to be pasted."""
    assert len(closing_lines(tmp_path, 1, 1.0)) == 1
    (tmp_path / "last.pth").touch()
    assert len(closing_lines(tmp_path, 1, 1.0, can_evaluate=False)) == 1
    monkeypatch.chdir(tmp_path)
    assert len(closing_lines(tmp_path, 1, 1.0)) == 1


@pytest.mark.parametrize(
    ("place", "told"), [("project/.venv/bin/python", ".venv/bin/python"), ("env/python", "python")]
)
def test_python_command_is_what_one_types_here(tmp_path, monkeypatch, place, told):
    """An environment inside the project is named by its path, since it need not be active; any other is."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr("sys.executable", str(tmp_path / place))
    assert python_command() == told
