"""Run folders as a run leaves them, made without training."""

import json
import math

import numpy as np

from espalier.journal.sample_values import SampleValues, write_sample_values

CONFIG = {
    "name": "Net",
    "seed": 1,
    "arch": {"type": "MnistModel", "args": {"width": 16}},
    "optimizer": {"type": "Adam", "args": {"lr": 0.1}},
    "loss": "nll_loss",
    "metrics": ["accuracy"],
    "trainer": {"epochs": 3, "save_dir": "saved/", "monitor": "min val_loss"},
}


def config_with(**changes):
    """The config with values at dotted paths, in which `__` stands for the dot."""
    config = json.loads(json.dumps(CONFIG))
    for path, value in changes.items():
        *sections, key = path.split("__")
        section = config
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
    return config


def rows_of(epochs, begin=1.0):
    """The rows of so many epochs; the best is the second last."""
    return [
        {
            "epoch": epoch,
            "loss": begin / epoch,
            "accuracy": 1 - begin / (epoch + 1),
            "val_loss": begin / epoch + (0.5 if epoch == epochs else 0),
            "val_accuracy": None if epoch == 1 else 1 - begin / (epoch + 2),
            "step": 10 * epoch,
            "learning_rate": [0.1],
            "seconds": 2.0,
        }
        for epoch in range(1, epochs + 1)
    ]


def make_run(root, run_id="a", rows=None, processes=None, log="", **changes):
    """A run folder under `root`."""
    config = config_with(**changes)
    folder = root / "saved" / "models" / config["name"] / run_id
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    rows = rows_of(3) if rows is None else rows
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = {"started": "2026-01-01T00:00:00+0000", "pid": 1, "state": "finished", "reason": "all 3 epochs are done"}
    (folder / "run.json").write_text(json.dumps([ended] if processes is None else processes))
    log_folder = root / "saved" / "log" / config["name"] / run_id
    log_folder.mkdir(parents=True)
    (log_folder / "info.log").write_text(log)
    return folder


def is_same(one, other):
    """Whether two values of a curve are the same but for their last digits."""
    return one == other or (None not in (one, other) and math.isclose(one, other, rel_tol=1e-4))


def add_test(folder, values, *, index=None, target=None, name=None, samples=True, **changes):
    """What `test.py` leaves in a run folder: the means of `values`, `(N,)` by metric, and the file of the samples."""
    index = np.arange(len(next(iter(values.values())))) if index is None else np.asarray(index)
    target = index % 10 if target is None else np.asarray(target)
    prefix = "" if name is None else f"{name}_"
    found = {
        "checkpoint": "model_best.pth",
        "section": "data_loader",
        "data": {"type": "DigitsDataLoader", "args": {"data_dir": "data/digits"}},
        "limit_valid_batches": None,
        "tta": None,
        "num_samples": len(index),
        "metrics": {f"{prefix}{metric}": float(np.mean(each)) for metric, each in values.items()},
        **changes,
    }
    if samples:
        own = SampleValues(index, target, {metric: np.asarray(each, dtype=float) for metric, each in values.items()})
        write_sample_values(folder / "test" / "samples.npz", own)
        found["sets"] = [{"name": name, "num_samples": len(index), "samples": "test/samples.npz"}]
    (folder / "test.json").write_text(json.dumps({"evaluations": [found]}))
