"""What the configs describe can be built, and a run in small goes through."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import train
from base import BaseTrainer
from parse_config import ConfigParser

ROOT = Path(train.__file__).resolve().parent
CONFIGS = [ROOT / "config.json", *sorted(ROOT.glob("configs/*.json"))]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_config_is_without_fault(path):
    """Every name is found, and every argument is one that it takes; of packages that are there."""
    for package in re.findall(r'"type": *"(\w+)\.', path.read_text(encoding="utf-8")):
        pytest.importorskip(package)
    assert issubclass(train.checked(ConfigParser.from_file(path)), BaseTrainer)


def test_config_passes_the_check_of_the_command(tmp_path):
    """It trains, validates, saves and loads, on a few batches."""
    command = [sys.executable, "train.py", "-c", "config.json", "--check", "n_gpu=0", f"trainer.save_dir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
