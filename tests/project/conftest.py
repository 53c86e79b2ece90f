"""A run of config.json in small. The tests take every name from there, so that they hold for what you put there."""

from pathlib import Path

import pytest

import train
from parse_config import ConfigParser

ROOT = Path(train.__file__).resolve().parent
SMALL = {
    "n_gpu": 0,
    "trainer.epochs": 2,
    "trainer.limit_train_batches": 4,
    "trainer.limit_valid_batches": 1,
    "trainer.tensorboard": False,
}


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch):
    """Paths in a config begin in the folder of the project."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def small_run(tmp_path):
    """Build a run as train.py does, of few batches; `folder` is where it goes."""

    def build(folder="run"):
        return train.build(ConfigParser.from_file("config.json", {**SMALL, "trainer.save_dir": str(tmp_path / folder)}))

    return build
