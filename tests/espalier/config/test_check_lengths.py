"""Numbers that count steps, batches and epochs, held against how long the run is."""

import json

import pytest
import torch
from torch.optim import SGD, lr_scheduler

from espalier.config.check_lengths import doubts_of_lengths, faults_of_lengths
from espalier.config.durations import Run

RUN = Run(epochs=10, steps_per_epoch=10, batches=10)


def schedule(kind, interval="step", **args):
    """A config with that schedule."""
    return {"lr_scheduler": {"type": kind, "args": args, "interval": interval}, "trainer": {"epochs": 10}}


def data(**args):
    return {"type": "L", "args": {"data_dir": "d", **args}}


def block(kind, **args):
    return {"type": kind, "args": args}


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (schedule("StepLR", step_size=100), "step_size is 100: the learning rate does not change in 100 steps."),
        (schedule("StepLR", step_size=99), None),
        (schedule("StepLR", step_size=4), "gamma leaves 1e-25 of the learning rate in the end: the run has 100 steps."),
        (schedule("StepLR", step_size=20), None),
        (schedule("StepLR", "epoch", step_size=10), "step_size is 10: the learning rate does not change in 10 epochs."),
        (schedule("StepLR", step_size="3 epochs"), None),
        (schedule("ExponentialLR", gamma=0.5),
         "gamma leaves 1e-30 of the learning rate in the end: the run has 100 steps."),
        (schedule("ExponentialLR", gamma=0.99), None),
        (schedule("MultiStepLR", milestones=[60, 100, 120]), "milestones has 100 and 120, but the run has 100 steps."),
        (schedule("MultiStepLR", "epoch", milestones=[3, 30]), "milestones has 30, but the run has 10 epochs."),
        (schedule("MultiStepLR", milestones=["50%", "80%"]), None),
        (schedule("CosineAnnealingLR", T_max=10), "T_max is 10, but the run has 100 steps."),
        (schedule("CosineAnnealingLR", T_max=100), None),
        (schedule("CosineAnnealingLR", T_max="100%"), None),
        (schedule("torch.optim.lr_scheduler.CosineAnnealingLR", T_max=101), "T_max is 101, but the run has 100 steps."),
        (schedule("PolynomialLR"), "total_iters is 5, but the run has 100 steps."),
        (schedule("LinearLR", total_iters=500), "total_iters is 500, but the run has 100 steps."),
        (schedule("LinearLR", total_iters=100), None),
        (schedule("ConstantLR", total_iters=101), "total_iters is 101, but the run has 100 steps."),
        (schedule("CyclicLR", base_lr=0.1, max_lr=1), "step_size_up is 2000, but the run has 100 steps."),
        (schedule("CosineAnnealingWarmRestarts", T_0=101), "T_0 is 101, but the run has 100 steps."),
        (schedule("OneCycleLR", max_lr=1, total_steps=1000), "total_steps is 1000, but the run has 100 steps."),
        (schedule("OneCycleLR", max_lr=1, epochs=10, steps_per_epoch=10), None),
        (schedule("ReduceLROnPlateau", "epoch"), "patience is 10: the learning rate does not change in 10 epochs."),
        (schedule("ReduceLROnPlateau", "epoch", patience=3), None),
        (schedule("SequentialLR", schedulers=[block("LinearLR", total_iters=20), block("CosineAnnealingLR", T_max=80)],
                  milestones=[20]), None),
        (schedule("SequentialLR", schedulers=[block("LinearLR", total_iters=20), block("CosineAnnealingLR", T_max=100)],
                  milestones=[20]), "schedulers.1.args.T_max is 100, but it is in force for 80 steps."),
        (schedule("SequentialLR", schedulers=[block("LinearLR", total_iters="20%"), block("ConstantLR", total_iters=1)],
                  milestones=[200]), "milestones has 200, but the run has 100 steps."),
        (schedule("ChainedScheduler", schedulers=[block("StepLR", step_size=300)]),
         "schedulers.0.args.step_size is 300: the learning rate does not change in 100 steps."),
        ({"trainer": {"accumulate": 11}},
         "trainer.accumulate is 11, but an epoch has 10 batches, which make one step."),
        ({"trainer": {"accumulate": 10}}, None),
        ({"trainer": {"eval_every_steps": 101}},
         "trainer.eval_every_steps is 101, but the run has 100 steps: it never comes to that."),
        ({"trainer": {"profile": {"steps": [200, 210]}}},
         "trainer.profile.steps is 200, but the run has 100 steps: it never comes to that."),
        ({"arch": {"freeze": ["a"], "unfreeze_at": {"a": 11}}},
         "arch.unfreeze_at.a is 11, but the run has 10 epochs: it stays frozen."),
        ({"trainer": {"num_processes": 4}, "data_loader": {"args": {"batch_size": 3}}},
         "data_loader.args.batch_size is 3, that of all 4 processes together: some have nothing to do."),
        ({"n_gpu": 2, "data_loader": {"args": {"batch_size": 2}}}, None),
        ({"valid_data_loader": {"type": "L", "args": {"drop_last": True}}},
         "valid_data_loader.args.drop_last leaves the last samples out of every validation."),
        ({"data_loader": data(batch_size=8, shuffle=True), "valid_data_loader": data(batch_size=99, num_workers=2)},
         "valid_data_loader names the data of data_loader: what it says is of samples that are trained on."),
        ({"data_loader": data(), "test_data_loader": data()},
         "test_data_loader names the data of data_loader: what it says is of samples that are trained on."),
        ({"data_loader": data(), "valid_data_loader": data(training=False)}, None),
        ({"data_loader": data(validation_split=0.1), "test_data_loader": data()}, None),
        ({"data_loader": {"type": "L"}, "valid_data_loader": {"type": "L"}}, None),
    ],
    ids=lambda each: json.dumps(each.get("lr_scheduler", each))[:80] if isinstance(each, dict) else "",
)  # fmt: skip
def test_doubts_number_that_does_not_fit_the_run_is_a_sentence(config, line):
    """In steps as in epochs, nested or not, with the defaults of PyTorch; a length fits by itself."""
    prefix = (
        "" if line is None or line.startswith(("trainer", "arch", "data", "valid", "test")) else "lr_scheduler.args."
    )
    assert doubts_of_lengths(config, RUN) == ([] if line is None else [prefix + line])


