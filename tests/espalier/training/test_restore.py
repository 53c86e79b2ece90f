"""Bringing the parts of a checkpoint back, exactly or as far as they fit."""

import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ChainedScheduler, LambdaLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau, StepLR

from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.errors import CheckpointError
from espalier.training import config_changes, restore, restore_optimizer, saved_state
from espalier.training.rng_state import get_rng_state
from model.loss import nll_loss
from parse_config import ConfigParser
from tests.seams import start
from trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")


class Net(nn.Module):
    """Two layers, `body` and `head`."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.body = nn.Linear(3, 4)
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.body(x))


class Wrapper(nn.Module):
    """A network that calls its part `module`, as averaged and quantised models do."""

    def __init__(self):
        super().__init__()
        self.module = Net()


@pytest.fixture
def messages(caplog):
    """The log of the test, as pairs of level and text."""
    caplog.set_level(logging.INFO, logger="resume")
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def trained_optimizer(kind=torch.optim.SGD, num_steps=2, **options):
    """An optimizer of a small net after some steps, so that it has a state."""
    torch.manual_seed(0)
    net = Net()
    optimizer = kind(net.parameters(), **{"lr": 0.1, **options})
    for _ in range(num_steps):
        optimizer.zero_grad()
        net(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    return optimizer


def is_equal(first, second):
    """Whether two dicts of tensors are equal to the bit."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# Weights


