"""What code of the classic template relies on, name by name."""

import argparse
import copy
import json
import logging
import os
import pickle
import shutil
import signal
import sys
from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler

import model.metric as module_metric
from base import BaseDataLoader, BaseTrainer
from espalier.checkpoints.file import load_checkpoint
from espalier.data.samplers import ClassBalanced
from espalier.errors import CheckpointError, ConfigError
from model.loss import nll_loss
from model.metric import accuracy
from parse_config import ConfigParser
from tests.kill import Augmented, Net, differences
from tests.seams import lay_out, monitor_of, start
from utils import MetricTracker, inf_loop

SAMPLES = torch.randn(12, 16, generator=torch.Generator().manual_seed(0))


class ByHand(BaseTrainer):
    """A trainer as the classic template taught it: attributes of its own, loops and steps by hand."""

    def __init__(self, *args, loader, lr_scheduler=None, **kwargs):
        self.data_loader, self.lr_scheduler = loader, lr_scheduler  # before the base has a word
        super().__init__(*args, **kwargs)
        self.len_epoch = len(self.data_loader)
        self.train_metrics = MetricTracker("loss", writer=self.writer)

    def _train_epoch(self, epoch):
        self.train_metrics.reset()
        for batch_idx, (data, target) in enumerate(self.data_loader):
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(data), target)
            loss.backward()
            self.optimizer.step()
            self.writer.set_step((epoch - 1) * self.len_epoch + batch_idx)
            self.train_metrics.update("loss", loss.item())
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        return self.train_metrics.result()


@pytest.fixture
def config(tmp_path):
    """A config as `train.py` of the classic template makes it: nobody holds it against what is known."""
    trainer = {"epochs": 3, "save_dir": str(tmp_path / "saved"), "verbosity": 1, "tensorboard": False}
    values = {"name": "Classic", "n_gpu": 0, "trainer": trainer}
    (tmp_path / "config.json").write_text(json.dumps(values))
    return values


@pytest.fixture
def make(config):
    """A function that makes a trainer, of a new run or of one to resume."""

    def make_trainer(kind=ByHand, resume=None, **trainer):
        config["trainer"].update(trainer)
        run_folder = None if resume is None else resume.parent
        parser = ConfigParser(copy.deepcopy(config), resume, run_folder=run_folder)
        torch.manual_seed(1)
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        loader = BaseDataLoader(Augmented(12), 5, shuffle=True, seed=3)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        return kind(model, nll_loss, [accuracy], optimizer, parser, loader=loader, lr_scheduler=schedule)

    return make_trainer


# Config


def parse(monkeypatch, parser, *words):
    """What `ConfigParser.from_args` makes of a command line."""
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
    return ConfigParser.from_args(parser)


