"""What goes wrong in training is told in full, and costs no more than the step in which it happened."""

import copy
import errno
import itertools
import json
import os
import re
import signal
import threading
import time

import pytest
import torch
from torch import nn

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.folder import has_checkpoint
from espalier.checkpoints.run_folder import log_folder
from espalier.errors import DataError, SampleError, TrainingError, python_command
from espalier.limits import advice_on_limit
from espalier.rng import seed_everything
from espalier.training.faults import is_out_of_memory
from model.loss import nll_loss
from model.metric import accuracy
from parse_config import ConfigParser
from tests.cases import cases
from tests.kill import Augmented, differences, end_of, exit_code_of, make_loader, make_trainer, only_run
from tests.seams import begin_at_rates
from tests.test_interruptions import (
    Striking,
    Watched,
    at,
    command,
    config_of,
    copy_in_place,
    do_in_step,
    logged,
    runs_of,
    sample_of,
    signal_self,
    slow,
    swapping,
    undisturbed,
    write_config,
)
from trainer import Trainer

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs in a forked copy of this process")


@pytest.fixture
def config_file(tiny_config, tmp_path):
    """The quick config on disk."""
    return write_config(tiny_config, tmp_path)


class Broken(Exception):
    """What the tests raise."""


def fail():
    """As the code of a user does."""
    raise Broken("in the\nmiddle of it")


class Quiet(Watched):
    """Without dropout: a batch leaves no trace in the random number generators. Has moments inside a step too."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.model.layers[3].p = 0.0
        self.model.layers[0].weight.register_hook(lambda gradient: self.come("backward"))

    def update(self, loss):
        self.come("forward")
        super().update(loss)


def without_statistics(kind):
    """That trainer, with a model that has no BatchNorm."""

    class Without(kind):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.model.layers[1] = nn.Identity()

    return Without


Plain = without_statistics(Quiet)  # a batch that is not learned from leaves no trace at all


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run that nothing happened to; not to be changed."""
    return undisturbed(tmp_path_factory.mktemp("plain"), Plain)


def assert_holds(path, trainer, step):
    """The checkpoint holds what `trainer` was after `step`."""
    state = load_checkpoint(path)
    assert state["progress"]["step"] == step
    assert differences(dict(state["state_dict"]), dict(trainer.weights[step])) == []


# Exceptions


@needs_fork
def test_command_failing_shows_the_traceback_last_and_goes_on_from_either_checkpoint(tmp_path, config_file):
    """Exit code 1, the whole traceback at the end of stderr, where the state is at the end of stdout."""
    code, out, err = command("-c", config_file, prepare=lambda: do_in_step(5, fail))
    (run,) = runs_of(tmp_path)
    assert code == 1
    assert out.splitlines()[-1] == f"Training failed in epoch 2: Broken. The state after 4 steps is in {run}/crash.pth."
    assert err.startswith("Traceback (most recent call last):\n") and "trainer/trainer.py" in err
    assert err.endswith("Broken: in the\nmiddle of it\n")
    assert load_checkpoint(run / "crash.pth")["progress"]["step"] == 4
    crash = (run / "crash.pth").read_bytes()
    for resume, first in ((run, 4), (run / "crash.pth", 5)):
        (run / "crash.pth").write_bytes(crash)
        code, out, _ = command("-r", resume, prepare=lambda first=first: do_in_step(first, lambda: print("here")))
        assert (code, out.count("here"), (run / "crash.pth").exists()) == (0, 1, False)
        assert load_checkpoint(run / "last.pth")["progress"]["step"] == 6
        (run / "last.pth").unlink()
        (run / "last.pth").hardlink_to(run / "checkpoint-epoch1.pth")


# Where an exception may come, and how many steps are finished then.
MOMENTS = {
    "first batch": (("forward", 1), 0),
    "forward": (("forward", 5), 4),
    "backward": (("backward", 5), 4),
    "after the step": (("batch", 5), 5),
    "last batch": (("batch", 8), 8),
    "validation": (("batch of validation", 1), 8),
    "after validation": (("end of epoch", 1), 8),
}


@pytest.mark.parametrize("moment", cases(MOMENTS, "first batch", "backward", "validation"))
def test_exception_at_any_moment_leaves_the_state_of_the_last_step(tmp_path, plain, caplog, moment):
    """crash.pth holds the state after the last finished step; from it the run ends as if nothing had happened."""
    come, step = MOMENTS[moment]
    config = config_of(tmp_path)
    with pytest.raises(Broken):
        make_trainer(config, make_loader(), kind=at(come, fail, Plain)).train()
    run = only_run(tmp_path)
    path = run / "crash.pth"
    assert caplog.messages[-1] == f"Training failed in epoch 1: Broken. The state after {step} steps is in {path}."
    assert_holds(path, plain, step)
    make_trainer(config, make_loader(), run, kind=Plain).train()
    assert differences(end_of(plain.checkpoint_dir), end_of(run)) == []  # the names of its files too


