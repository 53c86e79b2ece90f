"""From sections to objects: nested blocks, factories, and names that come out of a checkpoint."""

import argparse
import collections
import functools
import importlib
import json
import logging
import os
import sys
import types

import pytest
import torch

import data_loader.data_loaders
import model.model
from espalier.errors import ConfigError
from parse_config import ConfigParser

CustomArgs = collections.namedtuple("CustomArgs", "flags type target")
ROOM_CODE = """
built = []

class Part:
    def __init__(self, size=1, inner=None):
        self.size, self.inner = size, inner
        built.append(self)

class Net:
    def __init__(self, part=None, parts=(), options=None, make=None):
        self.part, self.parts, self.options, self.make = part, parts, options, make

class Broken:
    def __init__(self, size=1):
        raise ValueError("size must be even")
"""
FOREIGN = "is a name out of a checkpoint that leads to foreign code"


@pytest.fixture
def room():
    """A module with classes that count how often they are built."""
    room = types.ModuleType("room")
    exec(ROOM_CODE, room.__dict__)
    return room


def net_of(room, **args):
    """The network that a config with these arguments describes."""
    return ConfigParser({"arch": {"type": "Net", "args": args}}).init_obj("arch", room)


# nested blocks


def test_build_block_in_args_becomes_its_object(room):
    """A `{type, args}` inside `args` is built and passed."""
    net = net_of(room, part={"type": "Part", "args": {"size": 3}})
    assert (type(net.part), net.part.size) == (room.Part, 3)


def test_build_list_of_blocks_becomes_a_list_of_objects(room):
    """Blocks in lists keep their order, and stand beside plain values."""
    net = net_of(room, parts=[{"type": "Part", "args": {"size": 2}}, "plain", {"type": "torch.nn.ReLU"}])
    assert [type(part) for part in net.parts] == [room.Part, str, torch.nn.ReLU]


def test_build_blocks_inside_blocks_and_sections_are_built(room):
    """However deep a block stands, it is built."""
    inner = {"type": "Part", "args": {"size": 4}}
    net = net_of(
        room, options={"deep": [{"type": "Part", "args": {"inner": {"type": "Part", "args": {"inner": inner}}}}]}
    )
    assert net.options["deep"][0].inner.inner.size == 4


def test_build_each_object_is_built_exactly_once(room):
    """Nothing is built twice, or for nothing."""
    block = {"type": "Part", "args": {"inner": {"type": "Part"}}}
    net = net_of(room, part=block, parts=[block, {"type": "Part"}])
    assert len(room.built) == 5
    assert {id(part) for part in room.built} == {
        id(net.part), id(net.part.inner), id(net.parts[0]), id(net.parts[0].inner), id(net.parts[1])}  # fmt: skip


def test_build_partial_block_becomes_a_factory(room):
    """A factory holds its arguments, and makes a new object at each call."""
    net = net_of(room, make={"type": "Part", "args": {"size": 3, "inner": {"type": "Part"}}, "partial": True})
    assert isinstance(net.make, functools.partial)
    first, second = net.make(), net.make(size=5)
    assert (first.size, second.size, first is second) == (3, 5, False)


def test_build_block_that_is_not_partial_is_an_object(room):
    """`"partial": false` says what is so anyway."""
    assert net_of(room, part={"type": "Part", "partial": False}).part.size == 1


@pytest.mark.parametrize("value", [{"type": 3}, {"type": "Part", "width": 1}, {"args": {}}, {}])
def test_build_section_that_is_no_block_is_passed_as_it_is(room, value):
    """Only `type`, `args` and `partial` make a block: a dict of the user's own stays one."""
    assert net_of(room, options=value).options == value


def test_build_block_in_the_arguments_of_a_metric_is_built():
    """Blocks work for functions too, which get their object once, not at each call."""
    block = {"type": "torch.ones", "args": {"size": [3]}}
    values = {"metrics": [{"type": "torch.nn.functional.nll_loss", "args": {"weight": block}}]}
    (metric,) = ConfigParser(values).init_ftn("metrics", types.ModuleType("metric"))
    assert metric.keywords["weight"].tolist() == [1, 1, 1]


