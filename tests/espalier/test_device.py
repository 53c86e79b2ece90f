"""Devices of any kind, and what their numbers are."""

import logging
from types import SimpleNamespace

import pytest
import torch

from espalier import device as device_module
from espalier.config.check_processes import check_devices
from espalier.config.tree import ConfigTree
from espalier.data import batch as batch_module
from espalier.device import has_float64, num_accelerators, prepare_device, to_double
from espalier.processes.ddp import device_of_process
from espalier.training import metric_tracker as tracker_module
from espalier.training.metric_tracker import MetricTracker

META = torch.device("meta")  # has no data: a device to move to that every machine has


@pytest.mark.parametrize(
    ("asked", "kind", "found", "device", "indices"),
    [
        (0, None, 0, "cpu", []),
        (0, "cuda", 2, "cpu", []),
        (1, "cuda", 2, "cuda:0", [0]),
        (2, "cuda", 2, "cuda:0", [0, 1]),
        (1, "mps", 1, "mps:0", [0]),
        (2, "xpu", 2, "xpu:0", [0, 1]),
    ],
)
def test_prepare_device_enough_gpus_gives_what_was_asked_for(has_gpus, caplog, asked, kind, found, device, indices):
    """Where there are as many GPUs as were asked for, of whatever kind, nothing is said."""
    has_gpus(kind, found)
    assert prepare_device(asked) == (torch.device(device), indices)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("asked", "kind", "found", "device", "indices", "line"),
    [
        (1, "cuda", 0, "cpu", [], "1 GPU(s) asked for, 0 found: computing on the CPU."),
        (1, None, 0, "cpu", [], "1 GPU(s) asked for, 0 found: computing on the CPU."),
        (4, "cuda", 2, "cuda:0", [0, 1], "4 GPU(s) asked for, 2 found: computing on the GPU."),
        (2, "mps", 1, "mps:0", [0], "2 GPU(s) asked for, 1 found: computing on the GPU."),
    ],
)
def test_prepare_device_too_few_gpus_warns_and_uses_those(has_gpus, caplog, asked, kind, found, device, indices, line):
    """Fewer GPUs than asked for are used, and a warning says so."""
    has_gpus(kind, found)
    assert prepare_device(asked) == (torch.device(device), indices)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.WARNING, line)]


@pytest.mark.parametrize("kind", [None, "cuda", "mps", "xpu"])
def test_device_of_process_is_of_the_kind_that_is_there(has_gpus, kind):
    """Each process computes on the GPU of its number, whatever made it."""
    has_gpus(kind, 0 if kind is None else 1)
    assert device_of_process(1) == torch.device("cpu" if kind is None else f"{kind}:0")
    assert device_of_process(0) == torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", True), ("cuda", True), ("mps", False), ("xpu:0", False), ("xpu:1", True)]
)
def test_has_float64_is_asked_of_the_device(monkeypatch, device, expected):
    """Apple's GPUs have none; some of Intel's do."""
    found = {0: SimpleNamespace(has_fp64=False), 1: SimpleNamespace(has_fp64=True)}
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device: found[device.index])
    assert has_float64(torch.device(device)) is expected


def test_without_float64_values_are_of_single_precision_and_sums_are_elsewhere(monkeypatch):
    """What comes to such a device is of single precision; an epoch is summed in double precision on the CPU."""
    for module in (device_module, batch_module):
        monkeypatch.setattr(module, "has_float64", lambda device: False)
    monkeypatch.setattr(tracker_module, "has_float64", lambda device: device.type == "cpu")
    assert to_double(torch.tensor([True, False])).dtype == torch.float32
    assert batch_module.to_device(torch.ones(2, dtype=torch.float64), META).dtype == torch.float32
    before, after = MetricTracker("loss"), MetricTracker("loss")
    before.update("loss", torch.tensor(0.5, dtype=torch.float64), 3)
    before.avg("loss")
    before.update("loss", torch.tensor(0.25, dtype=torch.float64), 1)
    after.load_state_dict(before.state_dict(), META)
    total, values = after._sums["loss"].total, after._sums["loss"].values
    assert (total.device.type, total.dtype) == ("cpu", torch.float64)
    assert [(each.device, each.dtype) for each in values] == [(META, torch.float32)]


@pytest.mark.parametrize(
    ("asked", "kind", "found", "said"),
    [
        ({"n_gpu": 1}, "mps", 1, None),
        ({"n_gpu": 1}, None, 0, None),
        ({"n_gpu": 2}, "xpu", 2, None),
        ({"n_gpu": 2}, "mps", 1, "0, or 1 (the CPU where there is no GPU); found 1"),
        ({"n_gpu": 1, "trainer": {"precision": "fp16"}}, "xpu", 1, None),
        ({"n_gpu": 1, "trainer": {"precision": "fp16"}}, None, 0, '"bf16" or "fp32"'),
    ],
)
def test_check_counts_gpus_of_whatever_kind(has_gpus, asked, kind, found, said):
    """A config is held against the devices that there are."""
    has_gpus(kind, found)
    problems = list(check_devices(ConfigTree({"name": "x", "trainer": {}, **asked}), None, num_accelerators()))
    assert [each.expected for each in problems] == ([] if said is None else [said])


@pytest.mark.parametrize(
    ("visible", "names", "said"),
    [
        (1, {"LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4"}, None),
        (1, {"LOCAL_RANK": "3"}, None),
        (4, {"LOCAL_RANK": "3"}, None),
        (2, {"LOCAL_RANK": "3"}, "at most 2 processes on a machine"),
        (2, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "4"}, "at most 2 processes on a machine"),
    ],
    ids=["each its own", "by hand", "enough", "too few, by hand", "too few"],
)
def test_processes_that_see_one_gpu_each_may_be_more_than_one(has_gpus, monkeypatch, visible, names, said):
    """SLURM shows each task its own; whether two have the same they find out together."""
    has_gpus("cuda", visible)
    started = {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in {**started, **names}.items():
        monkeypatch.setenv(name, value)
    n_gpu = 4 if visible == 1 else 1
    problems = list(check_devices(ConfigTree({"name": "x", "n_gpu": n_gpu, "trainer": {}}), None, num_accelerators()))
    assert [each.expected for each in problems] == ([] if said is None else [said])
