"""What a config means: ranges, names that must fit each other, and what is allowed but seldom meant."""

import copy
import importlib
import json
import os
import sys
from pathlib import Path

import pytest
import torch

import espalier.datasets
import trainer
from base import BaseDataLoader
from data_loader import data_loaders
from espalier.checkpoints.run_folder import expand_home
from espalier.config import suggestions
from espalier.config.check import check
from espalier.config.doubts import doubts
from espalier.config.json_text import parse_json
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError
from parse_config import ROOMS, ConfigParser

MODULES = {name: importlib.import_module(room) for name, room in ROOMS.items()}


FIX_OF_MODEL = "give a name in that module, or a dotted path such as torch.nn.MSELoss"
FIX = "give a name in that module, or a dotted path such as own.MyTrainer"


def message(config, extra=()):
    """All that is wrong with a config whose values come from nowhere; "" when nothing is."""
    return str(ConfigError(check(ConfigTree(config), MODULES, extra)))


# ranges


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("batch_size", 0, "a whole number of at least 1"),
        ("batch_size", -1, "a whole number of at least 1"),
        ("num_workers", -1, 'a whole number of at least 0 or "auto"'),
        ("validation_split", 1.0, "a share from 0 to below 1.0, or a whole number"),
        ("validation_split", 1.5, "a share from 0 to below 1.0, or a whole number"),
        ("validation_split", -0.1, "a share from 0 to below 1.0, or a whole number"),
        ("validation_split", -5, "a share from 0 to below 1.0, or a whole number"),
    ],
)
@pytest.mark.parametrize("section", ["data_loader", "valid_data_loader"])
def test_check_loader_argument_out_of_range_is_refused(tiny_config, section, name, value, expected):
    """Numbers of a loader that cannot work are refused before its data is read."""
    tiny_config[section] = copy.deepcopy(tiny_config["data_loader"])
    tiny_config[section]["args"][name] = value
    assert message(tiny_config) == (
        f"config error: {section}.args.{name} has a value that does not fit\n"
        f"  got       {json.dumps(value)}\n"
        f"  expected  {expected}"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 1), ("num_workers", 0), ("validation_split", 0), ("validation_split", 0.0),
     ("validation_split", 0.999), ("validation_split", 1), ("validation_split", 100)],
)  # fmt: skip
def test_check_loader_argument_at_the_edge_of_its_range_is_accepted(tiny_config, name, value):
    """The least allowed, and a split in samples, pass."""
    tiny_config["data_loader"]["args"][name] = value
    assert message(tiny_config) == ""


@pytest.mark.parametrize(("name", "value"), [("batch_size", "32"), ("num_workers", 1.5), ("shuffle", "yes")])
def test_check_loader_argument_of_a_wrong_type_is_told_once(tiny_config, name, value):
    """One fault is one message, though both our rule and the annotation refuse it."""
    tiny_config["data_loader"]["args"][name] = value
    problems = check(ConfigTree(tiny_config), MODULES, ())
    assert [each.path for each in problems] == [f"data_loader.args.{name}"]


def test_check_save_dir_that_is_a_file_is_refused(tiny_config, tmp_path):
    """A file in the way is found before the first epoch is trained."""
    (tmp_path / "saved").write_text("")
    tree = parse_json(json.dumps(tiny_config, indent=1), "c.json")
    assert str(ConfigError(check(tree, MODULES, ()))) == (
        "config error: trainer.save_dir is no folder that can be written to\n"
        f"  from      {tree.origin(('trainer', 'save_dir'))}\n"
        f'  got       "{tmp_path / "saved"}"\n'
        f"  fix       name a folder that you may write to: trainer.save_dir=... ({tmp_path / 'saved'} is a file)"
    )


def test_check_save_dir_below_a_file_is_refused(tiny_config, tmp_path):
    """The way to the folder is looked at, however much of it is still to be made."""
    (tmp_path / "file").write_text("")
    tiny_config["trainer"]["save_dir"] = str(tmp_path / "file" / "runs" / "new")
    fix = f"name a folder that you may write to: trainer.save_dir=... ({tmp_path / 'file'} is a file)"
    assert message(tiny_config).splitlines()[-1] == f"  fix       {fix}"


