"""What trainers from the classic template read from their base class, beside what ours has anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from espalier.classic import door
from espalier.data.loaders import length_of
from espalier.device import prepare_device


class ClassicNames:
    """The names of the classic `BaseTrainer`; what stands behind them is the run's monitor."""

    _run: Any  # with the monitor
    data_loader: Any
    len_epoch: int | None

    @property
    def mnt_mode(self) -> str:
        """`"min"`, `"max"` or `"off"`."""
        return self._run.monitor.mode  # type: ignore[no-any-return]

    @property
    def mnt_metric(self) -> str:
        """The value that is watched."""
        return self._run.monitor.name  # type: ignore[no-any-return]

    @property
    def mnt_best(self) -> float:
        """The best value so far."""
        return self._run.monitor.best  # type: ignore[no-any-return]

    @mnt_best.setter
    def mnt_best(self, best: float) -> None:
        self._run.monitor.best = float(best)

    @property
    def early_stop(self) -> float:
        """After how many epochs without a better one the run ends; 0 or less means never."""
        return self._run.monitor.patience  # type: ignore[no-any-return]

    @early_stop.setter
    def early_stop(self, patience: float) -> None:
        self._run.monitor.patience = patience

    def _prepare_device(self, n_gpu_use: int) -> tuple[torch.device, list[int]]:
        """See `utils.prepare_device`."""
        return prepare_device(n_gpu_use)

    def _progress(self, batch_idx: int) -> str:
        """How far an epoch has come: `[640/1295 (49%)]`."""
        done, total = batch_idx, self.len_epoch or length_of(self.data_loader)
        if getattr(self.data_loader, "n_samples", None):
            done, total = batch_idx * (self.data_loader.batch_size or 1), self.data_loader.n_samples
        return f"[{done}/{total} ({100.0 * done / total:.0f}%)]" if total else f"[{done}]"

    def __getattr__(self, name: str) -> Any:
        # Only for what nobody has set: a trainer of the classic template sets most of these itself.
        if name == "do_validation":
            return self.valid_data_loader is not None
        if name == "log_step":
            return max(1, int((getattr(self.data_loader, "batch_size", None) or 1) ** 0.5))
        if not name.startswith("_") and (classic := door.generation_1()) is not None:
            return classic.attribute_of_trainer(self, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


def as_classic(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """A `trainer` section as the classic template took it: an `early_stop` below 0 means never, as 0 does."""
    patience = trainer.get("early_stop")
    return {**trainer, "early_stop": 0} if isinstance(patience, int) and patience < 0 else {**trainer}
