"""A run that is asked to stop, at whatever moment: it saves, says how to go on, and ends equal to one left alone."""

import copy
import json
import logging
import os
import runpy
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.run_folder import log_folder
from espalier.checkpoints.run_lock import LOCK_NAME
from espalier.errors import counted, python_command
from espalier.training import restore
from tests.cases import cases
from tests.kill import (
    Augmented,
    Stream,
    config_for,
    differences,
    end_of,
    exit_code_of,
    make_loader,
    make_trainer,
    only_run,
)
from trainer import Trainer

slow = pytest.mark.slow  # what adds little to the cases beside it
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="stops a forked copy of this process")

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR1": 143}
TERM = signal.SIGTERM


def signal_self(number=TERM):
    """As `kill <pid>` does it."""
    os.kill(os.getpid(), number)


def signal_group(number=TERM):
    """As a terminal or a scheduler does it: the data loader's workers are hit too."""
    os.killpg(0, number)


class Watched(Trainer):
    """Does something at a moment of its run: a name, and at which time it comes; keeps the weights of every step."""

    moment = (None, 0)
    count = 0

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.weights = {}
        self.optimizer.register_step_pre_hook(lambda *_: self.come("update"))

    def act(self):
        """What happens at the moment."""

    def come(self, what):
        self.count += what == self.moment[0]
        if what == self.moment[0] and self.count == self.moment[1]:
            self.act()

    def update(self, loss):
        super().update(loss)
        self.weights[self.step] = copy.deepcopy(self.model.state_dict())

    def track(self, loss, output, target):
        super().track(loss, output, target)
        self.come("batch" if self.model.training else "batch of validation")

    def _train_epoch(self, epoch):
        self.weights.setdefault(self.step, copy.deepcopy(self.model.state_dict()))
        self.come("start of epoch")
        log = super()._train_epoch(epoch)
        self.come("end of epoch")
        return log


def at(moment, act=signal_self, kind=Watched):
    """A trainer to which something happens at a moment."""
    return type("At", (kind,), {"moment": moment, "act": lambda self: act()})


def config_of(folder, **changes):
    """Two epochs of eight batches and two of validation; saved at their ends."""
    return config_for(folder, **{"epochs": 2, "save_every_steps": None, **changes})


def stopped(config, *, kind, loader=make_loader, **options):
    """The exit code of a run in a process group of its own."""

    def train():
        os.setpgid(0, 0)
        make_trainer(config, loader(), kind=kind, **options).train()

    return exit_code_of(train)


