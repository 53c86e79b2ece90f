"""What trainers from the classic template read from their base class, beside what ours has anyway."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from espalier.classic import door
from espalier.data.loaders import length_of
from espalier.device import num_accelerators, prepare_device
from espalier.processes.fsdp import compute_device
from espalier.training.running import running


class _CountOfRun:
    """A count of the run, under a name that a subclass may use for a count of its own."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else getattr(instance._run.progress, self._name)


class ClassicNames:
    """The names of the classic `BaseTrainer`, of which a subclass may set or override any."""

    _run: Any  # what stands behind most of them
    _resume_checkpoint: Any
    data_loader: Any
    len_epoch: int | None
    epoch = _CountOfRun()
    step = _CountOfRun()

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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "train" in vars(cls) and ClassicNames not in cls.__bases__:
            cls.train = _in_run(cls.train)  # type: ignore[attr-defined]

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


def _in_run(train: Callable[..., Any]) -> Callable[..., Any]:
    """A `train` of a subclass, with a loop over epochs of its own: resume, lock and signals are still ours."""

    @functools.wraps(train)
    def train_in_run(self: ClassicNames, *args: Any, **kwargs: Any) -> Any:
        with running(self, self._run, self._resume_checkpoint):
            return train(self, *args, **kwargs)

    return train_in_run


def placed(
    model: nn.Module, n_gpu: int, prepare_device: Callable[[int], tuple[torch.device, list[int]]]
) -> tuple[nn.Module, torch.device, list[int]]:
    """Model, device and GPUs where a `train.py` has left it to the trainer to choose them, as the classic one did."""
    device, indices = compute_device(model), list[int]()
    if device.type == "cpu" and n_gpu > 0 and num_accelerators() > 0:
        device, indices = prepare_device(n_gpu)
        model = model.to(device)
    return nn.DataParallel(model, device_ids=indices) if len(indices) > 1 else model, device, indices


def as_classic(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """A `trainer` section as the classic template took it: an `early_stop` below 0 means never, as 0 does.

    A function in it is the project's own, though the framework has a key of that name now.
    """
    own = {name: value for name, value in trainer.items() if not callable(value)}
    patience = own.get("early_stop")
    return {**own, "early_stop": 0} if isinstance(patience, int) and patience < 0 else own