def test_exception_in_the_optimizer_saves_nothing_and_says_so(tmp_path, plain, caplog):
    """Half a step is no state to go on from; the checkpoint before is."""
    config = config_of(tmp_path)
    with pytest.raises(Broken):
        make_trainer(config, make_loader(), kind=at(("update", 12), fail, Plain)).train()
    run = only_run(tmp_path)
    line = "Training failed in epoch 2: Broken. The state was not saved: the step was not finished."
    assert (caplog.messages[-1], (run / "crash.pth").exists()) == (line, False)
    make_trainer(config, make_loader(), run, kind=Plain).train()
    assert differences(end_of(plain.checkpoint_dir), end_of(run)) == []


def test_exception_with_a_weight_that_is_no_number_saves_nothing_and_says_so(tmp_path, caplog):
    """A spoilt state is not kept under any name."""

    class Spoilt(Watched):
        def act(self):
            self.model.layers[4].bias.data[0] = float("nan")
            fail()

    with pytest.raises(Broken):
        make_trainer(config_of(tmp_path), make_loader(), kind=type("At", (Spoilt,), {"moment": ("batch", 3)})).train()
    line = "Training failed in epoch 1: Broken. The state was not saved: layers.4.bias is not finite."
    assert (caplog.messages[-1], has_checkpoint(only_run(tmp_path))) == (line, False)


def test_exception_on_a_full_disk_is_still_the_one_that_is_raised(tmp_path, caplog, monkeypatch):
    """That the state could not be saved is told, but does not hide what happened."""

    def act():
        monkeypatch.setattr(torch, "save", lambda state, file: (_ for _ in ()).throw(OSError(28, "No space left")))
        fail()

    with pytest.raises(Broken):
        make_trainer(config_of(tmp_path), make_loader(), kind=at(("batch", 3), act)).train()
    run = only_run(tmp_path)
    assert caplog.messages[-1].startswith(
        "Training failed in epoch 1: Broken. The state could not be saved: [Errno 28] No space left"
    )
    assert not list(run.glob("*.pth")) and not list(run.glob(".*"))


@pytest.mark.parametrize("number", [1, 12])
def test_run_whose_curves_cannot_be_written_ends_like_any_other(tmp_path, plain, caplog, monkeypatch, number):
    """The disk fails in the thread of TensorBoard: one line, and the same results."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    real, calls, untold = RecordWriter.write, itertools.count(1), []

    def write(self, data):
        if next(calls) >= number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(self, data)

    monkeypatch.setattr(RecordWriter, "write", write)
    monkeypatch.setattr(threading, "excepthook", untold.append)
    shown = {"norms": False, "confusion": False, "worst": False}  # these leave something in state and folder
    make_trainer(config_of(tmp_path, tensorboard=shown), make_loader(), kind=Plain).train()
    run = only_run(tmp_path)
    told = [line for line in caplog.messages if "TensorBoard" in line]
    where, reason = log_folder(run), os.strerror(errno.EIO)
    assert told == [f"TensorBoard could not be written to {where}: {reason}. The run goes on without."]
    assert untold == []
    assert differences(end_of(plain.checkpoint_dir), end_of(run)) == []


def test_exception_while_a_checkpoint_is_written_behind_it_leaves_both(tmp_path, plain, monkeypatch):
    """The write under way is waited for, and does not take crash.pth for one of before."""
    real = torch.save

    def save(state, file):
        if state["progress"]["step"] == 3:
            time.sleep(0.3)
        real(state, file)

    monkeypatch.setattr(torch, "save", save)
    config = config_of(tmp_path, async_save=True, save_every_steps=3)
    with pytest.raises(Broken):
        make_trainer(config, make_loader(), kind=at(("batch", 5), fail, Plain)).train()
    assert_holds(only_run(tmp_path) / "last.pth", plain, 3)
    assert_holds(only_run(tmp_path) / "crash.pth", plain, 5)


def test_exception_in_validation_of_other_weights_does_not_save_them(tmp_path):
    """What is in the model then is not what was trained."""
    kind = swapping(copy_in_place)
    whole = undisturbed(tmp_path, kind)
    with pytest.raises(Broken):
        make_trainer(config_of(tmp_path), make_loader(), kind=at(("batch of validation", 2), fail, kind)).train()
    if (only_run(tmp_path) / "crash.pth").exists():
        assert_holds(only_run(tmp_path) / "crash.pth", whole, 8)


# Data that cannot be loaded


def error_of(config, loader, file):
    """The error of a run in a copy of this process: one with workers is torn down by torch in seconds, here at once."""

    def train():
        try:
            make_trainer(config, loader, kind=Plain).train()
        except Exception as error:
            file.write_text(f"{type(error).__name__}: {error}")
            raise SystemExit(1) from None

    assert exit_code_of(train) == 1
    return file.read_text()


class Faulty(Augmented):
    """One of its samples cannot be loaded."""

    def __init__(self, index, error):
        super().__init__()
        self.index, self.error = index, error

    def __getitem__(self, index):
        if index == self.index:
            raise self.error
        return super().__getitem__(index)


class FaultyInMemory(Faulty):
    """Says that it draws no random numbers."""

    is_deterministic = True

    def __getitem__(self, index):
        if index == self.index:
            raise self.error
        return self.inputs[index], index % 3


@pytest.mark.parametrize(
    ("num_workers", "kind"),
    [
        pytest.param(0, Faulty, marks=slow),
        (2, Faulty),
        (0, FaultyInMemory),
        pytest.param(2, FaultyInMemory, marks=slow),
    ],
)
def test_dataset_that_raises_is_named_with_index_and_cause(tmp_path, plain, kind, num_workers):
    """Whoever loads it, the message says which sample of what, and why; the run goes on when it is mended."""
    index = sample_of(4)
    loader = make_loader(num_workers, kind(index, KeyError("label")))
    error = error_of(config_of(tmp_path), loader, tmp_path / "error")
    samples = f"sample {index}" if kind is Faulty else f"samples {loader.indices(1, 4)}"  # one by one, or a whole batch
    assert error.startswith("SampleError: ")
    assert f"{samples} of {kind.__name__} cannot be loaded: KeyError: " in error
    assert "'label'" in error  # a worker's traceback may stand before it
    path = only_run(tmp_path) / "crash.pth"
    assert (
        logged(only_run(tmp_path))[-1]
        == f"Training failed in epoch 1: SampleError. The state after 4 steps is in {path}."
    )
    if kind is Faulty:
        make_trainer(config_of(tmp_path), make_loader(), only_run(tmp_path), kind=Plain).train()
        assert differences(end_of(plain.checkpoint_dir), end_of(only_run(tmp_path))) == []


@pytest.mark.parametrize("num_workers", [0, 2])
def test_message_of_a_dataset_stays_as_it_was_worded(tmp_path, num_workers):
    """What is wrong with the user's data is told without the traceback of a worker."""
    message = "data error: image 3 is broken\n  fix       replace the file"
    loader = make_loader(num_workers, Faulty(sample_of(4), DataError(message)))
    assert error_of(config_of(tmp_path), loader, tmp_path / "error") == f"DataError: {message}"