def undisturbed(folder, kind=Watched, loader=make_loader, **changes):
    """A run that was left alone."""
    trainer = make_trainer(config_of(folder / "undisturbed", **changes), loader(), kind=kind)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that all the others should end like; not to be changed."""
    return undisturbed(tmp_path_factory.mktemp("whole"))


def logged(run):
    """The lines in info.log, without time and origin."""
    return [line.split(" - ", 3)[-1] for line in (log_folder(run) / "info.log").read_text().splitlines()]


def assert_saved_after(run, trainer, step):
    """`last.pth` holds what `trainer` was after `step`."""
    state = load_checkpoint(run / "last.pth")
    assert state["progress"]["step"] == step
    assert differences(dict(state["state_dict"]), dict(trainer.weights[step])) == []


def assert_goes_on_to_the_end_of(whole, config, run, kind=Trainer, loader=make_loader):
    """Resumed, the run ends in the same bits and leaves the same files."""
    make_trainer(config, loader(), run, kind=kind).train()
    assert differences(end_of(whole.checkpoint_dir), end_of(run)) == []


# Where a signal may come, and the step after which the run is saved.
MOMENTS = {
    "before the first batch": (("start of epoch", 1), 1),
    "first batch": (("batch", 1), 1),
    "mid-epoch": (("batch", 5), 5),
    "in the optimizer": (("update", 5), 5),
    "last batch of an epoch": (("batch", 8), 8),
    "validation": (("batch of validation", 1), 8),
    "last batch of validation": (("batch of validation", 2), 8),
    "between epochs": (("end of epoch", 1), 8),
    "last validation": (("batch of validation", 4), 16),
}
BESIDE = "first batch", "last batch of validation", "before the first batch", "last validation"  # as others, nearly


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("SIGINT", "mid-epoch"),
        pytest.param("SIGUSR1", "mid-epoch", marks=slow),  # as the one before, and tried with the command below
        *(pytest.param("SIGTERM", moment, marks=[slow] if moment in BESIDE else []) for moment in MOMENTS),
    ],
)
def test_signal_at_any_moment_saves_and_the_run_goes_on_to_the_bit(tmp_path, whole, name, moment):
    """130 or 143, the state after a finished step in last.pth, as last words how to go on, and nothing is lost."""
    come, step = MOMENTS[moment]
    config = config_of(tmp_path)
    code = stopped(config, kind=at(come, lambda: signal_self(getattr(signal, name))))
    run = only_run(tmp_path)
    epoch = 2 if come[0] == "end of epoch" or step == 16 else 1
    assert (code, logged(run)[-1]) == (
        CODES[name],
        f"Stopped by {name} in epoch {epoch}, after {counted(step, 'step')}. "
        f"To go on from the last checkpoint: {python_command()} train.py -r {run}",
    )
    assert_saved_after(run, whole, step)
    assert_goes_on_to_the_end_of(whole, config, run)


def test_signal_after_the_last_validation_ends_a_finished_run(tmp_path, whole):
    """Where nothing is left to do the run ends as it would have, with exit code 0."""
    assert stopped(config_of(tmp_path), kind=at(("end of epoch", 2))) == 0
    assert differences(end_of(whole.checkpoint_dir), end_of(only_run(tmp_path))) == []


class Loading(Watched):
    """Also has the moment in which it takes over a checkpoint."""

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.come("loading")


@pytest.mark.parametrize(
    ("moment", "name", "code", "step"),
    [
        pytest.param(("batch", 1), "SIGTERM", 143, 4, marks=slow),
        (("loading", 1), "SIGTERM", -signal.SIGTERM, 3),  # at once: nothing is to be saved
        # the job may have to be queued again
        pytest.param(("loading", 1), "SIGUSR1", CODES["SIGUSR1"], 3, marks=slow),
    ],
    ids=["batch", "loading", "loading, early warning"],
)
def test_signal_to_a_resumed_run_loses_nothing(tmp_path, whole, moment, name, code, step):
    """Stopped, resumed, stopped again one batch later or before it, and resumed."""
    config = config_of(tmp_path)
    assert stopped(config, kind=at(("batch", 3))) == 143
    run = only_run(tmp_path)
    kind = at(moment, lambda: signal_self(getattr(signal, name)), kind=Loading)
    assert stopped(config, kind=kind, run_folder=run) == code
    assert_saved_after(run, whole, step)
    assert_goes_on_to_the_end_of(whole, config, run)


# The command


def command(*arguments, prepare=lambda: None):
    """`python train.py arguments` in a copy of this process, which has torch loaded; exit code, stdout and stderr.

    Args:
        prepare: called before it, in the copy.
    """

    torch.optim.SGD([torch.zeros(1)], 0.1)  # loads, at its first use, what takes seconds: once here, not in each copy
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:

        def main():
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
            sys.argv = ["train.py", *map(str, arguments)]
            logging.getLogger().handlers.clear()
            for name in CODES:
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            prepare()
            try:
                runpy.run_path(str(Path(__file__).parent.parent / "train.py"), run_name="__main__")
            except Exception:
                traceback.print_exc()
                raise SystemExit(1) from None

        code = exit_code_of(main)
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()


def do_in_step(number, act):
    """What `prepare` does so that `act` is called in an optimizer step of the run."""
    real = Trainer.update

    def update(self, loss):
        if self.step + 1 == number:
            act()
        real(self, loss)

    Trainer.update = update


def do_in_setup(act):
    """What `prepare` does so that `act` is called while the data loader is made."""

    def make(self, *args, **options):
        act()
        raise AssertionError("the process goes on")

    BaseDataLoader.__init__ = make


def write_config(config, tmp_path):
    """A file with a quick config, made of another: two epochs of three batches, random samples, dropout."""
    config["arch"] = {"type": "tests.kill.Net"}
    config["data_loader"] = {"type": "tests.kill.make_loader", "args": {"batch_size": 13}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def config_file(tiny_config, tmp_path):
    """The quick config on disk."""
    return write_config(tiny_config, tmp_path)


def runs_of(tmp_path):
    """The run folders, the oldest first."""
    return sorted((tmp_path / "saved" / "models" / "Tiny").glob("*"))


def contents(folder):
    """What is in the files of a folder, but for the lock: whoever has it loses it by looking."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != LOCK_NAME}


