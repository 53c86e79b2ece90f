"""What a section is for: before it is built, by the class or function that it names, and after it, by what came out."""

import importlib
import json
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from espalier.config.roles import EXPECTED
from espalier.data.loaders import validation_of
from espalier.errors import ConfigError
from parse_config import ROOMS, ConfigParser
from trainer import Trainer

LOADER = "something that gives batches when it is iterated over, such as a torch.utils.data.DataLoader"


class Numbers(Dataset):
    """A dataset of four samples."""

    def __init__(self, size: int = 4):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.zeros(1, 28, 28), index % 10


def makes_text(name="a"):
    """A factory that says nothing of what it gives."""
    return name


def makes_none() -> None:
    """A function for its effect."""


def makes_net(num_classes: int = 10):
    """A factory as most are written."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, num_classes), torch.nn.LogSoftmax(1))


def makes_loader() -> DataLoader:
    """A factory that says what it gives."""
    return DataLoader(Numbers(), batch_size=2)


def takes_nothing():
    """No loss."""


HERE = "tests.espalier.config.test_roles"
PLAIN = {"type": "torch.utils.data.DataLoader", "args": {"dataset": {"type": f"{HERE}.Numbers"}, "batch_size": 2}}


def problems_of(config, **sections):
    """What the check finds, by path."""
    try:
        ConfigParser({**config, **sections}).check(extra_log_names=Trainer.extra_log_names)
    except ConfigError as error:
        return {each.path: str(each) for each in error.problems}
    return {}


@pytest.mark.parametrize(
    ("section", "kind", "what"),
    [
        ("arch", "os.system", "names posix.system, a compiled function, which is no torch.nn.Module"),
        ("arch", "builtins.exec", "names builtins.exec, a compiled function, which is no torch.nn.Module"),
        ("arch", "torch.optim.SGD", "names torch.optim.SGD, an optimizer, which is no torch.nn.Module"),
        ("arch", f"{HERE}.Numbers", f"names {HERE}.Numbers, a dataset, which is no torch.nn.Module"),
        ("arch", f"{HERE}.makes_none", f"names {HERE}.makes_none, which gives nothing, which is no torch.nn.Module"),
        ("arch", f"{HERE}.makes_loader",
         f"names {HERE}.makes_loader, which gives torch.utils.data.DataLoader, a data loader, "
         "which is no torch.nn.Module"),
        ("arch", "builtins.dict", "names builtins.dict, which is no torch.nn.Module"),
        ("data_loader", f"{HERE}.Numbers", f"names {HERE}.Numbers, a dataset, which gives no batches"),
        ("data_loader", "torch.nn.Linear", "names torch.nn.Linear, a torch.nn.Module, which gives no batches"),
        ("test_data_loader", f"{HERE}.Numbers", f"names {HERE}.Numbers, a dataset, which gives no batches"),
        ("optimizer", "torch.optim.lr_scheduler.StepLR",
         "names torch.optim.lr_scheduler.StepLR, a learning-rate schedule, which is no optimizer"),
        ("optimizer", "torch.nn.Linear", "names torch.nn.Linear, a torch.nn.Module, which is no optimizer"),
        ("lr_scheduler", "torch.optim.SGD", "names torch.optim.SGD, an optimizer, which is no learning-rate schedule"),
        ("lr_scheduler", "math.cos", "names math.cos, a compiled function, which is no learning-rate schedule"),
        ("loss", "torch.optim.SGD", "names torch.optim.SGD, an optimizer, which cannot be called"),
        ("loss", f"{HERE}.takes_nothing", f"names {HERE}.takes_nothing, which takes no argument"),
    ],
)  # fmt: skip
def test_check_section_that_names_something_for_another_is_refused(tiny_config, section, kind, what):
    """Each section says in its own words what it needs."""
    found = problems_of(tiny_config, **{section: {"type": kind}})
    assert found[f"{section}.type"] == (
        f"config error: {section}.type {what}\n  got       {json.dumps(kind)}\n  expected  {EXPECTED[section]}"
    )


def test_check_metric_that_cannot_be_called_is_refused(tiny_config):
    """Also in a list, where it is written as a name alone."""
    found = problems_of(tiny_config, metrics=["accuracy", "torch.optim.Adam"])
    assert list(found) == ["metrics.1"]


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("arch", {"type": f"{HERE}.makes_net"}),
        ("arch", {"type": f"{HERE}.makes_text"}),  # it says nothing, so it is judged when it is built
        ("arch", {"type": "torchvision.models.resnet18"}),
        ("arch", {"type": "torch.nn.Linear", "args": {"in_features": 1, "out_features": 1}}),
        ("data_loader", PLAIN),
        ("data_loader", {"type": f"{HERE}.makes_loader"}),
        ("optimizer", {"type": "torch.optim.AdamW"}),
        ("loss", "torch.nn.MSELoss"),
        ("metrics", ["torch.nn.MSELoss"]),
        ("lr_scheduler", {"type": "ReduceLROnPlateau"}),
    ],
    ids=lambda value: str(value.get("type")) if isinstance(value, dict) else str(value),
)
def test_check_section_that_names_what_it_is_for_is_accepted(tiny_config, section, value):
    """Classes, and functions that make their objects."""
    assert problems_of(tiny_config, **{section: value}) == {}


@pytest.mark.parametrize(
    ("section", "args", "what"),
    [
        ("arch", (), "builds builtins.str, which is no torch.nn.Module"),
        ("optimizer", ([],), "builds builtins.list, which is no optimizer"),
        ("data_loader", (), "builds builtins.str, which gives no batches"),
    ],
)
def test_init_obj_of_what_is_something_else_is_told_as_a_fault_of_the_config(tiny_config, section, args, what):
    """What a factory without annotation gives is judged when it is there, before anything is done with it."""
    tiny_config[section] = {"type": f"{HERE}.makes_text"}
    config = ConfigParser(tiny_config, origins={(section, "type"): "c.json:5"})
    config.check()
    with pytest.raises(ConfigError) as error:
        config.init_obj(section, importlib.import_module(ROOMS[section]), *args)
    assert str(error.value) == (
        f"config error: {section}.type {what}\n"
        "  from      c.json:5\n"
        f'  got       "{HERE}.makes_text"\n'
        f"  expected  {EXPECTED[section]}"
    )


def test_check_plain_data_loader_splits_nothing_off(tiny_config):
    """It is legal, and a monitor of validation is told what is missing."""
    tiny_config["trainer"]["monitor"] = "min val_loss"
    assert problems_of(tiny_config, data_loader=PLAIN)["trainer.monitor"].splitlines()[-1] == (
        "  fix       there is no validation data: write a valid_data_loader section"
    )
    assert problems_of(tiny_config, data_loader=PLAIN, valid_data_loader=PLAIN) == {}
    assert validation_of(makes_loader()) is None
    assert validation_of(SimpleNamespace(split_validation=lambda: "a part")) == "a part"


@pytest.mark.slow
def test_plain_data_loader_trains_without_a_split(tiny_config, tmp_path, run):
    """The command goes through, and its log has the numbers of training alone."""
    path = tmp_path / "plain.json"
    path.write_text(json.dumps({**tiny_config, "data_loader": PLAIN}))
    result = run("train.py", "-c", path)
    assert (result.returncode, result.stderr) == (0, "")
    (rows,) = [file.read_text().splitlines() for file in (tmp_path / "saved").rglob("metrics.jsonl")]
    assert [set(json.loads(row)) & {"loss", "val_loss"} for row in rows] == [{"loss"}] * 2


def test_factory_that_gives_no_model_ends_before_a_run_begins(tiny_config, tmp_path, run):
    """As any fault of a config: its own message, exit code 2, and no folder."""
    path = tmp_path / "text.json"
    path.write_text(json.dumps({**tiny_config, "arch": {"type": f"{HERE}.makes_text"}}))
    result = run("train.py", "-c", path)
    assert result.returncode == 2
    assert result.stderr.startswith("config error: arch.type builds builtins.str, which is no torch.nn.Module\n")
    assert not (tmp_path / "saved").exists()
