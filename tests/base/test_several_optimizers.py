"""Several optimizers and schedules, by the names of parts of the model."""

import copy

import pytest
import torch
from torch import nn

import data_loader.data_loaders
import examples.gan.model
from base import BaseDataLoader, BaseTrainer
from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.folder import newest_checkpoint
from espalier.config.check import check
from espalier.config.check_keys import check_without_imports
from espalier.config.file import load_config
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError
from espalier.rng import seed_everything
from espalier.training.param_groups import build_optimizers
from examples.gan.trainer import GanTrainer
from parse_config import ConfigParser
from tests.kill import Augmented, differences, end_of, exit_code_of, kill_self, only_run
from tests.seams import Seams, rates_of, start
from utils import MetricTracker

SGD = {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9}}
STEP = {"type": "StepLR", "args": {"step_size": 1, "gamma": 0.5}}


class Pair(nn.Module):
    """Two parts, one of which reads what the other makes."""

    def __init__(self):
        super().__init__()
        self.maker, self.critic = nn.Linear(16, 4), nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.2))


class PairTrainer(BaseTrainer):
    """A step of the critic, then one of the maker, in each batch."""

    def __init__(self, *args, loader, schedule=None):
        super().__init__(*args)
        self.data_loader, self.lr_scheduler = loader, schedule
        self.train_metrics = MetricTracker("loss")

    def _train_epoch(self, epoch):
        self.model.train()
        for _, (data, _) in self.batches(self.data_loader):
            made = self.model.maker(data)
            self.update(-self.model.critic(made.detach()).tanh().mean(), "critic")
            loss = self.model.critic(made).mean()
            self.update(loss, "maker")
            self.train_metrics.update("loss", loss, len(data))
        log = self.train_metrics.result()
        self.schedule(log)
        return log


@pytest.fixture
def config(tmp_path):
    """A config of two optimizers and two schedules."""
    return {
        "name": "Killed",
        "optimizer": {"maker": copy.deepcopy(SGD), "critic": {"type": "Adam", "args": {"lr": 0.01}}},
        "lr_scheduler": {"maker": copy.deepcopy(STEP), "critic": {**copy.deepcopy(STEP), "interval": "step"}},
        "trainer": {"epochs": 3, "save_dir": str(tmp_path / "saved"), "tensorboard": False, "verbosity": 0},
    }


def make(config, run=None, kind=PairTrainer, overrides=None):
    """A trainer, of a new run or of one where it stands."""
    resume = None if run is None else newest_checkpoint(run)[0]
    parser = ConfigParser(copy.deepcopy(config), resume, overrides, run_folder=run)
    seed_everything(3)
    model = Pair()
    optimizer, schedule = build_optimizers(parser, model)
    loader = BaseDataLoader(Augmented(20), 5, shuffle=True, seed=3)
    return kind(model, nn.MSELoss(), [], optimizer, parser, loader=loader, schedule=schedule)