@pytest.mark.parametrize("name", cases(["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"], "SIGUSR1"))
def test_command_signalled_ends_with_the_way_to_go_on_and_no_traceback(tmp_path, config_file, name):
    """The shell sees 129, 130 or 143, a person sees one line at the end."""
    code, out, err = command(
        "-c", config_file, prepare=lambda: do_in_step(4, lambda: signal_self(getattr(signal, name)))
    )
    (run,) = runs_of(tmp_path)
    assert (code, err) == (CODES[name], "")
    assert out.splitlines()[-1] == (
        f"Stopped by {name} in epoch 2, after 4 steps. "
        f"To go on from the last checkpoint: {python_command()} train.py -r {run}"
    )
    assert command("-r", run)[0] == 0
    assert load_checkpoint(run / "last.pth")["progress"]["step"] == 6


@pytest.mark.parametrize("name", cases(["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"], "SIGINT"))
def test_command_signalled_in_setup_ends_and_leaves_the_run_as_it_is(tmp_path, config_file, root, name):
    """Before training has begun there is nothing to save: the process ends at once and says how to begin again."""

    def interrupted(*how):
        code, out, err = command(*how, prepare=lambda: do_in_setup(lambda: signal_self(getattr(signal, name))))
        again = f"{python_command()} {root}/train.py {how[0]} {how[1]}"
        assert (code, out, err) == (CODES[name], "", f"Stopped by {name}. To begin again: {again}\n")

    interrupted("-c", config_file)
    assert runs_of(tmp_path) == []
    assert command("-c", config_file, prepare=lambda: do_in_step(4, signal_self))[0] == 143
    (run,) = runs_of(tmp_path)
    before = contents(run)
    interrupted("-r", run)
    assert contents(run) == before


def do_while_loading(act):
    """What `prepare` does so that `act` is called while a checkpoint is loaded for a run whose folder is there."""

    def load_weights(model, weights):
        act()
        raise AssertionError("the process goes on")

    restore.load_weights = load_weights


@pytest.mark.parametrize("name", [pytest.param("SIGINT", marks=slow), "SIGTERM"])
def test_command_signalled_while_a_checkpoint_is_loaded_ends_at_once(tmp_path, config_file, root, name):
    """As before training has begun: a file that is slow to read does not keep the process."""
    assert command("-c", config_file, prepare=lambda: do_in_step(4, signal_self))[0] == 143
    (run,) = runs_of(tmp_path)
    before = contents(run)
    act = lambda: signal_self(getattr(signal, name))  # noqa: E731
    code, _, err = command("-r", run, prepare=lambda: do_while_loading(act))
    again = f"{python_command()} {root}/train.py -r {run}"
    assert (code, err) == (CODES[name], f"Stopped by {name}. To begin again: {again}\n")
    assert contents(run) == before