def test_doubts_more_steps_than_the_epochs_have_is_a_sentence():
    """The run ends with its epochs."""
    assert doubts_of_lengths({}, Run(epochs=2, steps_per_epoch=10, max_steps=25)) == [
        "trainer.max_steps is 25, but 2 epochs have 20 steps."
    ]
    assert doubts_of_lengths({}, Run(epochs=2, steps_per_epoch=10, max_steps=20)) == []


@pytest.mark.parametrize("run", [Run(), Run(epochs=10), Run(epochs=10, max_steps=50)])
def test_doubts_nothing_is_said_of_what_is_not_known(run):
    """Steps of data without a length are as many as they are."""
    assert doubts_of_lengths(schedule("StepLR", step_size=10**6), run) == []
    assert list(faults_of_lengths(schedule("OneCycleLR", max_lr=1, total_steps=1), run)) == []


def built(config):
    """That schedule, as PyTorch makes it."""
    optimizer = SGD([torch.zeros(1)], lr=0.1)

    def make(section):
        arguments = {**section["args"]}
        if "schedulers" in arguments:
            arguments["schedulers"] = [make(each) for each in arguments["schedulers"]]
        return getattr(lr_scheduler, section["type"])(**arguments, optimizer=optimizer)

    return make(config["lr_scheduler"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("total", [3, 4, 5, 6, 7, 9, 10, 11])
@pytest.mark.parametrize("place", ["alone", "first", "last", "chained"])
def test_faults_one_cycle_is_refused_exactly_where_pytorch_refuses_it(total, place):
    """As many steps as it is stepped are enough, in every place of a chain."""
    cycle, other = block("OneCycleLR", max_lr=1, total_steps=total), block("ConstantLR", total_iters=1)
    config = {
        "alone": schedule("OneCycleLR", **cycle["args"]),
        "first": schedule("SequentialLR", schedulers=[cycle, other], milestones=[5]),
        "last": schedule("SequentialLR", schedulers=[other, cycle], milestones=[5]),
        "chained": schedule("ChainedScheduler", schedulers=[cycle, other]),
    }[place]
    scheduler, run, has_failed = built(config), Run(epochs=5, steps_per_epoch=2), False
    for _ in range(run.calls("step")):
        try:
            scheduler.step()
        except ValueError:
            has_failed = True
    assert bool(list(faults_of_lengths(config, run))) == has_failed


def test_faults_one_cycle_that_is_too_short_is_told_with_the_way_out():
    """The message of a config that would die in the middle of a run, also of a part of a chain."""
    (found,) = faults_of_lengths(schedule("OneCycleLR", max_lr=1, total_steps=10), RUN, lambda path: f"c.json ({path})")
    assert str(found) == (
        "config error: lr_scheduler.args.total_steps is less than the schedule is stepped, which would end the run: "
        "the run has 100 steps\n"
        "  from      c.json (lr_scheduler.args.total_steps)\n"
        "  got       10\n"
        "  expected  at least 100\n"
        '  fix       write "total_steps": "100%"'
    )
    (found,) = faults_of_lengths(schedule("OneCycleLR", max_lr=1, epochs=3, steps_per_epoch=9), RUN)
    assert (found.path, found.got) == ("lr_scheduler.args.epochs", "27 steps")
    cycles = [block("OneCycleLR", max_lr=1, total_steps=total) for total in (30, 60)]
    chain = schedule("SequentialLR", milestones=[40], schedulers=cycles)
    assert [each.path for each in faults_of_lengths(chain, RUN)] == ["lr_scheduler.args.schedulers.0.args.total_steps"]
    several = {**schedule("OneCycleLR", max_lr=1, total_steps=10), "optimizer": {"a": block("SGD"), "b": block("SGD")}}
    assert list(faults_of_lengths(several, RUN)) == []