def test_build_config_is_left_as_it_was(room):
    """The config that a checkpoint keeps holds blocks, not objects."""
    values = {"arch": {"type": "Net", "args": {"parts": [{"type": "Part"}]}}}
    config = ConfigParser(values)
    config.init_obj("arch", room)
    assert config["arch"] == {"type": "Net", "args": {"parts": [{"type": "Part"}]}}


def test_build_unknown_name_in_a_block_is_told_by_its_path(room):
    """A misspelt block is named with its place and the nearest."""
    with pytest.raises(ConfigError) as error:
        net_of(room, parts=[{"type": "Part"}, {"type": "Prat"}])
    assert str(error.value) == "config error: arch.args.parts.1 is not in room: Prat\n  closest   Part"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with Python 3.11")
def test_build_error_of_a_constructor_keeps_its_cause_and_names_the_path(room, tmp_path):
    """An error while building is the original one, with a note where it was."""
    path = tmp_path / "c.json"
    path.write_text('{"arch": {"type": "Net", "args": {\n"parts": [{"type": "Part"},\n{"type": "Broken"}]}}}')
    with pytest.raises(ValueError) as error:
        ConfigParser.from_file(path).init_obj("arch", room)
    assert (type(error.value), str(error.value)) == (ValueError, "size must be even")
    assert error.value.__notes__[0] == f"while building arch.args.parts.1 ({path}:3)"


def test_check_faults_in_blocks_are_told_by_their_paths(tiny_config):
    """Names and arguments of nested blocks are checked like those of sections."""
    block = {"type": "torch.nn.Linear", "args": {"in_features": "3", "out": 2}}
    tiny_config["arch"] = {
        "type": "MnistModel",
        "args": {"dropout": block, "num_classes": {"type": "No", "partial": 1}},
    }
    with pytest.raises(ConfigError) as error:
        ConfigParser(tiny_config).check()
    assert [(each.path, each.what.split(" for ")[0]) for each in error.value.problems] == [
        ("arch.args.dropout.args.in_features", "has the wrong type"),
        ("arch.args.dropout.args.out", "is not an argument of torch.nn.Linear"),
        ("arch.args.dropout.args.out_features", "is missing: torch.nn.Linear needs it"),
        ("arch.args.num_classes.partial", "has a value that does not fit"),
        ("arch.args.num_classes.type", "names nothing in model.model"),
    ]