def test_check_save_dir_in_the_home_of_nobody_is_refused(tiny_config):
    """`~name` of a user that is not there; nor is that a reason to fail where runs are sought."""
    tiny_config["trainer"].update(save_dir="~nobody_of_this_name/saved", auto_resume=True)
    assert message(tiny_config) == (
        'config error: trainer.save_dir is no name for a folder\n  got       "~nobody_of_this_name/saved"'
    )
    assert expand_home("~nobody_of_this_name/saved") == Path("~nobody_of_this_name/saved")
    assert expand_home("~/saved") == Path.home() / "saved"


def test_check_save_dir_in_a_folder_that_cannot_be_written_is_refused(tiny_config, tmp_path, monkeypatch):
    """A folder of somebody else's is refused, and not made."""
    access = os.access  # the tests may run as root, who may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and access(path, mode))
    assert message(tiny_config) == (
        "config error: trainer.save_dir is no folder that can be written to\n"
        f'  got       "{tmp_path / "saved"}"\n'
        f"  fix       name a folder that you may write to: trainer.save_dir=... ({tmp_path} cannot be written to)"
    )
    assert not (tmp_path / "saved").exists()
    tree = ConfigTree(tiny_config)
    tree.has_folder = True  # a run that goes on does so in its own
    assert list(check(tree, MODULES, ())) == []


def test_check_save_dir_that_is_still_to_be_made_is_accepted_and_not_made(tiny_config, tmp_path):
    """A check writes nothing."""
    tiny_config["trainer"]["save_dir"] = str(tmp_path / "a" / "b")
    assert message(tiny_config) == ""
    assert list(tmp_path.iterdir()) == []


def test_check_empty_list_of_losses_is_refused(tiny_config):
    """There is nothing to train on without a loss."""
    tiny_config["loss"] = []
    assert message(tiny_config).startswith("config error: loss ")


def test_check_weight_of_a_single_loss_is_refused(tiny_config):
    """A weight outside a list changes nothing, so it is not taken in silence, checked or not."""
    from parse_config import ConfigParser

    tiny_config["loss"] = {"type": "nll_loss", "weight": 0.5}
    assert message(tiny_config).startswith("config error: loss.weight is not a key of the framework")
    with pytest.raises(ConfigError, match=r"loss\.weight is not a key of the framework"):
        ConfigParser(tiny_config).init_ftn("loss", MODULES["loss"])


# names that must fit each other


@pytest.mark.parametrize("monitor", ["off", "min loss", "max accuracy", "min val_loss", "max val_accuracy", "max bleu"])
def test_check_monitor_of_a_name_that_is_reported_is_accepted(tiny_config, monitor):
    """Loss, metrics, these with val_, and what the trainer names beside them can be watched."""
    tiny_config["trainer"]["monitor"] = monitor
    assert message(tiny_config, extra=("bleu",)) == ""


def test_check_monitor_of_a_weighted_loss_is_accepted(tiny_config):
    """Each loss of a list can be watched by its name."""
    tiny_config["loss"] = [{"type": "nll_loss", "name": "main"}, {"type": "nll_loss", "weight": 0.1}]
    tiny_config["trainer"]["monitor"] = "min val_main"
    assert message(tiny_config) == ""


def test_check_monitor_of_a_name_that_no_epoch_reports_is_refused(tiny_config):
    """A misspelt name is told with those that there are."""
    tiny_config["trainer"]["monitor"] = "max val_acuracy"
    assert message(tiny_config, extra=("bleu",)) == (
        "config error: trainer.monitor watches val_acuracy, which no epoch reports\n"
        '  got       "max val_acuracy"\n'
        "  expected  one of: loss, accuracy, val_loss, val_accuracy, bleu\n"
        "  closest   val_accuracy\n"
        "  fix       correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)"
    )