@pytest.mark.parametrize("load", [restore.load_weights, restore.load_matching_weights])
@pytest.mark.parametrize("wrap", [nn.Module.train, nn.DataParallel], ids=["plain", "DataParallel"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_load_weights_that_fit_are_taken_bitwise(load, wrap, prefix):
    """With or without `module.` in the names, into a plain or a wrapped model, all weights arrive."""
    source, target = Net(), Net()
    load(wrap(target), {prefix + name: value for name, value in source.state_dict().items()})
    assert is_equal(target.state_dict(), source.state_dict())


@pytest.mark.parametrize("load", [restore.load_weights, restore.load_matching_weights])
def test_load_weights_of_a_part_called_module_are_taken(load):
    """A model whose own names begin with `module.` gets its weights back."""
    source, target = Wrapper(), Wrapper()
    load(target, source.state_dict())
    assert is_equal(target.state_dict(), source.state_dict())


def test_load_weights_that_do_not_fit_are_refused():
    """Every name that is missing, of another shape or unknown is given."""
    weights = Net(num_classes=3).state_dict()
    weights["tail.weight"] = weights.pop("body.bias")
    with pytest.raises(CheckpointError) as caught:
        restore.load_weights(Net(), weights)
    assert str(caught.value) == (
        "checkpoint error: these weights do not fit the model of the config\n"
        '  missing   ["body.bias"]\n'
        '  shape     ["head.weight", "head.bias"]\n'
        '  unknown   ["tail.weight"]\n'
        "  fix       use the config of that checkpoint, or start a new run from what fits: train.py -c ... -r ..."
    )


def test_load_weights_message_leaves_out_what_is_in_order():
    """A misfit of one kind is told in one line."""
    with pytest.raises(CheckpointError) as caught:
        restore.load_weights(Net(), Net(num_classes=3).state_dict())
    assert str(caught.value) == (
        "checkpoint error: these weights do not fit the model of the config\n"
        '  shape     ["head.weight", "head.bias"]\n'
        "  fix       use the config of that checkpoint, or start a new run from what fits: train.py -c ... -r ..."
    )


def test_load_weights_that_do_not_fit_leave_the_model_as_it_was():
    """A refusal comes before anything is changed."""
    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        restore.load_weights(model, Net(num_classes=3).state_dict())
    assert is_equal(model.state_dict(), before)


def test_load_matching_weights_takes_what_fits():
    """The body fits and is taken; the head, of another size, stays as it was."""
    source, target = Net(num_classes=3), Net()
    head = target.head.weight.clone()
    assert restore.load_matching_weights(target, source.state_dict()) is False
    assert torch.equal(target.body.weight, source.body.weight)
    assert torch.equal(target.head.weight, head)


def test_load_matching_weights_reports_what_does_not_fit(messages):
    """The log gives the number of weights taken and the names of all others."""
    weights = Net(num_classes=3).state_dict()
    weights["tail.weight"] = weights.pop("body.bias")
    restore.load_matching_weights(Net(), weights)
    assert messages() == [
        ("INFO", "Loaded 1 of 4 weights of the model."),
        ("WARNING", "Not in the checkpoint: body.bias."),
        ("WARNING", "Of another shape in the checkpoint: head.weight, head.bias."),
        ("WARNING", "In the checkpoint but not in the model: tail.weight."),
    ]


def test_load_matching_weights_that_all_fit_says_so(messages):
    """A full fit is one line and the answer True."""
    assert restore.load_matching_weights(Net(), Net().state_dict()) is True
    assert messages() == [("INFO", "Loaded 4 of 4 weights of the model.")]


def test_load_matching_weights_of_which_none_fits_is_refused():
    """Not a single fitting weight means the wrong checkpoint, not a start from scratch."""
    with pytest.raises(CheckpointError) as caught:
        restore.load_matching_weights(nn.Linear(2, 2), Net().state_dict())
    assert str(caught.value) == (
        "checkpoint error: not one weight of the checkpoint fits the model\n"
        '  got       ["body.weight", "body.bias", "head.weight", "head.bias"]\n'
        '  expected  ["weight", "bias"]'
    )


def test_unwrap_gives_the_model_inside():
    """The wrapper of many GPUs is taken off; any other model is itself."""
    model = Net()
    assert restore.unwrap(nn.DataParallel(model)) is model
    assert restore.unwrap(model) is model


# Which parts there are


def test_check_complete_of_weights_alone_is_refused():
    """A checkpoint that cannot be continued names what it lacks and the way to use its weights."""
    with pytest.raises(CheckpointError) as caught:
        saved_state.check_complete({"state_dict": {}, "epoch": 3, "config": {}, "monitor": {}, "format": 2}, "best.pth")
    assert str(caught.value) == (
        "checkpoint error: best.pth cannot be continued, since it lacks optimizer, parts, lr_scheduler, progress, "
        "data_loader, metrics, update, ema, gradients, nonfinite, rng\n"
        "  fix       start a new run from its weights: train.py -c config.json -r ..."
    )


@pytest.mark.parametrize(
    ("saved", "now", "expected", "log"),
    [
        ({"optimizer": {"type": "SGD"}}, {"optimizer": {"type": "SGD"}}, True, []),
        (
            {"optimizer": {"type": "SGD"}},
            {"optimizer": {"type": "Adam"}},
            False,
            [("WARNING", "optimizer was SGD in the checkpoint and is Adam now: it starts fresh.")],
        ),
        (
            None,
            {"optimizer": {"type": "Adam"}},
            False,
            [("WARNING", "optimizer was None in the checkpoint and is Adam now: it starts fresh.")],
        ),
        ({"optimizer": None}, {}, True, []),
    ],
    ids=["same", "other", "no config", "neither"],
)
def test_is_same_type_compares_and_says_where_they_differ(messages, saved, now, expected, log):
    """Another type starts fresh and the log says so; where there was none and is none there is nothing to say."""
    assert config_changes.is_same_type("optimizer", saved, now) is expected
    assert messages() == log


# Optimizer


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_load_optimizer_without_overrides_takes_settings_and_averages(kind):
    """The state after loading is the saved one."""
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {"amsgrad": True}
    saved, fresh = trained_optimizer(kind, lr=0.02, **options), trained_optimizer(kind, num_steps=0)
    restore_optimizer.load_optimizer(fresh, saved.state_dict(), {})
    assert fresh.state_dict()["param_groups"] == saved.state_dict()["param_groups"]
    state, expected = (each.state_dict()["state"] for each in (fresh, saved))
    assert all(is_equal(state[index], expected[index]) for index in expected)
    assert state.keys() == expected.keys()


def test_load_optimizer_value_of_the_command_line_wins_and_is_logged(messages):
    """A learning rate that was given now is used, not the saved one, and the log has both."""
    optimizer = trained_optimizer()
    restore_optimizer.load_optimizer(
        optimizer, trained_optimizer(lr=0.025).state_dict(), {"optimizer.args.lr": 0.5, "seed": 3, "data_loader.x": 1}
    )
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert messages() == [("INFO", "optimizer.args.lr is 0.5 from the command line, not the saved 0.025.")]


def test_load_optimizer_other_values_than_the_one_given_are_the_saved_ones():
    """What the command line does not name comes from the checkpoint."""
    optimizer, saved = trained_optimizer(momentum=0.5), trained_optimizer(momentum=0.9).state_dict()
    restore_optimizer.load_optimizer(optimizer, saved, {"optimizer.args.lr": 0.5})
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_load_optimizer_of_other_parameter_groups_is_refused():
    """An optimizer over other parameters is refused, with PyTorch's reason."""
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(CheckpointError) as caught:
        restore_optimizer.load_optimizer(trained_optimizer(), other.state_dict(), {})
    assert str(caught.value) == (
        "checkpoint error: the optimizer's parameter groups have changed\n"
        "  got       loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
    )


def test_load_optimizer_option_that_needs_a_state_of_its_own_is_refused():
    """amsgrad keeps the largest averages: it cannot begin in the middle, which is said instead of a KeyError."""
    fresh = trained_optimizer(torch.optim.Adam, num_steps=0, amsgrad=True)
    saved = trained_optimizer(torch.optim.Adam).state_dict()
    with pytest.raises(CheckpointError) as caught:
        restore_optimizer.load_optimizer(fresh, saved, {"optimizer.args.amsgrad": True})
    assert str(caught.value).splitlines() == [
        "checkpoint error: optimizer.args.amsgrad cannot be changed in the middle of a run",
        "  got       true",
        "  fix       start a new run from the checkpoint instead: train.py -c config.json -r ...",
    ]
    restore_optimizer.load_optimizer(fresh, saved, {"optimizer.args.amsgrad": False})  # as it was


def stepped(optimizer, model, first, last):
    """Make the steps from `first` to `last`, each on images of its own."""
    for number in range(first, last):
        images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("saved", [torch.contiguous_format, torch.channels_last], ids=["plain", "channels_last"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["to plain", "to channels_last"])
@pytest.mark.parametrize(
    "load",
    [
        lambda optimizer, state: restore_optimizer.load_optimizer(optimizer, state, {}),
        restore_optimizer.load_averages,
        lambda optimizer, state: restore_optimizer.load_part(optimizer, state, "part"),
    ],
    ids=["run", "weights", "part"],
)
def test_state_of_an_optimizer_is_laid_out_like_its_parameters(load, layout, saved):
    """Fused ones take that for granted, and else mix up the numbers of different weights, without a word."""

    def made(memory_format):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).to(memory_format=memory_format)
        return model, torch.optim.Adam(model.parameters(), lr=0.01, fused=True)

    model, optimizer = made(saved)
    stepped(optimizer, model, 0, 3)
    resumed, other = made(layout)
    resumed.load_state_dict(model.state_dict())
    load(other, copy.deepcopy(optimizer.state_dict()))
    stepped(optimizer, model, 3, 6)
    stepped(other, resumed, 3, 6)
    same_layout = saved == layout
    for one, two in zip(model.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0 if same_layout else 1e-4)
        assert other.state[two]["exp_avg"].stride() == two.stride()


def test_load_gradients_are_laid_out_like_their_parameters():
    """They were saved in another layout."""
    model = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    gradients = {"weight": torch.randn(8, 3, 3, 3)}
    restore.load_gradients(model, gradients)
    assert model.weight.grad.stride() == model.weight.stride()
    assert torch.equal(model.weight.grad, gradients["weight"]) and model.bias.grad is None


def test_load_averages_keeps_the_settings_of_the_new_run(messages):
    """Running averages are taken over, learning rate and momentum are those of the new config."""
    saved, fresh = trained_optimizer(momentum=0.9), trained_optimizer(num_steps=0, lr=0.7, momentum=0.8)
    restore_optimizer.load_averages(fresh, saved.state_dict())
    assert (fresh.param_groups[0]["lr"], fresh.param_groups[0]["momentum"]) == (0.7, 0.8)
    assert is_equal(fresh.state_dict()["state"][0], saved.state_dict()["state"][0])
    assert messages() == [("INFO", "Loaded the state of the optimizer; its settings are those of the new config.")]


def test_load_averages_of_other_parameter_groups_starts_fresh(messages):
    """Averages of other parameters are of no use; the log says that they are not taken."""
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    fresh = trained_optimizer(num_steps=0)
    restore_optimizer.load_averages(fresh, other.state_dict())
    assert fresh.state_dict()["state"] == {}
    assert messages() == [
        ("WARNING", "The optimizer starts fresh: its parameter groups are not those of the checkpoint.")
    ]


# Scheduler


def test_load_scheduler_goes_on_where_the_saved_one_stood():
    """A scheduler that is restored lowers the rate when the saved one would have."""
    first, second = trained_optimizer(), trained_optimizer()
    saved, restored = StepLR(first, 3), StepLR(second, 3)
    for _ in range(2):
        saved.step()
    restore_optimizer.load_scheduler(restored, saved.state_dict(), {})
    restored.step()
    assert second.param_groups[0]["lr"] == pytest.approx(0.01)


def test_load_scheduler_number_of_the_command_line_wins_and_is_logged(messages):
    """A step size that was given now counts from here on."""
    optimizer = trained_optimizer()
    saved, restored = StepLR(trained_optimizer(), 30), StepLR(optimizer, 2)
    restore_optimizer.load_scheduler(restored, saved.state_dict(), {"lr_scheduler.args.step_size": 2})
    for _ in range(2):
        restored.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert messages() == [("INFO", "lr_scheduler.args.step_size is 2 from the command line.")]


def test_load_scheduler_learning_rate_that_the_scheduler_does_not_use_is_refused():
    """One cycle makes its rates from max_lr: another `lr` would hold for a single step."""
    saved, restored = (OneCycleLR(trained_optimizer(), max_lr=0.1, total_steps=9) for _ in range(2))
    with pytest.raises(CheckpointError, match=r"optimizer\.args\.lr of OneCycleLR cannot be changed in the middle"):
        restore_optimizer.load_scheduler(restored, saved.state_dict(), {"optimizer.args.lr": 0.5})


def test_load_scheduler_length_of_the_command_line_is_its_number():
    """A text such as "50%" has become a number when the schedule was built."""
    saved, restored = StepLR(trained_optimizer(), 30), StepLR(trained_optimizer(), 12)
    restore_optimizer.load_scheduler(restored, saved.state_dict(), {"lr_scheduler.args.step_size": "50%"})
    assert restored.step_size == 12


def test_load_scheduler_learning_rate_of_the_command_line_reaches_all_of_a_chain():
    """Each schedule of it begins from that rate."""
    (saved, _), (restored, optimizer) = ((ChainedScheduler([StepLR(each, 9), StepLR(each, 5)]), each)
                                         for each in (trained_optimizer(), trained_optimizer()))  # fmt: skip
    for group in optimizer.param_groups:
        group["initial_lr"] = 0.5
    restore_optimizer.load_scheduler(restored, saved.state_dict(), {"optimizer.args.lr": 0.5})
    assert [part.base_lrs for part in restored._schedulers] == [[0.5], [0.5]]


@pytest.mark.parametrize("states", [[], [{}], [{}, {}, {}], {}, 3, None, "two", [1, {}]], ids=str)
def test_load_scheduler_chain_of_other_parts_is_refused(states):
    """With what it is that does not fit, and nothing is taken over."""
    saved, restored = (ChainedScheduler([StepLR(each, 9), StepLR(each, 5)]) for each in
                       (trained_optimizer(), trained_optimizer()))  # fmt: skip
    before = repr(restored.state_dict())
    with pytest.raises(CheckpointError, match=r"the state of lr_scheduler(\.0)? does not fit\n  got +.") as caught:
        restore_optimizer.load_scheduler(restored, {**saved.state_dict(), "_schedulers": states}, {})
    assert "_schedulers is" in str(caught.value) or states == [1, {}]
    assert repr(restored.state_dict()) == before


def test_load_scheduler_list_of_the_command_line_is_refused():
    """What is no plain number cannot be changed in the middle of a run; the message has the way out."""
    saved, restored = (MultiStepLR(trained_optimizer(), milestones) for milestones in ([5, 9], [4, 8]))
    with pytest.raises(CheckpointError) as caught:
        restore_optimizer.load_scheduler(restored, saved.state_dict(), {"lr_scheduler.args.milestones": [4, 8]})
    assert str(caught.value) == (
        "checkpoint error: lr_scheduler.args.milestones cannot be changed in the middle of a run\n"
        "  got       [4, 8]\n"
        "  fix       start a new run from the checkpoint instead: train.py -c config.json -r ..."
    )


@pytest.mark.parametrize(
    ("make", "factor"), [(lambda o: LambdaLR(o, lambda epoch: 0.5**epoch), 0.5), (lambda o: StepLR(o, 1), 0.1)]
)
def test_load_scheduler_learning_rate_of_the_command_line_stays(make, factor):
    """The scheduler does not bring the saved learning rate back: it goes on from the one that was given."""
    optimizer = trained_optimizer()
    saved, restored = make(saved_optimizer := trained_optimizer()), make(optimizer)
    overrides = {"optimizer.args.lr": 8.0}
    restore_optimizer.load_optimizer(optimizer, saved_optimizer.state_dict(), overrides)
    restore_optimizer.load_scheduler(restored, saved.state_dict(), overrides)
    restored.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(8.0 * factor)


def test_load_scheduler_plateau_remembers_its_bad_epochs():
    """The patience that was used up before the stop stays used up."""
    first, second = trained_optimizer(), trained_optimizer()
    saved, restored = (ReduceLROnPlateau(each, patience=1) for each in (first, second))
    for value in (1.0, 2.0):
        saved.step(value)
    restore_optimizer.load_scheduler(restored, saved.state_dict(), {})
    restored.step(2.0)
    assert second.param_groups[0]["lr"] == pytest.approx(0.01)


# What has changed since

SAVED = {
    "name": "Digits",
    "seed": 7,
    "arch": {"type": "Net", "args": {"width": 4}},
    "data_loader": {"type": "Loader", "args": {"batch_size": 32, "num_workers": 0, "shuffle": True}},
    "optimizer": {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9}},
    "lr_scheduler": {"type": "StepLR", "args": {"step_size": 2}, "interval": "epoch"},
    "loss": "nll_loss",
    "metrics": ["accuracy"],
    "trainer": {"epochs": 3, "monitor": "min val_loss", "len_epoch": None, "save_period": 1},
}
NO_LONGER_THE_SAME = "the run will not end as it would have."


def changed(changes):
    """The saved config with values replaced, by dotted path; None takes one away."""
    config = copy.deepcopy(SAVED)
    for path, value in changes.items():
        *sections, name = path.split(".")
        section = config
        for each in sections:
            section = section.setdefault(each, {})
        if value is None:
            section.pop(name)
        else:
            section[name] = value
    return config


def told(changes, overrides=(), num_gpus=None):
    """Let `warn_of_changes` compare the saved config with a changed one."""
    num_gpus = len(get_rng_state()["cuda"]) if num_gpus is None else num_gpus
    state = {"config": SAVED, "rng": {"cuda": [torch.zeros(1)] * num_gpus}}
    config = SimpleNamespace(snapshot=changed(changes), overrides={path: changes[path] for path in overrides})
    config_changes.warn_of_changes(state, config)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seed": 9}, "seed was 7 in the checkpoint and is 9 now"),
        ({"seed": None}, "seed was 7 in the checkpoint and is null now"),
        ({"data_loader.args.batch_size": 64}, "data_loader.args.batch_size was 32 in the checkpoint and is 64 now"),
        ({"data_loader.args.shuffle": False}, "data_loader.args.shuffle was true in the checkpoint and is false now"),
        (
            {"data_loader.args.validation_split": 0.1},
            "data_loader.args.validation_split was null in the checkpoint and is 0.1 now",
        ),
        ({"loss": "mse_loss"}, 'loss was "nll_loss" in the checkpoint and is "mse_loss" now'),
        ({"arch.type": "Wide"}, 'arch.type was "Net" in the checkpoint and is "Wide" now'),
        ({"arch.args.width": 8}, "arch.args.width was 4 in the checkpoint and is 8 now"),
        ({"arch.args.dropout": 0.5}, "arch.args.dropout was null in the checkpoint and is 0.5 now"),
        ({"arch.args.width": None}, "arch.args.width was 4 in the checkpoint and is null now"),
        (
            {"trainer.monitor": "max val_accuracy"},
            'trainer.monitor was "min val_loss" in the checkpoint and is "max val_accuracy" now',
        ),
        ({"trainer.len_epoch": 5}, "trainer.len_epoch was null in the checkpoint and is 5 now"),
        ({"lr_scheduler.interval": "step"}, 'lr_scheduler.interval was "epoch" in the checkpoint and is "step" now'),
        ({"lr_scheduler.monitor": "loss"}, 'lr_scheduler.monitor was null in the checkpoint and is "loss" now'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("is_override", [False, True], ids=["edited", "command line"])
def test_tell_changes_of_what_shapes_the_result_is_a_warning(messages, changes, line, is_override):
    """What makes the run end otherwise is named with both values, wherever the new one is from."""
    told(changes, changes if is_override else ())
    assert messages() == [("WARNING", f"{line}: {NO_LONGER_THE_SAME}")]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"optimizer.args.lr": 0.5},
            "optimizer.args.lr is 0.5 in the config, but the run goes on with 0.1 of the checkpoint",
        ),
        (
            {"optimizer.args.weight_decay": 0.01},
            "optimizer.args.weight_decay is 0.01 in the config, but the run goes on with null of the checkpoint",
        ),
        (
            {"lr_scheduler.args.step_size": 3},
            "lr_scheduler.args.step_size is 3 in the config, but the run goes on with 2 of the checkpoint",
        ),
    ],
    ids=["lr", "weight_decay", "step_size"],
)
def test_tell_changes_edited_in_the_config_are_not_taken(messages, changes, line):
    """An optimizer that was edited in the run's config goes on as it was, and the warning has the way to change it."""
    told(changes)
    assert messages() == [("WARNING", f"{line}; to change it, give it on the command line.")]


