"""Run folders as a run leaves them, made without training."""

import json
import math

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