def test_update_of_one_optimizer_leaves_the_other_part_alone(config):
    """A loss that depends on both parts gives gradients to the named one only."""
    trainer = make(config)
    before = copy.deepcopy(trainer.model.state_dict())
    loss = trainer.model.critic(trainer.model.maker(torch.ones(2, 16))).mean()
    trainer.update(loss, "maker")
    changed = [name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["maker.weight", "maker.bias"]
    assert all(parameter.grad is None for parameter in trainer.model.critic.parameters())


@pytest.mark.parametrize(
    ("monitor", "names"), [("min loss", None), ("min own", None), ("min los", "loss, own"), ("min ow", "loss, own")]
)
def test_names_of_a_metric_tracker_of_ones_own_are_checked(config, monitor, names):
    """A trainer that says what else it reports is held to that, whatever counts its loss."""

    class Telling(PairTrainer):
        extra_log_names = ("own",)

        def _train_epoch(self, epoch):
            return {**super()._train_epoch(epoch), "own": 1.0}

    config["trainer"] |= {"monitor": monitor, "epochs": 1}
    if names is None:
        make(config, kind=Telling).train()
        return
    with pytest.raises(ConfigError, match=f"trainer.monitor watches .*\\n.*\\n  expected  one of: {names}\\n"):
        make(config, kind=Telling).train()


def test_update_of_an_unknown_optimizer_names_the_known_ones(config):
    """A slip in the loop is told as one in the config."""
    with pytest.raises(ConfigError, match='names no optimizer of the config\n  got +"makr"\n.*maker, critic\n.*maker'):
        make(config).update(torch.zeros(1, requires_grad=True), "makr")


def test_update_without_a_name_needs_one_only_of_several(config):
    """One that is alone under a name is meant, too."""
    loss = torch.zeros(1, requires_grad=True) * 1
    with pytest.raises(ConfigError) as error:
        make(config).update(loss)
    assert str(error.value) == (
        "config error: self.update has to say which optimizer makes a step\n  expected  one of: maker, critic"
    )
    for name in ("optimizer", "lr_scheduler"):
        del config[name]["critic"]
    trainer = make(config)
    weight = trainer.model.maker.weight.detach().clone()
    trainer.update(trainer.model.maker(torch.ones(2, 16)).mean())
    assert not torch.equal(trainer.model.maker.weight, weight) and trainer.step == 1


@pytest.mark.parametrize("names", [["maker"], ["maker", "critic"]])
def test_schedule_without_the_name_of_its_optimizer_says_how_to_write_it(config, names):
    """Also where one optimizer has a name and is alone."""
    optimizers = {name: config["optimizer"][name] for name in names}
    tree = ConfigTree({"optimizer": optimizers, "lr_scheduler": STEP})
    sections = ", ".join(f'"{name}": {{...}}' for name in names)
    assert [str(each) for each in check_without_imports(tree, ()) if each.path == "lr_scheduler"] == [
        "config error: lr_scheduler has no name of an optimizer, but optimizer has\n"
        f"  expected  a section for each of: {', '.join(names)}\n"
        f'  fix       write "lr_scheduler": {{{sections}}}'
    ]


def test_steps_and_schedules_are_those_of_each_optimizer(config):
    """Steps count once a batch; a schedule goes by its own interval."""
    trainer = make(config)
    trainer.train()
    assert trainer.step == 3 * 4
    assert rates_of(trainer) == [0.1 * 0.5**3, 0.01 * 0.5**12]


@pytest.mark.parametrize(
    "changes",
    [pytest.param({}, marks=pytest.mark.slow), {"accumulate": 3, "ema_decay": 0.9, "clip_grad_norm": 0.1}],
    ids=["", "all"],
)
def test_run_of_several_optimizers_killed_ends_as_undisturbed(config, tmp_path, changes):
    """Both optimizers, both schedules and half-gathered steps go on to the bit."""

    class Killed(Seams, PairTrainer):
        def after_batch(self, batch_idx):
            if self.epoch == 1 and batch_idx == 2:
                kill_self()

    config["trainer"] |= {"save_every_minutes": 0, "monitor": "min loss", **changes}
    whole = {**config, "trainer": {**config["trainer"], "save_dir": str(tmp_path / "whole" / "saved")}}
    make(whole).train()
    assert exit_code_of(lambda: make(config, kind=Killed).train()) == -9
    make(config, only_run(tmp_path)).train()
    assert differences(*(end_of(only_run(folder)) for folder in (tmp_path / "whole", tmp_path))) == []


def test_learning_rate_of_one_is_set_at_resume(config, tmp_path, caplog):
    """`optimizer.maker.args.lr=...` changes that one, and the log says so."""
    caplog.set_level("INFO")
    del config["lr_scheduler"]
    make({**config, "trainer": {**config["trainer"], "epochs": 1}}).train()
    resumed = make(config, only_run(tmp_path), overrides={("optimizer", "maker", "args", "lr"): 0.5})
    start(resumed)
    assert rates_of(resumed) == [0.5, 0.01]
    assert "optimizer.maker.args.lr is 0.5 from the command line, not the saved 0.1." in caplog.messages


def test_optimizer_of_no_part_of_the_model_is_refused(config):
    """The message has the parts there are."""
    config["optimizer"]["mater"] = config["optimizer"].pop("maker")
    del config["lr_scheduler"]
    with pytest.raises(ConfigError, match=r"mater is no part of the model\n  expected  one of: maker, critic\n"):
        make(config)


ROOMS = {"optimizer": torch.optim, "lr_scheduler": torch.optim.lr_scheduler}


@pytest.mark.parametrize(
    ("optimizers", "schedules", "paths"),
    [
        ({"a": SGD, "b": SGD}, {"a": STEP}, []),
        ({"a": SGD, "b": {"type": "SDG"}}, None, ["optimizer.b.type"]),
        ({"a": SGD, "b": {"type": "SGD", "args": {"rate": 1}}}, None, ["optimizer.b.args.rate"]),
        ({"a": SGD}, {"c": STEP}, ["lr_scheduler.c"]),
        ({"a": SGD, "b": SGD}, STEP, ["lr_scheduler"]),
        ({"a": SGD}, {"a": {"type": "ReduceLROnPlateau", "interval": "step"}}, ["lr_scheduler.a.interval"]),
    ],
)
def test_check_looks_into_each_of_several(optimizers, schedules, paths):
    """What is wrong with one is named with its path."""
    values = {"optimizer": optimizers, **({} if schedules is None else {"lr_scheduler": schedules})}
    found = [problem.path for problem in check(ConfigTree(copy.deepcopy(values)), ROOMS)]
    assert [path for path in found if path.startswith(("optimizer", "lr_scheduler"))] == paths


def test_gan_example_trains_resumes_exactly_and_shows_its_digits(root, tmp_path):
    """The example of the repository: a config without fault, two steps, a picture, and the same bits after a resume."""
    values = load_config(root / "examples/gan/config.json").values
    values["trainer"] |= {"save_dir": str(tmp_path / "saved"), "limit_train_batches": 2, "tensorboard": False}
    values["data_loader"]["args"] |= {"data_dir": str(root / "data/digits"), "batch_size": 4}
    shown = []

    class Watched(GanTrainer):
        def on_epoch_end(self, log):
            super().on_epoch_end(log)
            shown.append(self.model(self.noise).shape)

    def run(folder, epochs, start=None):
        config = copy.deepcopy(values)
        config["trainer"] |= {"save_dir": str(tmp_path / folder / "saved"), "epochs": epochs}
        resume = None if start is None else start / "last.pth"
        parser = ConfigParser(config, resume, run_folder=start)
        seed_everything(1)
        loader = parser.init_obj("data_loader", data_loader.data_loaders)
        model = parser.init_obj("arch", examples.gan.model)
        optimizer, _ = build_optimizers(parser, model)
        criterion = parser.init_ftn("loss", nn)
        trainer = Watched(model, criterion, [], optimizer, parser, torch.device("cpu"), loader)
        trainer.train()
        return trainer.checkpoint_dir

    ends = [run("whole", 2), run("again", 2, run("again", 1))]
    states = [load_checkpoint(folder / "last.pth") for folder in ends]
    for state in states:
        del state["config"]
    assert differences(*states) == []
    assert shown == [(40, 1, 28, 28)] * 4
    assert len((root / "examples/gan/trainer.py").read_text().splitlines()) < 60
