"""Names out of a checkpoint: what they may lead to, wherever the walk to it goes."""

import contextlib
import importlib
import inspect
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from espalier.config.objects import find_object
from espalier.config.tree import INSIDE, ConfigTree
from espalier.config.trust import NotTrusted, find
from espalier.errors import ConfigError
from espalier.training.weights import begin_weights
from parse_config import ConfigParser

ROOT = Path(__file__).resolve().parents[3]
TREE = ConfigTree({"type": ""}, {("type",): f"{INSIDE}a.pth"})
SOURCES = [
    *(Path(torch.__file__).parent / name for name in ("nn", "optim", "utils/data/dataloader.py")),
    *(Path(torchvision.__file__).parent / name for name in ("models", "ops", "transforms")),
    *(ROOT / name for name in ("base", "data_loader", "model", "trainer", "espalier/data/in_memory.py")),
]
COMPILED = ("torch._C._nn", "torch", "torch._C", "torch.nn.functional", None)


def trusted(name, room=None):
    """What a name out of a checkpoint leads to; None where it is refused or leads nowhere."""
    try:
        return find(TREE, ("type",), name, room)
    except (LookupError, ImportError):
        return None


def is_inside(found):
    """Whether an object stands in a file that checkpoints may use; judged by its code alone."""
    if isinstance(found, (torch.dtype, torch.layout, torch.memory_format)):
        return True
    if type(found).__name__ in ("InterpolationMode", "AutoAugmentPolicy"):
        return True
    if inspect.isbuiltin(found):
        return found.__module__ in COMPILED
    file = Path(inspect.getsourcefile(inspect.unwrap(found))).resolve()
    metrics = sys.modules.get("torchmetrics")
    sources = [
        *SOURCES,
        *([Path(metrics.__file__).parent] if metrics else []),
        Path(torch.__file__).parent / "_jit_internal.py",
    ]
    return any(file == source or source in file.parents for source in sources)


def attributes(namespace):
    """The attributes of an object by name, private ones too."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in dir(namespace):
            with contextlib.suppress(Exception):
                found[name] = getattr(namespace, name)
    return found.items()


PREFIXES = """
    torch.optim torchvision.models torchvision.ops torchvision.transforms model.model
    model.loss trainer
"""
MORE = """
    torch.nn torch.nn.functional
    torch.nn.init torch.nn.utils torch.optim.lr_scheduler torch.optim.swa_utils torchvision.models.detection
    torchvision.models.feature_extraction torchvision.transforms.v2 torchvision.transforms.functional
    torchvision.transforms.v2.functional torchmetrics torchmetrics.functional torchmetrics.image
    base.base_data_loader data_loader.data_loaders model.metric torch os
"""


@pytest.mark.parametrize(
    "prefix", [*PREFIXES.split(), *(pytest.param(name, marks=pytest.mark.slow) for name in MORE.split())]
)
def test_find_walk_two_levels_deep_reaches_nothing_outside(prefix):
    """Whatever the names two levels below a package lead to, what is found is code that a checkpoint may use."""
    module = pytest.importorskip(prefix)
    judged, outside = set(), []
    for first, there in attributes(module):
        for name, found in [(first, there), *((f"{first}.{each}", inner) for each, inner in attributes(there))]:
            if id(found) not in judged:
                judged.add(id(found))
                reached = trusted(f"{prefix}.{name}")
                outside += [name] if reached is not None and not is_inside(reached) else []
    assert outside == []


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.functional.torch.os.system",
        "torch.nn.functional.torch.builtins.exec",
        "torch.nn.functional.importlib.import_module",
        "torch.nn.functional.handle_torch_function",
        "torch.nn.functional.boolean_dispatch",
        "torch.nn.init.torch.hub.load",
        "torch.nn.modules.module.Module.load_state_dict",
        "torch.nn.parallel.DistributedDataParallel",
        "torch.nn.utils.skip_init",
        "torch.optim.swa_utils.update_bn",
        "torchvision.models.get_weight",
        "torchvision.models.WeightsEnum",
        "torchvision.models.ResNet18_Weights",
        "torchvision.models.resnet.Weights",
        "torchvision.models._api.load_state_dict_from_url",
        "torchvision.models.feature_extraction.DualGraphModule",
        "torchvision.models.feature_extraction.create_feature_extractor",
        "torchvision.transforms.v2.functional.register_kernel",
        "torchmetrics.text.BERTScore",
        "torchmetrics.text.bert.BERTScore",
        "torchmetrics.image.FrechetInceptionDistance",
        "torchmetrics.utilities.imports.RequirementCache",
        "torch.utils.data.get_worker_info",
        "base.base_trainer.BaseTrainer",
        "espalier.processes.launch.launch",
        "antigravity.webbrowser.open",
        "pydoc.pipepager",
        "model.model.sys.modules",
        "trainer.trainer.torch.load",
        "",
        ".",
        "torch.nn.",
        ".torch.nn.Linear",
        "torch..nn.Linear",
    ],
)
def test_find_name_that_reads_runs_or_downloads_is_refused(name):
    """Neither a way out of trusted modules nor what they have of that kind themselves is open."""
    assert trusted(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.Linear",
        "torch.nn.functional.gelu",
        "torch.nn.functional.max_pool2d",
        "torch.nn.init.xavier_uniform_",
        "torch.nn.utils.parametrizations.weight_norm",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.SequentialLR",
        "torch.optim.swa_utils.SWALR",
        "torch.utils.data.DataLoader",
        "torch.float32",
        "torch.channels_last",
        "torchvision.models.resnet18",
        "torchvision.models.ResNet",
        "torchvision.models.detection.fasterrcnn_resnet50_fpn",
        "torchvision.models.get_model",
        "torchvision.ops.sigmoid_focal_loss",
        "torchvision.ops.SqueezeExcitation",
        "torchvision.transforms.Compose",
        "torchvision.transforms.InterpolationMode.BILINEAR",
        "torchvision.transforms.functional.hflip",
        "torchvision.transforms.v2.RandomCrop",
        "torchvision.transforms.v2.functional.hflip",
        "data_loader.data_loaders.DigitsDataLoader",
        "model.metric.accuracy",
        "trainer.Trainer",
    ],
)
def test_find_name_that_only_computes_is_found(name):
    """Layers, losses, optimizers, schedules, transforms, published models and the project's own are found."""
    assert trusted(name) is find_object(name, None)