@pytest.mark.parametrize("batch", [0, pytest.param(4, marks=slow)])
def test_worker_that_is_killed_is_told_with_its_batch_and_dataset(tmp_path, batch):
    """Within seconds, with the samples that it had in hand, and with what usually kills it."""
    dataset = Striking(sample_of(batch), lambda: time.sleep(0.3) or signal_self(signal.SIGKILL))
    loader = make_loader(2, dataset)
    began = time.monotonic()
    error = error_of(config_of(tmp_path), loader, tmp_path / "error")
    assert time.monotonic() - began < 20  # torch looks every 5 s; this machine may be busy
    assert re.fullmatch(
        r"SampleError: DataLoader worker \(pid(\(s\))? [0-9]+\) (exited unexpectedly|is killed by signal: Killed\. ): "
        rf"it died while loading batch {batch} of epoch 1, samples {re.escape(str(loader.indices(1, batch)))} "
        r"of Striking\. Killed by the system for lack of memory, or by a crash in native code: fewer "
        r"data_loader\.args\.num_workers need less, and 0 loads in the training process, which shows where\.",
        error,
    )
    assert load_checkpoint(only_run(tmp_path) / "crash.pth")["progress"]["step"] == batch


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), BlockingIOError(errno.EAGAIN, "No")])
def test_workers_that_cannot_be_started_are_told_with_the_limit(tmp_path, monkeypatch, error):
    """The system allows no more files or processes: no traceback, and what to do about it."""
    loader, start = make_loader(8), lambda *args: (_ for _ in ()).throw(error)
    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__init__", start)
    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__del__", lambda self: None)
    with pytest.raises(DataError) as told:
        make_trainer(config_of(tmp_path), loader, kind=Plain).train()
    assert str(told.value) == (
        f"data error: the 8 workers of Augmented cannot be started: {type(error).__name__}: {error}\n"
        f"  fix       {advice_on_limit(error)}"
    )
    assert told.value.__context__ is None  # nothing holds on to the workers that were started


def test_sample_that_meets_a_limit_is_told_with_what_to_do(tmp_path):
    """A dataset that opens more files than it may, or a worker that cannot hand over its batch."""
    error = OSError(errno.EMFILE, "Too many open files", "cat.png")
    with pytest.raises(SampleError) as told:
        make_trainer(config_of(tmp_path), make_loader(0, Faulty(3, error)), kind=Plain).train()
    assert str(told.value).endswith(f"OSError: {error}\nTo mend it, {advice_on_limit(error)}.")


# Memory


def allocate():
    """More than any machine has."""
    torch.empty(2**60)