@pytest.mark.parametrize(
    ("changes", "overrides"),
    [
        ({}, ()),
        ({"optimizer.args.lr": 0.5}, ("optimizer.args.lr",)),
        ({"lr_scheduler.args.step_size": 3}, ("lr_scheduler.args.step_size",)),
        ({"name": "Other"}, ()),
        ({"trainer.epochs": 9, "trainer.save_period": 5, "trainer.verbosity": 0}, ()),
        ({"optimizer.type": "Adam", "optimizer.args.betas": [0.9, 0.9]}, ()),
        ({"lr_scheduler": None}, ()),
        ({"data_loader.args.num_workers": 4}, ()),
        ({"data_loader.args.num_workers": 4, "data_loader.args.pin_memory": True}, ("data_loader.args.num_workers",)),
        ({"data_loader.args.prefetch_factor": 4, "data_loader.args.persistent_workers": True}, ()),
    ],
    ids=lambda value: ",".join(value) or "nothing" if isinstance(value, dict) else "",
)
def test_tell_changes_of_what_is_told_elsewhere_or_shapes_nothing_is_silent(messages, changes, overrides):
    """Longer runs, more workers and the like change no result; what the command line sets is told where it is set."""
    told(changes, overrides)
    assert messages() == []


def test_tell_changes_names_each_in_order(messages):
    """Every change has its line, sorted by path."""
    told({"seed": 9, "optimizer.args.lr": 0.5, "arch.args.width": 8, "optimizer.args.momentum": 0.0},
         ["optimizer.args.momentum"])  # fmt: skip
    assert messages() == [
        ("WARNING", f"arch.args.width was 4 in the checkpoint and is 8 now: {NO_LONGER_THE_SAME}"),
        ("WARNING", "optimizer.args.lr is 0.5 in the config, but the run goes on with 0.1 of the checkpoint; "
                    "to change it, give it on the command line."),
        ("WARNING", f"seed was 7 in the checkpoint and is 9 now: {NO_LONGER_THE_SAME}"),
    ]  # fmt: skip