@pytest.fixture
def own_room(monkeypatch):
    """A module of the project that imports more than it should."""
    room = types.ModuleType("model.hostess")
    monkeypatch.setitem(sys.modules, "model.hostess", room)
    code = """
from functools import partial
from os import *
from subprocess import run
from torch.hub import load
import torch
class Net(torch.nn.Module):
    @classmethod
    def small(cls): return cls()
    load = staticmethod(load)
def make():
    return lambda output, target: 0
def loss(output, target): return 0
@torch.no_grad()
def metric(output, target): return 0
made, run_later, own_later = make(), partial(run), partial(loss)
class Pipe(partial): pass
"""
    exec(code, room.__dict__)
    return room


@pytest.mark.parametrize("name", ["system", "run", "load", "partial", "run_later", "torch", "Net.load", "popen"])
def test_find_what_a_room_imports_is_refused(own_room, name):
    """A star import, or one by name, makes nothing the project's own."""
    assert trusted(f"model.hostess.{name}") is None
    assert "." in name or trusted(name, own_room) is None


@pytest.mark.parametrize("name", ["Net", "Net.small", "loss", "metric", "made", "make"])
def test_find_what_a_room_defines_is_found(own_room, name):
    """Classes, class methods and functions of the project, decorated ones and closures too."""
    assert trusted(f"model.hostess.{name}") is not None


def test_find_a_module_that_is_not_loaded_is_not_imported(tmp_path, monkeypatch):
    """Nothing outside the listed packages is imported, nor is what a trusted module would find only when asked."""
    (tmp_path / "foreign_code.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(nn, "__getattr__", lambda name: importlib.import_module("foreign_code"), raising=False)
    for name in ("foreign_code.Net", "torch.nn.foreign_code.Net", "torch.nn.anything"):
        assert trusted(name) is None
    assert "foreign_code" not in sys.modules


@pytest.mark.parametrize(
    ("section", "is_found"),
    [
        ({"args": {"model_name": "resnet18.a1_in1k", "pretrained": True, "num_classes": 10}}, True),
        ({"args": {"model_name": "hf-hub:stranger/net"}}, False),
        ({"args": {"model_name": "../net"}}, False),
        ({"args": {"model_name": "resnet18", "checkpoint_path": "x.pth"}}, False),
        ({"args": {"model_name": "resnet18", "pretrained_cfg": {"file": "x"}}}, False),
        ({"args": {"model_name": "resnet18"}, "partial": True}, False),
        ({}, False),
    ],
)
def test_find_create_model_of_timm_takes_names_alone(monkeypatch, section, is_found):
    """timm loads files and addresses for those who ask; a checkpoint may ask for a published model by its name."""
    factory, timm = types.ModuleType("timm.models._factory"), types.ModuleType("timm")
    exec("def create_model(model_name, **keywords): ...", factory.__dict__)
    timm.create_model = factory.create_model
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "timm.models._factory", factory)
    tree = ConfigTree({"arch": {"type": "timm.create_model", **section}}, {("arch",): f"{INSIDE}a.pth"})
    if is_found:
        assert find(tree, ("arch", "type"), "timm.create_model", None) is factory.create_model
    else:
        with pytest.raises(NotTrusted):
            find(tree, ("arch", "type"), "timm.create_model", None)


def test_begin_weights_of_a_checkpoint_refuses_foreign_functions(tmp_path):
    """`arch.init` goes through the same door."""
    done = tmp_path / "done"
    fillings = [{"type": "zeros_"}, {"type": "pydoc.pipepager", "match": "weight", "args": {"cmd": f"touch {done}"}}]
    config = ConfigParser({"arch": {"init": fillings}}, origins={("arch",): f"{INSIDE}a.pth"})
    with pytest.raises(ConfigError) as error:
        begin_weights(nn.Linear(1, 1), config["arch"], config.find)
    assert str(error.value) == (
        "config error: arch.init.1 is a name out of a checkpoint that leads to foreign code\n"
        "  from      inside a.pth\n"
        '  got       "pydoc.pipepager"'
    )
    assert not done.exists()