@pytest.mark.parametrize("split", [0, 0.0, None])
def test_check_monitor_of_validation_that_there_is_not_is_refused(tiny_config, split):
    """Without validation data there are no val_ names."""
    tiny_config["data_loader"]["args"]["validation_split"] = split
    if split is None:
        del tiny_config["data_loader"]["args"]["validation_split"]  # the loader's own default is none
    tiny_config["trainer"]["monitor"] = "min val_loss"
    assert message(tiny_config) == (
        "config error: trainer.monitor watches val_loss, which no epoch reports\n"
        '  got       "min val_loss"\n'
        "  expected  one of: loss, accuracy\n"
        "  closest   loss\n"
        "  fix       there is no validation data: set data_loader.args.validation_split, or write a valid_data_loader "
        "section"
    )


def test_check_monitor_of_validation_by_a_section_of_its_own_is_accepted(tiny_config):
    """A valid_data_loader section is validation too."""
    tiny_config["data_loader"]["args"]["validation_split"] = 0.0
    tiny_config["valid_data_loader"] = tiny_config["data_loader"]
    tiny_config["trainer"]["monitor"] = "min val_loss"
    assert message(tiny_config) == ""


def test_check_monitor_of_validation_by_a_loader_that_splits_by_itself_is_accepted(tiny_config, monkeypatch):
    """A loader whose split is no argument may have one all the same, which nobody knows before it is built."""

    class OwnLoader(BaseDataLoader):
        def __init__(self, data_dir: str):
            super().__init__([1, 2, 3, 4], 1, validation_split=0.5)

    assert OwnLoader("x").split_validation() is not None
    monkeypatch.setattr(data_loaders, "OwnLoader", OwnLoader, raising=False)
    tiny_config["data_loader"] = {"type": "OwnLoader", "args": {"data_dir": "x"}}
    tiny_config["trainer"]["monitor"] = "min val_loss"
    assert message(tiny_config) == ""


@pytest.mark.parametrize("monitor", ["val_loss", "lowest val_loss", "min", "min ", ""])
def test_check_monitor_that_is_no_rule_is_refused(tiny_config, monitor):
    """A rule is a direction and a name."""
    tiny_config["trainer"]["monitor"] = monitor
    assert message(tiny_config) == (
        "config error: trainer.monitor is not a rule\n"
        f"  got       {json.dumps(monitor)}\n"
        '  expected  "min <name>", "max <name>" or "off"\n'
        '  fix       write "monitor": "min val_loss", say'
    )


def test_check_monitor_is_not_judged_where_the_trainer_does_not_say_its_names(tiny_config):
    """A trainer of one's own, without extra_log_names, may report anything."""
    tiny_config["trainer"]["monitor"] = "max anything"
    assert message(tiny_config, extra=None) == ""


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("Trainr", ["names nothing in trainer", "closest   Trainer", f"fix       {FIX}"]),
        ("", ["names nothing in trainer", f"fix       {FIX}"]),
        ("own.Loud", ["names nothing in the installed packages", f"fix       {FIX}"]),
        ("torch.optim.Adam", ["names no trainer", "expected  a subclass of BaseTrainer"]),
        ("base.BaseTrainer", ["names a class that is only a base for others"]),
    ],
)
def test_check_trainer_type_that_is_no_trainer_is_told_with_all_else(tiny_config, name, lines):
    """It is one fault among others; what the commands build is then our own trainer, whose names they know."""
    tiny_config["trainer"]["type"] = name
    tiny_config["optimizer"]["args"]["lr"] = "much"
    config = ConfigParser(tiny_config)
    assert config.trainer_class(trainer) is trainer.Trainer
    with pytest.raises(ConfigError) as error:
        config.check()
    told = str(error.value)
    assert told.count("config error: ") == 2
    lines.insert(1, f"got       {json.dumps(name)}")
    assert "config error: trainer.type " + "\n  ".join(lines) in told