def test_tell_changes_of_a_long_value_is_cut(messages):
    """A value that would fill the screen does not."""
    told({"loss": ["a" * 50, "b" * 50]})
    cut = '["' + "a" * 50 + '", "' + "b" * 21 + "..."
    assert messages() == [("WARNING", f'loss was "nll_loss" in the checkpoint and is {cut} now: {NO_LONGER_THE_SAME}')]


def test_tell_changes_of_another_number_of_gpus_is_a_warning(messages):
    """On a machine with other GPUs a run goes on, and the log says what that costs."""
    num_gpus = len(get_rng_state()["cuda"])
    told({}, num_gpus=num_gpus + 2)
    assert messages() == [
        ("WARNING", f"The checkpoint was written with {num_gpus + 2} GPUs at hand, and there are {num_gpus} "
                    "now: the run goes on, but not to the bit.")
    ]  # fmt: skip


def test_tell_changes_of_an_optimizer_replaced_on_the_command_line_names_what_it_sets(messages):
    """A whole section given on the command line is an answer to nothing that was edited in the file."""
    state = {"config": SAVED, "rng": {"cuda": get_rng_state()["cuda"]}}
    overrides = {"optimizer.args": {"lr": 0.5, "momentum": 0.9}}
    config_changes.warn_of_changes(state, SimpleNamespace(snapshot=changed(overrides), overrides=overrides))
    optimizer = trained_optimizer(momentum=0.9)
    restore_optimizer.load_optimizer(optimizer, trained_optimizer(momentum=0.9).state_dict(), overrides)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert messages() == [("INFO", "optimizer.args.lr is 0.5 from the command line, not the saved 0.1.")]