def raise_cudas():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def raise_pythons():
    bytearray(2**60)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("NCCL error in: NCCLUtils.cpp:77, unhandled cuda error ...\nCuda failure 2 'out of memory'"),
        RuntimeError("HIP out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),
        RuntimeError("Caught RuntimeError in DataLoader worker process 0.\n...: can't allocate memory: you tried"),
        SampleError("sample 7 of Images cannot be loaded: MemoryError: "),
        MemoryError(),
        torch.OutOfMemoryError("in words of its own"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_lack_of_memory_is_recognised_whoever_tells_of_it(error):
    """Also as the cause of another error, as that of a sample is."""
    outer = ValueError("a batch")
    outer.__cause__ = error
    assert [is_out_of_memory(each) for each in (error, outer)] == [True, True]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("out of memory of what was meant"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_other_faults_are_no_lack_of_memory(error):
    """A smaller batch would not mend them."""
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("act", [allocate, raise_cudas, raise_pythons])
def test_out_of_memory_tells_peak_batch_size_and_what_to_change(tmp_path, caplog, act):
    """The error itself stays as it is."""
    with pytest.raises((RuntimeError, MemoryError)):
        make_trainer(config_of(tmp_path), make_loader(), kind=at(("forward", 3), act, Quiet)).train()
    assert re.fullmatch(
        r"Out of memory with 5 samples a batch; the peak was [0-9,]+\.[0-9] MB in this process\. "
        r"Lower data_loader\.args\.batch_size, or take a smaller model or smaller inputs\.",
        caplog.messages[-2],
    )
    assert load_checkpoint(only_run(tmp_path) / "crash.pth")["progress"]["step"] == 2


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=slow)])
def test_out_of_memory_in_the_dataset_is_told_too(tmp_path, num_workers):
    """Loading takes memory as well."""
    loader = make_loader(num_workers, Faulty(sample_of(1), MemoryError()))
    assert error_of(config_of(tmp_path), loader, tmp_path / "error").startswith("SampleError: ")
    told = [line for line in logged(only_run(tmp_path)) if line.startswith("Out of memory with 5 samples a batch; ")]
    assert len(told) == 1


def test_other_runtime_errors_are_no_lack_of_memory(tmp_path, caplog):
    """Advice about memory comes only where it helps."""

    def act():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError):
        make_trainer(config_of(tmp_path), make_loader(), kind=at(("batch", 3), act)).train()
    assert "Out of memory" not in caplog.text


# Numbers that are none


class Holes(Augmented):
    """Samples of which some are NaN when they are loaded for the first time."""

    def __init__(self, indices):
        super().__init__()
        self.indices = set(indices)

    def __getitem__(self, index):
        sample, target = super().__getitem__(index)
        if index in self.indices:
            self.indices.remove(index)
            sample = torch.full((16,), float("nan"))
        return sample, target


def holes_in(*batches):
    """A loader in whose first epoch these batches have a sample that is NaN."""
    return make_loader(dataset=Holes(sample_of(batch) for batch in batches))


def assert_all_finite(run):
    """No checkpoint of a run holds a weight that is not finite."""
    for path in run.glob("*.pth"):
        assert all(bool(torch.isfinite(value).all()) for value in load_checkpoint(path)["state_dict"].values()), path


FIX = (
    "  fix       lower the learning rate or look at these samples; trainer.on_nonfinite can skip a step or roll back\n"
)


def test_stop_at_a_loss_that_is_nan_names_step_batch_module_and_rate(tmp_path):
    """All that is needed to find the cause, and no checkpoint of it."""
    config = config_of(tmp_path, save_every_steps=3)
    del config["lr_scheduler"]
    loader = holes_in(4)
    with pytest.raises(TrainingError) as error:
        make_trainer(config, loader).train()
    run = only_run(tmp_path)
    assert str(error.value) == (
        "training error: the loss is nan in step 5\n"
        f"  from      batch 4 of epoch 1, samples {loader.indices(1, 4)}\n"
        "  module    layers.0 (Linear) is the first whose output is not finite\n"
        "  rate      0.1\n"
        f"{FIX}"
        f"  then      To go on from the last checkpoint: {python_command()} train.py -r {run}"
    )
    assert_all_finite(run)
    assert [path.name for path in run.glob("*.pth")] == ["last.pth"]


class BadGradient(Quiet):
    """In some steps the gradient of its first weight is NaN, although the loss is finite."""

    steps = ()

    def update(self, loss):
        if self.step + 1 in self.steps:
            loss = loss + (0 * self.model.layers[0].weight).sum().sqrt()  # 0, but its slope is infinite
        super().update(loss)


def bad_gradient(*steps):
    return type("BadGradientAt", (BadGradient,), {"steps": steps})


