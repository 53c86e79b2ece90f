"""Training that is killed, or whose disk fails, at any moment: `make fault` and, with 1,000 runs, `make soak`.

`FAULT_RUNS` says how many runs are killed at random moments, `FAULT_SEED` which is the first of them.
"""

import builtins
import contextlib
import copy
import errno
import functools
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from base import BaseDataLoader
from data_loader.data_loaders import DigitsDataLoader
from espalier.checkpoints.file import load_checkpoint
from espalier.errors import CheckpointError
from espalier.processes.command import errors_without_traceback
from model.model import MnistModel
from tests.kill import config_for, differences, end_of, exit_code_of, kill_self, make_loader, make_trainer

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 600  # for one process
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked copy of this process")

# what is trained; train.py finds it by its dotted path


class Noting(MnistModel):
    """Notes in the file `$FAULT_NOTE` what it is used for, so that a kill can be told where it fell."""

    def __init__(self, dropout):
        super().__init__(dropout=dropout)
        self.note = os.open(os.environ["FAULT_NOTE"], os.O_WRONLY | os.O_CREAT)

    def forward(self, x):
        os.pwrite(self.note, b"train" if self.training else b"valid", 0)
        return super().forward(x)


class NoisyImages(Dataset):
    """Images moved and made noisy with numbers from all three generators."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image, label = self.images[index]
        moved = torch.roll(image, (random.randint(-2, 2), int(np.random.randint(-2, 3))), (1, 2))
        return moved + 0.1 * torch.randn(image.shape), label


class NoisyDigits(BaseDataLoader):
    """A part of the digits, noisy."""

    def __init__(self, batch_size, size, validation_split=0.0, num_workers=0):
        digits = DigitsDataLoader(str(ROOT / "data" / "digits"), batch_size).dataset
        digits.inputs, digits.targets = digits.inputs[:size], digits.targets[:size]
        super().__init__(NoisyImages(digits), batch_size, True, validation_split, num_workers)


BASE = {
    "name": "Killed",
    "n_gpu": 0,
    "seed": 11,
    "arch": {"type": "tests.test_faults.Noting", "args": {"dropout": 0.2}},
    "data_loader": {
        "type": "tests.test_faults.NoisyDigits",
        "args": {"batch_size": 16, "size": 500, "validation_split": 0.2, "num_workers": 2},
    },
    "optimizer": {"type": "SGD", "args": {"lr": 0.05, "momentum": 0.9}},
    "lr_scheduler": {"type": "OneCycleLR", "args": {"max_lr": 0.1, "total_steps": 150}, "interval": "step"},
    "loss": "nll_loss",
    "metrics": ["accuracy", "top_k_acc"],
    "trainer": {"epochs": 6, "save_every_steps": 4, "keep_last": 2, "monitor": "min val_loss", "verbosity": 0,
                "tensorboard": False},
}  # 25 batches an epoch  # fmt: skip
ADAM = {"type": "Adam", "args": {"lr": 0.002, "amsgrad": True}}
KINDS = {
    "one cycle, TensorBoard": {"trainer": {"tensorboard": True}},
    "plateau, best epochs": {
        "optimizer": ADAM,
        "lr_scheduler": {"type": "ReduceLROnPlateau", "args": {"factor": 0.5, "patience": 0}},
        "trainer": {"keep_best": 2, "keep_last": 1, "save_every_steps": 7},
    },
    "len_epoch, a file every second epoch": {
        "optimizer": ADAM,
        "lr_scheduler": {"type": "CosineAnnealingLR", "args": {"T_max": 140}, "interval": "step"},
        "trainer": {"len_epoch": 20, "epochs": 7, "save_period": 2},
    },
    "async_save, TensorBoard": {
        "trainer": {"async_save": True, "save_every_steps": 2, "tensorboard": {"images": False, "graph": False}}
    },
    "every step": {"optimizer": ADAM, "trainer": {"save_every_steps": 1}},
}


def config_of(kind):
    """The config of a kind of run."""
    config = copy.deepcopy(BASE)
    for section, changes in KINDS[kind].items():
        config[section] = {**config[section], **changes} if section == "trainer" else changes
    return config


# how it ended


def run_in(folder):
    """The folder of the run under `folder` that has come as far as its config; None when there is none."""
    return next((path.parent for path in sorted(folder.glob("saved/models/Killed/*/config.json"))), None)


def curves_of(run):
    """What TensorBoard shows of a run: (step, value) by kind and tag, but for speed and memory, which differ."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = run.parents[2] / "log" / run.parent.name / run.name
    events = EventAccumulator(str(log), dict.fromkeys(("scalars", "images", "histograms"), 0)).Reload()
    tags, found = events.Tags(), {}
    for tag in tags["scalars"]:
        if not tag.startswith(("speed/", "memory/")):
            found["scalars", tag] = [(each.step, each.value) for each in events.Scalars(tag)]
    for tag in tags["images"]:
        found["images", tag] = [(each.step, each.encoded_image_string) for each in events.Images(tag)]
    for tag in tags["histograms"]:
        found["histograms", tag] = [(each.step, repr(each.histogram_value)) for each in events.Histograms(tag)]
    return found