# A new run from a checkpoint


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["state_dict"], []),
        (["arch", "state_dict", "optimizer", "config", "format", "monitor_best"], []),
        (["state_dict", "epoch"], [("INFO", "Not taken from the checkpoint, since this is a new run: epoch.")]),
        (
            ["arch", "epoch", "state_dict", "lr_scheduler", "rng", "ema"],
            [("INFO", "Not taken from the checkpoint, since this is a new run: epoch, lr_scheduler, rng, ema.")],
        ),
    ],
    ids=["weights", "all used", "one", "several"],
)
def test_tell_ignored_names_what_a_new_run_leaves_aside(messages, names, expected):
    """What only a continued run takes is listed, in the order of the checkpoint; nothing to list is no line."""
    config_changes.log_ignored(dict.fromkeys(names), has_averages=True)
    assert messages() == expected


class Data:
    """A loader of one batch."""

    def __len__(self):
        return 1

    def __iter__(self):
        yield torch.ones(2, 3), torch.zeros(2, dtype=torch.int64)


class LogNet(Net):
    """Gives log-probabilities."""

    def forward(self, x):
        return super().forward(x).log_softmax(1)


def trainer_of(config, folder, num_classes=2, resume=None, overrides=None, **options):
    """A trainer as train.py makes it, of a small net."""
    config = copy.deepcopy(config)
    config["trainer"].update(save_dir=str(folder), epochs=1, tensorboard=False, monitor="off", verbosity=1)
    parser = ConfigParser(config, resume, overrides, **options)
    model = LogNet(num_classes)
    optimizer = parser.init_obj("optimizer", torch.optim, model.parameters())
    scheduler = parser.init_obj("lr_scheduler", torch.optim.lr_scheduler, optimizer)
    return Trainer(model, nll_loss, [], optimizer, parser, torch.device("cpu"), Data(), None, scheduler)