def test_stop_at_gradients_that_were_nan_names_the_batch_that_spoilt_the_weights(tmp_path):
    """The loss shows it one step later, and the message says which step that was."""
    config = config_of(tmp_path)
    del config["lr_scheduler"]
    loader = make_loader()
    with pytest.raises(TrainingError) as error:
        make_trainer(config, loader, kind=bad_gradient(4)).train()
    assert str(error.value) == (
        "training error: the loss is nan in step 5\n"
        f"  from      batch 4 of epoch 1, samples {loader.indices(1, 4)}\n"
        "  weights   layers.0.weight is not finite: spoilt by the gradients of "
        f"batch 3 of epoch 1, samples {loader.indices(1, 3)}\n"
        "  rate      0.1\n"
        f"{FIX}"
        f"  then      Nothing was saved yet; to begin again: {python_command()} train.py -r {only_run(tmp_path)}"
    )


@pytest.mark.parametrize("step", [8, 16])
def test_stop_at_gradients_of_an_epochs_last_step_saves_no_weight_that_is_nan(tmp_path, step):
    """No later loss can show it, but nothing that is not finite becomes last or best."""
    with pytest.raises(TrainingError) as error:
        make_trainer(config_of(tmp_path), make_loader(), kind=bad_gradient(step)).train()
    run = only_run(tmp_path)
    assert "layers.0.weight is not finite, so nothing was saved" in str(error.value)
    assert (run / "last.pth").exists() is (step == 16)
    assert_all_finite(run)


class Unused(Quiet):
    """Has a weight, or a statistic, that no loss depends on, and that is spoilt in one step."""

    is_buffer = False

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        value = torch.ones(2)
        if self.is_buffer:
            self.model.register_buffer("unused", value)
        else:
            self.model.register_parameter("unused", nn.Parameter(value))

    def update(self, loss):
        super().update(loss)
        if self.step == 12:
            self.model.unused.data[1] = float("nan")


@pytest.mark.parametrize("is_buffer", [False, True])
@pytest.mark.parametrize("every", [None, 3])
def test_stop_at_a_weight_that_no_loss_depends_on_saves_nothing(tmp_path, is_buffer, every):
    """A loss that is fine does not let a spoilt weight into a checkpoint; the epoch named is the one it was in."""
    kind = type("UnusedAt", (Unused,), {"is_buffer": is_buffer})
    with pytest.raises(TrainingError) as error:
        make_trainer(config_of(tmp_path, save_every_steps=every), make_loader(), kind=kind).train()
    run = only_run(tmp_path)
    assert str(error.value).startswith("training error: unused is not finite, so nothing was saved")
    assert "of epoch 2" in str(error.value) and "of epoch 3" not in str(error.value)
    assert load_checkpoint(run / "last.pth")["progress"]["step"] == (8 if every is None else 9)
    assert_all_finite(run)


@needs_fork
def test_command_with_a_loss_that_is_nan_ends_with_2_and_no_traceback(tmp_path, config_file):
    """It is the config or the data that need mending, so the message is for a person."""

    def spoil():
        real = Trainer.update
        Trainer.update = lambda self, loss: real(self, loss / (self.step - 1))

    code, _, err = command("-c", config_file, prepare=spoil)
    assert (code, err.splitlines()[0]) == (2, "training error: the loss is inf in step 2")
    assert "Traceback" not in err
    assert list(runs_of(tmp_path)[0].glob("*.pth")) == []


# Skipping


class LeavingOut(Quiet):
    """Passes over some batches."""

    batches_left_out = ()

    def _train_epoch(self, epoch):
        self.model.train()
        for batch_idx, (data, target) in self.batches(self.data_loader):
            if epoch == 1 and batch_idx in self.batches_left_out:
                continue
            output = self.model(data)
            loss = self.criterion(output, target)
            self.update(loss)
            self.track(loss, output, target)
        log = self.train_metrics.result()
        log.update({f"val_{name}": value for name, value in self._valid_epoch(epoch).items()})
        self.schedule(log)
        return log


def end_without_count(run):
    end = end_of(run)
    for state in (end["last"], end["best"]):
        del state["progress"]["shown"]  # the loss of a skipped step may have been shown
    return [end["last"].pop("nonfinite"), end["best"].pop("nonfinite"), end][::2]


@pytest.mark.parametrize(
    ("what", "has_statistics"),
    [pytest.param("loss", False, marks=slow), ("loss", True), ("gradient", False)],
    ids=["loss", "loss-BatchNorm", "gradient"],
)
def test_skip_leaves_the_step_out_of_weights_and_averages(tmp_path, caplog, what, has_statistics):
    """A run that skips two steps ends as one whose data did not have these batches."""
    changed = (lambda kind: kind) if has_statistics else without_statistics
    left_out = type("LeavingOutAt", (LeavingOut,), {"batches_left_out": (2, 5)})
    reference = undisturbed(tmp_path, changed(left_out))
    is_loss = what == "loss"
    kind = changed(Quiet if is_loss else bad_gradient(3, 5))  # the step that would be the third, and then the fifth
    loader = holes_in(2, 5) if is_loss else make_loader()
    if not is_loss:  # each of these steps is tried once
        real, tried = kind.update, []

        def update(self, loss):
            if (self.step + 1) in tried:
                return Quiet.update(self, loss)
            tried.extend({self.step + 1} & {3, 5})
            return real(self, loss)

        kind.update = update
    trainer = make_trainer(config_of(tmp_path, on_nonfinite="skip"), loader, kind=kind)
    trainer.train()
    reason = "the loss is nan" if is_loss else "a gradient is not finite"
    assert [line for line in caplog.messages if "skipped" in line] == [
        f"Step skipped, since {reason}: batch {batch} of epoch 1, samples {loader.indices(1, batch)} "
        f"({count} skipped so far)."
        for count, batch in ((1, 2), (2, 5))
    ]
    counts, end = end_without_count(trainer.checkpoint_dir)
    assert counts["skipped"] == 2
    assert differences(end_without_count(reference.checkpoint_dir)[1], end) == []


