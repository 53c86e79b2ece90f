"""Runs of a model with a new head and adapters: only these learn, exactly resumed, tested, and merged."""

import json

import pytest
import torch
from torch import nn

import data_loader.data_loaders as module_data
import train
from espalier.adapters import is_adapter
from espalier.checkpoints.file import load_checkpoint
from espalier.errors import CheckpointError
from espalier.training.merge_adapters import merge_adapters
from espalier.trials.check import try_out
from parse_config import ConfigParser
from tests.kill import differences, end_of, exit_code_of, kill_self, only_run

ARCH = {
    "arch.replace": {"fc2": {"type": "torch.nn.Linear", "args": {"out_features": 10}}},
    "arch.lora": {"match": ["fc1", "conv*"], "rank": 2, "alpha": 4},
    "arch.unfreeze_at": {"conv2": 2},
}


def config_of(root, folder, **trainer):
    """The config on the digits with a new head and adapters, for a run under `folder`."""
    settings = {
        "save_dir": str(folder / "saved"),
        "epochs": 2,
        "limit_train_batches": 8,
        "limit_valid_batches": 2,
        **trainer,
    }
    return ConfigParser.from_file(
        root / "config.json", {"name": "Killed", **ARCH, **{f"trainer.{key}": value for key, value in settings.items()}}
    )


class PastTheLayer(nn.Module):
    """Computes with the weights of a layer without calling it, as Swin of torchvision does."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return nn.functional.linear(x, self.layer.weight, self.layer.bias)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{}, {"accumulate": 2, "ema_decay": 0.9}, {"async_save": True, "activation_checkpointing": ["fc1"]}],
    ids=["plain", "accumulated", "saved beside"],
)
def test_run_with_adapters_learns_only_what_it_should_and_is_resumed_exactly(root, tmp_path, monkeypatch, settings):
    """Killed in mid-epoch and resumed it ends as one that never was, and the base has its first bits."""
    monkeypatch.chdir(root)

    def started(folder):
        return train.build(config_of(root, tmp_path / folder, save_every_steps=1, **settings))

    def killed():
        trainer = started("killed")
        trainer.on_step_end = lambda: kill_self() if trainer.step == 6 else None
        trainer.train()

    whole = started("whole")
    before = {name: value.clone() for name, value in whole.model.state_dict().items()}
    whole.train()
    assert exit_code_of(killed) == -9
    train.build(ConfigParser.from_run(only_run(tmp_path / "killed"))).train()
    assert differences(*(end_of(only_run(tmp_path / name)) for name in ("whole", "killed"))) == []
    changed = {name for name, value in whole.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if is_adapter(name) or name.startswith(("fc2", "conv2"))}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"ema_decay": 0.5}], ids=["plain", "average"])
def test_merged_checkpoint_is_of_the_model_without_adapters(root, tmp_path, monkeypatch, run, settings):
    """test.py finds the same numbers, and the weights are those of a config without `lora`."""
    monkeypatch.chdir(root)
    trainer = train.build(config_of(root, tmp_path, **settings))
    trainer.train()
    old, new = only_run(tmp_path) / "last.pth", tmp_path / "merged.pth"
    weights = merge_adapters(old, new)
    assert not any(map(is_adapter, weights))
    found = []
    for path in (old, new):
        result = run("test.py", "-r", path)
        assert result.returncode == 0, result.stderr
        found.append(json.loads(path.with_name("test.json").read_text())["evaluations"][-1]["metrics"])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    with pytest.raises(CheckpointError, match="has no adapters"):
        merge_adapters(new, tmp_path / "again.pth")
    assert "lora" not in load_checkpoint(new)["config"]["arch"]


def test_check_names_adapters_that_do_not_run(root, tmp_path, monkeypatch):
    """A model that reads a weight past its layer leaves the adapter idle."""
    monkeypatch.chdir(root)
    trainer = train.build(config_of(root, tmp_path))
    assert not any(line.startswith("But adapters") for line in try_out(trainer, module_data))
    trainer = train.build(config_of(root, tmp_path / "other"))
    trainer.model.fc1 = PastTheLayer(trainer.model.fc1)
    (line,) = [line for line in try_out(trainer, module_data) if line.startswith("But adapters")]
    assert line == (
        'But adapters did not run, so they learn nothing: ["fc1.layer"]. Leave them out of arch.lora.match.'
    )