@pytest.fixture
def checkpoint(tmp_path):
    """The last checkpoint of a run of one epoch."""
    trainer = trainer_of(SAVED, tmp_path / "first")
    trainer.train()
    return trainer.checkpoint_dir / "last.pth"


def test_new_run_from_a_checkpoint_that_fits_reports_what_was_taken(messages, checkpoint, tmp_path):
    """`-c` with `-r`: all weights and the optimizer's averages are taken; what is left aside is named."""
    trainer = trainer_of(SAVED, tmp_path / "new", resume=checkpoint, continues_run=False)
    start(trainer)
    assert [message for message in messages() if message[1].startswith(("Loaded", "Not taken", "Not in"))] == [
        ("INFO", "Loaded 4 of 4 weights of the model."),
        ("INFO", "Loaded the state of the optimizer; its settings are those of the new config."),
        ("INFO", "Not taken from the checkpoint, since this is a new run: "
                 "epoch, parts, lr_scheduler, monitor, progress, data_loader, metrics, update, ema, gradients, "
                 "nonfinite, rng, data."),
    ]  # fmt: skip
    saved = load_checkpoint(checkpoint)
    assert is_equal(dict(trainer.model.state_dict()), dict(saved["state_dict"]))
    assert is_equal(trainer.optimizer.state_dict()["state"][0], saved["optimizer"]["state"][0])
    assert (trainer.epoch, trainer.step, trainer.start_epoch) == (0, 0, 1)


