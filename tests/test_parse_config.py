"""From a command line to one config, and from its sections to objects and a run folder."""

import argparse
import collections
import copy
import errno
import json
import logging
import os
import shutil
import sys
import tempfile
import types

import pytest
import torch

from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.config.json_text import parse_json
from espalier.errors import CheckpointError, ConfigError
from parse_config import ConfigParser

CustomArgs = collections.namedtuple("CustomArgs", "flags type target")
ROOM_CODE = """
import functools

class Net:
    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

class Focal:
    def __init__(self, gamma=2.0):
        self.gamma = gamma
    def __call__(self, output, target):
        return output * self.gamma

class Broken:
    def __init__(self):
        raise TypeError("no weights")

def mse(output, target):
    return (output - target) ** 2

def scaled(output, target, k=3):
    return (output - target) * k

halved = functools.partial(scaled, k=0.5)
"""


@pytest.fixture
def room():
    """A module with classes and functions, as a user's room is one."""
    room = types.ModuleType("room")
    exec(ROOM_CODE, room.__dict__)
    return room


@pytest.fixture
def config_file(tiny_config, tmp_path):
    """The tiny config as a file."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(tiny_config, indent=1))
    return path


@pytest.fixture
def run_folder(tiny_config, tmp_path):
    """A run with two epochs done: its config, two checkpoints, and the first one as the best."""
    folder = tmp_path / "saved" / "models" / "Tiny" / "first"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(tiny_config, indent=1))
    for name, epoch in (("checkpoint-epoch1.pth", 1), ("checkpoint-epoch2.pth", 2), ("model_best.pth", 1)):
        save_checkpoint({"state_dict": {}, "epoch": epoch, "config": tiny_config}, folder / name)
    return folder


@pytest.fixture
def from_args(monkeypatch):
    """ConfigParser.from_args with the parser of train.py, on a command line given as arguments."""

    def call(*argv, options=(), evaluating=False):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, argv)])
        parser = argparse.ArgumentParser()
        for flags in (("-c", "--config"), ("-r", "--resume"), ("-d", "--device")):
            parser.add_argument(*flags)
        return ConfigParser.from_args(parser, options, evaluating=evaluating)

    return call


def damage(path):
    """Cut the last ten bytes off a file."""
    path.write_bytes(path.read_bytes()[:-10])


# indexing


def test_config_parser_indexing_gives_the_plain_section():
    """A section is the very dict of the config, as classic projects expect."""
    config = {"trainer": {"epochs": 3}}
    assert ConfigParser(config)["trainer"] is config["trainer"]


def test_config_parser_unknown_section_is_a_key_error():
    """Indexing behaves as a dict does."""
    with pytest.raises(KeyError, match="^'trainer'$"):
        ConfigParser({})["trainer"]


@pytest.mark.parametrize(("name", "is_in"), [("a", True), ("empty", True), ("none", False), ("missing", False)])
def test_config_parser_contains_sections_that_are_not_null(name, is_in):
    """`"lr_scheduler" in config` asks whether there is one; null means none."""
    assert (name in ConfigParser({"a": 1, "empty": {}, "none": None})) is is_in


@pytest.mark.parametrize(("name", "default", "value"), [("a", None, 1), ("b", None, None), ("b", 5, 5)])
def test_get_missing_section_is_the_default(name, default, value):
    """get works as for a dict."""
    assert ConfigParser({"a": 1}).get(name, default) == value


def test_config_whole_config_under_both_classic_names():
    """`config.config` and `config._config` are the dict itself."""
    values = {"name": "Net"}
    config = ConfigParser(values)
    assert config.config is config._config is values


# init_obj


def test_init_obj_passes_positional_section_and_keyword_arguments(room):
    """type(*args, **section args, **kwargs)."""
    net = ConfigParser({"arch": {"type": "Net", "args": {"width": 8}}}).init_obj("arch", room, 1, 2, depth=3)
    assert (type(net), net.args, net.kwargs) == (room.Net, (1, 2), {"width": 8, "depth": 3})


@pytest.mark.parametrize(
    "section", [{"type": "Net"}, {"type": "Net", "args": None}, {"type": "Net", "args": {}}, "Net"]
)
def test_init_obj_without_args_calls_with_none(room, section):
    """Arguments may be left out, null or empty."""
    net = ConfigParser({"arch": section}).init_obj("arch", room)
    assert (net.args, net.kwargs) == ((), {})


def test_init_obj_dotted_type_is_found_anywhere(room):
    """A dotted type does not look into the module that is given."""
    config = ConfigParser({"arch": {"type": "torch.nn.Linear", "args": {"in_features": 2, "out_features": 3}}})
    assert config.init_obj("arch", room).weight.shape == (3, 2)


def test_init_obj_module_may_be_any_namespace():
    """`torch.optim` or a class full of names will do."""
    config = ConfigParser({"optimizer": {"type": "SGD", "args": {"lr": 0.5}}})
    optimizer = config.init_obj("optimizer", torch.optim, [torch.nn.Parameter(torch.ones(1))])
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_init_obj_list_section_gives_a_list(room):
    """A list of sections gives the objects in its order."""
    config = ConfigParser({"nets": [{"type": "Net", "args": {"a": 1}}, "Net"]})
    assert [net.kwargs for net in config.init_obj("nets", room, x=0)] == [{"a": 1, "x": 0}, {"x": 0}]


def test_init_obj_leaves_the_config_as_it_was(room):
    """Building an object writes nothing into its section."""
    values = {"arch": {"type": "Net", "args": {"width": 8}}}
    before = copy.deepcopy(values)
    ConfigParser(values).init_obj("arch", room, depth=3).kwargs["width"] = 0
    assert values == before


@pytest.mark.parametrize("build", ["init_obj", "init_ftn"])
@pytest.mark.parametrize("values", [{}, {"loss": None}])
def test_init_missing_section_is_a_config_error(room, build, values):
    """A section that is not there, or null, is asked for."""
    with pytest.raises(ConfigError) as error:
        getattr(ConfigParser(values), build)("loss", room)
    assert str(error.value) == 'config error: loss is missing\n  fix       add a "loss" section'


@pytest.mark.parametrize("build", ["init_obj", "init_ftn"])
def test_init_unknown_type_is_a_config_error_with_the_nearest(room, build):
    """A misspelt type says where it was written and what it may have meant."""
    config = ConfigParser({"arch": {"type": "Nett"}}, origins={("arch", "type"): "c.json:3", ("arch",): "c.json:2"})
    with pytest.raises(ConfigError) as error:
        getattr(config, build)("arch", room)
    assert str(error.value) == (
        "config error: arch is not in room: Nett\n"
        "  from      c.json:3\n"
        "  closest   Net"
    )  # fmt: skip


@pytest.mark.parametrize("build", ["init_obj", "init_ftn"])
@pytest.mark.parametrize("section", [{"args": {}}, {"type": 3}, {"type": None}, 3])
def test_init_section_without_a_type_is_a_config_error(room, build, section):
    """A section of one's own that names nothing is refused like those that the framework checks."""
    with pytest.raises(ConfigError) as error:
        getattr(ConfigParser({"mine": section}), build)("mine", room)
    assert str(error.value).startswith("config error: mine")


