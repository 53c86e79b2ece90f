"""Studies whose trials do not train: what they would write is made up."""

import copy
import json

from espalier.config.tree import ConfigTree
from espalier.search.study import open_study, study_folder
from tests.conftest import TINY_CONFIG

SPACE = {"optimizer.args.lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}}
RULES = [("max", "val_accuracy")]


def config_of_study(root, tune, **changes):
    """A config with runs under `root`, and a `tune` section."""
    config = copy.deepcopy(TINY_CONFIG)
    config["trainer"].update(save_dir=str(root / "saved"), monitor="max val_accuracy", epochs=3)
    return {**config, "tune": tune, **changes}


def make_study(root, tune=None, **changes):
    """A study of a grid of four, or of what `tune` says."""
    config = config_of_study(root, {"grid": {"optimizer.args.lr": [1, 2, 3, 4]}} if tune is None else tune, **changes)
    return open_study(ConfigTree(config), study_folder(config))


def listed(study):
    """What a new trial of the study sets."""
    return lambda number: (study.points[number], study.points[number])


def write_epoch(trial, value=0.5):
    """One more epoch of its run."""
    folder = trial.run_folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(trial.config.read_text())
    epoch = num_epochs(trial) + 1
    row = {"epoch": epoch, "val_accuracy": value, "step": 10 * epoch, "seconds": 1.0}
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def num_epochs(trial):
    """How many epochs its run has."""
    path = trial.run_folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def write_end(trial, state="finished", reason="all 3 epochs are done"):
    """Its run has ended."""
    (trial.run_folder / "run.json").write_text(json.dumps([{"pid": 1, "state": state, "reason": reason}]))