def ignore_hangup():
    """As nohup does."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_command_under_nohup_goes_on_after_a_lost_connection(tmp_path, config_file):
    """SIGHUP that was ignored when the command began stays so."""

    def prepare():
        ignore_hangup()
        do_in_step(4, lambda: signal_self(signal.SIGHUP))

    assert command("-c", config_file, prepare=prepare)[0] == 0
    (run,) = runs_of(tmp_path)
    assert load_checkpoint(run / "last.pth")["progress"]["step"] == 6


def test_command_whose_connection_is_lost_saves_although_it_is_told_twice_and_cannot_write(tmp_path, config_file):
    """The system and the shell each send SIGHUP, and every write to the terminal fails from then on."""

    def lose_connection():
        reader, writer = os.pipe()
        os.close(reader)
        for number in (1, 2):
            os.dup2(writer, number)
        signal_self(signal.SIGHUP)
        signal_self(signal.SIGHUP)

    assert command("-c", config_file, prepare=lambda: do_in_step(4, lose_connection))[0] == 129
    (run,) = runs_of(tmp_path)
    assert load_checkpoint(run / "last.pth")["progress"]["step"] == 4
    lines = (log_folder(run) / "info.log").read_text().splitlines()
    assert "Stopped by SIGHUP in epoch 2, after 4 steps." in lines[-1]


# Workers


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("SIGTERM", "mid-epoch"),
        pytest.param("SIGINT", "mid-epoch", marks=slow),
        pytest.param("SIGTERM", "first batch", marks=slow),
        pytest.param("SIGTERM", "validation", marks=slow),
    ],
)
def test_signal_to_the_group_with_workers_saves_and_goes_on_to_the_bit(tmp_path, whole, name, moment):
    """Workers that are hit by the same signal do not make the run fail."""
    come, step = MOMENTS[moment]
    config = config_of(tmp_path)
    kind = at(come, lambda: signal_group(getattr(signal, name)))
    assert stopped(config, kind=kind, loader=lambda: make_loader(2)) == CODES[name]
    assert_saved_after(only_run(tmp_path), whole, step)
    assert_goes_on_to_the_end_of(whole, config, only_run(tmp_path))


class Striking(Augmented):
    """The process that loads one of its samples sends a signal."""

    def __init__(self, index, send, pause=0.0):
        super().__init__()
        self.index, self.send, self.pause = index, send, pause

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        if index == self.index:
            self.send()
            time.sleep(self.pause)
        return sample


def sample_of(batch):
    """A sample of that batch of the first epoch, or (-1) of the first batch of validation."""
    loader = make_loader()
    return loader.indices(1, batch)[0] if batch >= 0 else loader.split_validation().indices(1, 0)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "latest"),
    [pytest.param(0, 1, marks=slow), (4, 5), pytest.param(-1, 8, marks=slow)],
    ids=["first", "mid-epoch", "validation"],
)
def test_signal_while_waiting_for_a_batch_that_dead_workers_had_saves(tmp_path, whole, batch, latest):
    """SIGTERM has killed the workers, and the batch that the loop waits for will never come."""
    config = config_of(tmp_path)
    loader = lambda: make_loader(2, Striking(sample_of(batch), signal_group, pause=60))  # noqa: E731
    assert stopped(config, kind=Trainer, loader=loader) == 143
    run = only_run(tmp_path)
    step = load_checkpoint(run / "last.pth")["progress"]["step"]
    assert step <= latest
    assert_saved_after(run, whole, step)
    assert_goes_on_to_the_end_of(whole, config, run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "is_own"),
    [("SIGINT", True), pytest.param("SIGUSR1", True, marks=slow), pytest.param("SIGINT", False, marks=slow)],
    ids=["SIGINT", "SIGUSR1", "SIGINT-plain loader"],
)
def test_signal_to_a_worker_alone_is_taken_no_notice_of(tmp_path, name, is_own):
    """The handler that a worker inherits does nothing there, and the run goes through."""
    number = getattr(signal, name)
    dataset = Striking(sample_of(4), lambda: (signal_self(number), signal_self(number)))

    def loader():
        return make_loader(2, dataset) if is_own else DataLoader(dataset, 5, num_workers=2)

    valid = make_loader().split_validation()
    assert stopped(config_of(tmp_path), kind=Trainer, loader=loader, valid_loader=valid) == 0
    assert load_checkpoint(only_run(tmp_path) / "last.pth")["epoch"] == 2
    if is_own:
        whole = undisturbed(tmp_path)
        assert differences(end_of(whole.checkpoint_dir), end_of(only_run(tmp_path))) == []


def test_signal_while_the_first_sample_is_loaded_ends_after_that_batch(tmp_path, whole):
    """A slow dataset does not keep the signal from being seen; the batch is finished first."""
    config = config_of(tmp_path)
    dataset = Striking(sample_of(0), signal_self, pause=0.2)
    assert stopped(config, kind=Trainer, loader=lambda: make_loader(0, dataset)) == 143
    assert_saved_after(only_run(tmp_path), whole, 1)
    assert_goes_on_to_the_end_of(whole, config, only_run(tmp_path))


# The second signal


def assert_last_is_the_first_epoch(run, whole):
    assert_saved_after(run, whole, 8)
    assert not list(run.glob("crash.pth"))
    assert not (run / ".lock").exists()


@pytest.mark.parametrize(
    ("names", "in_background"),
    [(("SIGINT", "SIGINT"), False), (("SIGTERM", "SIGINT"), False), (("SIGUSR1", "SIGTERM"), True)],
)
def test_second_signal_stops_at_once_and_leaves_the_last_checkpoint(tmp_path, whole, names, in_background):
    """Whoever asks twice does not want to wait for a save, and gets the exit code of what was asked first."""

    def insist():
        for name in names:
            signal_self(getattr(signal, name))

    config = config_of(tmp_path, async_save=in_background)
    kind = at(("batch", 12), lambda: (time.sleep(1.0 if in_background else 0), insist()))  # the first epoch is saved
    assert stopped(config, kind=kind) == CODES[names[0]]
    assert_last_is_the_first_epoch(only_run(tmp_path), whole)


@pytest.mark.parametrize("in_background", [False, True])
def test_second_signal_while_writing_leaves_the_last_checkpoint(tmp_path, whole, in_background, monkeypatch):
    """Torn is only what nobody reads, and the next start removes it."""

    def save(state, file):
        file.write(b"torn")
        signal_self()
        time.sleep(0.2)
        file.write(b"torn")

    def spoil():
        deadline = time.monotonic() + 30
        while not list(tmp_path.rglob("last.pth")) and time.monotonic() < deadline:  # the first epoch, from behind
            time.sleep(0.01)
        monkeypatch.setattr(torch, "save", save)
        signal_self()

    config = config_of(tmp_path, async_save=in_background)
    assert stopped(config, kind=at(("batch", 12), spoil)) == 143
    run = only_run(tmp_path)
    assert_last_is_the_first_epoch(run, whole)
    assert_goes_on_to_the_end_of(whole, config, run)
    assert not list(run.glob(".*"))


def test_signal_in_background_saving_waits_for_the_write(tmp_path, whole, monkeypatch):
    """A run that writes behind the loop is saved, when it has stopped, as well as any."""
    real = torch.save

    def spoil():
        monkeypatch.setattr(torch, "save", lambda *args: time.sleep(0.3) or real(*args))
        signal_self()

    config = config_of(tmp_path, async_save=True)
    assert stopped(config, kind=at(("batch", 5), spoil)) == 143
    assert_saved_after(only_run(tmp_path), whole, 5)
    assert_goes_on_to_the_end_of(whole, config, only_run(tmp_path))


# Handlers


def own_handlers():
    return {name: signal.getsignal(getattr(signal, name)) for name in CODES}


@pytest.fixture
def handlers():
    """Handlers of a program that trains; those from before come back after the test."""
    before = own_handlers()
    for name in CODES:
        signal.signal(getattr(signal, name), lambda number, frame, name=name: None)
    yield own_handlers()
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@pytest.mark.parametrize("has_failed", [False, True])
def test_train_in_the_end_puts_the_handlers_back(tmp_path, handlers, has_failed):
    """What a program did with its signals before, it does afterwards, also when training failed."""
    seen = []

    def look():
        seen.append(own_handlers())
        if has_failed:
            raise ZeroDivisionError

    trainer = make_trainer(config_of(tmp_path, epochs=1), make_loader(), kind=at(("batch", 3), look))
    try:
        trainer.train()
    except ZeroDivisionError:
        assert has_failed
    assert all(seen[0][name] != handlers[name] for name in CODES)
    assert own_handlers() == handlers


def test_train_stopped_puts_the_handlers_back(tmp_path, handlers):
    """A program may go on after a run that was stopped."""
    with pytest.raises(SystemExit) as error:
        make_trainer(config_of(tmp_path), make_loader(), kind=at(("batch", 3))).train()
    assert (error.value.code, own_handlers()) == (143, handlers)


def test_train_outside_the_main_thread_leaves_the_handlers_alone(tmp_path, handlers, whole):
    """Python sets handlers in its main thread only; elsewhere a run does without."""
    seen = []
    trainer = make_trainer(
        config_of(tmp_path), make_loader(), kind=at(("batch", 3), lambda: seen.append(own_handlers()))
    )
    thread = threading.Thread(target=trainer.train)
    thread.start()
    thread.join(60)
    assert (seen, own_handlers()) == ([handlers], handlers)
    assert differences(end_of(whole.checkpoint_dir), end_of(trainer.checkpoint_dir)) == []


# Loops and data of other kinds


def other_weights(model):
    return {name: torch.full_like(value, 0.5) for name, value in model.state_dict().items()}


@torch.no_grad()
def copy_in_place(model, values):
    for name, parameter in model.named_parameters():
        parameter.copy_(values[name])


def copy_into_data(model, values):
    for name, parameter in model.named_parameters():
        parameter.data.copy_(values[name])


def replace_data(model, values):
    for name, parameter in model.named_parameters():
        parameter.data = values[name].clone()


def load(model, values):
    model.load_state_dict(values)


@torch.no_grad()
def copy_buffers(model, values):
    for name, buffer in model.named_buffers():
        buffer.copy_(values[name])


SWAPS = (
    copy_in_place,
    pytest.param(copy_into_data, marks=slow),
    pytest.param(replace_data, marks=slow),
    pytest.param(load, marks=slow),
    pytest.param(copy_buffers, marks=slow),
)


def swapping(swap):
    """A trainer that validates with other weights, as with an average of them, and puts its own back."""

    class Swapping(Watched):
        def _valid_epoch(self, epoch):
            own = copy.deepcopy(self.model.state_dict())
            swap(self.model, other_weights(self.model))
            log = super()._valid_epoch(epoch)
            swap(self.model, own)
            return log

    return Swapping


@pytest.mark.parametrize("swap", SWAPS)
def test_signal_in_validation_of_other_weights_saves_those_in_training(tmp_path, swap):
    """The weights that are only evaluated are not what a run goes on with."""
    kind = swapping(swap)
    whole = undisturbed(tmp_path, kind)
    config = config_of(tmp_path)
    assert stopped(config, kind=at(("batch of validation", 2), kind=kind)) == 143
    assert_saved_after(only_run(tmp_path), whole, 8)
    assert_goes_on_to_the_end_of(whole, config, only_run(tmp_path), kind)


@slow
def test_signal_to_the_group_in_validation_of_other_weights_ends_the_run_as_asked(tmp_path):
    """Where its workers are dead and nothing can be saved, the run still ends like one that was asked to."""
    kind = swapping(copy_in_place)
    whole = undisturbed(tmp_path, kind)
    config = config_of(tmp_path)
    loader = lambda: make_loader(2, Striking(sample_of(-1), signal_group, pause=60))  # noqa: E731
    code = stopped(config, kind=kind, loader=loader)
    run = only_run(tmp_path)
    assert (code, [path.name for path in run.glob("crash.pth")]) == (143, [])
    assert_goes_on_to_the_end_of(whole, config, run, kind)


class Nested(Watched):
    """Validates in the middle of the training loop as well."""

    def update(self, loss):
        super().update(loss)
        if self.step % 4 == 2:
            self._valid_epoch(self.epoch + 1)
            self.model.train()


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=slow)])
def test_signal_in_validation_inside_training_saves_after_the_training_batch(tmp_path, times):
    """The loop around the validation has not finished its batch yet."""
    whole = undisturbed(tmp_path, Nested)
    config = config_of(tmp_path)
    assert stopped(config, kind=at(("batch of validation", times), kind=Nested)) == 143
    assert_saved_after(only_run(tmp_path), whole, 2)
    assert_goes_on_to_the_end_of(whole, config, only_run(tmp_path), Nested)


class ByHand(Watched):
    """Goes over its data without `batches`, as classic trainers do."""

    def _train_epoch(self, epoch):
        self.model.train()
        for data, target in self.data_loader:
            loss = self.criterion(self.model(data), target)
            self.update(loss)
            self.come("batch")
        return {"loss": loss.item(), "val_loss": loss.item()}


def test_signal_in_a_loop_by_hand_saves_at_the_end_of_its_epoch(tmp_path):
    """Where the loop does not ask for batches, the epoch is finished first."""
    whole = undisturbed(tmp_path, ByHand)
    config = config_of(tmp_path)
    assert stopped(config, kind=at(("batch", 3), kind=ByHand)) == 143
    assert_saved_after(only_run(tmp_path), whole, 8)
    assert_goes_on_to_the_end_of(whole, config, only_run(tmp_path), ByHand)


class Forgetful(IterableDataset):
    """Samples in a row that cannot be entered in the middle."""

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for number in range(38):
            yield torch.randn(16, generator=generator), number % 3


@pytest.mark.parametrize(("dataset", "is_kept"), [(Stream, True), (Forgetful, False)])
def test_signal_over_iterable_data_saves_where_it_can_go_on(tmp_path, dataset, is_kept):
    """A stream that tells where it stands goes on there; of another one the epoch begun is lost, and that is said."""

    def loader():
        return BaseDataLoader(dataset(), 5, seed=5)

    def train(folder, kind, run=None):
        valid = make_loader().split_validation()
        return make_trainer(config_of(folder), loader(), run, kind, valid_loader=valid)

    whole = train(tmp_path / "whole", Watched)
    whole.train()
    assert exit_code_of(lambda: train(tmp_path, at(("batch", 11))).train()) == 143
    run = only_run(tmp_path)
    assert_saved_after(run, whole, 11 if is_kept else 8)
    assert ("Lost of epoch 2: 3 of its batches." in logged(run)) is not is_kept
    train(tmp_path, Trainer, run).train()
    assert differences(end_of(whole.checkpoint_dir), end_of(run)) == []


# Limits of time


def test_max_time_ends_a_run_like_a_signal(tmp_path, whole):
    """When its time is over a run saves, says how to go on, and exits with 143."""
    config = config_of(tmp_path, max_time="00:00:01")
    assert stopped(config, kind=at(("batch", 5), lambda: time.sleep(1.1))) == 143
    run = only_run(tmp_path)
    step = load_checkpoint(run / "last.pth")["progress"]["step"]
    assert 0 < step <= 5  # fewer on a machine that is very slow
    assert logged(run)[-1] == (
        f"Stopped by trainer.max_time in epoch 1, after {step} steps. "
        f"To go on from the last checkpoint: {python_command()} train.py -r {run}"
    )
    assert_saved_after(run, whole, step)
    assert_goes_on_to_the_end_of(whole, config_of(tmp_path), run)


def test_max_time_that_is_not_over_changes_nothing(tmp_path, whole):
    """A run that is faster ends as without the limit."""
    assert stopped(config_of(tmp_path, max_time="1-00:00:00"), kind=Trainer) == 0
    assert differences(end_of(whole.checkpoint_dir), end_of(only_run(tmp_path))) == []


def test_first_signal_after_max_time_lets_the_save_be_finished(tmp_path, whole):
    """The system's own limit may come while the run saves because of ours: nobody asked twice yet."""

    class Saving(Watched):
        def state_dict(self):
            if self.step == 5:
                signal_self()
            return super().state_dict()

    config = config_of(tmp_path, max_time="00:00:01")
    assert stopped(config, kind=at(("batch", 5), lambda: time.sleep(1.1), kind=Saving)) == 143
    assert_saved_after(only_run(tmp_path), whole, 5)