@pytest.mark.parametrize(("build", "kind"), [("init_obj", "Net"), ("init_ftn", "Focal"), ("init_ftn", "scaled")])
def test_init_argument_that_the_program_repeats_is_refused(room, build, kind):
    """Neither the config nor the program wins silently."""
    values = {"part": {"type": kind, "args": {"k": 1, "gamma": 1}}}
    config = ConfigParser(values, origins={("part", "args", "k"): "c.json:3"})
    with pytest.raises(ConfigError) as error:
        getattr(config, build)("part", room, k=2)
    assert str(error.value) == (
        "config error: part.args.k is set by the program, so it cannot be set here too\n"
        "  from      c.json:3\n"
        "  fix       remove it from the config"
    )


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions carry no notes")
@pytest.mark.parametrize(("origins", "where"), [({("arch",): "c.json:2"}, "c.json:2"), (None, "set in Python")])
def test_init_obj_constructor_that_fails_says_which_section_it_was(room, origins, where):
    """The error of a class is its own, with a note that leads to the config."""
    with pytest.raises(TypeError) as error:
        ConfigParser({"arch": {"type": "Broken"}}, origins=origins).init_obj("arch", room)
    assert str(error.value) == "no weights"
    assert error.value.__notes__ == [f"while building arch ({where})"]