def parser_of(*, config=None):
    """The parser of a classic `train.py`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", "--config", default=config)
    parser.add_argument("-r", "--resume", default=None)
    parser.add_argument("-d", "--device", default=None)
    return parser


def test_from_args_default_of_c_does_not_count_beside_r(make, tmp_path, monkeypatch):
    """A parser that has a config by default still continues the run that -r names, epoch and all."""
    trainer = make()
    trainer.train()
    parser = parser_of(config=str(tmp_path / "config.json"))
    last = trainer.checkpoint_dir / "last.pth"
    assert parse(monkeypatch, parser, "-r", last).continues_run
    parser = parser_of(config=str(tmp_path / "config.json"))
    assert not parse(monkeypatch, parser, "-r", last, "-c", tmp_path / "config.json").continues_run


def test_from_args_arguments_of_the_project_are_its_own(config, tmp_path, monkeypatch):
    """A positional argument and a flag --debug of the project are not in the way of ours."""
    parser = parser_of()
    parser.add_argument("dataset")
    parser.add_argument("--debug", type=int)
    assert parse(monkeypatch, parser, "birds", "--debug", "3", "-c", tmp_path / "config.json")["name"] == "Classic"


@pytest.mark.parametrize("kind", [SimpleNamespace, namedtuple("Arguments", "config resume device")], ids=["", "tuple"])
def test_from_args_takes_what_was_parsed_already(config, tmp_path, kind):
    """A namespace, or a tuple with those names, is as good as a parser."""
    given = kind(config=str(tmp_path / "config.json"), resume=None, device=None)
    assert ConfigParser.from_args(given)["name"] == "Classic"


def test_config_is_changed_through_indexing_and_update(config):
    """Values of any kind can be put in at run time."""
    parser = ConfigParser(config)
    parser["extra"] = logging
    parser.update({"n_gpu": 2})
    assert parser["extra"] is logging
    assert parser["n_gpu"] == 2
    assert "extra" not in parser.snapshot


def test_config_saved_by_torch_is_a_plain_dict(config, tmp_path):
    """A trainer that saves `self.config` by itself makes a checkpoint that loads without running code."""
    torch.save({"config": ConfigParser(copy.deepcopy(config))}, tmp_path / "own.pth")
    assert torch.load(tmp_path / "own.pth")["config"] == OrderedDict(config)
    assert pickle.loads(pickle.dumps(ConfigParser(copy.deepcopy(config)))) == config


def classic(config, tmp_path, **changes):
    """A config through `from_args`, as a `train.py` without `check` has it."""
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    return ConfigParser.from_args(SimpleNamespace(config=str(tmp_path / "config.json"), resume=None, device=None))


def test_unknown_keys_are_told_once_in_a_classic_project(config, tmp_path, caplog):
    """Keys that only the project reads are left to it, and named with the known key each is most like."""
    caplog.set_level("INFO")
    config["trainer"] |= {"save_perod": 2, "margin": 0.3}
    parser = classic(config, tmp_path, wandb={"project": "birds"}, num_classes=3)
    assert parser.save_dir.is_dir()
    assert parser.log_dir.is_dir()
    told = [line for line in caplog.messages if "Not known" in line]
    assert told == [
        "Not known to the framework, so left to the project: wandb, num_classes, trainer.save_perod (like "
        "trainer.save_period, which is known), trainer.margin."
    ]


def test_unknown_keys_are_errors_in_a_project_of_ours(config, tmp_path):
    """Where `check` is called, a misspelt key ends the run before it begins."""
    config["trainer"]["save_perod"] = 2
    with pytest.raises(ConfigError, match=r"trainer\.save_perod is not a key of the framework"):
        classic(config, tmp_path).check(rooms={})


@pytest.mark.parametrize("is_checked", [False, True])
def test_blocks_inside_arguments_reach_classic_code_as_they_stand(config, tmp_path, is_checked):
    """Only where `check` is called are they built."""
    block = {"type": "torch.nn.Linear", "args": {"in_features": 2, "out_features": 3}}
    parser = classic(config, tmp_path, arch={"type": "Sequential", "args": {"x": block}})
    if is_checked:
        with pytest.raises(ConfigError):
            parser.check(rooms={})
    module = SimpleNamespace(Sequential=lambda x: x)
    assert isinstance(parser.init_obj("arch", module), nn.Linear if is_checked else dict)


def test_ill_valued_key_that_a_trainer_needs_is_named(make):
    """What nobody has checked is checked where it is used."""
    with pytest.raises(ConfigError, match=r"trainer\.save_period has a value that does not fit\n  got +\"often\""):
        make(save_period="often")


# Trainer


def test_trainer_of_hand_made_loops_ends_equal_after_a_resume(make):
    """Order, random numbers, schedule and optimizer go on as if the run had never stopped."""
    whole = make()
    whole.train()
    first = make(epochs=2)
    first.train()
    second = make(epochs=3, resume=first.checkpoint_dir / "last.pth")
    second.train()
    ends = [load_checkpoint(each.checkpoint_dir / "last.pth") for each in (whole, second)]
    for end in ends:
        del end["config"]
    assert differences(*ends) == []


def test_trainer_has_the_names_of_the_classic_one(make):
    """What a subclass reads from its base is there."""
    trainer = make(monitor="max accuracy", early_stop=4)
    assert (trainer.monitor, trainer.mnt_mode, trainer.mnt_metric) == ("max accuracy", "max", "accuracy")
    assert (trainer.mnt_best, trainer.early_stop, trainer.start_epoch) == (-float("inf"), 4, 1)
    trainer.mnt_best, trainer.early_stop = 0.5, 7
    assert (monitor_of(trainer).best, monitor_of(trainer).patience) == (0.5, 7)
    assert (trainer.do_validation, trainer.log_step) == (False, 2)
    assert trainer._progress(1) == "[5/12 (42%)]"
    with pytest.raises(AttributeError, match="ByHand has no attribute 'lose'"):
        trainer.lose  # noqa: B018


def test_early_stop_below_zero_means_never(config, tmp_path, monkeypatch):
    """As in the classic template; a config of our own commands says 0."""
    config["trainer"]["early_stop"] = -1
    (tmp_path / "config.json").write_text(json.dumps(config))
    parser = parse(monkeypatch, parser_of(), "-c", tmp_path / "config.json")
    assert ByHand(Net(), nll_loss, [], None, parser, loader=[]).early_stop == 0


def test_trainer_log_of_any_values_is_shown_and_written(make):
    """Tensors, texts, lists and nested dicts under names with spaces and slashes."""
    odd = {
        "loss": torch.tensor(0.5),
        "mean IoU/all": np.float32(0.25),
        "note": "warm",
        "each": [1, 2],
        "by": {"a": 0.5},
    }

    class Odd(ByHand):
        def _train_epoch(self, epoch):
            return {**super()._train_epoch(epoch), **odd}

    trainer = make(Odd, monitor="max mean IoU/all")
    trainer.train()
    row = json.loads((trainer.checkpoint_dir / "metrics.jsonl").read_text().splitlines()[0])
    assert {key: row[key] for key in odd} == {**odd, "loss": 0.5, "mean IoU/all": 0.25}


def test_trainer_told_to_stop_ends_after_the_step_of_a_hand_made_loop(make, caplog):
    """A signal does not wait for the end of an epoch whose steps could not be saved anyway."""

    class Told(ByHand):
        def _train_epoch(self, epoch):
            if epoch == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return super()._train_epoch(epoch)

    trainer = make(Told)
    with pytest.raises(SystemExit) as end:
        trainer.train()
    assert end.value.code == 143
    assert trainer.step == 4
    assert "The steps of epoch 2 are lost: its loop does not use self.batches." in caplog.messages
    assert load_checkpoint(trainer.checkpoint_dir / "last.pth")["epoch"] == 1


@pytest.mark.parametrize(
    "changes", [{"save_every_steps": 2}, {"save_every_minutes": 1}, {"on_nonfinite": "skip"}], ids=str
)
def test_trainer_whose_loop_cannot_do_what_is_asked_stops_at_its_first_step(make, changes):
    """Nothing that the config asks for is left out in silence."""
    (name,) = changes
    trainer = make(**changes)
    with pytest.raises(ConfigError, match=rf"trainer\.{name} is not done by a training loop that does not use self\."):
        trainer.train()
    assert trainer.step == 1


class Pair(ByHand):
    """A second network with optimizer and schedule of its own, kept as attributes."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.critics = {"one": nn.Linear(3, 1), "two": nn.Linear(3, 1)}
        self.optimizers = [torch.optim.Adam(each.parameters()) for each in self.critics.values()]
        self.critic_schedule = torch.optim.lr_scheduler.StepLR(self.optimizers[0], 1, 0.1)

    def _train_epoch(self, epoch):
        for (data, _), critic, optimizer in zip(self.data_loader, self.critics.values(), self.optimizers, strict=False):
            optimizer.zero_grad()
            critic(self.model(data)).mean().backward()
            optimizer.step()
        self.critic_schedule.step()
        return super()._train_epoch(epoch)


