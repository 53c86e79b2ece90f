"""A checkpoint whose state is not as we write it is refused with one message, or leads to a run that trains."""

import copy
import math
import warnings

import pytest
import torch

from espalier.checkpoints.bounds import check_values
from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.checkpoints.pickle_bounds import TooMuchError
from espalier.checkpoints.plain import plain_state
from espalier.errors import CheckpointError, UserError
from espalier.training.accumulator import Accumulator, Precision
from espalier.training.param_groups import build_optimizers
from model.metric import accuracy
from parse_config import ConfigParser
from tests.kill import Net, config_for, make_loader, only_run
from tests.seams import Seams, WritesNothing, is_amid_epoch, start
from trainer import Trainer


class Rights:
    """A metric that sees the whole epoch."""

    __name__ = "rights"

    def __init__(self):
        self.reset()

    def update(self, output, target):
        self.right, self.seen = self.right + int((output.argmax(1) == target).sum()), self.seen + len(target)
        self.each.append(output.detach().argmax(1))

    def compute(self):
        return self.right / self.seen + 0 * len(torch.cat(self.each))

    def reset(self):
        self.right, self.seen, self.each = 0, 0, []


class Keeping(Trainer):
    """Has a part of its own beside the model."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.second = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=0.1)


class Quick(WritesNothing, Keeping):
    """Leaves no trace."""


SCHEDULES = {
    "OneCycleLR": {"args": {"max_lr": 0.5, "total_steps": 40}, "interval": "step"},
    "ReduceLROnPlateau": {"args": {}},
    "MultiStepLR": {"args": {"milestones": [1, 2]}},
    "SequentialLR": {"args": {"schedulers": [{"type": "StepLR", "args": {"step_size": 1}},
                                             {"type": "ExponentialLR", "args": {"gamma": 0.5}}], "milestones": [1]}},
}  # fmt: skip
LAYOUTS = {
    "SGD": {"optimizer": ("SGD", {"lr": 0.1, "momentum": 0.9}), "lr_scheduler": "OneCycleLR", "ema_decay": 0.5},
    "Adam": {"optimizer": ("Adam", {"lr": 0.01}), "lr_scheduler": "ReduceLROnPlateau", "accumulate": 2,
             "clip_grad_norm": 1.0},
    "chain": {"optimizer": ("RMSprop", {"lr": 0.01}), "lr_scheduler": "SequentialLR"},
    "milestones": {"optimizer": ("AdamW", {"lr": 0.01}), "lr_scheduler": "MultiStepLR"},
}  # fmt: skip


def trainer_of(folder, name, resume=None, kind=Keeping, continues_run=True):
    """A trainer of one of LAYOUTS; a resumed one goes on in the folder of its checkpoint."""
    layout = dict(LAYOUTS[name])
    (optimizer_type, args), schedule = layout.pop("optimizer"), layout.pop("lr_scheduler")
    config = config_for(folder, epochs=2, save_every_steps=2, save_period=1, **layout)
    config["optimizer"] = {"type": optimizer_type, "args": args}
    config["lr_scheduler"] = {"type": schedule, **SCHEDULES[schedule]}
    run_folder = resume.parent if resume is not None and continues_run else None
    parser = ConfigParser(config, resume, run_folder=run_folder, continues_run=continues_run)
    torch.manual_seed(7)
    model, loader = Net(), make_loader()
    optimizer, scheduler = build_optimizers(parser, model, loader)
    return kind(model, torch.nn.functional.nll_loss, [accuracy, Rights()], optimizer, parser,
                   torch.device("cpu"), loader, loader.split_validation(), scheduler)  # fmt: skip


def saved_state(folder, name):
    """The state in the middle of the second epoch, and the file of it."""

    class Killed(Seams, Keeping):
        def after_save(self):
            if self.step >= 6 and is_amid_epoch(self):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer_of(folder, name, kind=Killed).train()
    path = only_run(folder) / "last.pth"
    return load_checkpoint(path), path


def places(value, path=()):
    """The path of every value in a state, but for weights and numbers of generators beyond the first of each."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    tensors = 0
    for key, item in items:
        tensors += isinstance(item, torch.Tensor)
        if path != ("config",) and not (isinstance(item, torch.Tensor) and tensors > 2):
            yield from places(item, (*path, key))


