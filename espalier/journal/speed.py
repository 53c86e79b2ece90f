"""How fast a run trains and how much memory it takes, from what is looked at anyway: nothing is waited for."""

from __future__ import annotations

import time

import torch

from espalier.memory import peak_memory

_GIB = 2**30


class Speed:
    """Steps and samples a second over an epoch: between its log steps, without validation and without the first batch.

    Args:
        num_parallel: how many processes train on as many samples each.
    """

    def __init__(self, num_parallel: int) -> None:
        self._num_parallel = num_parallel
        self._last: tuple[int, int, float] | None = None  # batch, step, and when it was over
        self._steps = self._samples = 0
        self._seconds = 0.0
        self._before = (0, 0, 0.0)  # steps, samples and seconds of earlier epochs

    @property
    def so_far(self) -> dict[str, float]:
        """Those of all epochs: `steps_per_second` and `samples_per_second`; empty where nothing was measured."""
        now = (self._steps, self._samples, self._seconds)
        steps, samples, seconds = (one + other for one, other in zip(self._before, now, strict=True))
        return {"steps_per_second": steps / seconds, "samples_per_second": samples / seconds} if seconds > 0 else {}

    def mark(self, batch_idx: int, step: int, size: int) -> None:
        """A log step: the device has been waited for.

        Args:
            step: its number.
            size: samples in the batch.
        """
        now = time.monotonic()
        if self._last is not None and batch_idx > self._last[0]:
            batches = batch_idx - self._last[0]
            self._steps += step - self._last[1]
            self._samples += batches * size * self._num_parallel
            self._seconds += now - self._last[2]
        self._last = batch_idx, step, now

    def pause(self) -> None:
        """Something else than training follows."""
        self._last = None

    def take(self, device: torch.device) -> dict[str, float]:
        """The values of the epoch, by tag; what follows counts for the next one."""
        found = {}
        if self._seconds > 0:
            found["speed/steps_per_second"] = self._steps / self._seconds
            found["speed/samples_per_second"] = self._samples / self._seconds
        steps, samples, seconds = self._before
        self._before = steps + self._steps, samples + self._samples, seconds + self._seconds
        self._steps = self._samples = 0
        self._seconds, self._last = 0.0, None
        return found | _memory(device)


def _memory(device: torch.device) -> dict[str, float]:
    """The most that was held so far."""
    found = {}
    if (held := peak_memory()) is not None:
        found["memory/process_GiB"] = held / _GIB
    if device.type == "cuda":
        found["memory/device_GiB"] = torch.cuda.max_memory_allocated(device) / _GIB
    return found