@pytest.mark.parametrize("name", [None, "Trainer", "trainer.trainer.Trainer"])
def test_check_trainer_type_that_is_a_trainer_is_accepted(tiny_config, name):
    """A name in trainer/, a dotted path, or none."""
    tiny_config["trainer"]["type"] = name
    config = ConfigParser(tiny_config)
    config.check()
    assert config.trainer_class(trainer) is trainer.Trainer


def test_check_plateau_monitor_of_nothing_is_refused(tiny_config):
    """A scheduler that watches a value needs one that there is."""
    tiny_config["lr_scheduler"] = {"type": "ReduceLROnPlateau", "monitor": "val_los"}
    assert message(tiny_config) == (
        "config error: lr_scheduler.monitor watches val_los, which no epoch reports\n"
        "  expected  one of: loss, accuracy, val_loss, val_accuracy\n"
        "  closest   val_loss\n"
        "  fix       correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)"
    )


@pytest.mark.parametrize("monitor", ["val_loss", "accuracy", None])
def test_check_plateau_monitor_of_a_name_that_is_reported_is_accepted(tiny_config, monitor):
    """Its own name, or else what the trainer watches."""
    tiny_config["lr_scheduler"] = {"type": "torch.optim.lr_scheduler.ReduceLROnPlateau", "monitor": monitor}
    tiny_config["trainer"]["monitor"] = "min val_loss"
    assert message(tiny_config) == ""


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"lr_scheduler": {"type": "ReduceLROnPlateau", "interval": "step"}}, "lr_scheduler.interval"),
        ({"lr_scheduler": {"type": "StepLR", "args": {"step_size": 1}, "monitor": "loss"}}, "lr_scheduler.monitor"),
    ],
    ids=["plateau by step", "monitor without use"],
)
def test_check_scheduler_that_training_refuses_is_refused(tiny_config, change, path):
    """What `Trainer.train` refuses of a scheduler section, the check refuses before any data is read."""
    assert message({**tiny_config, **change}).startswith(f"config error: {path} ")


@pytest.mark.parametrize(
    ("section", "entries", "second"),
    [
        ("metrics", ["accuracy", {"type": "top_k_acc", "name": "accuracy"}], "accuracy"),
        ("metrics", ["accuracy", "accuracy"], "accuracy"),
        ("loss", ["nll_loss", {"type": "nll_loss", "weight": 0.5}], "nll_loss"),
        ("loss", ["nll_loss", {"type": "nll_loss", "name": "loss"}], "loss"),
        ("metrics", ["accuracy", {"type": "accuracy", "name": "loss"}], "loss"),
    ],
)
def test_check_second_loss_or_metric_of_one_name_is_refused(tiny_config, section, entries, second):
    """Two of one name would hide each other in the logs."""
    tiny_config[section] = entries
    assert message(tiny_config) == (
        f"config error: {section}.1 is a second {second}\n"
        f"  got       {json.dumps(entries[1])}\n"
        '  fix       give it another "name"'
    )


def test_check_metric_of_the_name_of_a_loss_in_a_list_is_refused(tiny_config):
    """Losses of a list and metrics share the names of the log."""
    tiny_config["loss"] = ["nll_loss"]
    tiny_config["metrics"] = ["torch.nn.functional.nll_loss"]
    assert message(tiny_config).splitlines()[0] == "config error: metrics.0 is a second nll_loss"


# what is allowed but seldom meant


@pytest.mark.parametrize(
    ("scheduler", "found"),
    [
        (
            {"type": "StepLR", "args": {"step_size": 5}},
            ["lr_scheduler.args.step_size is 5: the learning rate does not change in 4 epochs."],
        ),
        (
            {"type": "StepLR", "args": {"step_size": 4}},
            ["lr_scheduler.args.step_size is 4: the learning rate does not change in 4 epochs."],
        ),
        ({"type": "StepLR", "args": {"step_size": 3}}, []),
        (
            {"type": "CosineAnnealingLR", "args": {"T_max": 10}},
            ["lr_scheduler.args.T_max is 10, but the run has 4 epochs."],
        ),
        ({"type": "CosineAnnealingLR", "args": {"T_max": 4}}, []),
        ({"type": "CosineAnnealingLR", "args": {"T_max": 1000}, "interval": "step"}, []),
        ({"type": "StepLR", "args": {"step_size": 1000}, "interval": "step"}, []),
        ({"type": "ConstantLR"}, ["lr_scheduler.args.total_iters is 5, but the run has 4 epochs."]),  # its default
        (None, []),
    ],
)
def test_doubts_schedule_that_does_not_fit_the_epochs_is_a_sentence(scheduler, found):
    """A schedule in epochs is held against their number; one in steps is not."""
    assert doubts({"lr_scheduler": scheduler, "trainer": {"epochs": 4}}) == found


