"""Learning-rate schedules in a config: lengths, warm-up and chains, from the check to a run that goes on."""

import argparse
import copy
import json

import pytest
import torch
from torch.optim import SGD, lr_scheduler
from torch.utils.data import DataLoader

import model.model
from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.folder import newest_checkpoint
from espalier.config.doubts import doubts
from espalier.config.json_text import parse_json
from espalier.errors import CheckpointError, ConfigError
from espalier.rng import seed_everything
from espalier.training.param_groups import build_optimizers
from model.loss import nll_loss
from model.metric import accuracy
from parse_config import ConfigParser
from tests.base.test_several_optimizers import Pair, PairTrainer
from tests.kill import (
    Augmented,
    Net,
    Stream,
    config_for,
    differences,
    end_of,
    exit_code_of,
    kill_self,
    make_loader,
    only_run,
)
from tests.seams import Seams, wait_for_saves
from trainer import Trainer

ROOMS = {"lr_scheduler": lr_scheduler}
STEPS = 8  # of an epoch: 38 samples in batches of 5


def of(kind, **args):
    """A section or block."""
    return {"type": kind, "args": args}


LINEAR, EXPONENTIAL = of("LinearLR", start_factor=0.1, total_iters="25%"), of("ExponentialLR", gamma=0.9)
WARM_UP = {
    **of("SequentialLR", schedulers=[LINEAR, of("CosineAnnealingLR", T_max="75%")], milestones=["25%"]),
    "interval": "step",
}


def make(folder, schedule, loader=None, run=None, kind=Trainer, overrides=None, **trainer):
    """A trainer with that schedule, made as train.py makes it: of a new run, or of one where it stands."""
    loader = make_loader() if loader is None else loader
    config = {**config_for(folder, **trainer), "lr_scheduler": copy.deepcopy(schedule), "user": {}}
    resume = None if run is None else newest_checkpoint(run)[0]
    parser = ConfigParser(config, resume, overrides, run_folder=run)
    seed_everything(config["seed"])
    net = Net()
    optimizer, scheduler = build_optimizers(parser, net, loader)
    valid = loader.split_validation() if hasattr(loader, "split_validation") else None
    return kind(net, nll_loss, [accuracy], optimizer, parser, torch.device("cpu"), loader, valid, scheduler,
                len_epoch=config["trainer"].get("len_epoch"))  # fmt: skip


def checked(schedule, **sections):
    """The paths and messages of what the check finds in that schedule."""
    text = json.dumps({"trainer": {"epochs": 10}, **sections, "lr_scheduler": schedule}, indent=1)
    tree = parse_json(text, "config.json")
    parser = ConfigParser(tree.values, origins=tree.origins)
    try:
        parser.check(ROOMS)
    except ConfigError as error:
        return {each.path: str(each) for each in error.problems if each.path.startswith("lr_scheduler")}
    return {}


# Lengths