def test_trainer_parts_kept_as_attributes_are_saved_and_brought_back(make):
    """Networks, optimizers and schedules of a subclass need no code to be saved, in dicts and lists too."""
    whole = make(Pair)
    whole.train()
    first = make(Pair, epochs=2)
    first.train()
    second = make(Pair, epochs=3, resume=first.checkpoint_dir / "last.pth")
    second.train()
    ends = [load_checkpoint(each.checkpoint_dir / "last.pth")["parts"] for each in (whole, second)]
    assert set(ends[0]) == {"critics", "optimizers", "critic_schedule"}
    assert differences(*ends) == []


def test_trainer_resumes_what_a_classic_one_saved(make, tmp_path, caplog):
    """Weights, optimizer and epoch are taken, and a line says what is not there."""
    trainer = make(epochs=2, monitor="min loss")
    trainer.train()
    state = load_checkpoint(trainer.checkpoint_dir / "last.pth")
    names = ("arch", "epoch", "state_dict", "optimizer", "monitor_best", "config")
    torch.save({name: state[name] for name in names}, tmp_path / "old.pth")
    resumed = make(epochs=2, resume=tmp_path / "old.pth")
    start(resumed)
    assert (resumed.epoch, resumed.start_epoch, resumed.mnt_best) == (2, 3, state["monitor_best"])
    assert differences(resumed.model.state_dict(), state["state_dict"]) == []
    assert any("holds weights and optimizer of epoch 2, and no more" in line for line in caplog.messages)
    del state["optimizer"], state["format"]
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="since it lacks optimizer"):
        start(make(epochs=2, resume=tmp_path / "weights.pth"))


