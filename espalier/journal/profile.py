"""Where the time of a few steps goes, by `torch.profiler`."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from espalier.device import accelerator, num_accelerators

MOST_EXPENSIVE = 10
logger = logging.getLogger("profile")


class StepProfile:
    """Records the steps from `first` to `last`, both of them, of the steps that this process makes.

    It ends in a trace that TensorBoard, https://ui.perfetto.dev and chrome://tracing show, and a table in the log.

    Args:
        folder: where the trace goes.
    """

    def __init__(self, first: int, last: int, folder: Path) -> None:
        self.first, self.last = first, last
        self.path = folder / f"steps-{first}-{last}.pt.trace.json"
        self._profile: profile | None = None
        self._is_done = False

    def before(self, step: int) -> None:
        """To be called before each batch, with the number of the step that it will be part of."""
        if step > self.last:
            self.end()
        elif step >= self.first and self._profile is None and not self._is_done:
            os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler tells of its own affairs on stderr
            activities = [ProfilerActivity.CPU]
            if self._sees_gpu():
                activities.append(getattr(ProfilerActivity, accelerator().upper()))
            self._profile = profile(activities=activities, record_shapes=True)
            self._profile.start()

    def end(self) -> None:
        """Write and tell what was recorded; says so once where nothing was."""
        found, self._profile = self._profile, None
        if found is not None:
            found.stop()
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.unlink(missing_ok=True)  # never through a link of that name
                found.export_chrome_trace(str(self.path))
            except OSError as error:
                logger.warning("%s could not be written: %s. Training goes on.", self.path, error)
            order = "self_device_time_total" if self._sees_gpu() else "self_cpu_time_total"
            table = found.key_averages().table(sort_by=order, row_limit=MOST_EXPENSIVE, max_name_column_width=40)
            logger.info("The %d most expensive operations of steps %d to %d:\n%s\nThe trace is %s.",
                        MOST_EXPENSIVE, self.first, self.last, table, self.path)  # fmt: skip
        elif not self._is_done:
            logger.warning("Nothing was profiled: none of the steps %d to %d was made here.", self.first, self.last)
        self._is_done = True

    @staticmethod
    def _sees_gpu() -> bool:
        return num_accelerators() > 0 and hasattr(ProfilerActivity, accelerator().upper())
