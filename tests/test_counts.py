"""What the training loop may cost, in counts that are the same on every machine: waits, writes, objects, imports."""

import gc
import json
import os
import subprocess
import sys
import tracemalloc
import weakref
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, TensorDataset

import espalier.checkpoints.bounds
import espalier.checkpoints.plain
from base import BaseDataLoader, InMemoryDataset
from espalier.rng import seed_everything
from model.loss import nll_loss
from model.metric import accuracy
from parse_config import ConfigParser
from tests.kill import Net, config_for, make_loader, make_trainer, only_run
from tests.seams import Seams, batch_now
from trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent
ROOMS = tuple(str(ROOT / room) + os.sep for room in ("base", "espalier", "logger", "trainer", "utils"))
POINTS = 20  # log steps of an epoch that has at least so many batches


# Waits for the device


class FarTensor(torch.Tensor):
    """A tensor of a device that is none: it says "meta", is computed on the CPU, and notes when it is waited for."""

    waits: ClassVar = Counter()  # by the moment of the run
    moment = ""

    @staticmethod
    def __new__(cls, near):
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(cls, near.size(), **layout, dtype=near.dtype, device="meta")

    def __init__(self, near):
        self.near = near

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})

    def tolist(self):
        """As on a GPU, which torch refuses to subclasses."""
        return self.cpu().tolist()


class FarDevice(TorchDispatchMode):
    """Puts what goes to "meta" into a `FarTensor`; without it torch would compute nothing there."""

    def __enter__(self):
        FarTensor.waits.clear()
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


def computed(func, args, kwargs):
    """What an operation gives, on the device where it should be; bringing a value to the CPU is noted."""
    given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    is_far = any(isinstance(each, FarTensor) for each in given)
    device = kwargs.get("device")
    if not is_far and (device is None or device.type != "meta"):
        return func(*args, **kwargs)
    name = func.overloadpacket.__name__
    is_wait = name in ("_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2")
    is_wait |= device is not None and device.type == "cpu"
    is_wait |= name == "copy_" and not isinstance(args[0], FarTensor)
    # Nor does a copy to a GPU end before it is made, unless it may.
    is_blocking = name == "_to_copy" and not is_far and args[0].numel() > 0 and not kwargs.get("non_blocking")
    if is_blocking:
        FarTensor.waits[f"to the device {FarTensor.moment}"] += 1
    if is_wait:
        FarTensor.waits[FarTensor.moment] += 1
    args, kwargs = tree_map(lambda each: each.near if isinstance(each, FarTensor) else each, (args, kwargs))
    if device is not None:
        kwargs["device"] = torch.device("cpu")
    result = func(*args, **kwargs)
    changed = {id(getattr(each, "near", each)): each for each in given}  # by an operation in place

    def place(each):
        if not isinstance(each, torch.Tensor) or is_wait:
            return each
        return changed[id(each)] if id(each) in changed else FarTensor(each)

    return tree_map(place, result)


def far_trainer(folder, kind, num_batches, **trainer):
    """A trainer on the far device; its checkpoints are copies made in the background, as on a GPU."""
    config = config_for(folder, epochs=2, save_every_steps=None, async_save=True, **trainer)
    del config["lr_scheduler"]
    parser = ConfigParser(config)
    seed_everything(7)
    data = TensorDataset(torch.randn(2 * num_batches + 10, 16), torch.arange(2 * num_batches + 10) % 3)
    loader = make_loader(dataset=data, batch_size=2, validation_split=10)
    model = Net().to("meta")
    optimizer = parser.init_obj("optimizer", torch.optim, model.parameters())
    return kind(model, nll_loss, [accuracy], optimizer, parser, torch.device("meta"), loader, loader.split_validation())


