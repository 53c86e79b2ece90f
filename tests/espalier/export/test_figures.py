"""What a bundle tells of a run is of its own weights, and of no machine."""

import json

from espalier.export.figures import figures_of, shared

ROWS = [{"epoch": 1, "loss": 1.0, "val_loss": 0.9, "step": 10, "seconds": 2.0},
        {"epoch": 2, "loss": 0.5, "val_loss": 0.4, "step": 20, "seconds": 3.0}]  # fmt: skip
DATA = {"type": "Rows", "args": {"path": "/home/me/rows.csv"}}


def run_folder(path):
    """One with two epochs, and evaluations of different epochs and weights."""
    tests = [{"epoch": epoch, "weights": weights, "section": "data_loader", "data": DATA, "num_samples": 5,
              "checkpoint": "/home/me/last.pth", "metrics": {"loss": value}}
             for epoch, weights, value in ((1, "raw", 3), (2, "raw", 2), (2, "average", 1))]  # fmt: skip
    (path / "config.json").write_text(json.dumps({"name": "Some", "trainer": {"epochs": 4}}))
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    (path / "test.json").write_text(json.dumps({"evaluations": tests}))
    return path


def test_figures_are_of_the_epoch_and_the_weights(tmp_path):
    """Others are of another model; a hash goes to the test that names that data."""
    hashes = [{"part": "test", "data": DATA, "sha256": "ab", "num_samples": 5, "of": "inputs"},
              {"part": "validation", "data": None, "sha256": "cd", "num_samples": 7, "of": "inputs"}]  # fmt: skip
    found = figures_of(run_folder(tmp_path), 2, hashes, "average")
    data = {"type": "Rows", "args": {"path": ".../rows.csv"}}
    assert found == {
        "epoch": 2,
        "training": {"epochs": 2, "epochs_asked": 4, "steps": 20, "seconds": 5.0},
        "validation": {"loss": 0.4},
        "tests": [{"section": "data_loader", "data": data, "weights": "average", "num_samples": 5,
                   "metrics": {"loss": 1}, "data_sha256": "ab"}],
        "data": {"test": {"sha256": "ab", "num_samples": 5, "of": "inputs"},
                 "validation": {"sha256": "cd", "num_samples": 7, "of": "inputs"}},
    }  # fmt: skip


def test_figures_of_a_checkpoint_without_its_run_are_few(tmp_path):
    """Nothing is made up."""
    assert figures_of(tmp_path, 3) == {"epoch": 3}


def test_config_for_others_has_no_secrets_and_no_paths():
    """At any depth; what is no path stays."""
    config = {"trainer": {"save_dir": "/home/me/saved", "epochs": 3}, "api_key": "abc", "url": "https://me:pw@host/x",
              "paths": ["/data/a.csv", "data/b.csv"]}  # fmt: skip
    assert shared(config) == {"trainer": {"save_dir": ".../saved", "epochs": 3}, "api_key": "***",
                              "url": "https://***@host/x", "paths": [".../a.csv", "data/b.csv"]}  # fmt: skip