@pytest.mark.parametrize("interval", ["step", pytest.param("epoch", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "trainer",
    [
        {},
        {"accumulate": 3},
        {"limit_train_batches": 3},
        {"limit_train_batches": 5, "accumulate": 2},
        {"max_steps": 11},
        {"max_steps": 99},
        {"max_steps": 5, "accumulate": 3},
        {"len_epoch": 5, "accumulate": 2},
        {"len_epoch": 11},
        {"len_epoch": 11, "limit_train_batches": 4, "max_steps": 7},
    ],
    ids=str,
)
def test_whole_run_is_as_many_calls_as_are_made(tmp_path, trainer, interval):
    """ "100%" is the number of optimizer steps, or of epochs, that the run really has."""
    schedule = {**of("StepLR", step_size="100%", gamma=0.5), "interval": interval}
    trained = make(tmp_path, schedule, limit_valid_batches=1, save_every_steps=None, epochs=2, **trainer)
    trained.train()
    rows = (trained.checkpoint_dir / "metrics.jsonl").read_text().splitlines()
    made = trained.step if interval == "step" else len(rows)  # an epoch that is cut is told, too
    assert trained.lr_scheduler.step_size == trained.lr_scheduler.last_epoch == made
    assert trained.optimizer.param_groups[0]["lr"] == 0.05  # with the very last call


def test_lengths_in_every_place_become_numbers(tmp_path):
    """Alone, in lists, and inside nested blocks; plain numbers stay, and so does the config."""
    trainer = make(tmp_path, WARM_UP)  # of 24 steps
    assert trainer.lr_scheduler._milestones == [6]
    assert [trainer.lr_scheduler._schedulers[0].total_iters, trainer.lr_scheduler._schedulers[1].T_max] == [6, 18]
    assert trainer.config["lr_scheduler"] == trainer.config.snapshot["lr_scheduler"] == WARM_UP
    schedule = of("MultiStepLR", milestones=[1, "2 epochs", "100%"])
    assert sorted(make(tmp_path, schedule).lr_scheduler.milestones) == [1, 2, 3]


def test_schedule_of_the_run_is_what_was_written_down(tmp_path):
    """config.json and the checkpoints show the lengths, not the numbers."""
    make(tmp_path, WARM_UP, epochs=1).train()
    folder = only_run(tmp_path)
    assert json.loads((folder / "config.json").read_text())["lr_scheduler"] == WARM_UP
    assert load_checkpoint(folder / "last.pth")["config"]["lr_scheduler"] == WARM_UP


@pytest.mark.parametrize(
    ("text", "interval", "message"),
    [
        (
            "500 steps", "epoch",
            "config error: lr_scheduler.args.step_size is in steps, but this schedule is stepped once an epoch\n"
            "  from      config.json:8\n"
            '  got       "500 steps"\n'
            '  fix       write "interval": "step" beside the "type" of the whole schedule',
        ),
        (
            "3 epochs 100 steps", "step",
            "config error: lr_scheduler.args.step_size gives two units for one length\n"
            "  from      config.json:8\n"
            '  got       "3 epochs 100 steps"\n'
            '  expected  a whole number, or a length: a share of the run as "5%", "3 epochs", or "500 steps"\n'
            "  fix       leave one of them out",
        ),
        (
            "101%", "step",
            "config error: lr_scheduler.args.step_size is more than the whole run\n"
            "  from      config.json:8\n"
            '  got       "101%"\n'
            '  expected  a share from "0%" to "100%"',
        ),
        (
            "8", "epoch",
            "config error: lr_scheduler.args.step_size is no length\n"
            "  from      config.json:8\n"
            '  got       "8"\n'
            '  expected  a whole number, or a length: a share of the run as "5%", "3 epochs", or "500 steps"\n'
            "  fix       write 8",
        ),
    ],
    ids=["steps per epoch", "two units", "too much", "no length"],
)  # fmt: skip
def test_check_tells_a_length_that_is_none(tmp_path, text, interval, message):
    """Before anything is built; and where nobody checks, when it is."""
    schedule = {**of("StepLR", step_size=text), "interval": interval}
    assert checked(schedule) == {"lr_scheduler.args.step_size": message}
    with pytest.raises(ConfigError) as caught:
        make(tmp_path, schedule)
    assert str(caught.value) == message.replace("  from      config.json:8\n", "")


@pytest.mark.parametrize(
    ("schedule", "paths"),
    [
        (of("StepLR", step_size="3 epochs", gamma="5%"), ["gamma"]),
        (of("CosineAnnealingWarmRestarts", T_0="10%", T_mult="10%"), ["T_mult"]),
        (of("MultiStepLR", milestones=["10%", "soon", 2.5]), ["milestones", "milestones.1"]),
        ({**of("OneCycleLR", max_lr=1, total_steps="100%", epochs=3, steps_per_epoch=9), "interval": "step"},
         ["epochs", "steps_per_epoch"]),
        ({**of("OneCycleLR", max_lr=1, epochs="50%", steps_per_epoch=9), "interval": "step"}, ["epochs"]),
        ({**of("OneCycleLR", max_lr=1, total_steps="100%", epochs=None), "interval": "step"}, []),
        (of("ReduceLROnPlateau", patience="10%", cooldown="1 epoch"), []),
        (of("LambdaLR", lr_lambda={"type": "tests.test_schedules_config.Decay", "args": {"length": "50 steps"}}),
         ["lr_lambda.args.length"]),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else " ".join(value) or "none",
)  # fmt: skip
def test_check_takes_lengths_only_where_calls_are_counted(schedule, paths):
    """No text passes for a fraction, a factor or an index; two ways to say one length are one too many."""
    assert list(checked(schedule)) == [f"lr_scheduler.args.{path}" for path in paths]


def test_check_takes_no_length_elsewhere():
    """Under `lr_scheduler` alone."""
    optimizer = {"optimizer": of("SGD", lr=0.1), "arch": of("MnistModel", num_classes="5%")}
    text = json.dumps({"trainer": {"epochs": 10}, **optimizer})
    with pytest.raises(ConfigError, match=r"arch\.args\.num_classes has the wrong type"):
        ConfigParser(json.loads(text)).check({"arch": model.model})


@pytest.mark.parametrize(
    ("length", "interval", "is_known"),
    [("10%", "step", False), ("2 epochs", "step", False), ("10%", "epoch", True), ("9 steps", "step", True)],
)
def test_data_without_length_and_a_length_that_needs_it(tmp_path, length, interval, is_known):
    """What cannot be known is told when it is built, with the way out, which works."""
    schedule, loader = {**of("StepLR", step_size=length), "interval": interval}, DataLoader(Stream(), batch_size=5)
    if is_known:
        assert make(tmp_path, schedule, loader).lr_scheduler.step_size in (1, 9)
        return
    with pytest.raises(ConfigError) as caught:
        make(tmp_path, schedule, loader)
    assert str(caught.value) == (
        "config error: lr_scheduler.args.step_size needs the number of steps of an epoch, which is not known\n"
        f'  got       "{length}"\n'
        "  fix       say how many batches are an epoch: trainer.len_epoch"
    )
    assert make(tmp_path, schedule, loader, len_epoch=10).lr_scheduler.step_size in (3, 20)
    if length == "10%":
        assert make(tmp_path, schedule, loader, max_steps=50).lr_scheduler.step_size == 5


def test_build_optimizers_without_loader_knows_what_the_config_says(tmp_path):
    """A train.py that is older gets shares per epoch, and a message for what needs the data."""
    parser = ConfigParser({**config_for(tmp_path), "lr_scheduler": of("StepLR", step_size="67%")})
    assert build_optimizers(parser, Net())[1].step_size == 2
    assert parser.init_obj("lr_scheduler", lr_scheduler, SGD(Net().parameters(), 0.1)).step_size == 2


# Warm-up and chains


def test_check_looks_into_nested_schedules():
    """Names, arguments and their types, with path and line, at any depth; the optimizer is not asked for."""
    inner = of("ChainedScheduler", schedulers=[of("StepLR", step_size="x"), of("ExponentialLR")])
    parts = [of("LinearLr"), of("LinearLR", total_iter=3), inner]
    found = checked(of("ChainedScheduler", schedulers=parts))
    here = "lr_scheduler.args.schedulers"
    assert list(found) == [f"{here}.0.type", f"{here}.1.args.total_iter", f"{here}.2.args.schedulers.0.args.step_size",
                           f"{here}.2.args.schedulers.1.args.gamma"]  # fmt: skip
    assert "names nothing in torch.optim.lr_scheduler\n  from      config.json:10\n" in found[f"{here}.0.type"]
    assert checked(of("ChainedScheduler", schedulers=[EXPONENTIAL, LINEAR])) == {}
    assert checked({**WARM_UP, "type": "torch.optim.lr_scheduler.SequentialLR"}) == {}


@pytest.mark.parametrize("name", ["", "net"])
def test_check_interval_of_a_nested_schedule_is_refused(name):
    """It is stepped when the whole is; the message says where to write it, for one of several too."""
    schedule = of("ChainedScheduler", schedulers=[{**EXPONENTIAL, "interval": "step"}])
    path = f"lr_scheduler.{name}".rstrip(".")
    found = checked({name: schedule} if name else schedule, optimizer={"net": of("SGD")} if name else of("SGD"))
    assert list(found) == [f"{path}.args.schedulers.0.interval"]
    assert (
        f'belongs to the outer schedule\n  from      config.json:{21 if name else 18}\n  got       "step"\n'
        in "".join(found.values())
    )
    assert f'  fix       write "interval" under {path}, for all that is inside' in "".join(found.values())


PLATEAU, CHAIN = of("ReduceLROnPlateau"), of("ChainedScheduler", schedulers=[EXPONENTIAL])


@pytest.mark.parametrize(
    ("outer", "part", "what"),
    [
        ("ChainedScheduler", PLATEAU, "cannot be part of ChainedScheduler, which has no value for it to watch"),
        ("SequentialLR", PLATEAU, "cannot be part of SequentialLR, which has no value for it to watch"),
        ("SequentialLR", {"type": "SequentialLR", "args": WARM_UP["args"]},
         "cannot be part of SequentialLR: PyTorch counts its milestones wrong there"),
        ("SequentialLR", CHAIN, "cannot be part of SequentialLR: PyTorch does not step it right there"),
        ("SequentialLR", "StepLR", "is no schedule"),
        ("SequentialLR", {**EXPONENTIAL, "partial": True}, "is no schedule"),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else value[:20],
)  # fmt: skip
def test_check_part_that_a_chain_cannot_hold_is_refused(outer, part, what):
    """What PyTorch raises in the middle of a run, or gets wrong without a word."""
    milestones = {"milestones": [1]} if outer == "SequentialLR" else {}
    found = checked(of(outer, schedulers=[EXPONENTIAL, part], **milestones))
    assert list(found) == ["lr_scheduler.args.schedulers.1"]
    assert found["lr_scheduler.args.schedulers.1"].split("\n")[0].endswith(f"schedulers.1 {what}")


@pytest.mark.parametrize(
    ("milestones", "what"),
    [([], "has 0 items"), ([1], "has 1 item"), ([4, 2], "does not rise"), (["1 epoch", 4], None), ([2, 4], None)],
)
def test_check_milestones_lie_between_the_schedules(milestones, what):
    """One less than there are schedules, in their order."""
    found = checked(of("SequentialLR", schedulers=[LINEAR, EXPONENTIAL, EXPONENTIAL], milestones=milestones))
    assert list(found) == (["lr_scheduler.args.milestones"] if what else [])
    assert what is None or f"lr_scheduler.args.milestones {what}" in found["lr_scheduler.args.milestones"]


def test_chain_in_which_one_forgets_the_others_is_doubted():
    """PyTorch takes it; the reader may not have meant it."""
    schedule = of("ChainedScheduler", schedulers=[EXPONENTIAL, {"type": "SequentialLR", "args": WARM_UP["args"]}])
    assert checked(schedule) == {}
    values = {"lr_scheduler": schedule, "trainer": {"epochs": 3}, "data_loader": {}}
    assert doubts(values) == [
        "lr_scheduler.args.schedulers.1 is a SequentialLR in a ChainedScheduler: "
        "at each milestone it sets the rate anew, whatever the others have made of it."
    ]


def by_hand(build, calls=12):
    """The learning rates of a schedule made in plain PyTorch, before each step."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule, rates = build(optimizer), []
    for _ in range(calls):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


class Decay:
    """A factor of the learning rate, for LambdaLR."""

    def __init__(self, length: int = 4):
        self.length = length

    def __call__(self, count):
        return 0.5 ** (count / self.length)


class Own(lr_scheduler.LRScheduler):
    """A schedule that calls the optimizer otherwise."""

    def __init__(self, opt, length: int):
        self.length = length
        super().__init__(opt)

    def get_lr(self):
        return [base / (1 + self.last_epoch / self.length) for base in self.base_lrs]


HERE = "tests.test_schedules_config"
SCHEDULES = {
    "warm-up, then cosine": (
        {"type": "SequentialLR", "args": WARM_UP["args"]},
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.1, total_iters=3), lr_scheduler.CosineAnnealingLR(o, 9)], [3]
        ),
    ),
    "chain": (
        of("ChainedScheduler", schedulers=[LINEAR, EXPONENTIAL]),
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.LinearLR(o, 0.1, total_iters=3), lr_scheduler.ExponentialLR(o, 0.9)]
        ),
    ),
    "chain of chains": (
        of("ChainedScheduler", schedulers=[of("ChainedScheduler", schedulers=[LINEAR, EXPONENTIAL]), EXPONENTIAL]),
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.LinearLR(o, 0.1, total_iters=3), lr_scheduler.ExponentialLR(o, 0.9),
             lr_scheduler.ExponentialLR(o, 0.9)]
        ),
    ),
    "own, nested": (
        of("SequentialLR", schedulers=[of(f"{HERE}.Own", length="50%"), EXPONENTIAL], milestones=["50%"]),
        lambda o: lr_scheduler.SequentialLR(o, [Own(o, 6), lr_scheduler.ExponentialLR(o, 0.9)], [6]),
    ),
    "lambda that is built": (
        of("LambdaLR", lr_lambda=of(f"{HERE}.Decay", length="25%")),
        lambda o: lr_scheduler.LambdaLR(o, Decay(3)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_built_schedule_has_the_rates_of_plain_pytorch(tmp_path, name):
    """Nested blocks get the optimizer, lengths their numbers, and nothing else happens."""
    section, build = SCHEDULES[name]
    assert checked(section) == {}
    config = {**config_for(tmp_path, epochs=12), "lr_scheduler": section}

    def built(optimizer):
        return ConfigParser(copy.deepcopy(config)).init_obj("lr_scheduler", lr_scheduler, optimizer)

    assert by_hand(built) == by_hand(build)


def test_partial_block_in_a_schedule_stays_a_factory(tmp_path):
    """It gets no optimizer; what it makes later is its own affair."""
    section = of("LambdaLR", lr_lambda={"type": f"{HERE}.halved", "args": {"each": "50%"}, "partial": True})
    config = {**config_for(tmp_path, epochs=12), "lr_scheduler": section}
    assert checked(section) == {}
    built = ConfigParser(config).init_obj("lr_scheduler", lr_scheduler, SGD(Net().parameters(), 0.1))
    assert [built.lr_lambdas[0](count) for count in (5, 6, 11, 12)] == [1.0, 0.5, 0.5, 0.25]  # each 6 of 12 epochs


def halved(count: int, each: int):
    """Half the rate after so many calls."""
    return 0.5 ** (count // each)


def test_classic_config_without_check_is_passed_on_as_it_is(tmp_path):
    """What no one checks is not built: blocks and texts reach the project's own class, the optimizer first."""
    taken = []

    class Room:
        @staticmethod
        def Classic(optimizer, **keywords):
            taken.append((optimizer, keywords))

    section = of("Classic", inner=EXPONENTIAL, length="5%")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**config_for(tmp_path), "lr_scheduler": section}))
    parser = ConfigParser.from_args(argparse.Namespace(config=str(path), resume=None, device=None))
    assert parser.is_classic
    parser.init_obj("lr_scheduler", Room, "optimizer")
    assert taken == [("optimizer", {"inner": EXPONENTIAL, "length": "5%"})]


# A run that goes on


def killed_at(step):
    """A trainer whose process dies after that step."""

    class Killed(Trainer):
        def on_step_end(self):
            if self.step == step:
                wait_for_saves(self)
                kill_self()

    return Killed


@pytest.mark.parametrize(
    ("schedule", "step"),
    [
        pytest.param(WARM_UP, 4, marks=pytest.mark.slow),
        pytest.param({"type": "SequentialLR", "args": WARM_UP["args"]}, 10, marks=pytest.mark.slow),
        pytest.param({**SCHEDULES["chain of chains"][0], "interval": "step"}, 5, marks=pytest.mark.slow),
        ({**SCHEDULES["own, nested"][0], "interval": "step"}, 14),
    ],
    ids=["in warm-up", "per epoch", "chain of chains", "own"],
)
def test_killed_run_goes_on_with_the_same_rates(tmp_path, schedule, step):
    """Rates, weights and the state of every nested schedule end in the same bits."""
    make(tmp_path / "whole", schedule).train()
    assert exit_code_of(lambda: make(tmp_path, schedule, kind=killed_at(step)).train()) == -9
    make(tmp_path, schedule, run=only_run(tmp_path)).train()
    assert differences(*(end_of(only_run(folder)) for folder in (tmp_path / "whole", tmp_path))) == []


def test_killed_run_of_several_optimizers_with_different_chains(tmp_path):
    """Each goes on with its own."""

    def make_pair(folder, run=None, kind=PairTrainer):
        trainer = {"epochs": 3, "save_dir": str(folder / "saved"), "tensorboard": False, "verbosity": 0,
                   "save_every_steps": 3, "monitor": "min loss"}  # fmt: skip
        schedules = {"maker": WARM_UP, "critic": SCHEDULES["chain"][0]}
        config = {"name": "Killed", "optimizer": {"maker": of("SGD", lr=0.1), "critic": of("Adam", lr=0.01)},
                  "lr_scheduler": copy.deepcopy(schedules), "trainer": trainer}  # fmt: skip
        parser = ConfigParser(config, None if run is None else newest_checkpoint(run)[0], run_folder=run)
        seed_everything(3)
        pair, loader = Pair(), make_loader(dataset=Augmented(20), validation_split=0.0)
        optimizer, schedule = build_optimizers(parser, pair, loader)
        return kind(pair, nll_loss, [], optimizer, parser, loader=loader, schedule=schedule)

    class Killed(Seams, PairTrainer):
        def after_batch(self, batch_idx):
            wait_for_saves(self)
            if self.step == 6:
                kill_self()

    whole = make_pair(tmp_path / "whole")
    whole.train()
    assert whole.lr_scheduler["maker"]._milestones == [3]  # of 12 steps
    assert exit_code_of(lambda: make_pair(tmp_path, kind=Killed).train()) == -9
    make_pair(tmp_path, only_run(tmp_path)).train()
    assert differences(*(end_of(only_run(folder)) for folder in (tmp_path / "whole", tmp_path))) == []


def given(schedule, interval="epoch"):
    """A whole schedule from the command line."""
    return {"lr_scheduler": {**schedule, "interval": interval}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        given(of("MultiStepLR", milestones=[1, 2])),
        given(of("OneCycleLR", max_lr=0.5, total_steps=24), "step"),
        given(of("CyclicLR", base_lr=0.01, max_lr=0.1, step_size_up=3), "step"),
        given(of("ReduceLROnPlateau", mode="min", patience=0)),
        given(of("SequentialLR", schedulers=[of("ConstantLR"), EXPONENTIAL], milestones=[7]), "step"),
        given(of("LambdaLR", lr_lambda={"type": "tests.test_schedules_config.Decay", "args": {"length": 9}})),
        given(of("StepLR", step_size=1, gamma=1)),
        {"lr_scheduler.args.step_size": 1, "lr_scheduler.args.gamma": 0.5, "optimizer.args.lr": 0.2},
        {"lr_scheduler.args.step_size": "${trainer.epochs}", "optimizer.args.lr": "${user.rate}"},
        {"optimizer": of("Adam", lr=0.01, betas=[0.8, 0.99], amsgrad=True)},
        {"optimizer": {**of("SGD", lr=0.1), "param_groups": [{"match": "layers.0.*", "lr": 0.02}]}},
    ],
    ids=lambda each: each.get("lr_scheduler", each.get("optimizer", {})).get("type", str(each)),
)
def test_same_command_line_again_goes_on_as_if_nothing_was_said(tmp_path, caplog, overrides):
    """What is given again as it was is no change, as with --auto-resume and after a restart."""
    caplog.set_level("INFO")
    schedule, paths = of("StepLR", step_size=2), {tuple(path.split(".")): each for path, each in overrides.items()}
    options = {"limit_valid_batches": 1, "save_every_steps": None}

    def trainer(folder, run=None, kind=Trainer):
        return make(folder, schedule, run=run, kind=kind, overrides={**paths, ("user",): {"rate": 0.05}}, **options)

    trainer(tmp_path / "whole").train()
    assert exit_code_of(lambda: trainer(tmp_path, kind=killed_at(12)).train()) == -9
    trainer(tmp_path, only_run(tmp_path)).train()
    assert differences(*(end_of(only_run(folder)) for folder in (tmp_path / "whole", tmp_path))) == []
    assert "command line" not in caplog.text