def test_skip_ends_the_run_after_so_many_in_a_row(tmp_path, caplog):
    """Where no step is good any more, going on makes no sense."""
    config = config_of(tmp_path, on_nonfinite="skip", nonfinite_limit=2)
    with pytest.raises(TrainingError) as error:
        make_trainer(config, holes_in(2, 3, 4), kind=Plain).train()
    head, place = str(error.value).splitlines()[:2]
    assert head == "training error: the loss is nan, after 2 steps skipped in a row in step 3"
    assert place.startswith("  from      batch 4 of epoch 1, samples ")
    assert sum("skipped" in line for line in caplog.messages) == 2


def test_skip_of_steps_that_are_not_in_a_row_goes_on(tmp_path):
    """Only steps in a row are limited; all are counted."""
    config = config_of(tmp_path, on_nonfinite="skip", nonfinite_limit=1)
    trainer = make_trainer(config, holes_in(1, 3, 5), kind=Plain)
    trainer.train()
    assert load_checkpoint(trainer.checkpoint_dir / "last.pth")["nonfinite"]["skipped"] == 3


# Going back


class BadLoss(Watched):
    """Its loss is NaN in one step, some times over."""

    at_step, times = 0, 0

    def update(self, loss):
        if self.step + 1 == self.at_step and self.times > 0:
            type(self).times -= 1
            loss = loss * float("nan")
        super().update(loss)


def bad_loss(step, times=1, kind=BadLoss):
    return type("BadLossAt", (kind,), {"at_step": step, "times": times})


def rows_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_rollback_goes_on_from_the_last_checkpoint_at_half_the_rate(tmp_path, caplog):
    """It ends as a run whose learning rate was halved after the first epoch, and every epoch has one row."""

    class Halving(Watched):
        def _train_epoch(self, epoch):
            if epoch == 2:
                self.optimizer.param_groups[0]["lr"] /= 2
                begin_at_rates(self, [self.optimizer.param_groups[0]["lr"]])
            return super()._train_epoch(epoch)

    def without_schedule(folder, **changes):
        config = config_of(folder, epochs=3, **changes)
        del config["lr_scheduler"]
        return config

    reference = make_trainer(without_schedule(tmp_path / "reference"), make_loader(), kind=Halving)
    reference.train()
    trainer = make_trainer(without_schedule(tmp_path, on_nonfinite="rollback"), make_loader(), kind=bad_loss(12))
    trainer.train()
    (line,) = (line for line in caplog.messages if "Rolled back" in line)
    assert line.startswith("training error: the loss is nan in step 12\n  from      batch 3 of epoch 2, samples [")
    assert line.endswith("\nRolled back to last.pth (1 of 3 times); the learning rate is [0.05] now.")
    assert [row["epoch"] for row in rows_of(trainer.checkpoint_dir)] == [1, 2, 3]
    counts, end = end_without_count(trainer.checkpoint_dir)
    assert counts["rollbacks"] == 1
    expected = end_without_count(reference.checkpoint_dir)[1]
    assert differences(expected, end) == []


@pytest.mark.parametrize("step", [2, 5])
def test_rollback_before_the_first_epoch_is_over_begins_again(tmp_path, step):
    """There is something to go back to from the start."""
    config = config_of(tmp_path, on_nonfinite="rollback")
    del config["lr_scheduler"]
    trainer = make_trainer(config, make_loader(), kind=bad_loss(step))
    trainer.train()
    assert [row["learning_rate"] for row in rows_of(trainer.checkpoint_dir)] == [[0.05], [0.05]]
    assert trainer.step == 16


def test_rollback_of_a_new_run_from_a_checkpoint_begins_again_from_it(tmp_path):
    """Fine-tuning too has something to go back to: the weights that it began with."""
    first = undisturbed(tmp_path)
    config = config_of(tmp_path, on_nonfinite="rollback")
    trainer = made(config, bad_loss(3), resume=first.checkpoint_dir / "last.pth", continues_run=False)
    trainer.train()
    assert (trainer.epoch, trainer.step) == (2, 16)