# init_ftn


@pytest.mark.parametrize("section", ["mse", {"type": "mse"}, {"type": "mse", "args": {}}])
def test_init_ftn_name_without_arguments_is_the_function_itself(room, section):
    """A plain name gives the function, not a wrapper."""
    assert ConfigParser({"loss": section}).init_ftn("loss", room) is room.mse


def test_init_ftn_arguments_are_bound_and_the_name_stays(room):
    """A function with arguments is a partial that still knows what it is called."""
    metric = ConfigParser({"metric": {"type": "scaled", "args": {"k": 5}}}).init_ftn("metric", room)
    assert (metric(3, 1), metric.__name__) == (10, "scaled")


def test_init_ftn_positional_and_keyword_arguments_of_the_program_are_bound(room):
    """The classic call: config.init_ftn("loss", module, a, b=1)(rest)."""
    assert ConfigParser({"loss": "scaled"}).init_ftn("loss", room, 7, k=2)(4) == 6


def test_init_ftn_class_gives_an_instance_with_a_name(room):
    """A loss may be a class: it is constructed once, and metrics find its name."""
    loss = ConfigParser({"loss": {"type": "Focal", "args": {"gamma": 3.0}}}).init_ftn("loss", room)
    assert (loss(2.0, None), loss.__name__) == (6.0, "Focal")


def test_init_ftn_torch_loss_is_a_module_with_its_arguments(room):
    """torch.nn.CrossEntropyLoss works as a loss, with arguments from the config."""
    section = {"type": "torch.nn.CrossEntropyLoss", "args": {"label_smoothing": 0.1}}
    loss = ConfigParser({"loss": section}).init_ftn("loss", room)
    assert (loss.label_smoothing, loss.__name__) == (0.1, "CrossEntropyLoss")


def test_init_ftn_list_gives_the_functions_in_order(room):
    """The metrics of a config, in each form."""
    metrics = ["mse", {"type": "scaled", "args": {"k": 2}, "name": "doubled"}, "Focal", "torch.nn.functional.l1_loss"]
    functions = ConfigParser({"metrics": metrics}).init_ftn("metrics", room)
    assert [function.__name__ for function in functions] == ["mse", "doubled", "Focal", "l1_loss"]


def test_init_ftn_name_of_one_entry_leaves_the_others_alone(room):
    """Calling a function something else in one place does not rename it in another."""
    metrics = [{"type": "mse", "name": "error"}, "mse"]
    functions = ConfigParser({"metrics": metrics}).init_ftn("metrics", room)
    assert [function.__name__ for function in functions] == ["error", "mse"]
    assert [function(3, 1) for function in functions] == [4, 4]


@pytest.mark.parametrize(("section", "name"), [("halved", "halved"), ({"type": "halved", "name": "half"}, "half"),
                                               ({"type": "halved", "args": {"k": 1}}, "halved")],
                         ids=["plain", "named", "bound"])  # fmt: skip
def test_init_ftn_callable_without_a_name_goes_by_its_name_in_the_config(room, section, name):
    """A partial in the user's module is as good as a function."""
    assert ConfigParser({"loss": section}).init_ftn("loss", room).__name__ == name


def test_init_ftn_compiled_function_can_be_given_a_name(room):
    """A function of torch that allows no new attributes can still be called something else."""
    section = {"type": "torch.dist", "name": "distance"}
    function = ConfigParser({"metric": section}).init_ftn("metric", room)
    assert (function.__name__, function(torch.ones(1), torch.zeros(1)).item()) == ("distance", 1.0)