class Waiting(Seams, Trainer):
    """Tells how often each epoch waited for the device at which moment, from the end of the one before."""

    def after_start(self):
        self.waits = []
        self.take("at the start of an epoch")

    def batches(self, loader):
        name = "training" if loader is self.data_loader else "validation"
        for number, batch in enumerate(super().batches(loader), 1):
            FarTensor.moment = f"in a step of {name}"
            yield batch
            FarTensor.moment = f"between batches of {name}" if number < len(loader) else f"at the end of {name}"

    def track(self, *args, **names):
        before, is_log_step = FarTensor.moment, batch_now(self) % self.log_step == 0
        FarTensor.moment = f"at a log step of {before.rpartition(' ')[2]}" if is_log_step else before
        super().track(*args, **names)
        FarTensor.moment = before

    def before_epoch_end(self):
        FarTensor.moment = "at the end of the epoch"

    def before_save(self):
        FarTensor.moment = "at a save"

    def after_save(self):
        self.waits.append(dict(FarTensor.waits))
        self.take("after the save")

    def take(self, moment):
        FarTensor.waits.clear()
        FarTensor.moment = moment


def let_far_tensors_be_saved(monkeypatch):
    """They say that they are on a device without memory."""
    monkeypatch.setattr(espalier.checkpoints.plain, "PLAIN", (*espalier.checkpoints.plain.PLAIN, FarTensor))
    monkeypatch.setattr(espalier.checkpoints.bounds, "_size", lambda tensor: tensor.nbytes)


WAITS = {
    "at a log step of training": 2 * POINTS,  # the loss that is shown, and a look at those since the last one
    # A look at the losses since the last log step; what tells whether weights change; the means of loss and accuracy.
    "at the end of training": 1 + 1 + 2,
    "at the end of validation": 2,
    "at a save": 1 + 9 + 6,  # whether weights are finite; model (weights, statistics and their count), momentum
}
# And a look at the targets of the first batch, and at whether a function of that name gives what PyTorch's does.
AT_FIRST = {"at a log step of training": 2 * POINTS + 2}


@pytest.mark.parametrize("num_batches", [40, pytest.param(100, marks=pytest.mark.slow)])
def test_epoch_waits_for_the_device_at_log_steps_and_its_end_alone(tmp_path, monkeypatch, num_batches):
    """Exactly so often, whatever the number of batches; also where losses are looked at late, as on a GPU."""
    let_far_tensors_be_saved(monkeypatch)
    with FarDevice():
        trainer = far_trainer(tmp_path, Waiting, num_batches)
        trainer.train()
    assert trainer.step == 2 * num_batches
    assert trainer.waits == [{**WAITS, **AT_FIRST}, WAITS]


@pytest.mark.slow
def test_average_clipping_and_accumulation_add_no_wait_to_a_step(tmp_path, monkeypatch):
    """The mean of the gradients' norm is read once an epoch; the average and its statistics are saved."""
    more = {"at the end of training": 5, "at a save": 16 + 9}
    let_far_tensors_be_saved(monkeypatch)
    with FarDevice():
        trainer = far_trainer(tmp_path, Waiting, 40, ema_decay=0.9, clip_grad_norm=1.0, accumulate=2)
        trainer.train()
    assert trainer.step == 40
    assert trainer.waits == [{**WAITS, **more, **AT_FIRST}, {**WAITS, **more}]


# TensorBoard


def image_trainer(folder, num_batches, **trainer):
    """A trainer of a model of images, which shows pictures of them; everything is as by default."""
    config = config_for(folder, **{"tensorboard": True, "save_every_steps": None, **trainer})
    del config["lr_scheduler"]
    parser = ConfigParser(config)
    seed_everything(7)
    size = 2 * num_batches + 10
    images = torch.randint(0, 256, (size, 1, 4, 4), dtype=torch.uint8)
    data = InMemoryDataset(images, torch.arange(size) % 3, mean=128.0, std=64.0)
    loader = BaseDataLoader(data, 2, shuffle=True, validation_split=10)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.LogSoftmax(1))
    optimizer = parser.init_obj("optimizer", torch.optim, model.parameters())
    return Trainer(model, nll_loss, [accuracy], optimizer, parser, torch.device("cpu"), loader,
                   loader.split_validation())  # fmt: skip