def made(config, kind, overrides=None, **options):
    """A trainer as train.py makes it, also with values from the command line."""
    parser = ConfigParser(copy.deepcopy(config), modification=overrides, **options)
    seed_everything(config["seed"])
    template = make_trainer(config, make_loader())
    optimizer = parser.init_obj("optimizer", torch.optim, template.model.parameters())
    scheduler = None
    if "lr_scheduler" in parser:
        scheduler = parser.init_obj("lr_scheduler", torch.optim.lr_scheduler, optimizer)
    return kind(template.model, nll_loss, [accuracy], optimizer, parser, torch.device("cpu"), make_loader(),
                template.valid_data_loader, scheduler)  # fmt: skip


def sequential(optimizer):
    first = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch)
    second = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [first, second], [10])


def chained(optimizer):
    first = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch)
    return torch.optim.lr_scheduler.ChainedScheduler([first], optimizer)


LR = torch.optim.lr_scheduler
SCHEDULES = {
    "none": (lambda optimizer: None, "epoch"),
    "step": (lambda optimizer: LR.StepLR(optimizer, 1, 0.7), "epoch"),
    "lambda": (lambda optimizer: LR.LambdaLR(optimizer, lambda epoch: 0.9**epoch), "epoch"),
    "cosine": (lambda optimizer: LR.CosineAnnealingLR(optimizer, 4), "epoch"),
    "warm restarts": (lambda optimizer: LR.CosineAnnealingWarmRestarts(optimizer, 2), "epoch"),
    "linear": (lambda optimizer: LR.LinearLR(optimizer, 0.1, 1.0, 4), "epoch"),
    "plateau": (lambda optimizer: LR.ReduceLROnPlateau(optimizer, factor=0.5, patience=0), "epoch"),
    "one cycle": (lambda optimizer: LR.OneCycleLR(optimizer, 0.5, 40), "step"),
    "cyclic": (lambda optimizer: LR.CyclicLR(optimizer, 0.01, 0.1, 10), "step"),
    "sequential": (sequential, "epoch"),
    "chained": (chained, "epoch"),
}