# SLURM


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A stand-in for SLURM's command that writes down its calls, and a job in which it would be called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "scontrol"
    command.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    return command


def tell_of_limit():
    """As SLURM does it, ahead of the end of a job's time."""
    signal_self(signal.SIGUSR1)


def calls_of(command):
    path = command.with_name("calls")
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(("name", "expected"), [("SIGUSR1", ["requeue 4711"]), ("SIGTERM", []), ("SIGINT", [])])
def test_slurm_requeue_gives_the_job_back_once_unless_somebody_ended_it(tmp_path, scontrol, name, expected):
    """A job whose time is over is queued again, after the save; one that was cancelled, or met Ctrl-C, is not."""
    config = config_of(tmp_path, slurm_requeue=True)
    assert stopped(config, kind=at(("batch", 5), lambda: signal_self(getattr(signal, name)))) == CODES[name]
    assert calls_of(scontrol) == expected
    lines = logged(only_run(tmp_path))
    assert lines[-1].startswith(f"Stopped by {name} in epoch 1, after 5 steps. To go on ")
    assert load_checkpoint(only_run(tmp_path) / "last.pth")["progress"]["step"] == 5


def test_slurm_requeue_after_max_time_gives_the_job_back(tmp_path, scontrol):
    """A run that ends before the scheduler's limit is queued again too."""
    assert stopped(config_of(tmp_path, slurm_requeue=True, max_time="0:00:00"), kind=Trainer) == 143
    assert calls_of(scontrol) == ["requeue 4711"]