def test_suggestions_name_what_is_there_and_every_dataset():
    """Each is found where the advice says."""
    for name, module in suggestions._OURS.items():
        assert hasattr(importlib.import_module(module), name)
    assert set(espalier.datasets.__all__) <= suggestions._OURS.keys()


def test_check_doubt_is_a_warning_and_no_error(tiny_config, caplog):
    """What is seldom meant is said, and the run goes on."""
    from parse_config import ConfigParser

    tiny_config["lr_scheduler"] = {"type": "StepLR", "args": {"step_size": 50}}
    ConfigParser(tiny_config).check(extra_log_names=())
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "lr_scheduler.args.step_size is 50: the learning rate does not change in 2 epochs.")
    ]


@pytest.mark.parametrize(
    ("changes", "path", "fix"),
    [
        ({"loss": "CrossEntropyLoss"}, "loss", 'write "torch.nn.CrossEntropyLoss"'),
        ({"data_loader": {"type": "ImageFolder"}}, "data_loader.type", 'write "espalier.datasets.ImageFolder"'),
        ({"trainer": {"precision": "bfloat16"}}, "trainer.precision", 'write "bf16"'),
        ({"trainer": {"precision": 16}}, "trainer.precision", 'write "fp16"'),
        ({"trainer": {"accumulate": 2.0}}, "trainer.accumulate", "write 2"),
        ({"trainer": {"monitor": "MAX val_accuracy"}}, "trainer.monitor", 'write "monitor": "max val_accuracy"'),
        ({"trainer": {"monitor": "val_loss"}}, "trainer.monitor", 'write "monitor": "min val_loss", say'),
        ({"trainer": {"monitor": "accuracy"}}, "trainer.monitor", 'write "monitor": "max accuracy"'),
        ({"trainer": {"monitor": "None"}}, "trainer.monitor", 'write "monitor": "off"'),
        ({"trainer": {"monitor": "best of all"}}, "trainer.monitor", 'write "monitor": "min val_loss", say'),
        ({"data_loader": {"args": {"shuffle": "true"}}}, "data_loader.args.shuffle", "write true"),
        ({"optimizer": {"args": {"lr": "1e-3"}}}, "optimizer.args.lr", "write 1e-3"),
        ({"lr_scheduler": {"type": "LambdaLR", "args": {"lr_lambda": "own.halve"}}}, "lr_scheduler.args.lr_lambda",
         'write {"type": "own.halve", "partial": true}'),
        ({"arch": {"type": f"{__name__}.with_norm", "args": {"norm": "torch.nn.GroupNorm"}}}, "arch.args.norm",
         'write {"type": "torch.nn.GroupNorm", "partial": true}'),
    ],
    ids=str,
)  # fmt: skip
def test_check_what_was_meant_is_the_last_line_of_the_message(tiny_config, changes, path, fix):
    """Names of elsewhere, numbers and truth values as texts, functions by their names alone."""
    for section, values in changes.items():
        known = tiny_config.get(section, {})
        if isinstance(values, str) or "type" in values:
            tiny_config[section] = values
        else:
            inside = {"args": {**known["args"], **values["args"]}} if "args" in values else {}
            tiny_config[section] = {**known, **values, **inside}
    with pytest.raises(ConfigError) as error:
        ConfigParser(tiny_config).check(extra_log_names=())
    assert [(each.path, each.fix) for each in error.value.problems] == [(path, fix)]