# check


def test_check_problems_come_in_one_config_error(room, tiny_config):
    """All faults are raised together."""
    tiny_config["trainer"]["epochs"] = 0
    tiny_config["nmae"] = 1
    tiny_config["arch"]["type"] = "Nett"
    with pytest.raises(ConfigError) as error:
        ConfigParser(tiny_config).check({"arch": room})
    assert [problem.path for problem in error.value.problems] == ["arch.type", "nmae", "trainer.epochs"]


def test_check_config_that_is_right_passes(room, tiny_config):
    """Nothing is said about a config without faults."""
    tiny_config["metrics"] = ["scaled"]
    ConfigParser(tiny_config).check({"metrics": room, "optimizer": torch.optim})


# get_logger


@pytest.mark.parametrize(("verbosity", "level"), [(0, logging.WARNING), (1, logging.INFO), (2, logging.DEBUG)])
def test_get_logger_verbosity_sets_the_level(verbosity, level):
    """0 shows warnings, 1 information, 2 everything."""
    logger = ConfigParser({}).get_logger("test_parse_config", verbosity)
    assert (logger.name, logger.level) == ("test_parse_config", level)


def test_get_logger_other_verbosity_is_refused():
    """A verbosity that does not exist is a config error."""
    with pytest.raises(ConfigError) as error:
        ConfigParser({}, origins={("trainer", "verbosity"): "c.json:9"}).get_logger("test_parse_config", 3)
    assert str(error.value) == (
        "config error: trainer.verbosity is no verbosity\n"
        "  from      c.json:9\n"
        "  got       3\n"
        "  expected  0, 1 or 2"
    )  # fmt: skip


def test_get_logger_debug_lines_reach_the_log_of_the_run(from_args, config_file):
    """With verbosity 2 the DEBUG lines stand in info.log, those from before there was a folder too."""
    config = from_args("-c", config_file)
    config.get_logger("test_parse_config", 2).debug("before the folder")
    folder = config.log_dir
    config.get_logger("test_parse_config", 2).debug("after it")
    lines = (folder / "info.log").read_text().splitlines()
    assert [line.split(" - ")[-1] for line in lines] == ["before the folder", "after it"]


# modification and origin


@pytest.mark.parametrize("target", ["optimizer;args;lr", ("optimizer", "args", "lr")])
def test_modification_replaces_the_value_and_is_recorded(target):
    """Values from the command line win, and are known by their dotted path."""
    config = ConfigParser({"optimizer": {"args": {"lr": 0.1}}}, modification={target: 0.5})
    assert config["optimizer"] == {"args": {"lr": 0.5}}
    assert config.overrides == {"optimizer.args.lr": 0.5}
    assert config.origin("optimizer.args.lr") == "command line"


def test_modification_none_under_a_classic_target_was_not_given():
    """argparse gives None for a flag that was left out."""
    config = ConfigParser({"a": 1}, modification={"a": None})
    assert (config["a"], config.overrides) == (1, {})


def test_modification_null_under_a_path_is_set():
    """`lr_scheduler=null` switches it off."""
    config = ConfigParser({"a": 1}, modification={("a",): None})
    assert (config["a"], config.overrides) == (None, {"a": None})


def test_modification_of_a_list_item_has_its_origin():
    """A metric that was changed on the command line comes from there."""
    tree = parse_json('{"metrics": ["a", "b"]}', "c.json")
    config = ConfigParser(tree.values, modification={("metrics", "1"): "c"}, origins=tree.origins)
    assert config["metrics"] == ["a", "c"]
    assert config.origin("metrics.1") == "command line"


def test_origin_of_a_key_that_looks_like_a_number_is_found():
    """A section may have the key "1"."""
    tree = parse_json('{"user": {\n"1": 2}}', "c.json")
    assert ConfigParser(tree.values, origins=tree.origins).origin("user.1") == "c.json:2"