# names out of a checkpoint


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A package that a checkpoint may not name; noted if it was imported."""
    (tmp_path / "foreign_code.py").write_text("from torch import nn\nclass Net(nn.Module): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "foreign_code"
    sys.modules.pop("foreign_code", None)


def test_checkpoint_names_of_the_project_and_torch_are_trusted(from_checkpoint):
    """What the project and torch offer is built from a checkpoint alone."""
    values = {"loss": "torch.nn.functional.nll_loss", "metrics": ["accuracy", "torchmetrics.MeanMetric"]}
    config = from_checkpoint({**values, "arch": {"type": "model.model.MnistModel", "args": {}}})
    config.check()
    assert isinstance(config.init_obj("arch", model.model), model.model.MnistModel)


def test_checkpoint_foreign_name_is_refused_and_not_imported(from_checkpoint, foreign, tmp_path):
    """A name that leads elsewhere is refused before its code runs, and the message says how to allow it."""
    with pytest.raises(ConfigError) as error:
        from_checkpoint({"arch": {"type": f"{foreign}.Net"}}).check()
    assert str(error.value) == (
        f"config error: arch.type {FOREIGN}\n"
        f"  from      inside {tmp_path / 'download' / 'model.pth'}\n"
        '  got       "foreign_code.Net"\n'
        "  expected  a name in this project, or in torch.nn, torch.optim, torchvision.models, torchvision.ops, "
        "torchvision.transforms, torchmetrics, timm\n"
        "  fix       if you trust it, write the same section into a config and give that with -c"
    )
    assert foreign not in sys.modules


def test_checkpoint_foreign_name_is_not_built_without_a_check(from_checkpoint, foreign, tmp_path):
    """Building refuses as the check does, for those who do not check."""
    config = from_checkpoint({"arch": {"type": f"{foreign}.Net"}})
    with pytest.raises(ConfigError) as error:
        config.init_obj("arch", model.model)
    assert str(error.value) == (
        f"config error: arch {FOREIGN}\n"
        f"  from      inside {tmp_path / 'download' / 'model.pth'}\n"
        '  got       "foreign_code.Net"'
    )
    assert foreign not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.exec",
        "subprocess.Popen",
        "torch.serialization.os.system",
        "torch.os.system",
        "torch.builtins.eval",
        "torch.load",
        "torch.hub.load",
        "torch.hub.load_state_dict_from_url",
        "torch.utils.model_zoo.load_url",
        "torch.utils.cpp_extension.load_inline",
        "torch.package.PackageImporter",
        "torch.nn.modules.module.functools.partial",
        "torch.nn.Linear.__init__.__globals__.get",
        "torch.nn.Linear.__class__",
        "model.model.nn.modules.module.functools.partial",
        "data_loader.data_loaders.np.load",
        "data_loader.data_loaders.Path.unlink",
        # in torch itself, but they run or write whatever their arguments say
        "torch.utils.collect_env.run",
        "torch.fx.graph_module._exec_with_source",
        "torch.ops.load_library",
        "torch.classes.load_library",
        "torch.distributed.run.main",
        "torchvision.datasets.utils.download_url",
    ],
)
def test_checkpoint_walk_to_code_that_runs_anything_is_refused(from_checkpoint, name):
    """No path through modules that are trusted leads to what is not, nor to what runs code of its arguments."""
    config = from_checkpoint({"arch": {"type": "MnistModel", "args": {"num_classes": {"type": name, "args": {}}}}})
    with pytest.raises(ConfigError) as error:
        config.check()
    assert [(each.path, each.what) for each in error.value.problems] == [("arch.args.num_classes.type", FOREIGN)]


@pytest.mark.parametrize("name", ["model.model.nn.Identity", "torch.nn.modules.linear.Identity"])
def test_checkpoint_walk_to_trusted_code_is_accepted(from_checkpoint, name):
    """Which way a path goes does not matter, only where it ends."""
    config = from_checkpoint({"arch": {"type": name}})
    config.check()
    assert isinstance(config.init_obj("arch", model.model), torch.nn.Identity)


@pytest.mark.parametrize("name", ["Path", "np", "importlib"])
def test_checkpoint_name_that_a_room_only_imports_is_refused(from_checkpoint, name, monkeypatch):
    """A room's own imports are no way out of it."""
    monkeypatch.setattr(data_loader.data_loaders, "importlib", importlib, raising=False)
    config = from_checkpoint({"test_data_loader": {"type": name, "args": {}}})
    with pytest.raises(ConfigError) as error:
        config.check()
    assert (error.value.problems[0].path, error.value.problems[0].what) == ("test_data_loader.type", FOREIGN)


@pytest.mark.parametrize(
    ("inside", "given"),
    [
        ({"arch": {"type": "foreign_code.Net"}}, {"arch": {"type": "foreign_code.Net"}}),
        ({}, {"arch": {"type": "foreign_code.Net"}}),
        (
            {"arch": {"type": "torch.nn.ModuleDict", "args": {"modules": {}}}},
            {"arch": {"args": {"modules": {"head": {"type": "foreign_code.Net"}}}}},
        ),
    ],
    ids=["same section", "new section", "block"],
)
def test_checkpoint_foreign_name_in_a_config_given_with_it_is_accepted(from_checkpoint, foreign, inside, given):
    """What a config on disk asks for is checked and built, whatever the checkpoint says too."""
    config = from_checkpoint(inside, config=given)
    config.check()
    built = config.init_obj("arch", model.model)
    assert type([*built.modules()][-1]).__module__ == foreign


