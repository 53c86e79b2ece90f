"""Batches of twice the size, again and again, until no more fit or it does not pay: `train.py --find-batch-size`."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from espalier.data.batch import rough_batch_size_of
from espalier.data.loaders import Endless, length_of
from espalier.errors import ConfigError, Problem, counted, megabytes, shorten
from espalier.memory import available_memory
from espalier.training.faults import is_out_of_memory, peak_memory
from espalier.training.rehearsal import Rehearsal
from espalier.trials.few_batches import FewBatches, train_on

BATCHES, SECONDS, MOST_BATCHES = 4, 1.0, 100  # timed: so many, and for so long, but no more than these
PAYS = 1.05  # times the samples/s, or a larger batch gains nothing
NEARLY = 0.95  # of the most samples/s
SAFE = 0.8  # of the memory there is on a machine, which has other uses for it too
PATH = "data_loader.args.batch_size"


@dataclass
class Row:
    """What was seen at one batch size; seconds are those of a batch, memory in bytes the most up to then."""

    size: int
    num_samples: int
    seconds: float
    memory: float

    @property
    def speed(self) -> float:
        """Samples a second."""
        return self.num_samples / self.seconds

    def __str__(self) -> str:
        return f"{self.size:>10,} {1000 * self.seconds:>11.1f} {self.speed:>11,.0f} {megabytes(self.memory):>14}"


class Timed(FewBatches):
    """The whole batches of a loader, over and over: a first one, and then some that are timed.

    Attributes:
        num_samples: in each.
        seconds: a batch, with its loading.
    """

    def __init__(self, loader: Any, device: torch.device) -> None:
        super().__init__(loader, [])
        self.device, self.seconds = device, 0.0
        self._stream = Endless(loader).begin()
        self._first = next(self._stream)
        self.num_samples = rough_batch_size_of(self._first)

    def __len__(self) -> int:
        return MOST_BATCHES + 1

    def __iter__(self) -> Iterator[Any]:
        whole = (batch for batch in self._stream if rough_batch_size_of(batch) == self.num_samples)
        began = 0.0
        for count, batch in enumerate(chain([self._first], whole)):
            self.num_given += 1
            yield batch
            if self.device.type != "cpu":
                torch.accelerator.synchronize(self.device)
            now = time.perf_counter()
            began = began or now  # after the first, which warms up
            self.seconds = (now - began) / max(1, count)
            if count >= MOST_BATCHES or (count >= BATCHES and now - began >= SECONDS):
                return


def find_batch_size(trainer: Any, module_data: Any) -> bool:
    """Train on a few batches at each size, from the config's own on, and tell which fit and how fast they are.

    Where that one does not fit, smaller ones are tried.

    Args:
        module_data: where the type of the data loader is looked up.

    Raises:
        ConfigError: the config names no batch size.
    """
    section = trainer.config["data_loader"]
    size = (section.get("args") or {}).get("batch_size")
    if type(size) is not int or size < 1:
        what, got = "is what --find-batch-size doubles", None if size is None else shorten(size)
        raise ConfigError(Problem(PATH, what, trainer.config.origin(PATH), got, "a number of samples"))
    rehearsal = trainer.rehearse(only_training=True)
    room = available_memory() if trainer.device.type in ("cpu", "mps") else None  # Apple's GPUs use that of the machine
    start, rows, ending, too_many = peak_memory(trainer.device), list[Row](), "", 0
    print(f"{'batch size':>10} {'ms a batch':>11} {'samples/s':>11} {'memory':>14}")
    while not ending and size:
        section["args"]["batch_size"] = size
        row = _measure(trainer, rehearsal, module_data, size, rows)
        if isinstance(row, Row):
            print(row)
            rows.append(row)
            ending = f"{too_many:,} did not fit" if too_many else _reason_to_end(rows, start, room)
            size *= 2
        elif row is None:
            print(f"{size:>10,} {'out of memory':>38}")
            too_many, ending = size, f"{size:,} did not fit" if rows else ""
            size //= 2
        else:
            ending = row
    return _suggest(rows, ending or "not even one sample fits into memory")


def _measure(trainer: Any, rehearsal: Rehearsal, module_data: Any, size: int, rows: list[Row]) -> Row | str | None:
    """Train on some batches of this size: a row, why there are none, or None when the memory was out."""
    _let_go(rehearsal, trainer.device)
    module: Any = torch.get_device_module(trainer.device)
    if hasattr(module, "reset_peak_memory_stats"):
        module.reset_peak_memory_stats(trainer.device)
    try:
        loader: Any = trainer.config.init_obj("data_loader", module_data)
        total = getattr(loader, "n_samples", None) or length_of(getattr(loader, "dataset", None))
        if length_of(loader) == 0 or (total is not None and total < size):
            return f"{size:,} are more than the {counted(total or 0, 'training sample')}"
        data = Timed(loader, trainer.device)
        if rows and data.num_samples <= rows[-1].num_samples:
            return f"with {size:,} the batches are no larger than before"
        train_on(rehearsal, data)
        return Row(size, data.num_samples, max(1e-9, data.seconds), peak_memory(trainer.device))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    rehearsal.forget_steps()  # one of which may be half done
    return None


def _let_go(rehearsal: Rehearsal, device: torch.device) -> None:
    """Free what the batches before have left."""
    rehearsal.let_go()
    gc.collect()
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()


def _reason_to_end(rows: list[Row], start: float, room: int | None) -> str:
    """Why nothing larger is to be tried, if so."""
    memory = rows[-1].memory
    # Twice the samples take twice what they took more than half of them; what the first took is an upper bound.
    growth = 2 * (memory - rows[-2].memory) if len(rows) > 1 else memory - start
    if room is not None and memory + growth > SAFE * (start + room):
        needed = f"about {megabytes(memory + growth)} of the {megabytes(start + room)} of memory there is"
        return f"{2 * rows[-1].size:,} would need {needed}"
    if len(rows) > 2 and max(row.speed for row in rows[-2:]) < PAYS * max(row.speed for row in rows[:-2]):
        return "two doublings did not bring 5 % more samples/s"
    return ""


def _suggest(rows: list[Row], ending: str) -> bool:
    """Print what to take, if there is anything."""
    if not rows:
        print(f"No batch size can be suggested: {ending}.")
        return False
    best = max(row.speed for row in rows)
    chosen = min(row.size for row in rows if row.speed >= NEARLY * best)
    print(f"The largest that was tried and fits: {max(row.size for row in rows):,}; {ending}.")
    print(f"The smallest that is at most 5 % slower than the fastest: {chosen:,}. Add to the command: {PATH}={chosen}")
    print("A larger batch may want another learning rate; --find-lr searches one.")
    return True