def test_snapshot_later_changes_to_the_config_do_not_reach_it():
    """What is stored with a checkpoint is what the run started with."""
    config = ConfigParser({"user": {"a": 1}}, modification={("user", "b"): 2})
    config["user"]["a"] = 5
    assert config.snapshot == {"user": {"a": 1, "b": 2}}


# the run folder


def test_save_dir_before_it_is_read_nothing_is_made(from_args, config_file, tmp_path):
    """Building a config writes no file."""
    from_args("-c", config_file)
    assert list(tmp_path.iterdir()) == [config_file]


def test_save_dir_of_a_new_run_is_made_with_config_and_log(from_args, config_file, tmp_path):
    """The first look at save_dir makes both folders and writes the config."""
    config = from_args("-c", config_file, "trainer.epochs=5")
    saved = tmp_path / "saved"
    assert config.save_dir.parent == saved / "models" / "Tiny"
    assert config.log_dir == saved / "log" / "Tiny" / config.save_dir.name
    assert sorted(path.name for path in saved.rglob("*") if path.is_file()) == ["config.json", "info.log"]
    assert json.loads((config.save_dir / "config.json").read_text()) == config.config


def test_save_dir_read_again_is_the_same_folder(tiny_config):
    """A run has one folder."""
    config = ConfigParser(tiny_config)
    assert config.save_dir is config.save_dir
    assert len(list(config.save_dir.parent.iterdir())) == 1


def test_save_dir_run_id_names_the_folder(tiny_config, tmp_path):
    """A run may be named by the program."""
    assert ConfigParser(tiny_config, run_id="mine").save_dir == tmp_path / "saved" / "models" / "Tiny" / "mine"


def test_save_dir_of_a_continued_run_is_its_own_folder(from_args, run_folder, tmp_path):
    """`-r` alone goes on where the run stopped, and leaves its config as it was."""
    before = (run_folder / "config.json").read_text()
    config = from_args("-r", run_folder / "checkpoint-epoch1.pth")
    assert (config.save_dir, config.continues_run) == (run_folder, True)
    assert config.log_dir == tmp_path / "saved" / "log" / "Tiny" / "first"
    assert config.resume == run_folder / "checkpoint-epoch1.pth"
    assert (run_folder / "config.json").read_text() == before


def test_save_dir_of_a_continued_run_with_overrides_writes_them_down(from_args, run_folder):
    """The config beside the checkpoints is the one in force."""
    assert from_args("-r", run_folder, "trainer.epochs=9").save_dir == run_folder
    assert json.loads((run_folder / "config.json").read_text())["trainer"]["epochs"] == 9


def test_save_dir_of_config_and_checkpoint_is_a_new_folder(from_args, run_folder, config_file):
    """`-c` with `-r` starts a new run; the old folder is not touched."""
    config = from_args("-c", config_file, "-r", run_folder / "model_best.pth")
    before = sorted(run_folder.iterdir())
    assert config.save_dir.parent == run_folder.parent
    assert config.save_dir != run_folder
    assert config.continues_run is False
    assert sorted(run_folder.iterdir()) == before


def test_save_dir_of_a_moved_checkpoint_is_a_new_folder_with_the_config_inside(from_args, run_folder, tmp_path):
    """A checkpoint without its config.json brings the config with it, and goes on in a folder of its own."""
    moved = tmp_path / "download" / "model.pth"
    moved.parent.mkdir()
    shutil.copy(run_folder / "model_best.pth", moved)
    config = from_args("-r", moved, f"trainer.save_dir={run_folder.parents[2]}")
    assert config.config == load_checkpoint(moved)["config"]
    assert config.origin("trainer.epochs") == f"inside {moved}"
    assert config.save_dir.parent == run_folder.parent
    assert config.continues_run is True
    assert list(moved.parent.iterdir()) == [moved]


# from_args: where the config comes from


def test_from_args_config_file_is_read_with_its_lines(from_args, config_file):
    """`-c` gives the config of the file and knows its lines."""
    config = from_args("-c", config_file)
    assert config.config == json.loads(config_file.read_text())
    assert (config.origin("name"), config.resume, config.continues_run) == (f"{config_file}:2", None, False)