def times_written(folder):
    """How often each curve, picture and distribution is written to TensorBoard; what is written once is left out."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    events = (event for path in folder.rglob("events.*") for event in EventFileLoader(str(path)).Load())
    counts = Counter(value.tag for event in events for value in event.summary.value)
    return {tag: count for tag, count in counts.items() if count > 1 and not tag.endswith("/best")}  # of some epochs


@pytest.mark.parametrize("num_batches", [40, pytest.param(4000, marks=pytest.mark.slow)])
def test_tensorboard_gets_as_many_points_from_a_long_epoch_as_from_a_short_one(tmp_path, num_batches):
    """20 losses and norms of batches, then one point on each curve; pictures and distributions of both epochs."""
    image_trainer(tmp_path, num_batches, epochs=2).train()
    curves = ["loss/train", "accuracy/train", "loss/valid", "accuracy/valid",
              "learning_rate", "speed/seconds_per_epoch", "speed/steps_per_second", "speed/samples_per_second",
              "memory/process_GiB", "predictions", "worst", "confusion", "parameters/1.weight",
              "parameters/1.bias"]  # fmt: skip
    batches = ["loss/batch", "norm/gradient", "norm/weights"]
    assert times_written(tmp_path) == {**dict.fromkeys(curves, 2), **dict.fromkeys(batches, 2 * POINTS)}


# Files


class Counting(Trainer):
    """Takes what was counted from the end of one epoch, before it is judged, to that of the next."""

    def on_epoch_end(self, log):
        """Judge an epoch by its number: as the best so far, or as one like the others."""
        log["val_loss"] = self.val_loss_of(log["epoch"])
        self.take()

    def on_train_end(self):
        """The last epoch is saved by now."""
        self.take()

    def take(self):
        self.taken.append(dict(self.counts))
        self.files.append(sorted(path.name for path in self.checkpoint_dir.glob("*.pth")))
        self.counts.clear()


def count_writes(monkeypatch):
    """How often torch.save, os.link and os.fsync run, the last by the name of what is brought to disk."""
    counts, save, link, fsync, open_file = Counter(), torch.save, os.link, os.fsync, os.open

    def named_fsync(handle):
        name = Path(f"/proc/self/fd/{handle}").resolve()
        counts.update(["sync of a folder" if name.is_dir() else f"sync of {name.name}"])
        fsync(handle)

    def named_open(path, *args, **kwargs):
        if Path(path).name == "metrics.jsonl":
            counts.update(["open metrics.jsonl"])
        return open_file(path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", lambda *args, **kwargs: counts.update(["save"]) or save(*args, **kwargs))
    monkeypatch.setattr(os, "link", lambda *args, **kwargs: counts.update(["link"]) or link(*args, **kwargs))
    monkeypatch.setattr(os, "fsync", named_fsync)
    monkeypatch.setattr(os, "open", named_open)
    return counts


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names the files behind handles")
@pytest.mark.parametrize("is_always_best", [True, False])
def test_checkpoint_is_written_once_and_linked(tmp_path, monkeypatch, is_always_best):
    """One write and one sync of its bytes, whatever names it has; each new name is a sync of the folder."""
    trainer = make_trainer(
        config_for(tmp_path, epochs=5, save_every_steps=None, keep_last=2), make_loader(), kind=Counting
    )
    trainer.val_loss_of = lambda epoch: -epoch if is_always_best else epoch
    trainer.taken, trainer.files, trainer.counts = [], [], count_writes(monkeypatch)
    trainer.train()
    links = 2 if is_always_best else 1  # model_best.pth, last.pth
    for epoch, taken in list(enumerate(trainer.taken))[2:]:
        name = f"sync of .checkpoint-epoch{epoch}.pth.tmp"
        metrics = {"open metrics.jsonl": 1, "sync of metrics.jsonl": 1}
        assert taken == {"save": 1, name: 1, "link": links, "sync of a folder": 1 + links, **metrics}
    assert [len(files) for files in trainer.files] == [0, 3, 4, 4, 4, 4]  # two epochs, the best and the last
    written = [only_run(tmp_path) / name for name in ("checkpoint-epoch5.pth", "last.pth", "model_best.pth")]
    inodes = [path.stat().st_ino for path in written]
    assert inodes[0] == inodes[1] and (inodes[1] == inodes[2]) == is_always_best
    assert written[0].stat().st_nlink == 1 + links


# Memory


def live_tensors():
    """How many tensors there are; asked by their type, since some other objects answer for what they stand for."""
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


@pytest.mark.slow
def test_memory_after_thirty_epochs_is_that_after_ten(tmp_path):
    """No tensor, object or byte in one more, with TensorBoard, checkpoints and validation.

    Blocks are all that Python allocates; torch's own functions (`torch.tensor`, `torch.save`) keep about ten short
    texts more an epoch, fewer and fewer, also in a plain loop.
    """
    measured = {}

    class Measuring(Trainer):
        def on_epoch_end(self, log):
            if log["epoch"] in (10, 30):
                self.writer.flush()  # points of the last second are waiting
                gc.collect()
                sizes = sum(sys.getsizeof(each, 0) for each in gc.get_objects())
                measured[log["epoch"]] = live_tensors(), len(gc.get_objects()), sizes, sys.getallocatedblocks()

    config = config_for(tmp_path, epochs=30, save_every_steps=None, tensorboard=True)
    config["lr_scheduler"]["args"]["total_steps"] = 30 * 19
    make_trainer(config, plain_loader(47, 2), kind=Measuring).train()
    tensors, objects, sizes, blocks = (b - a for a, b in zip(measured[10], measured[30], strict=True))
    assert (tensors, abs(objects) <= 8, sizes < 1024, blocks < 20 * 19) == (0, True, True, True), (
        tensors, objects, sizes, blocks)  # fmt: skip


def plain_loader(size, batch_size):
    """Samples that remember nothing of being loaded, a part of them for validation."""
    data = TensorDataset(torch.randn(size, 16), torch.arange(size) % 3)
    return make_loader(dataset=data, batch_size=batch_size)


@pytest.mark.parametrize("tensorboard", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_data_of_a_run_that_has_ended_is_freed_at_once(tmp_path, tensorboard):
    """Not by a look of the garbage collector, which may come as late as the end of the process."""
    trainer = make_trainer(
        config_for(tmp_path, epochs=1, save_every_steps=None, tensorboard=tensorboard), plain_loader(47, 2)
    )
    trainer.train()
    data = weakref.ref(trainer.data_loader.dataset)
    gc.collect()
    gc.disable()
    try:
        del trainer
        assert data() is None
    finally:
        gc.enable()


@pytest.mark.slow
def test_step_in_mid_epoch_leaves_nothing_allocated(tmp_path):
    """Not by a line of the framework, between steps where the averages have just summed the 64 values they keep."""
    snapshots = []

    class Measuring(Trainer):
        def on_step_end(self):
            if self.step in (70, 70 + 4 * 64):
                self.writer.flush()  # points of the last second wait there
                gc.collect()
                snapshots.append(tracemalloc.take_snapshot())

    config = config_for(tmp_path, epochs=1, save_every_steps=None, tensorboard=True)
    config["lr_scheduler"]["args"]["total_steps"] = 1000
    trainer = make_trainer(config, plain_loader(850, 2), kind=Measuring)
    tracemalloc.start()
    try:
        trainer.train()
    finally:
        tracemalloc.stop()
    ours = [tracemalloc.Filter(True, f"{room}*") for room in ROOMS]
    before, after = (snapshot.filter_traces(ours) for snapshot in snapshots)
    grown = [each for each in after.compare_to(before, "lineno") if each.size_diff > 0]
    assert sum(each.size_diff for each in grown) < 4 * 64 * 16, grown  # less than one number a step


# Data


def test_batch_of_data_in_memory_is_one_gather_by_a_tensor(monkeypatch):
    """No list of indices is made, no sample asked for alone, and DataLoader's own iterator is not used."""
    loader = make_loader(dataset=InMemoryDataset(torch.arange(50.0).unsqueeze(1), torch.arange(50)), batch_size=8)
    asked, refused, gather = [], [], InMemoryDataset.batch

    def seen(self, indices):
        asked.append(type(indices))
        return gather(self, indices)

    for kind, name in ((torch.Tensor, "tolist"), (DataLoader, "__iter__"), (InMemoryDataset, "__getitem__")):
        monkeypatch.setattr(kind, name, lambda *args, name=name, **kwargs: refused.append(name))
    monkeypatch.setattr("espalier.data.samples.InMemoryDataset.batch", seen)
    assert sum(len(targets) for _, targets in loader) == 40
    assert asked == [torch.Tensor] * 5 and refused == []


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, pytest.param(100, marks=pytest.mark.slow)])
def test_order_of_a_million_samples_takes_eight_bytes_each(batch_size):
    """One tensor of them; the batches that are cut out of it are not there all at once."""
    size = 10**6
    data = InMemoryDataset(torch.zeros(1, 1, dtype=torch.uint8).expand(size, 1), torch.zeros(1).expand(size))
    loader = BaseDataLoader(data, batch_size, shuffle=True, seed=3)
    gc.collect()
    before = live_tensors()
    batches = iter(loader)
    next(batches)
    found = [each for each in gc.get_objects() if type(each) is torch.Tensor and each.dtype == torch.int64]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in found}
    assert sum(storages.values()) < 8.1 * size
    assert live_tensors() - before <= 5