def itself():
    """A list that holds itself."""
    circle = []
    circle.append(circle)
    return circle


MISSING = object()
CHANGES = {
    "missing": lambda value: MISSING, "text": lambda value: "3", "negative": lambda value: -5,
    "fraction": lambda value: 2.5, "bool": lambda value: True, "nan": lambda value: math.nan,
    "huge": lambda value: 10**30, "None": lambda value: None, "empty list": lambda value: [],
    "list": lambda value: [1, 2, 3], "empty dict": lambda value: {}, "dict": lambda value: {0: 1, "step": "x"},
    "itself": lambda value: itself(), "tensor": lambda value: torch.ones(3),
    "opposite": lambda value: -value if isinstance(value, (int, float, torch.Tensor)) and value is not True else b"\0",
    "doubled": lambda value: torch.cat([value, value]) if isinstance(value, torch.Tensor) and value.dim()
    else value * 2 if isinstance(value, (list, tuple)) else inf,
}  # fmt: skip
inf = math.inf


def changed(state, path, change):
    """A copy of a state with the value at `path` changed; None where that is no change."""
    state = copy.deepcopy(state)
    node = state
    for key in path[:-1]:
        node = node[key]
    if isinstance(node, tuple):
        return None
    value = change(node[path[-1]])
    if value is MISSING and isinstance(node, list):
        return None
    if value is MISSING:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return state


def outcome(trainer, state, monkeypatch):
    """How a run that goes on from `state` ends: the message, or None where it trains to its end and can be saved."""

    def load(*args):
        check_values(state)  # as whoever reads a file does
        return state

    monkeypatch.setattr("espalier.training.run_state.load_checkpoint_for", load)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about numbers that make no sense
            trainer.train()
    except (UserError, TooMuchError) as error:
        return str(error)
    if trainer.start_epoch <= 3:  # else it has nothing to do
        assert trainer.epoch == 2
        assert all(weight.isfinite().all() for weight in trainer.model.parameters())
    plain_state(trainer.state_dict())
    return None


def faults(folder, name, monkeypatch, part):
    """What goes wrong when each value of a state is changed; in one of `part` ways."""
    state, path = saved_state(folder, name)
    found, count = [], 0
    for number, place in enumerate(place for place in places(state) if place):
        for index, (what, change) in enumerate(CHANGES.items()):
            if (number + index) % part != 0 or (bad := changed(state, place, change)) is None:
                continue
            count += 1
            try:
                outcome(trainer_of(folder, name, path, kind=Quick), bad, monkeypatch)
            except Exception as error:
                found.append((place, what, repr(error)))
    return found, count