def unreadable_in(folder):
    """A sentence for each checkpoint under `folder` that cannot be loaded."""
    for path in folder.rglob("*.pth"):
        with contextlib.suppress(FileNotFoundError):
            try:
                load_checkpoint(path)
            except CheckpointError as error:
                yield f"unreadable: {error}"


# killed at random moments


@dataclass
class Case:
    """One run that is killed; what was seen of it."""

    seed: int
    kind: str
    kills: list = field(default_factory=list)  # whom and when, and in what it fell
    unreadable: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    def __str__(self):
        kills = "; ".join(f"{kill}, {place}" for kill, place in self.kills)
        lines = "\n  ".join(self.unreadable + self.faults)
        return f"FAULT_SEED={self.seed} FAULT_RUNS=1 repeats it ({self.kind}; killed: {kills})\n  {lines}"


class Training:
    """A run by train.py under `folder`, in as many processes as it takes."""

    def __init__(self, folder, kind):
        self.folder, self.config, self.note = folder, folder / "config.json", folder / "note"
        self.output = folder / "output.txt"
        folder.mkdir(parents=True)
        config = config_of(kind)
        config["trainer"]["save_dir"] = str(folder / "saved")
        self.config.write_text(json.dumps(config))

    def start(self):
        """A process that begins the run or, once it has a folder, goes on with it."""
        self.note.write_bytes(b"")
        run = run_in(self.folder)
        how = ("-c", str(self.config)) if run is None else ("-r", str(run))
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "train.py", *how], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1", "FAULT_NOTE": str(self.note)},
            )  # fmt: skip

    def place(self):
        """In what a kill fell, as far as the files tell."""
        run, note = run_in(self.folder), self.note.read_bytes()
        if run is not None and next(run.glob(".*.tmp"), None) is not None:
            return "in a save"
        if run is None or next(run.glob("*.pth"), None) is None:
            return "before the first save" if note else "before training"
        return {b"train": "mid-epoch", b"valid": "in validation", b"": "while resuming"}[note]

    def share_left(self, num_steps):
        """How much of the run is still to be done, from 0 to 1."""
        run = run_in(self.folder)
        if run is None or not (run / "last.pth").exists():
            return 1.0
        return 1 - load_checkpoint(run / "last.pth")["progress"]["step"] / num_steps

    def kill(self, process, moment, is_early, is_group):
        """Kill a process so many seconds after its start, or after its first batch; False when it ended before."""
        while not is_early and process.poll() is None and not self.note.read_bytes():
            time.sleep(0.01)
        try:
            process.wait(moment)
            return False
        except subprocess.TimeoutExpired:
            (os.killpg if is_group else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            return True


@dataclass
class Undisturbed:
    """A run that was left alone: how it ended, and how many seconds it took before and after its first batch."""

    end: dict
    curves: dict | None
    starting_s: float
    training_s: float


def leave_alone(folder, kind):
    """A run that nobody disturbs."""
    training, began = Training(folder, kind), time.monotonic()
    process = training.start()
    while process.poll() is None and not training.note.read_bytes():
        time.sleep(0.01)
    started = time.monotonic()
    assert process.wait(LIMIT_S) == 0, training.output.read_text()
    run, ended = run_in(folder), time.monotonic()
    curves = curves_of(run) if "TensorBoard" in kind else None
    return Undisturbed(end_of(run), curves, started - began, ended - started)


def kill_and_resume(folder, seed, kind, whole):
    """Kill a run at random moments, one to four times, let it come to its end, and compare that with `whole`."""
    chance, case, training = random.Random(seed), Case(seed, kind), Training(folder, kind)
    num_steps = whole.end["last"]["progress"]["step"]
    num_kills = chance.choice([1, 1, 2, 3, 4])
    while len(case.kills) < num_kills:
        is_early, is_group, share = chance.random() < 0.2, chance.random() < 0.4, chance.random()
        left = training.share_left(num_steps)
        is_early = is_early or left == 0  # resuming a finished run can be killed too
        seconds = share * (whole.starting_s if is_early else whole.training_s * left)
        process = training.start()
        if training.kill(process, seconds, is_early, is_group):
            whom = f"{'all processes' if is_group else 'the process'} {seconds:.3f} s after its"
            case.kills.append((f"{whom} {'start' if is_early else 'first batch'}", training.place()))
        elif process.returncode != 0:
            case.faults.append(f"exit code {process.returncode}: {training.output.read_text()[-3000:]}")
            return case
        case.unreadable += unreadable_in(folder)
    if training.start().wait(LIMIT_S) != 0:
        case.faults.append(f"the last resume failed: {training.output.read_text()[-3000:]}")
        return case
    run = run_in(folder)
    case.unreadable += unreadable_in(folder)
    case.faults += differences(whole.end, end_of(run))[:20]
    if whole.curves is not None:
        case.faults += differences(whole.curves, curves_of(run), "TensorBoard")[:20]
    if not case.faults and not case.unreadable:
        shutil.rmtree(folder)
    return case


@pytest.mark.fault
def test_run_killed_at_random_moments_ends_as_undisturbed(tmp_path):
    """Whenever train.py is killed, and however often: every checkpoint can be read, and the end is equal to the bit."""
    num_runs, first = int(os.environ.get("FAULT_RUNS", "100")), int(os.environ.get("FAULT_SEED", "0"))
    seeds, kinds, began, cases = range(first, first + num_runs), list(KINDS), time.monotonic(), []
    with ThreadPoolExecutor(2) as pool:
        used = sorted({kinds[seed % len(kinds)] for seed in seeds})
        whole = dict(zip(used, pool.map(lambda kind: leave_alone(tmp_path / kind, kind), used), strict=True))
        for kind, each in whole.items():
            print(f"\n{kind}: starts in {each.starting_s:.1f} s, trains {each.training_s:.1f} s", end="", flush=True)
        print()

        def do(seed):
            kind = kinds[seed % len(kinds)]
            return kill_and_resume(tmp_path / f"case{seed}", seed, kind, whole[kind])

        for case in pool.map(do, seeds):
            cases.append(case)
            if case.faults or case.unreadable:
                print(case, flush=True)
            if len(cases) % 10 == 0:
                print(summary(cases, time.monotonic() - began), flush=True)
    print(summary(cases, time.monotonic() - began))
    assert [str(case) for case in cases if case.faults or case.unreadable] == []


def summary(cases, seconds):
    """The numbers of all cases in a line."""
    kills = [kill for case in cases for kill in case.kills]
    places = ", ".join(f"{count} {place}" for place, count in Counter(place for _, place in kills).most_common())
    whole = sum(kill.startswith("all") for kill, _ in kills)
    identical = sum(not case.faults for case in cases)
    unreadable = sum(len(case.unreadable) for case in cases)
    return (f"{len(cases)} runs, {len(kills)} kills ({whole} of all processes; {places}): "
            f"{identical} ended identical, {unreadable} unreadable checkpoints, {seconds:.0f} s")  # fmt: skip


# the disk


@dataclass
class Operation:
    """One file operation; `data` is what is to be written."""

    kind: str
    path: Path
    data: bytes = b""

    def __str__(self):
        return f"{self.kind} {self.path.name}"


class WatchedFile(io.FileIO):
    """An open file whose writes go through a `Disk`."""

    def __init__(self, disk, path, mode):
        self.disk, self.path = disk, path
        super().__init__(path, mode)

    def write(self, data):
        operation = Operation("write", self.path, bytes(data))
        return self.disk.do(operation, lambda: io.FileIO.write(self, operation.data))


class Disk:
    """Stands, as a context, between Python and all under a folder: notes every file operation, lets `fault` spoil it.

    Args:
        folder: what is watched.
        fault: called with an operation's number, the operation, and the function that carries it out.
    """

    def __init__(self, folder, fault=None):
        self.folder, self.fault = folder, fault
        self.operations, self.paths = [], {}

    def do(self, operation, act):
        """Carry out an operation, unless the fault has it otherwise."""
        self.operations.append(operation)
        return self.fault(len(self.operations) - 1, operation, act) if self.fault else act()

    def is_watched(self, path):
        """Whether a path (or what else can be opened) lies in the folder."""
        return not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(self.folder)

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        for owner, name in ((Path, "open"), (builtins, "open"), (io, "open")):
            self.patch.setattr(owner, name, self._opening(getattr(owner, name)))
        for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "link"), (os, "mkdir"), (os, "truncate")):
            self.patch.setattr(owner, name, self._with_path(getattr(owner, name), name))
        os_open, os_fsync = os.open, os.fsync

        def open_folder(path, *args, **kwargs):
            if not self.is_watched(path):
                return os_open(path, *args, **kwargs)
            handle = self.do(Operation("open", Path(path)), lambda: os_open(path, *args, **kwargs))
            self.paths[handle] = Path(path)
            return handle

        def fsync(handle):
            path = self.paths.get(handle)
            return os_fsync(handle) if path is None else self.do(Operation("fsync", path), lambda: os_fsync(handle))

        self.patch.setattr(os, "open", open_folder)
        self.patch.setattr(os, "fsync", fsync)
        return self

    def __exit__(self, *error):
        self.patch.undo()
        self.fault = None  # what is still open may be closed: the process it stands for is gone

    def _opening(self, original):
        def open_file(path, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **kwargs):
            if not self.is_watched(path) or "opener" in kwargs:  # which opens it by os.open
                return original(path, mode, buffering, encoding, errors, newline, **kwargs)
            path, kind = Path(os.fsdecode(path)), mode.replace("b", "").replace("t", "")
            raw = self.do(Operation("open", path), lambda: WatchedFile(self, path, kind))
            self.paths[raw.fileno()] = path
            if buffering == 0:
                return raw
            if "+" in kind:
                file = io.BufferedRandom(raw)
            else:
                file = io.BufferedReader(raw) if kind == "r" else io.BufferedWriter(raw)
            return file if "b" in mode else io.TextIOWrapper(file, encoding, errors, newline)

        return open_file

    def _with_path(self, original, kind):
        def act_on(path, *args, **kwargs):
            if not self.is_watched(path) or (kind == "mkdir" and Path(path).exists()):
                return original(path, *args, **kwargs)
            return self.do(Operation(kind, Path(path)), lambda: original(path, *args, **kwargs))

        return act_on