@pytest.mark.slow
def test_images_stay_bytes_while_a_run_goes_over_them(tmp_path):
    """At no step that is looked at is there a tensor of floats as large as the data."""
    largest = []
    trainer = image_trainer(tmp_path, 100, epochs=1, tensorboard=False)
    size = trainer.data_loader.dataset.inputs.numel()

    def look():
        if trainer.step % 10:  # to go through all objects takes longer than ten steps
            return
        alive = [each for each in gc.get_objects() if type(each) is torch.Tensor and each.is_floating_point()]
        largest.append(max(each.untyped_storage().nbytes() for each in alive))

    trainer.on_step_end = look
    trainer.train()
    assert len(largest) == 10 and max(largest) < size


# Imports

WATCHER = """
import json, runpy, sys

NAMES = ("torch", "numpy", "pandas", "torchvision", "matplotlib", "torch.utils.tensorboard", "tensorboard")
seen = {}


class Watcher:
    def find_spec(self, name, path=None, target=None):
        if name in NAMES and name not in seen:
            frame, places = sys._getframe(1), []
            while frame is not None:
                file = frame.f_code.co_filename
                if not file.startswith("<frozen"):
                    places.append(f"{file.rpartition('/')[2]}:{frame.f_code.co_name}")
                frame = frame.f_back
            seen[name] = places


def run(*arguments):
    sys.argv = ["train.py", *arguments]
    try:
        runpy.run_path("train.py", run_name="__main__")
    except SystemExit as ended:
        assert not ended.code, ended.code


sys.path.insert(0, ".")
sys.meta_path.insert(0, Watcher())
run("--help")
helped = list(seen)
run("-c", "config.json", "trainer.epochs=1", "trainer.limit_train_batches=3", "trainer.save_dir=FOLDER")
# torch looks whether pandas is there, and leaves it
print(json.dumps([helped, {name: seen[name] for name in seen if name in sys.modules}]))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """What `train.py --help` imports of the large packages, and what a run does then, with the functions that do."""
    script = WATCHER.replace("FOLDER", str(tmp_path_factory.mktemp("imported")))
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, env=env
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_help_imports_no_large_package(imported):
    """It answers at once."""
    helped, _ = imported
    assert helped == []


@pytest.mark.slow
def test_run_imports_what_it_uses_alone_and_tensorboard_when_it_begins(imported):
    """Neither pandas, torchvision nor matplotlib, by whomever; TensorBoard for the text about the run."""
    _, seen = imported
    assert sorted(seen) == ["numpy", "tensorboard", "torch", "torch.utils.tensorboard"], seen
    for name in ("tensorboard", "torch.utils.tensorboard"):
        assert "start.py:start" in seen[name], seen[name]
