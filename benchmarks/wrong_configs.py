"""How `train.py` takes 25 mistakes in a config: what it says, in how many lines, and what it leaves behind.

    python -m benchmarks.wrong_configs

Each mistake is one change of config.json. A mistake counts as told when the command ends with exit code 2, prints no
traceback, names the key or the place, and has left no run folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MISTAKES = {  # what is wrong: text of config.json, what stands there instead, what the message must name
    "a section misspelt": ('"optimizer"', '"optimzer"', "optimizer"),
    "a key of the trainer misspelt": ('"epochs"', '"epoch"', "epochs"),
    "a model misspelt": ('"MnistModel"', '"MnistModle"', "MnistModel"),
    "an argument of the model misspelt": ('"num_classes"', '"num_clases"', "num_classes"),
    "an optimizer misspelt": ('"Adam"', '"Adma"', "Adam"),
    "an argument of the optimizer misspelt": ('"weight_decay"', '"weight_decy"', "weight_decay"),
    "a loss misspelt": ('"nll_loss"', '"nl_loss"', "nll_loss"),
    "a metric misspelt": ('"top_k_acc"', '"topk_acc"', "top_k_acc"),
    "a schedule misspelt": ('"StepLR"', '"StepLr"', "StepLR"),
    "an argument of the schedule left out": ('"step_size": 8, ', "", "step_size"),
    "a data loader misspelt": ('"DigitsDataLoader"', '"DigitDataLoader"', "DigitsDataLoader"),
    "a metric to monitor that is not there": ('"min val_loss"', '"min val_los"', "val_loss"),
    "a direction that is none": ('"min val_loss"', '"lowest val_loss"', "trainer.monitor"),
    "a text for a number": ('"epochs": 24', '"epochs": "many"', "trainer.epochs"),
    "a negative number of epochs": ('"epochs": 24', '"epochs": -1', "trainer.epochs"),
    "a batch of no samples": ('"batch_size": 32', '"batch_size": 0', "batch_size"),
    "a negative learning rate": ('"lr": 0.002', '"lr": -0.002', "lr"),
    "two rates for one model": ('"lr": 0.002', '"lr": [0.002, 0.001]', "optimizer.args"),
    "more than all for validation": ('"validation_split": 0.1', '"validation_split": 1.5', "validation_split"),
    "a folder of data that is not there": ('"data/digits"', '"data/digit"', "data/digit"),
    "GPUs that are not there": ('"n_gpu": 1,', '"n_gpu": 64,', "n_gpu"),
    "a precision that is none": ('"epochs": 24,', '"epochs": 24, "precision": "half",', "trainer.precision"),
    "no model at all": ('"arch": {', '"user": {', "arch"),
    "a comma left out": ('"n_gpu": 1,', '"n_gpu": 1', "config.json:4"),
    "a key that stands twice": ('"n_gpu": 1,', '"n_gpu": 1, "n_gpu": 2,', "n_gpu"),
}


def tried(change: tuple[str, str, str]) -> tuple[bool, str]:
    """Train with a changed config: whether the mistake was told, and the message."""
    old, new, named = change
    text = (ROOT / "config.json").read_text(encoding="utf-8")
    assert old in text, f"config.json has no {old}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.json")
        config.write_text(text.replace(old, new, 1).replace('"saved/"', f'"{folder}/saved"'), encoding="utf-8")
        command = [sys.executable, "train.py", "-c", str(config)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        left = Path(folder, "saved").exists()
        message = done.stderr.strip().replace(folder, ".")
    return done.returncode == 2 and "Traceback" not in message and named in message and not left, message


def main() -> int:
    """Try each mistake and print what was said of it."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    results = {what: tried(change) for what, change in MISTAKES.items()}
    for what, (told, message) in results.items():
        print(f"{'told' if told else 'NOT TOLD'}: {what}\n    " + message.replace("\n", "\n    "))
    lines = sorted(len(message.splitlines()) for _, message in results.values())
    print(f"{sum(told for told, _ in results.values())} of {len(results)} told, in {lines[0]} to {lines[-1]} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