HEAD = {"type": "torch.nn.Linear", "args": {"out_features": 4}}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ([], "config error: arch.replace.head is an empty list\n  got       []\n"
             "  expected  a section, or a list of such\n"
             '  fix       for nothing in its place write {"type": "torch.nn.Identity"}'),
        ({"type": "torch.nn.Sequential", "args": {"0": HEAD, "1": {"type": "torch.nn.ReLU"}}},
         "config error: arch.replace.head is a row of modules, which is written as a list\n"
         '  got       {"type": "torch.nn.Sequential", "args": {"0": {"type": "torch.nn.Linear", "ar...\n'
         '  expected  a list of sections\n  fix       write "head": [{"type": "torch.nn.Linear", "args": '
         '{"out_features": 4}}, {"type": "torch.nn.ReLU"}]'),
        ([HEAD], None),
    ],
)  # fmt: skip
def test_check_row_of_modules_is_a_list_and_not_an_empty_one(section, message):
    """The way that the documents know is told."""
    arch = {"type": "Linear", "args": {"in_features": 2, "out_features": 2}, "replace": {"head": section}}
    problems = [each for each in check(ConfigTree({"arch": arch}), {"arch": torch.nn}) if each.path.startswith("arch.")]
    assert "\n".join(map(str, problems)) == (message or "")


@pytest.mark.parametrize(
    ("kind", "closest"),
    [("torchvison.models.resnet18", "torchvision.models.resnet18"), ("modle.model.Net", "model.model.Net"),
     ("zzzzzzzz.Net", None)],
)  # fmt: skip
def test_check_misspelt_package_gets_the_nearest_that_is_there(kind, closest):
    """Installed ones, and the project's own."""
    problems = check(ConfigTree({"arch": {"type": kind}}), {"arch": torch.nn})
    assert [each.closest for each in problems if each.path == "arch.type"] == [closest]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.metric.accuracy", None),
        ("accuracy", 'is no dotted path\n  got       "accuracy"\n'
                     '  expected  a function of output and target, such as "model.metric.residuals"'),
        ("model.metric.acuracy", "names nothing in model.metric\n"
                                 '  got       "model.metric.acuracy"\n  closest   accuracy\n'
                                 "  fix       give a name in that module, or a dotted path such as torch.nn.MSELoss"),
        ("math.pi", 'names something that cannot be called\n  got       "math.pi"'),
        ("os.getpid", "names posix.getpid, which takes no argument\n"
                      '  got       "os.getpid"\n  expected  a function of output and target'),
    ],
)  # fmt: skip
def test_check_figures_are_functions_by_their_dotted_paths(name, expected, monkeypatch):
    """Each fault with its place, where Matplotlib is installed."""
    monkeypatch.setattr("espalier.config.check.find_spec", lambda package: True)
    config = {"trainer": {"tensorboard": {"figures": [name]}}}
    path = "trainer.tensorboard.figures.0"
    found = [str(each) for each in check(ConfigTree(config), {}) if each.path == path]
    assert found == ([] if expected is None else [f"config error: {path} {expected}"])


def with_norm(norm=torch.nn.BatchNorm1d, act=torch.relu):
    """Takes a class and a function, and says so by its defaults alone."""


@pytest.mark.parametrize(
    ("kind", "package"),
    [("timm.create_model", "timm"), ("segmentation_models_pytorch.Unet", '-e ".[segmentation]"'), ("own.Net", None)],
)
def test_check_model_of_a_library_that_is_not_there_says_how_to_install_it(monkeypatch, kind, package):
    """As an extra of the project, if it is one; a module that is no known library is rather a wrong name."""
    monkeypatch.setattr(suggestions, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, kind.split(".")[0], None)  # as if it were not installed
    (problem,) = [
        each for each in check(ConfigTree({"arch": {"type": kind}}), {"arch": torch.nn}) if each.path == "arch.type"
    ]
    assert problem.fix == (f"pip install {package}" if package else FIX_OF_MODEL)