def test_slurm_requeue_of_an_array_names_its_task(tmp_path, scontrol, monkeypatch):
    """One task of an array goes back, not all of it."""
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "4700")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert stopped(config_of(tmp_path, slurm_requeue=True), kind=at(("batch", 5), tell_of_limit)) == 143
    assert calls_of(scontrol) == ["requeue 4700_3"]


def test_slurm_requeue_left_out_calls_nothing(tmp_path, scontrol):
    """Nobody's job is queued again unasked."""
    assert stopped(config_of(tmp_path), kind=at(("batch", 5), tell_of_limit)) == 143
    assert calls_of(scontrol) == []


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("#!/bin/sh\necho slurm_load_jobs error >&2\nexit 1\n", "Job 4711 is not requeued: slurm_load_jobs error"),
        ("#!/nowhere/sh\n", "Job 4711 is not requeued: "),
        (None, "Not requeued: scontrol is not in the PATH."),
    ],
    ids=["refused", "broken", "missing"],
)
def test_slurm_requeue_that_fails_is_a_warning(tmp_path, scontrol, monkeypatch, script, expected):
    """The state is saved by then, and that is what counts."""
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        scontrol.write_text(script)
    code = stopped(config_of(tmp_path, slurm_requeue=True), kind=at(("batch", 5), tell_of_limit))
    told, last = logged(only_run(tmp_path))[-2:]
    assert (code, told[: len(expected)], last[:18]) == (143, expected, "Stopped by SIGUSR1")


def test_slurm_requeue_outside_a_job_is_told_at_the_start(tmp_path, monkeypatch, caplog):
    """A key that does nothing here is no secret."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    make_trainer(config_of(tmp_path, slurm_requeue=True, epochs=1), make_loader()).train()
    assert "trainer.slurm_requeue has no effect: this is no SLURM job." in caplog.messages
