"""What sources say of a config without being imported: sure where it is right, and never sure where it is not."""

import copy
import json
import subprocess
import sys

import pytest

from espalier.config.check_sources import is_surely_right
from espalier.errors import ConfigError
from parse_config import ROOMS, ConfigParser
from trainer import Trainer


def with_changes(root, changes):
    """The config that is shipped, with values replaced by dotted path."""
    return ConfigParser.from_file(root / "config.json", changes)


@pytest.mark.parametrize("name", ["config.json", "configs/mnist.json"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9, "nesterov": True}}},
        {"lr_scheduler": {"type": "CosineAnnealingLR", "args": {"T_max": "100%"}, "interval": "step"}},
        {"lr_scheduler": None, "trainer.monitor": "off"},
        {"loss": {"type": "nll_loss"}, "metrics": []},
    ],
    ids=str,
)
def test_config_that_is_right_is_known_to_be(root, name, changes):
    """Then the command need not import anything to know that a misspelt key is its only fault."""
    assert is_surely_right(ConfigParser.from_file(root / name, changes).tree, ROOMS)


@pytest.mark.parametrize(
    "changes",
    [
        {"arch.type": "MnistModell"},
        {"arch.type": "F"},
        {"arch.args.num_classes": "ten"},
        {"arch.args.width": 3},
        {"data_loader.type": "read_idx"},
        {"data_loader.args": {"data_dir": "data/digits"}},
        {"data_loader.args.data_dir": 3},
        {"optimizer.args.lr": "much"},
        {"optimizer.args.lr": -0.1},
        {"optimizer.args.foreach": True},
        {"optimizer.args.betas": [0.9, 1.1]},
        {"optimizer.args": {"learning_rate": 0.1}},
        {"optimizer.type": "StepLR"},
        {"lr_scheduler.args.step_size": 0},
        {"lr_scheduler.args.step_size": "8"},
        {"lr_scheduler.args": {}},
        {"lr_scheduler": {"type": "OneCycleLR", "args": {"max_lr": 0.1, "total_steps": 3}}},
        {"lr_scheduler": {"type": "ReduceLROnPlateau", "interval": "step"}},
        {"loss": "nll_los"},
        {"loss": "torch.nn.NoLoss"},
        {"metrics": ["accuracy", "accuracy"]},
        {"metrics": ["accuracy", {"type": "top_k_acc", "args": {"k": "2"}}]},
        {"trainer.monitor": "min val_los"},
        {"data_loader.args.validation_split": 0},
        {"trainer.type": "NoTrainer"},
        {"trainer.precision": "fp16"},
        {"n_gpu": 4096},
        {"arch.init": {"type": "no_such_filling_"}},
        {"arch.args.dropout": {"type": "os.system", "args": {}}},
    ],
    ids=str,
)
def test_fault_beyond_keys_is_never_passed_over(root, changes):
    """What the whole check finds, the sources do not say to be right: then all is told together."""
    config = with_changes(root, changes)
    with pytest.raises(ConfigError):
        config.check(extra_log_names=Trainer.extra_log_names)
    assert not is_surely_right(with_changes(root, changes).tree, ROOMS)


KEYS = {"trainer.epoch": 3, "trainer.early_stop": -3, "data_loader.args.batch_size": 0, "nmae": "x"}


def test_command_tells_keys_alone_without_importing_what_is_slow(root):
    """All of them in one report, and PyTorch is not waited for."""
    code = (
        "import json, sys, train\n"
        "from parse_config import ConfigParser\n"
        "try:\n"
        f"    train.main(ConfigParser.from_file('config.json', json.loads({json.dumps(KEYS)!r})))\n"
        "except ValueError as error:\n"
        "    print(*[each.path for each in error.problems], 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=100)
    assert result.stdout.split() == [*sorted(KEYS), "False"]


def test_command_tells_names_and_keys_in_one_report(run):
    """A misspelt key does not hide what is wrong with the rest."""
    faults = {**KEYS, "optimizer.args.lrr": 1, "arch.type": "Mnist"}
    result = run("train.py", "-c", "config.json", *(f"{path}={value}" for path, value in faults.items()))
    heads = [line.split()[2] for line in result.stderr.splitlines() if line.startswith("config error: ")]
    assert (result.returncode, heads) == (2, sorted(faults))


NET = "class MnistModel(Module):\n    def __init__(self, num_classes, dropout): ...\n"


@pytest.mark.parametrize(
    "text",
    [
        "class Net(:\n",
        NET.replace("Module", "Other"),
        f"{NET}MnistModel = other(MnistModel)\n",
        f"@register\n{NET}",
        NET.replace("__init__", "__new__"),
    ],
)
def test_sources_that_do_not_show_it_are_not_sure(root, tmp_path, monkeypatch, text):
    """A room with a syntax error, or none at all, or names that may mean anything, is for the whole check to judge."""
    (tmp_path / "odd_room.py").write_text(text)
    (tmp_path / "good_room.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    tree = with_changes(root, {}).tree
    assert is_surely_right(copy.deepcopy(tree), {**ROOMS, "arch": "good_room"})
    monkeypatch.setattr("espalier.config.check_sources._known", {})
    for room in ("odd_room", "no_such_room"):
        assert not is_surely_right(copy.deepcopy(tree), {**ROOMS, "arch": room})
