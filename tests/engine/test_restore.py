"""Bringing the parts of a checkpoint back, exactly or as far as they fit."""

import logging

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, ReduceLROnPlateau, StepLR

from engine import restore
from utils.errors import CheckpointError

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
        '  expected  ["weight", "bias"]\n'
        '  got       ["body.weight", "body.bias", "head.weight", "head.bias"]'
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
        restore.check_complete({"state_dict": {}, "epoch": 3, "config": {}, "monitor": {}}, "best.pth")
    assert str(caught.value) == (
        "checkpoint error: best.pth cannot be continued, since it lacks optimizer, lr_scheduler, progress, data_loader, metrics, gradients, nonfinite, rng\n"
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
        ({"optimizer": None}, {}, False, []),
    ],
    ids=["same", "other", "no config", "neither"],
)
def test_is_same_type_compares_and_says_where_they_differ(messages, saved, now, expected, log):
    """Another type starts fresh and the log says so; where there was none and is none there is nothing to say."""
    assert restore.is_same_type("optimizer", saved, now) is expected
    assert messages() == log


# Optimizer


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_load_optimizer_without_overrides_takes_settings_and_averages(kind):
    """The state after loading is the saved one."""
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {"amsgrad": True}
    saved, fresh = trained_optimizer(kind, lr=0.02, **options), trained_optimizer(kind, num_steps=0)
    restore.load_optimizer(fresh, saved.state_dict(), {})
    assert fresh.state_dict()["param_groups"] == saved.state_dict()["param_groups"]
    state, expected = (each.state_dict()["state"] for each in (fresh, saved))
    assert all(is_equal(state[index], expected[index]) for index in expected)
    assert state.keys() == expected.keys()


def test_load_optimizer_value_of_the_command_line_wins_and_is_logged(messages):
    """A learning rate that was given now is used, not the saved one, and the log has both."""
    optimizer = trained_optimizer()
    restore.load_optimizer(
        optimizer, trained_optimizer(lr=0.025).state_dict(), {"optimizer.args.lr": 0.5, "seed": 3, "data_loader.x": 1}
    )
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert messages() == [("INFO", "optimizer.args.lr is 0.5 from the command line, not the saved 0.025.")]


def test_load_optimizer_other_values_than_the_one_given_are_the_saved_ones():
    """What the command line does not name comes from the checkpoint."""
    optimizer = trained_optimizer(momentum=0.5)
    restore.load_optimizer(optimizer, trained_optimizer(momentum=0.9).state_dict(), {"optimizer.args.lr": 0.5})
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_load_optimizer_of_other_parameter_groups_is_refused():
    """An optimizer over other parameters is refused, with PyTorch's reason."""
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(CheckpointError) as caught:
        restore.load_optimizer(trained_optimizer(), other.state_dict(), {})
    assert str(caught.value) == (
        "checkpoint error: the optimizer's parameter groups have changed\n"
        "  got       loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
    )


def test_load_averages_keeps_the_settings_of_the_new_run(messages):
    """Running averages are taken over, learning rate and momentum are those of the new config."""
    saved, fresh = trained_optimizer(momentum=0.9), trained_optimizer(num_steps=0, lr=0.7, momentum=0.8)
    restore.load_averages(fresh, saved.state_dict())
    assert (fresh.param_groups[0]["lr"], fresh.param_groups[0]["momentum"]) == (0.7, 0.8)
    assert is_equal(fresh.state_dict()["state"][0], saved.state_dict()["state"][0])
    assert messages() == [("INFO", "Loaded the state of the optimizer; its settings are those of the new config.")]


def test_load_averages_of_other_parameter_groups_starts_fresh(messages):
    """Averages of other parameters are of no use; the log says that they are not taken."""
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    fresh = trained_optimizer(num_steps=0)
    restore.load_averages(fresh, other.state_dict())
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
    restore.load_scheduler(restored, saved.state_dict(), {})
    restored.step()
    assert second.param_groups[0]["lr"] == pytest.approx(0.01)


def test_load_scheduler_number_of_the_command_line_wins_and_is_logged(messages):
    """A step size that was given now counts from here on."""
    optimizer = trained_optimizer()
    saved, restored = StepLR(trained_optimizer(), 30), StepLR(optimizer, 2)
    restore.load_scheduler(restored, saved.state_dict(), {"lr_scheduler.args.step_size": 2})
    for _ in range(2):
        restored.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert messages() == [("INFO", "lr_scheduler.args.step_size is 2 from the command line.")]


def test_load_scheduler_list_of_the_command_line_is_refused():
    """What is no plain number cannot be changed in the middle of a run; the message has the way out."""
    saved, restored = (MultiStepLR(trained_optimizer(), milestones) for milestones in ([5, 9], [4, 8]))
    with pytest.raises(CheckpointError) as caught:
        restore.load_scheduler(restored, saved.state_dict(), {"lr_scheduler.args.milestones": [4, 8]})
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
    restore.load_optimizer(optimizer, saved_optimizer.state_dict(), overrides)
    restore.load_scheduler(restored, saved.state_dict(), overrides)
    restored.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(8.0 * factor)


def test_load_scheduler_plateau_remembers_its_bad_epochs():
    """The patience that was used up before the stop stays used up."""
    first, second = trained_optimizer(), trained_optimizer()
    saved, restored = (ReduceLROnPlateau(each, patience=1) for each in (first, second))
    for value in (1.0, 2.0):
        saved.step(value)
    restore.load_scheduler(restored, saved.state_dict(), {})
    restored.step(2.0)
    assert second.param_groups[0]["lr"] == pytest.approx(0.01)