class OwnSaves(ByHand):
    """Saves and resumes in a form of its own."""

    def _save_checkpoint(self, epoch, save_best=False):
        state = {"model": self.model.state_dict(), "epoch": epoch, "best": self.mnt_best, "config": self.config}
        torch.save(state, str(self.checkpoint_dir / f"checkpoint-epoch{epoch}.pth"))

    def _resume_checkpoint(self, resume_path):
        state = torch.load(str(resume_path))
        self.model.load_state_dict(state["model"])
        self.start_epoch, self.mnt_best = state["epoch"] + 1, state["best"]


def test_trainer_with_checkpoints_of_its_own_form_goes_on_from_them(make):
    """Nothing of ours is written between them, and their epoch is where the run goes on."""
    first = make(OwnSaves, epochs=2, monitor="min loss")
    first.train()
    assert sorted(path.name for path in first.checkpoint_dir.glob("*.pth")) == [
        "checkpoint-epoch1.pth",
        "checkpoint-epoch2.pth",
    ]
    second = make(OwnSaves, epochs=3, resume=first.checkpoint_dir / "checkpoint-epoch2.pth")
    second.train()
    rows = [json.loads(line)["epoch"] for line in (first.checkpoint_dir / "metrics.jsonl").read_text().splitlines()]
    assert rows == [1, 2, 3]


@pytest.mark.parametrize(
    ("loader", "changes", "told"),
    [
        ({}, {}, []),
        ({"validation_split": 3}, {}, ["The validation split follows the seed"]),
        ({"validation_split": 3, "split_seed": 0}, {}, []),
        ({"validation_split": 3, "split_seed": 0, "shuffle": False}, {}, []),
        ({"validation_split": 3, "has_own_split": True}, {}, []),
        ({"validation_split": 3, "shuffle": False}, {}, ["The validation split", "Samples are not shuffled"]),
        ({}, {"monitor": "min loss", "early_stop": 3}, ["The run ends after exactly trainer.early_stop epochs"]),
        ({}, {"monitor": "min loss", "save_period": 2}, ["model_best.pth is the best of all epochs"]),
        ({}, {"early_stop": 3, "save_period": 2}, []),
    ],
)
def test_trainer_of_a_classic_project_tells_what_differs(config, tmp_path, caplog, loader, changes, told):
    """A result that will not be the classic one is named at the start of the run, and only then."""
    config["trainer"] |= changes
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"shuffle": True, **loader}
    kind = Halves if options.pop("has_own_split", False) else BaseDataLoader
    data = kind(Augmented(12), 5, **options)
    caplog.set_level("INFO")
    start(ByHand(model, nll_loss, [], optimizer, classic(config, tmp_path), loader=data))
    lines = [line.removeprefix("Not as in the classic template: ") for line in caplog.messages if "Not as" in line]
    assert [line[: len(start)] for line, start in zip(lines, told, strict=True)] == told


# Data and numbers


class Halves(BaseDataLoader):
    """Splits in its own way, as projects with patients or speakers do."""

    def _split_sampler(self, split):
        indices = np.arange(self.n_samples)
        self.shuffle, self.n_samples = False, 8
        return SubsetRandomSampler(indices[:8]), SubsetRandomSampler(indices[8:])


def test_loader_with_a_split_of_its_own_uses_it():
    """The samplers are those of the subclass, the order is repeated with the epoch all the same."""
    loader = Halves(list(range(12)), 4, True, 0.3, 0)
    passes = [torch.cat(list(loader)).tolist() for _ in range(2)]
    assert [sorted(each) for each in passes] == [list(range(8))] * 2
    assert passes[0] != passes[1]
    loader.seek(1)
    assert torch.cat(list(loader)).tolist() == passes[0]
    assert (loader.n_samples, len(loader.sampler)) == (8, 8)
    assert sorted(torch.cat(list(loader.split_validation())).tolist()) == [8, 9, 10, 11]
    plain = DataLoader(sampler=loader.valid_sampler, **loader.init_kwargs)
    assert sorted(torch.cat(list(plain)).tolist()) == [8, 9, 10, 11]


@pytest.mark.parametrize("options", [{"fraction": 0.5}, {"sampler": ClassBalanced()}])
def test_samples_that_a_split_of_its_own_chose_are_not_chosen_again(options):
    """It says who has chosen them."""
    message = "config error: data_loader [A-Za-z]+ cannot choose among the samples that _split_sampler has chosen"
    with pytest.raises(ConfigError, match=message):
        Halves(list(range(12)), 4, False, 0.3, 0, **options)