def test_new_run_from_a_checkpoint_of_another_shape_reports_what_was_not_taken(messages, checkpoint, tmp_path):
    """Weights that are missing, of another shape, or unknown are named, and the optimizer starts fresh."""
    state = load_checkpoint(checkpoint)
    state["state_dict"]["tail.weight"] = state["state_dict"].pop("body.bias")
    save_checkpoint(state, checkpoint)
    trainer = trainer_of(SAVED, tmp_path / "new", num_classes=3, resume=checkpoint, continues_run=False)
    start(trainer)
    report = [message for message in messages() if message[1].startswith(("Loaded", "Not", "Of an", "In the"))]
    assert report == [
        ("INFO", "Loaded 1 of 4 weights of the model."),
        ("WARNING", "Not in the checkpoint: body.bias."),
        ("WARNING", "Of another shape in the checkpoint: head.weight, head.bias."),
        ("WARNING", "In the checkpoint but not in the model: tail.weight."),
        ("INFO", "Not taken from the checkpoint, since this is a new run: "
                 "epoch, optimizer, parts, lr_scheduler, monitor, progress, data_loader, metrics, update, ema, "
                 "gradients, nonfinite, rng, data."),
    ]  # fmt: skip
    assert trainer.optimizer.state_dict()["state"] == {}