def test_from_args_without_arguments_prints_help_and_exits_with_2(from_args, capsys):
    """A command without arguments says how it is used."""
    with pytest.raises(SystemExit) as end:
        from_args()
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert err.startswith("usage: train.py [-h [KEY]] [-c FILE] [-r RUN] [-d GPU] [--debug]")
    assert "key.path=value" in err


@pytest.mark.parametrize("argv", [(), ("trainer.epochs=1",), ("-c", "config.json")])
def test_from_args_evaluating_without_a_checkpoint_exits_with_2(from_args, argv):
    """There is nothing to evaluate without -r."""
    with pytest.raises(SystemExit) as end:
        from_args(*argv, evaluating=True)
    assert end.value.code == 2


def test_from_args_namespace_without_config_and_checkpoint_is_refused():
    """A program that parsed its own arguments gets an error, not an exit."""
    with pytest.raises(ConfigError) as error:
        ConfigParser.from_args(argparse.Namespace(config=None, resume=None))
    assert str(error.value) == (
        "config error: -c is missing\n"
        "  fix       add -c config.json, or -r and a checkpoint"
    )  # fmt: skip


def test_from_args_namespace_is_used_as_it_is(config_file):
    """Arguments may come from a program of one's own, with or without all of ours."""
    config = ConfigParser.from_args(argparse.Namespace(config=str(config_file), overrides=["name=Other"]))
    assert config["name"] == "Other"


def test_from_args_device_is_made_visible(from_args, config_file, monkeypatch):
    """`-d` chooses GPUs before anything touches CUDA, or what Intel's have in its place."""
    names = ("CUDA_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
    for name in names:
        monkeypatch.setenv(name, "7")
    from_args("-c", config_file, "-d", "0,1")
    assert [os.environ[name] for name in names] == ["0,1", "0,1"]


def test_from_args_without_device_leaves_the_choice_alone(from_args, config_file, monkeypatch):
    """What the shell said about GPUs stays."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    from_args("-c", config_file)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"


# from_args: overrides


def test_from_args_tokens_between_flags_are_overrides(from_args, config_file):
    """`key.path=value` may stand anywhere on the line."""
    config = from_args("trainer.epochs=5", "-c", config_file, "optimizer.args.lr=0.5", "--debug", "name=x")
    assert config.overrides == {"trainer.epochs": 5, "optimizer.args.lr": 0.5, "name": "x"}
    assert (config["trainer"]["epochs"], config["optimizer"]["args"]["lr"], config["name"]) == (5, 0.5, "x")
    assert config.origin("trainer.epochs") == "command line"


def test_from_args_token_that_is_no_override_is_refused(from_args, config_file):
    """A stray word is an error."""
    with pytest.raises(ConfigError) as error:
        from_args("-c", config_file, "epochs").save_dir  # noqa: B018
    assert str(error.value) == (
        "config error: epochs is not an override\n"
        "  from      command line\n"
        "  expected  key.path=value, such as optimizer.args.lr=0.01"
    )


@pytest.mark.parametrize(
    ("flags", "argv"),
    [
        (["--lr"], ["--lr", "0.5"]),
        (["--lr", "--learning_rate"], ["--learning_rate", "0.5"]),
        (["--learning-rate"], ["--learning-rate", "0.5"]),
        (["--learning-rate"], ["--learning-rate=0.5"]),
        (["-l", "--learning-rate"], ["-l", "0.5"]),
        (["-l"], ["-l", "0.5"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_from_args_custom_flag_sets_its_target(from_args, config_file, flags, argv):
    """A flag of train.py's own sets one value, however it is spelt."""
    config = from_args("-c", config_file, *argv, options=[CustomArgs(flags, float, "optimizer;args;lr")])
    assert config["optimizer"]["args"]["lr"] == 0.5
    assert config.overrides == {"optimizer.args.lr": 0.5}


def test_from_args_custom_flag_that_is_not_given_changes_nothing(from_args, config_file):
    """Flags are optional."""
    config = from_args("-c", config_file, options=[CustomArgs(["--lr"], float, "optimizer;args;lr")])
    assert (config["optimizer"]["args"]["lr"], config.overrides) == (0.1, {})


def test_from_args_token_wins_over_a_flag_for_the_same_value(from_args, config_file):
    """Where a flag and a token say different things, the token is taken, and recorded once."""
    options = [CustomArgs(["--lr"], float, "optimizer;args;lr")]
    config = from_args("-c", config_file, "optimizer.args.lr=0.7", "--lr", "0.5", options=options)
    assert config["optimizer"]["args"]["lr"] == 0.7
    assert config.overrides == {"optimizer.args.lr": 0.7}


# from_args: checkpoints


def test_from_args_resume_of_a_folder_takes_the_newest_checkpoint(from_args, run_folder):
    """A run folder stands for the last thing saved in it."""
    assert from_args("-r", run_folder).resume == run_folder / "checkpoint-epoch2.pth"


def test_from_args_resume_of_a_folder_with_damaged_newest_takes_the_one_before_and_says_so(
    from_args, run_folder, caplog
):
    """What had to be passed over is a warning."""
    damage(run_folder / "checkpoint-epoch2.pth")
    assert from_args("-r", run_folder).resume == run_folder / "checkpoint-epoch1.pth"
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            f"Skipped {run_folder / 'checkpoint-epoch2.pth'} is cut short or damaged: File is not a zip file.",
        )
    ]