def test_changed_group_of_the_command_line_is_set_where_it_is_meant(tmp_path):
    """One rate of `param_groups`, by its index or in the whole list; what would be another group is refused."""

    def resumed(rate, **more):
        groups = [{"match": "layers.0.*", "lr": rate, **more}]
        overrides = {("optimizer", "args", "lr"): 0.1, ("optimizer", "param_groups"): groups}
        run = only_run(tmp_path) if (tmp_path / "saved").exists() else None
        trainer = make(tmp_path, of("StepLR", step_size=2), run=run, overrides=overrides, epochs=1)
        trainer.train()
        return [group["lr"] for group in trainer.optimizer.param_groups], trainer.lr_scheduler.base_lrs

    assert resumed(0.02) == ([0.02, 0.1], [0.02, 0.1])
    assert resumed(0.03) == ([0.03, 0.1], [0.03, 0.1])
    with pytest.raises(CheckpointError, match=r"optimizer\.param_groups cannot be changed in the middle of a run"):
        resumed(0.03, weight_decay=0.1)


@pytest.mark.parametrize(
    "schedule",
    [
        WARM_UP,
        pytest.param({"type": "CosineAnnealingLR", "args": {"T_max": "100%"}}, marks=pytest.mark.slow),
        pytest.param({**of("OneCycleLR", max_lr=0.5, total_steps="100%"), "interval": "step"}, marks=pytest.mark.slow),
        of("ChainedScheduler", schedulers=[of("LinearLR", start_factor=0.1, total_iters="100%"), EXPONENTIAL]),
        pytest.param(of("MultiStepLR", milestones=["50%", "80%"]), marks=pytest.mark.slow),
    ],
    ids=lambda schedule: schedule["type"],
)
def test_run_that_is_made_longer_takes_the_lengths_of_the_longer_one(tmp_path, caplog, schedule):
    """From where it goes on, the rates are those of a run that was to be so long from the beginning."""
    caplog.set_level("INFO")
    rates = {}
    for name, epochs in (("long", 4), ("short", 2)):
        make(tmp_path / name, schedule, epochs=epochs, limit_valid_batches=1, save_every_steps=None).train()
        rates[name] = rates_of(tmp_path / name)
    make(tmp_path / "short", schedule, run=only_run(tmp_path / "short"), epochs=4).train()
    assert rates_of(tmp_path / "short")[:2] == rates["short"]
    assert rates_of(tmp_path / "short")[2:] == pytest.approx(rates["long"][2:], abs=1e-15)
    told = [line for line in caplog.messages if line.startswith("The run is of another length now")]
    assert len(told) == 1
    assert "of lr_scheduler: the learning rate goes on at" in told[0]


def rates_of(folder):
    """The learning rate of each epoch."""
    rows = [json.loads(line) for line in (only_run(folder) / "metrics.jsonl").read_text().splitlines()]
    return [row["learning_rate"][0] for row in rows]