# a short training, all of whose file operations are known


def train(folder, run=None, fault=None, **trainer):
    """Train under `folder`, or what is left to do in `run`, as train.py would.

    Returns:
        The exit code, and the file operations.
    """
    with Disk(folder / "saved", fault) as disk:
        try:
            with errors_without_traceback():
                make_trainer(config_for(folder, **trainer), make_loader(), run).train()
        except SystemExit as error:
            return error.code, disk.operations
    return 0, disk.operations


def begin(folder, is_resumed, trainer):
    """Begin a run where one is to be resumed: killed in the middle of its second epoch. Gives its folder, or None."""
    if is_resumed:

        def kill_later(number, operation, act):
            if operation.path.name == ".checkpoint-epoch2.pth.tmp":
                kill_self()
            return act()

        assert exit_code_of(lambda: train(folder, None, kill_later, **trainer)) == -signal.SIGKILL
    return run_in(folder)


VARIANTS = {
    "from the start": (False, {}),
    "in the background": (False, {"async_save": True, "keep_best": 1, "save_every_steps": 5}),
    "resumed": (True, {"save_every_steps": 5}),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A function that tells how a variant ends, and what its file operations are, when nothing fails."""

    @functools.cache
    def look_up(variant):
        is_resumed, trainer = VARIANTS[variant]
        folder = tmp_path_factory.mktemp("undisturbed") / "run"
        run = begin(folder, is_resumed, trainer)
        code, operations = train(folder, run, **trainer)
        assert code == 0
        return end_of(run_in(folder)), operations

    return look_up


def end_after_a_fault(run):
    """How a run ended; what the disk did not take at the first attempt may still be noted as unwritten."""
    end = end_of(run)
    for state in (end["last"], end["best"]):
        state["progress"]["unwritten"] = []
    return end


def faults_after(folder, end, trainer):
    """What is wrong with a run whose process is gone, and with how it ends when it goes on."""
    yield from unreadable_in(folder)
    code, _ = train(folder, run_in(folder), **trainer)
    if code != 0:
        yield f"going on ended with exit code {code}"
        return
    ended = end_after_a_fault(run_in(folder))
    # Of an epoch whose save failed there may be no file, and so an older one, nor a record of a process whose disk
    # was full at its start; nothing else may be odd.
    odd = set(end["names"]).symmetric_difference(ended["names"])
    if any(not name.startswith(("checkpoint-epoch", "run.json")) for name in odd):
        yield f"files: {sorted(odd)}"
    for part in ("last", "best", "rows"):
        if found := differences(end[part], ended[part]):
            yield f"{part} differs in {len(found)} places, such as {found[0]}"


def all_faults(cases):
    """What was found, under the name of each case with any; and how many cases there were."""
    found, num_cases = {}, 0
    for name, faults in cases:
        num_cases += 1
        found |= {name: faults} if faults else {}
    return found, num_cases


# killed at every operation


def killing(at, is_torn):
    """A fault: the process is killed just before operation `at`, or with half of the bytes of that write written."""

    def fault(number, operation, act):
        if number == at:
            if is_torn:
                operation.data = operation.data[: len(operation.data) // 2]
                act()
            kill_self()
        return act()

    return fault


def kills(folder, variant, undisturbed, chosen=None):
    """What goes wrong after a kill at each of the file operations, or at the chosen ones."""
    (is_resumed, trainer), (end, operations) = VARIANTS[variant], undisturbed(variant)
    for number, operation in enumerate(operations):
        for is_torn in (False, True)[: 1 + (operation.kind == "write")]:
            if chosen is not None and number not in chosen:
                continue
            run = begin(folder, is_resumed, trainer)
            fault = killing(number, is_torn)
            code = exit_code_of(lambda run=run, fault=fault: train(folder, run, fault, **trainer))
            faults = [] if code == -signal.SIGKILL else [f"exit code {code}"]
            yield f"{number} {operation}{' torn' * is_torn}", faults + list(faults_after(folder, end, trainer))
            shutil.rmtree(folder)


def chosen(operations, kinds):
    """The numbers of the first operation of each of these kinds from the second epoch's checkpoint on."""
    first = next(n for n, each in enumerate(operations) if str(each) == "open .checkpoint-epoch2.pth.tmp")
    numbers = {each.kind: number for number, each in reversed([*enumerate(operations)][first:])}
    return [numbers[kind] for kind in kinds]


@needs_fork
def test_training_killed_at_chosen_file_operations_ends_as_undisturbed(tmp_path, undisturbed):
    """The short form of the test below."""
    variant = "from the start"
    numbers = chosen(undisturbed(variant)[1], {"write", "link"})
    found, num_kills = all_faults(kills(tmp_path / "run", variant, undisturbed, numbers))
    assert (found, num_kills) == ({}, 3)


@needs_fork
@pytest.mark.fault
@pytest.mark.parametrize("variant", VARIANTS)
def test_training_killed_at_any_file_operation_ends_as_undisturbed(tmp_path, undisturbed, variant):
    """Killed before any file operation of a training, or in the middle of any write, it ends in the same bits."""
    found, num_kills = all_faults(kills(tmp_path / "run", variant, undisturbed))
    print(f"\n{num_kills} kills at file operations, {variant}: {num_kills - len(found)} ended identical")
    assert found == {}


# a disk that fails at every operation


def failing(at, code, is_sticky):
    """A fault: operation `at` fails, half done where it is a write, and with `is_sticky` all that follow fail too."""

    def fault(number, operation, act):
        if number < at or (number > at and not is_sticky):
            return act()
        if operation.kind == "write" and number == at:
            operation.data = operation.data[: len(operation.data) // 2]
            act()
        # As the system's own errors: those of functions that take a path name it, those of open files do not.
        raise OSError(code, os.strerror(code), *[str(operation.path)] * (operation.kind not in ("write", "fsync")))

    return fault


def may_be_silent(operation, is_sticky):
    """Whether the failure of one operation need not be told: it costs nothing, or something else can be done."""
    is_spared = operation.kind in ("link", "unlink") or operation.path.name in (".lock", "info.log", "last.pth")
    is_link = operation.kind == "replace" and operation.path.name in (".model_best.pth.tmp", ".last.pth.tmp")
    return operation.path.name == ".lock" if is_sticky else is_spared or is_link


def is_read_for_the_page(number, operations):
    """Whether a file is read for the page of the run, once all else is written: a part that is missing shows there."""
    ended = max(index for index, each in enumerate(operations) if str(each) == "replace .run.json.tmp")
    return number > ended and str(operations[number]).startswith("open ") and operations[number].path.suffix != ".tmp"


def ill_told(lines, run):
    """The lines about a checkpoint that could not be written that do not name disk and path."""
    about = [line for line in lines if line.startswith("A checkpoint could not be written")]
    return [line for line in about if str(run) not in line or "on the disk mounted at" not in line]


def failures(folder, variant, undisturbed, code, is_sticky, capsys, chosen=None):
    """What goes wrong after a failure of each of the file operations, or of the chosen ones."""
    (is_resumed, trainer), (end, operations) = VARIANTS[variant], undisturbed(variant)
    for number, operation in enumerate(operations):
        if chosen is not None and number not in chosen:
            continue
        run, faults = begin(folder, is_resumed, trainer), []
        capsys.readouterr()
        try:
            exit_code, _ = train(folder, run, failing(number, code, is_sticky), **trainer)
        except Exception as error:
            exit_code = 1
            faults.append(f"a traceback: {error!r}")
        told, run = "".join(capsys.readouterr()), run_in(folder)
        lines = [line for line in told.splitlines() if os.strerror(code) in line]
        if exit_code == 0 and differences(end["last"], end_after_a_fault(run)["last"]):
            faults.append("exit code 0, but last.pth is not the end")
        if exit_code not in (0, 2):
            faults.append(f"exit code {exit_code}")
        if not lines and not may_be_silent(operation, is_sticky) and not is_read_for_the_page(number, operations):
            faults.append("not told")
        faults += [f"told without disk or path: {line}" for line in ill_told(lines, run)]
        yield f"{number} {operation}", faults + list(faults_after(folder, end, trainer))
        shutil.rmtree(folder)


@needs_fork
@pytest.mark.parametrize(
    ("code", "is_sticky"), [pytest.param(errno.ENOSPC, False, marks=pytest.mark.slow), (errno.EIO, True)]
)
def test_training_with_chosen_file_operations_failing_ends_as_undisturbed(
    tmp_path, capsys, undisturbed, code, is_sticky
):
    """The short form of the test below."""
    variant = "from the start"
    numbers = chosen(undisturbed(variant)[1], {"write", "fsync", "replace"})
    cases = failures(tmp_path / "run", variant, undisturbed, code, is_sticky, capsys, numbers)
    assert all_faults(cases) == ({}, 3)


@needs_fork
@pytest.mark.fault
@pytest.mark.parametrize(("variant", "code", "is_sticky"), [
    ("from the start", errno.ENOSPC, False), ("from the start", errno.ENOSPC, True),
    ("from the start", errno.EIO, False), ("from the start", errno.EIO, True),
    ("in the background", errno.ENOSPC, False), ("in the background", errno.EIO, True),
    ("resumed", errno.ENOSPC, False), ("resumed", errno.EIO, True),
])  # fmt: skip
def test_training_with_any_file_operation_failing_ends_as_undisturbed(
    tmp_path, capsys, undisturbed, variant, code, is_sticky
):
    """A disk that fails, once or from then on, is told in a line and costs no state that was saved before."""
    cases = failures(tmp_path / "run", variant, undisturbed, code, is_sticky, capsys)
    found, num_cases = all_faults(cases)
    with capsys.disabled():
        how = f"{errno.errorcode[code]} {'from then on' if is_sticky else 'once'}, {variant}"
        print(f"\n{num_cases} failures of file operations, {how}: {num_cases - len(found)} ended well")
    assert found == {}