def test_from_args_resume_of_a_folder_without_checkpoints_is_refused(from_args, tmp_path):
    """A folder with nothing to go on from is a checkpoint error."""
    with pytest.raises(CheckpointError) as error:
        from_args("-r", tmp_path)
    assert str(error.value) == (
        f"checkpoint error: {tmp_path} has no checkpoint that can be read\n  got       no .pth file"
    )


@pytest.mark.parametrize("has_config", [True, False])
def test_from_args_resume_of_a_missing_file_is_refused(from_args, run_folder, has_config):
    """A misspelt checkpoint is found at once, whether or not a config lies where it should be."""
    if not has_config:
        (run_folder / "config.json").unlink()
    with pytest.raises(CheckpointError) as error:
        from_args("-r", run_folder / "model_bset.pth")
    assert str(error.value) == (
        f"checkpoint error: {run_folder / 'model_bset.pth'} is not a file\n"
        "  fix       give a checkpoint (.pth) or the folder of a run under saved/models"
    )


@pytest.mark.parametrize("config", [None, "a text"])
def test_from_args_checkpoint_without_any_config_is_refused(from_args, tmp_path, config):
    """A checkpoint that neither lies beside a config nor holds one says what to do."""
    save_checkpoint({"state_dict": {}, "config": config}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError) as error:
        from_args("-r", tmp_path / "c.pth")
    assert str(error.value) == (
        f"checkpoint error: {tmp_path / 'c.pth'} holds no config\n"
        "  fix       put the config.json of its run beside it, or name one with -c"
    )


def test_from_args_checkpoint_without_any_config_takes_the_one_named(from_args, config_file, tmp_path):
    """What the message says works: with -c the weights of a bare checkpoint can be used."""
    (tmp_path / "bare").mkdir()
    save_checkpoint({"state_dict": {}}, tmp_path / "bare" / "c.pth")
    assert from_args("-c", config_file, "-r", tmp_path / "bare" / "c.pth")["name"] == "Tiny"


def test_from_args_config_is_merged_deep_into_that_of_the_checkpoint(from_args, run_folder, tmp_path):
    """A partial config for fine-tuning changes what it names and keeps the rest."""
    part = tmp_path / "part.json"
    part.write_text('{"optimizer": {"args": {"lr": 0.001}}, "arch": {"type": "Other"}, "lr_scheduler": null}')
    config = from_args("-c", part, "-r", run_folder / "model_best.pth")
    assert config["optimizer"] == {"type": "SGD", "args": {"lr": 0.001, "momentum": 0.9}}
    assert config["arch"] == {"type": "Other"}
    assert config["name"] == "Tiny"
    assert config.origin("optimizer.args.lr") == f"{part}:1"
    assert config.origin("name") == f"{run_folder / 'config.json'}:2"