def test_checkpoint_config_given_for_another_section_does_not_allow_it(from_checkpoint, foreign):
    """A config on disk stands for what it says, not for the rest of the checkpoint."""
    config = from_checkpoint({"arch": {"type": f"{foreign}.Net"}}, config={"trainer": {"epochs": 3}})
    with pytest.raises(ConfigError) as error:
        config.check()
    assert [(each.path, each.what) for each in error.value.problems] == [("arch.type", FOREIGN)]


def test_checkpoint_foreign_name_behind_a_reference_is_refused(from_checkpoint, foreign):
    """A reference inside a checkpoint is no way round."""
    config = from_checkpoint({"arch": {"type": "${user.kind}"}, "user": {"kind": f"{foreign}.Net"}})
    with pytest.raises(ConfigError) as error:
        config.check()
    assert [(each.path, each.what) for each in error.value.problems] == [("arch.type", FOREIGN)]


def test_checkpoint_compiled_function_of_torch_is_trusted(from_checkpoint):
    """Functions of torch.nn that are compiled, and so stand in another module of torch, can be used."""
    config = from_checkpoint({"metrics": ["torch.nn.functional.cosine_similarity"]})
    config.check()
    assert config.init_ftn("metrics", model.model)[0](torch.ones(1, 2), torch.ones(1, 2)).item() == pytest.approx(1)


# from Python and from the command line


def test_from_file_has_no_side_effects(tiny_config, tmp_path, monkeypatch):
    """A notebook that reads a config gets no folder, no handler, no other environment, and needs no argv."""
    path = tmp_path / "c.json"
    path.write_text(json.dumps(tiny_config))
    monkeypatch.setattr(sys, "argv", ["notebook", "-f", "kernel.json"])
    before = dict(os.environ), logging.getLogger().handlers[:], sorted(tmp_path.iterdir())
    config = ConfigParser.from_file(path, {"optimizer.args.lr": 0.01, "metrics.0": "top_k_acc"})
    config.check(extra_log_names=())
    assert (dict(os.environ), logging.getLogger().handlers, sorted(tmp_path.iterdir())) == before
    assert (config["optimizer"]["args"]["lr"], config["metrics"]) == (0.01, ["top_k_acc"])
    assert config.overrides == {"optimizer.args.lr": 0.01, "metrics.0": "top_k_acc"}


@pytest.fixture
def from_line(monkeypatch, tiny_config, tmp_path):
    """The config of the tiny file, with `user.a` and two metrics, and a command line."""
    tiny_config["user"] = {"alpha": 1, "is_on": True}
    tiny_config["metrics"] = ["accuracy", {"type": "top_k_acc", "args": {"k": 3}}]
    (tmp_path / "c.json").write_text(json.dumps(tiny_config))

    def call(*argv, options=()):
        monkeypatch.setattr(sys, "argv", ["train.py", "-c", str(tmp_path / "c.json"), *argv])
        parser = argparse.ArgumentParser()
        parser.add_argument("-c", "--config")
        return ConfigParser.from_args(parser, options)

    return call


@pytest.mark.parametrize(
    ("word", "value"), [("true", True), ("False", False), ("yes", True), ("no", False), ("1", True), ("0", False)]
)
def test_from_args_custom_flag_of_type_bool_reads_words(from_line, word, value):
    """`--on false` is false, which bool("false") is not."""
    config = from_line("--on", word, options=[CustomArgs(["--on"], bool, "user;is_on")])
    assert config["user"]["is_on"] is value


def test_from_args_custom_flag_of_type_bool_refuses_other_words(from_line, capsys):
    """What is neither true nor false is refused as argparse does."""
    with pytest.raises(SystemExit) as end:
        from_line("--on", "maybe", options=[CustomArgs(["--on"], bool, "user;is_on")])
    assert end.value.code == 2
    assert "argument --on: invalid parse_bool value: 'maybe'" in capsys.readouterr().err


def test_from_args_custom_flag_target_may_be_a_tuple(from_line):
    """Both classic forms of a target set the value."""
    config = from_line("--k", "5", options=[CustomArgs(["--k"], int, ("metrics", 1, "args", "k"))])
    assert config["metrics"][1] == {"type": "top_k_acc", "args": {"k": 5}}