def test_state_with_any_value_changed_is_refused_or_trains(tmp_path, monkeypatch, generators_restored):
    """No traceback, and no run that goes on with nonsense, whatever is wrong and wherever it stands."""
    found, count = faults(tmp_path, "SGD", monkeypatch, 97)
    assert count > 20
    assert found == []


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_state_with_very_many_values_changed_is_refused_or_trains(tmp_path, monkeypatch, generators_restored, name):
    """The same for other optimizers and schedules, with more of the ways."""
    found, count = faults(tmp_path, name, monkeypatch, 6)
    assert count > 300
    assert found == []


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A state in the middle of an epoch, its file, and the folder of the run."""
    folder = tmp_path_factory.mktemp("saved")
    return (*saved_state(folder, "SGD"), folder)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        *[(("epoch",), value, f"epoch has a value that does not fit\n  got       {text}\n"
           "  expected  a whole number, 0 or more")
          for value, text in (("3", '"3"'), (-5, "-5"), (2.5, "2.5"), (True, "true"), (math.nan, "NaN"),
                              (10**30, str(10**30)))],
        (("state_dict",), [1], "state_dict has a value that does not fit\n  got       [1]\n  expected  values by name"),
        (("optimizer",), "x", 'optimizer has a value that does not fit\n  got       "x"\n'
                              "  expected  a state, or several"),
        (("config",), [], "config has a value that does not fit\n  got       []\n  expected  a dict"),
        (("config",), {},
         "config has a value that does not fit\n  got       {}\n  expected  something under 'trainer'"),
        (("monitor_best",), "x", 'monitor_best has a value that does not fit\n  got       "x"\n  expected  a number'),
        (("monitor", "best"), math.nan,
         "monitor.best has a value that does not fit\n  got       NaN\n  expected  a number"),
        (("progress", "batches"), -1, "progress.batches has a value that does not fit\n  got       -1\n"
                                      "  expected  a whole number, 0 or more"),
        (("rng", "torch"), [1], "rng.torch has a value that does not fit\n  got       [1]\n  expected  a tensor"),
        (("ema", "num_steps"), "x", 'ema.num_steps has a value that does not fit\n  got       "x"\n'
                                    "  expected  a whole number, 0 or more"),
    ],
)  # fmt: skip
def test_malformed_value_is_named(saved, monkeypatch, place, value, told):
    """With what stands there, and what should."""
    state, path, folder = saved
    bad = changed(state, place, lambda _: value)
    assert outcome(trainer_of(folder, "SGD", path, kind=Quick), bad, monkeypatch) == f"checkpoint error: {path}: {told}"


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("optimizer", "param_groups", 0, "lr"), -0.1,
         "the state of optimizer does not fit\n  got       0.lr is -0.1, where there is 0.020000000000000018"),
        (("optimizer", "param_groups", 0, "params"), [0, 0, 1, 2, 3, 4],
         "optimizer has states for other parameters\n  got       [5]"),
        (("lr_scheduler", "last_epoch"), 2.5, "the state of lr_scheduler does not fit\n  got       last_epoch is 2.5"),
        (("lr_scheduler", "step"), 1, "the state of lr_scheduler does not fit\n  got       step is 1"),
        (("metrics", "whole", "rights", "compute"), 1,
         "the state of rights does not fit\n  got       compute, which it does not have"),
        (("data_loader", "inside", "batch"), "x", 'the place in the data: batch has a value that does not fit\n'
                                                  '  got       "x"\n  expected  a whole number, 0 or more'),
    ],
)  # fmt: skip
def test_malformed_part_is_named(saved, monkeypatch, generators_restored, place, value, told):
    """A part is compared with what the run has in its place, and never puts a value where a method stands."""
    state, path, folder = saved
    bad = copy.deepcopy(state)
    node = bad
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    assert outcome(trainer_of(folder, "SGD", path, kind=Quick), bad, monkeypatch) == f"checkpoint error: {told}"


def test_position_of_numpys_generator_is_inside_its_numbers(saved, monkeypatch, generators_restored):
    """NumPy takes any position, and gives what lies in the memory there."""
    state, path, folder = saved
    bad = changed(state, ("rng", "numpy", 2), lambda _: 10**9)
    assert outcome(trainer_of(folder, "SGD", path, kind=Quick), bad, monkeypatch) == (
        f"checkpoint error: {path} holds a state that does not fit\n"
        "  got       ValueError: no position of a generator: 1000000000\n"
        "  then      --debug shows the traceback"
    )


def test_state_that_no_step_can_be_made_with_is_told(saved, monkeypatch, generators_restored):
    """What an optimizer lacks shows in its first step; then it is the checkpoint's fault."""
    state, path, folder = saved
    bad = changed(state, ("optimizer", "state", 0, "momentum_buffer"), lambda _: torch.ones(3))
    told = outcome(trainer_of(folder, "SGD", path, kind=Quick), bad, monkeypatch)
    assert told.startswith("checkpoint error: the optimizer's part of the checkpoint holds a state that does not fit\n"
                           "  got       RuntimeError: ")  # fmt: skip


@pytest.mark.parametrize("value", ["x", [1], None, {"a": "x"}, {1: torch.ones(1)}])
def test_new_run_from_malformed_weights_is_refused(tmp_path, value):
    """A new run takes only weights, and looks at them, too."""
    path = tmp_path / "a.pth"
    save_checkpoint({"state_dict": value}, path)
    trainer = trainer_of(tmp_path, "SGD", path, continues_run=False)
    with pytest.raises(CheckpointError):
        start(trainer)


def test_gathered_batches_beyond_a_smaller_accumulate_make_a_step():
    """A run that goes on with fewer batches a step does not wait for ever."""
    weight = torch.nn.Parameter(torch.ones(1))
    update = Accumulator(torch.optim.SGD([weight], lr=1.0), Precision("fp32", torch.device("cpu")), accumulate=2)
    update.load_state_dict({"num_batches": 3, "first": 1, "samples": 3, "scaler": {}})
    assert update.backward(weight.sum(), 1)