def test_new_run_with_another_optimizer_says_that_it_starts_fresh(messages, checkpoint, tmp_path):
    """The averages of one optimizer are of no use to another kind."""
    config = {**SAVED, "optimizer": {"type": "Adam", "args": {"lr": 0.01}}}
    trainer = trainer_of(config, tmp_path / "new", resume=checkpoint, continues_run=False)
    start(trainer)
    line = "optimizer was SGD in the checkpoint and is Adam now: it starts fresh."
    assert ("WARNING", line) in messages()
    assert trainer.optimizer.state_dict()["state"] == {}


def test_new_run_from_weights_alone_needs_nothing_else(messages, tmp_path):
    """A file with nothing but weights, as people share them, is enough to start from."""
    save_checkpoint({"state_dict": LogNet().state_dict()}, tmp_path / "weights.pth")
    trainer = trainer_of(SAVED, tmp_path / "new", resume=tmp_path / "weights.pth", continues_run=False)
    start(trainer)
    assert ("INFO", "Loaded 4 of 4 weights of the model.") in messages()


def test_continued_run_takes_the_rate_of_the_command_line_and_says_so(messages, checkpoint, tmp_path):
    """A learning rate given with `-r` wins over the saved one and over the schedule's."""
    trainer = trainer_of(
        SAVED, tmp_path / "first", resume=checkpoint, run_folder=checkpoint.parent, overrides={"optimizer;args;lr": 0.5}
    )
    start(trainer)
    found = [message for message in messages() if message[1].startswith("optimizer")]
    assert found == [("INFO", "optimizer.args.lr is 0.5 from the command line, not the saved 0.1.")]
    assert (trainer.optimizer.param_groups[0]["lr"], trainer.lr_scheduler.base_lrs) == (0.5, [0.5])


def test_load_optimizer_rate_of_the_command_line_that_is_the_current_one_is_the_base_from_now_on():
    """A rate that was given counts as given, also where the schedule stands at it just now."""
    optimizer = trained_optimizer()
    saved_optimizer = trained_optimizer()
    saved, restored = (StepLR(each, 1, 0.5) for each in (saved_optimizer, optimizer))
    saved.step()
    overrides = {"optimizer.args.lr": 0.05}
    restore_optimizer.load_optimizer(optimizer, saved_optimizer.state_dict(), overrides)
    restore_optimizer.load_scheduler(restored, saved.state_dict(), overrides)
    assert (optimizer.param_groups[0]["lr"], restored.base_lrs) == (0.05, [0.05])