def test_from_args_custom_flag_with_a_tuple_target_that_is_not_given_changes_nothing(from_line):
    """A flag with a tuple target is optional like any other."""
    config = from_line(options=[CustomArgs(["--k"], int, ("metrics", 1, "args", "k"))])
    assert (config["metrics"][1]["args"], config.overrides) == ({"k": 3}, {})


def test_from_args_list_item_is_set_by_its_index(from_line):
    """Tokens reach into lists, at any depth."""
    config = from_line("metrics.1.args.k=5", "metrics.0=top_k_acc")
    assert config["metrics"] == ["top_k_acc", {"type": "top_k_acc", "args": {"k": 5}}]
    assert config.origin("metrics.1.args.k") == "command line"


def test_from_args_list_item_beyond_the_end_is_refused(from_line):
    """A list does not grow by a token."""
    with pytest.raises(ConfigError) as error:
        from_line("metrics.2=accuracy").check()
    assert str(error.value) == (
        "config error: metrics.2 asks for item 2 of a list\n"
        "  from      command line\n"
        "  expected  an index from 0 to 1, since metrics has 2 items"
    )


def test_check_override_of_a_user_key_that_is_not_there_names_the_nearest(from_line):
    """Nobody knows the keys of the user's section but the file, so one much like a key of it is taken for misspelt."""
    with pytest.raises(ConfigError) as error:
        from_line("user.alhpa=2").check()
    assert str(error.value) == (
        "config error: user.alhpa is not in the config, which has a key much like it\n"
        "  from      command line\n"
        "  closest   user.alpha\n"
        "  fix       write user.alpha, or write user.alhpa into the config first"
    )


@pytest.mark.parametrize("token", ["user.alpha=2", "user.is_on=false", 'user={"new": 1}'])
def test_check_override_of_a_user_key_that_is_there_passes(from_line, token):
    """Keys that the file has, and the section as a whole, can be set."""
    from_line(token).check()


def test_check_override_that_a_signature_takes_may_be_new(from_line):
    """An argument that the class takes need not be in the file."""
    config = from_line("optimizer.args.nesterov=true")
    config.check()
    assert config["optimizer"]["args"]["nesterov"] is True


def test_arch_pretrained_by_a_dotted_path_has_the_published_weights(tmp_path, monkeypatch):
    """torchvision's own names; the file is where a download would have put it."""
    from torchvision.models import squeezenet1_1

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    published = squeezenet1_1()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(published.state_dict(), tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    section = {"type": "torchvision.models.squeezenet1_1", "args": {"weights": "IMAGENET1K_V1", "progress": False}}
    built = ConfigParser({"arch": section}).init_obj("arch", None)
    assert all(torch.equal(value, built.state_dict()[name]) for name, value in published.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "args", "why"),
    [
        ("torch.utils.data.DataLoader", {"dataset": [1, 2], "shuffle": True, "sampler": [0]},
         "sampler option is mutually exclusive with shuffle"),
        ("torchvision.models.squeezenet1_1", {"weights": "DEFAULT", "num_classes": 3},
         "The parameter 'num_classes' expected value 1000 but got 3 instead."),
        ("torch.nn.Conv2d", {"in_channels": 3, "out_channels": 4, "kernel_size": 3, "groups": 2},
         "in_channels must be divisible by groups"),
    ],
)  # fmt: skip
def test_init_obj_what_pytorch_refuses_of_checked_arguments_is_a_fault_of_the_config(kind, args, why):
    """Told as all others are, without a traceback; what a class of the user's raises stays what it is."""
    config = ConfigParser({"user": {"type": kind, "args": args}}, origins={("user", "args"): "c.json:3"})
    config.tree.is_checked = True
    with pytest.raises(ConfigError) as error:
        config.init_obj("user", None)
    told = f"config error: user.args is refused by {kind}: {why}\n  from      c.json:3\n  got       {json.dumps(args)}"
    head, _, fix = str(error.value).partition("\n  fix")
    assert head == told
    assert bool(fix) == ("weights" in args)  # see test_pretrained.py
    assert isinstance(error.value.__cause__, ValueError)