class RecordsRates(BadLoss):
    """Keeps the learning rate of every step; its validation has one fixed loss."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.rates = {}

    def update(self, loss):
        rate = self.optimizer.param_groups[0]["lr"]
        super().update(loss)
        self.rates[self.step] = rate

    def _valid_epoch(self, epoch):
        return {"loss": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [name if name in ("lambda", "one cycle", "sequential") else pytest.param(name, marks=slow) for name in SCHEDULES],
)
def test_rollback_halves_the_rate_in_all_that_a_schedule_makes_of_it(tmp_path, name):
    """After going back twice to the first epoch, every step has a quarter of the rate that it would have had."""
    make, interval = SCHEDULES[name]

    def rates_of(folder, times):
        config = config_of(folder, epochs=4, on_nonfinite="rollback")
        config["lr_scheduler"] = {"type": "StepLR", "args": {"step_size": 1}, "interval": interval}
        if name == "plateau":
            config["lr_scheduler"]["monitor"] = "val_loss"
        trainer = make_trainer(config, make_loader(), kind=bad_loss(12, times, RecordsRates))
        for group in trainer.optimizer.param_groups:  # as if the first scheduler had not been made
            group["lr"] = 0.1
            group.pop("initial_lr", None)
        trainer.lr_scheduler = make(trainer.optimizer)
        trainer.train()
        return [rate for step, rate in sorted(trainer.rates.items()) if step > 8]

    expected = [rate / 4 for rate in rates_of(tmp_path / "undisturbed", 0)]
    assert rates_of(tmp_path, 2) == pytest.approx(expected, rel=1e-9)


def test_rollback_with_a_rate_from_the_command_line_halves_it_each_time(tmp_path):
    """The rate that was given is where the run began, not where it goes back to."""
    config = config_of(tmp_path, epochs=3, on_nonfinite="rollback")
    config["lr_scheduler"] = {"type": "StepLR", "args": {"step_size": 1, "gamma": 0.1}}
    trainer = made(config, bad_loss(20), {"optimizer;args;lr": 0.2})
    trainer.train()
    rates = [row["learning_rate"][0] for row in rows_of(trainer.checkpoint_dir)]
    assert rates == pytest.approx([0.2, 0.02, 0.001])


def test_rollback_ends_the_run_after_so_many_times(tmp_path, caplog):
    """A loss that is NaN at every rate is no matter of the rate; the last checkpoint stays as it was."""
    config = config_of(tmp_path, on_nonfinite="rollback", nonfinite_limit=2)
    with pytest.raises(TrainingError) as error:
        make_trainer(config, make_loader(), kind=bad_loss(12, 100)).train()
    assert str(error.value).startswith("training error: the loss is nan in step 12\n")
    times = [match[1] for match in map(re.compile(r"last\.pth \((.*)\)").search, caplog.messages) if match]
    assert times == ["1 of 2 times", "2 of 2 times"]
    run = only_run(tmp_path)
    assert load_checkpoint(run / "last.pth")["epoch"] == 1
    assert [row["epoch"] for row in rows_of(run)] == [1]


def test_rollback_at_a_weight_that_is_nan_at_the_end_of_an_epoch_goes_on(tmp_path):
    """It is found when the epoch is saved, whose row in metrics.jsonl goes."""

    class SpoiltOnce(Watched):
        is_spoilt = False

        def update(self, loss):
            super().update(loss)
            if self.step == 16 and not type(self).is_spoilt:
                type(self).is_spoilt = True
                self.model.layers[4].bias.data[0] = float("nan")

    trainer = make_trainer(config_of(tmp_path, on_nonfinite="rollback"), make_loader(), kind=SpoiltOnce)
    trainer.train()
    assert [row["epoch"] for row in rows_of(trainer.checkpoint_dir)] == [1, 2]
    assert_all_finite(trainer.checkpoint_dir)


@needs_fork
@pytest.mark.parametrize("every", [3, pytest.param(None, marks=slow)])
def test_rollback_that_is_stopped_afterwards_goes_on_to_the_bit(tmp_path, every):
    """The rate, the count and the way there are in the checkpoint."""
    changes = {"on_nonfinite": "rollback", "save_every_steps": every}
    whole = undisturbed(tmp_path, bad_loss(12), **changes)
    config = config_of(tmp_path, **changes)
    kind = at(("batch", 14), signal_self, bad_loss(12))
    assert exit_code_of(lambda: make_trainer(config, make_loader(), kind=kind).train()) == 143
    run = only_run(tmp_path)
    assert load_checkpoint(run / "last.pth")["nonfinite"]["rollbacks"] == 1
    make_trainer(config, make_loader(), run).train()
    assert differences(end_of(whole.checkpoint_dir), end_of(run)) == []


# What watching costs


class Elsewhere(torch.Tensor):
    """A loss that says that it lies on a GPU."""

    @property
    def device(self):
        return torch.device("cuda")


def elsewhere(kind):
    """That trainer, with losses that say that they lie on a GPU."""

    class OnGpu(kind):
        def update(self, loss):
            super().update(loss.as_subclass(Elsewhere))

    return OnGpu


@pytest.mark.parametrize(
    ("policy", "place"), [("stop", "CPU"), ("skip", "CPU"), ("rollback", "CPU"), ("stop", "GPU"), ("rollback", "GPU")]
)
def test_update_between_log_steps_asks_no_tensor_for_its_value(tmp_path, monkeypatch, policy, place):
    """Nothing waits for a device in every step; only to skip a step on a GPU would need that."""
    asked = []
    for name in ("item", "tolist", "__float__", "__bool__", "__int__", "cpu"):
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *args, name=name, real=real: asked.append(name) or real(self, *args)
        )
    counts = []

    class Counting(elsewhere(Trainer) if place == "GPU" else Trainer):
        def update(self, loss):
            self.before = len(asked)
            super().update(loss)

        def track(self, loss, output, target):
            super().track(loss, output, target)
            if self.model.training:
                counts.append(len(asked) - self.before)

    config = config_of(tmp_path, epochs=1, log_step=1000, on_nonfinite=policy)
    del config["lr_scheduler"]
    make_trainer(config, make_loader(), kind=Counting).train()
    assert counts[0] > 0  # the first batch is logged: the count works
    assert set(counts[1:]) == {0}


def test_stop_at_a_loss_on_a_gpu_names_the_step_in_which_it_was_nan(tmp_path):
    """It is found when a later loss is logged: the weights are spoilt by then, but not by the batch before."""
    loader = make_loader()
    with pytest.raises(TrainingError) as error:
        make_trainer(config_of(tmp_path, log_step=6), loader, kind=elsewhere(bad_loss(4))).train()
    head, place = str(error.value).splitlines()[:2]
    assert head == "training error: the loss is nan in step 4"
    assert place == f"  from      batch 3 of epoch 1, samples {loader.indices(1, 3)}"
    assert "batch 2 of epoch 1" not in str(error.value)
    assert not has_checkpoint(only_run(tmp_path))


def test_stop_at_a_loss_on_a_gpu_that_is_not_seen_yet_saves_nothing_of_it(tmp_path):
    """A save between two looks finds it in the weights."""
    config = config_of(tmp_path, log_step=6, save_every_steps=3)
    with pytest.raises(TrainingError):
        make_trainer(config, make_loader(), kind=elsewhere(bad_loss(4))).train()
    assert load_checkpoint(only_run(tmp_path) / "last.pth")["progress"]["step"] == 3


@pytest.mark.parametrize(("policy", "steps"), [("skip", 15), ("rollback", 16)])
def test_loss_on_a_gpu_that_is_nan_once_does_not_end_the_run(tmp_path, policy, steps):
    """Left out, or gone back from, as on a CPU."""
    config = config_of(tmp_path, log_step=6, on_nonfinite=policy)
    trainer = make_trainer(config, make_loader(), kind=elsewhere(bad_loss(4)))
    trainer.train()
    assert trainer.step == steps
    assert_all_finite(trainer.checkpoint_dir)