# from_args: evaluating


def test_from_args_evaluating_a_folder_takes_its_best_checkpoint(from_args, run_folder):
    """A number for a paper comes from the best epoch."""
    config = from_args("-r", run_folder, evaluating=True)
    assert config.resume == run_folder / "model_best.pth"


def test_from_args_evaluating_a_folder_without_a_best_takes_the_newest(from_args, run_folder):
    """A run without a monitor has no best checkpoint."""
    (run_folder / "model_best.pth").unlink()
    assert from_args("-r", run_folder, evaluating=True).resume == run_folder / "checkpoint-epoch2.pth"


def test_from_args_evaluating_with_a_config_takes_only_its_data(from_args, run_folder, tmp_path):
    """`-c` names other data; model, loss and metrics are those of the checkpoint."""
    other = tmp_path / "other.json"
    data = {"type": "OtherLoader", "args": {"data_dir": "x"}}
    other.write_text(json.dumps({"data_loader": data, "arch": {"type": "Other"}, "loss": "other"}))
    config = from_args("-c", other, "-r", run_folder, evaluating=True)
    assert (config["data_loader"], config["arch"]["type"], config["loss"]) == (data, "MnistModel", "nll_loss")
    assert config.origin("data_loader.type") == f"{other}:1"


def test_from_args_evaluating_old_test_section_does_not_hide_the_data_named(from_args, run_folder, tmp_path):
    """Data given with -c is used even if the checkpoint's config has a test_data_loader of its own."""
    values = json.loads((run_folder / "config.json").read_text())
    values["test_data_loader"] = {"type": "Old"}
    (run_folder / "config.json").write_text(json.dumps(values))
    other = tmp_path / "other.json"
    other.write_text('{"data_loader": {"type": "New"}}')
    config = from_args("-c", other, "-r", run_folder, evaluating=True)
    assert "test_data_loader" not in config
    assert config["data_loader"] == {"type": "New"}


def test_from_args_evaluating_writes_nothing_even_where_the_folder_is_asked_for(from_args, run_folder, tmp_path):
    """Looking at a run with other values does not change what the run was: no run begins."""
    before = (run_folder / "config.json").read_text()
    config = from_args("-r", run_folder, "data_loader.args.batch_size=1", evaluating=True)
    assert config.save_dir == run_folder
    assert (run_folder / "config.json").read_text() == before
    assert not (tmp_path / "saved" / "log").exists()


def test_save_dir_log_that_cannot_be_made_is_refused_and_leaves_no_run(tiny_config, tmp_path):
    """A file in place of the log folder is a config error, and no empty run folder stays."""
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "log").write_text("in the way")
    with pytest.raises(ConfigError) as error:
        ConfigParser(tiny_config, run_id="first").save_dir  # noqa: B018
    assert str(error.value) == (
        "config error: trainer.save_dir cannot hold a run: Not a directory\n"
        f"  got       {tmp_path / 'saved' / 'log' / 'Tiny' / 'first'}\n"
        "  fix       name a folder that you may write to: trainer.save_dir=..."
    )
    assert not list((tmp_path / "saved" / "models" / "Tiny").iterdir())


def test_run_that_goes_on_is_asked_for_its_own_folder(from_args, run_folder, monkeypatch):
    """Whether `trainer.save_dir` can be written to does not matter, but whether the run folder can."""

    def refuse(**where):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(where["dir"] / "tmp123"))

    config = from_args("-r", run_folder)
    assert config.tree.has_folder
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(ConfigError) as error:
        config.save_dir  # noqa: B018
    assert str(error.value) == (
        f"config error: -r names a run that cannot be written to: {os.strerror(errno.EROFS)}\n"
        f"  got       {run_folder}\n"
        "  fix       copy the folder to where you may write, and name the copy with -r"
    )