@pytest.mark.parametrize("is_strict", [True, False])
def test_what_a_classic_config_leaves_to_the_project_is_told(config, tmp_path, caplog, is_strict):
    """Weights that were to be frozen and are not would be a silent difference; a strict config has them frozen."""
    arch = {"type": "Sequential", "args": {}, "freeze": ["bias"], "unfreeze_at": {"bias": 2}}
    parser, model = classic(config, tmp_path, arch=arch), torch.nn.Linear(2, 2)
    if is_strict:
        parser = ConfigParser(parser.config)
    data = BaseDataLoader(Augmented(12), 5, shuffle=True)
    trainer = ByHand(model, nll_loss, [], torch.optim.SGD(model.parameters()), parser, loader=data)
    lay_out(trainer)
    start(trainer)
    told = [line for line in caplog.messages if "arch." in line]
    assert told == ([] if is_strict else [
        "Left to the project: arch.freeze, arch.unfreeze_at, since the config is read by the rules of the classic "
        "template. For the framework to do it: ConfigParser.from_args(..., strict=True), and train.build."
    ])  # fmt: skip
    assert model.bias.requires_grad is not is_strict


def test_loader_with_split_seed_0_has_the_classic_split():
    """The validation samples are those of a permutation seeded with 0, on which published numbers depend."""
    order = np.arange(20)
    np.random.RandomState(0).shuffle(order)
    loader = BaseDataLoader(list(range(20)), 4, True, 0.25, split_seed=0)
    assert torch.cat(list(loader.split_validation())).tolist() == order[:5].tolist()


@pytest.mark.parametrize("at", [1, 3, 4, 7])
def test_inf_loop_goes_on_where_its_state_was_taken(at):
    """Also over the end of a pass; what the loader has can be read from it."""

    def loop():
        return inf_loop(BaseDataLoader(list(range(12)), 3, shuffle=True, seed=5))

    batches = loop()
    expected = [next(batches).tolist() for _ in range(10)]
    first, second = loop(), loop()
    for _ in range(at):
        next(first)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert [next(second).tolist() for _ in range(10 - at)] == expected[at:]
    assert (second.n_samples, second.batch_size) == (12, 3)


def test_tracker_has_its_numbers_as_a_data_frame():
    """Total, count and average of each value, as the classic template kept them."""
    tracker = MetricTracker("loss", "accuracy")
    tracker.update("loss", 0.5, 3)
    tracker.update("loss", 1.0)
    frame = tracker._data
    assert frame.loc["loss"].tolist() == [2.5, 4, 0.625]
    assert list(frame.index) == ["loss", "accuracy"]


def test_star_import_of_utils_hands_on_what_the_classic_one_did():
    """Sixteen projects take pandas, torch and more from `from utils import *`."""
    for module in ("utils", "utils.util"):
        names = {}
        exec(f"from {module} import *", names)
        assert names["pd"].__name__ == "pandas"
        assert names["torch"] is torch
        assert names["json"] is json
        assert names["OrderedDict"] is OrderedDict
        assert {"Path", "repeat", "MetricTracker", "inf_loop", "prepare_device", "ensure_dir"} <= names.keys()


def test_names_of_a_project_beside_ours_are_found(root, tmp_path, run):
    """Helpers that a project had in our files are listed in one file a room, and found under their old names."""
    for room in ("espalier", "utils"):
        shutil.copytree(root / room, tmp_path / room)
    (tmp_path / "utils" / "project_util.py").write_text("from utils import read_json\ndef helper():\n    return 3\n")
    (tmp_path / "utils" / "project_utils.py").write_text("from utils.project_util import helper\n")
    (tmp_path / "code.py").write_text(
        "from utils import helper\nfrom utils.util import helper as same\nfrom utils import *\n"
        "import utils\nprint(helper() + same(), hasattr(utils, 'other'))"
    )
    assert run("code.py", cwd=tmp_path).stdout == "6 False\n"


def test_setup_logging_with_a_file_of_the_project_follows_it(tmp_path, root, run):
    """`log_config` is a file for dictConfig whose file names lie in the log folder."""
    handler = {"class": "logging.FileHandler", "filename": "own.log"}
    (tmp_path / "logger_config.json").write_text(
        json.dumps({"version": 1, "handlers": {"own": handler}, "root": {"handlers": ["own"], "level": "INFO"}})
    )
    code = f"import logging\nfrom logger import setup_logging\nsetup_logging({str(tmp_path)!r}, " \
           f"log_config={str(tmp_path / 'logger_config.json')!r})\nlogging.getLogger('x').info('told')"  # fmt: skip
    assert run("-c", code, cwd=root).returncode == 0
    assert (tmp_path / "own.log").read_text() == "told\n"


def test_metric_module_of_ours_is_a_module_a_project_may_have():
    """`getattr(module_metric, name)`, the way classic commands look metrics up."""
    assert getattr(module_metric, "accuracy") is accuracy  # noqa: B009
