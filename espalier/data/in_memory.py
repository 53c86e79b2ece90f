"""Data that fits in memory, as one tensor: a batch is one gather, not a loop over samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, default_collate

from espalier.errors import counted

Batch = tuple[Any, torch.Tensor]  # the inputs, one tensor or a dict of some, and the targets


class InMemoryDataset(Dataset[Batch]):
    """Inputs and targets as two tensors; batches are gathered and normalised whole.

    Args:
        inputs: shape `(N, C, ...)`, any dtype. Keep images as uint8: they stay small until a batch is made of them.
        targets: shape `(N, ...)`.
        mean: taken off every value, in units of `inputs`; one number, or one a channel. None: inputs stay as they are.
        std: then divides every value; likewise.
    """

    def __init__(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] = 1.0,
    ) -> None:
        if len(inputs) != len(targets):
            raise ValueError(f"{counted(len(inputs), 'input')}, but {counted(len(targets), 'target')}")
        self.inputs: Any = inputs  # a subclass may put a dict of tensors here
        self.targets = targets
        # (C, 1, ..., 1), to stand against (B, C, ...)
        shape = (-1, *(1 for _ in inputs.shape[2:]))
        self.mean = None if mean is None else torch.tensor(mean, dtype=torch.float32).reshape(shape)
        self.scale = 1.0 / torch.tensor(std, dtype=torch.float32).reshape(shape)

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """How inputs are prepared, see `espalier.preprocessing.arrays`; None of inputs that are no one tensor."""
        if isinstance(self.inputs, dict):
            return None
        known = None if self.mean is None else {"mean": self.mean.flatten().tolist(),
                                                "scale": self.scale.flatten().tolist()}  # fmt: skip
        return {"kind": "array", "shape": list(self.inputs.shape[1:]),
                "dtype": str(self.inputs.dtype).removeprefix("torch."), **(known or {})}  # fmt: skip

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Batch:
        return _samples(*self.batch([index]))[0]

    def __getitems__(self, indices: Sequence[int] | torch.Tensor) -> list[Batch]:
        """These samples as a list, which is what a plain `DataLoader` or `Subset` asks for."""
        if type(self).__getitem__ is not InMemoryDataset.__getitem__:
            return [self[int(index)] for index in indices]
        return _samples(*self.batch(indices))

    def batch(self, indices: Sequence[int] | torch.Tensor) -> Batch:
        """The batch of these samples, which our own loader asks for.

        Inputs `(B, C, ...)`, float where they are normalised, and targets `(B, ...)`.
        """
        chosen = torch.as_tensor(indices)
        if isinstance(self.inputs, dict):
            gathered = {name: each.index_select(0, chosen) for name, each in self.inputs.items()}
            return gathered, self.targets.index_select(0, chosen)
        inputs = self.inputs.index_select(0, chosen)
        if self.mean is not None:
            inputs = inputs.sub(self.mean).mul_(self.scale)
        return inputs, self.targets.index_select(0, chosen)

    @staticmethod
    def collate_fn(batch: Any) -> Any:
        """A batch of a list of samples; what `batch` made is one already."""
        return default_collate(batch) if isinstance(batch, list) else batch


def _samples(inputs: Any, targets: torch.Tensor) -> list[Batch]:
    """The samples of a batch."""
    if isinstance(inputs, dict):
        inputs = [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]
    return list(zip(inputs, targets, strict=True))
