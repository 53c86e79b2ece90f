"""An exported file held against its model, on real batches: outputs, metrics, and what is beyond the tolerance."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from espalier.inference.named_tensors import named_tensors

ATOL, RTOL = 1e-4, 1e-4


@dataclass
class Comparison:
    """What was found.

    Attributes:
        atol: a difference of `atol + rtol * |x|` is allowed.
        rtol: likewise.
        num_samples: that were compared.
        largest_absolute: difference of an output.
        largest_relative: of those that are not 0.
        num_values: of all outputs together.
        num_beyond: of these, how many differ by more than is allowed.
        worst: the sample and the output that is farthest beyond; None where none is.
        metrics: of the model, as evaluation has them.
        metrics_exported: of the file.
        sizes_tried: numbers of samples, and other sizes, that were tried too.
    """

    atol: float = ATOL
    rtol: float = RTOL
    num_samples: int = 0
    largest_absolute: float = 0.0
    largest_relative: float = 0.0
    num_values: int = 0
    num_beyond: int = 0
    worst: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    metrics_exported: dict[str, float] = field(default_factory=dict)
    sizes_tried: list[str] = field(default_factory=list)
    _farthest: float = 0.0

    @property
    def fits(self) -> bool:
        """Whether nothing is beyond the tolerance."""
        return self.num_beyond == 0

    def add(self, eager: Any, exported: Any, samples: int = 0, place: str = "") -> None:
        """Compare the outputs for one batch.

        Args:
            samples: how many of them are counted.
            place: what the batch is, for `worst`.
        """
        left, right = named_tensors(eager, "output"), named_tensors(exported, "output")
        for (name, one), other in zip(left.items(), right.values(), strict=True):
            self._add(name, one, other, place)
        self.num_samples += samples

    def _add(self, name: str, one: torch.Tensor, other: torch.Tensor, place: str) -> None:
        if one.shape != other.shape:
            self._beyond(float("inf"), one.numel(), f"{name} of {place}: {tuple(other.shape)} in place of "
                                                    f"{tuple(one.shape)}")  # fmt: skip
            return
        x, y = one.detach().cpu().double(), other.detach().cpu().double()
        same = (x == y) | (x.isnan() & y.isnan())
        difference = torch.where(same, 0.0, (x - y).abs()).nan_to_num(float("inf"))
        allowed = self.atol + self.rtol * x.abs()
        self.num_values += x.numel()
        if not x.numel():
            return
        self.largest_absolute = max(self.largest_absolute, float(difference.max()))
        relative = difference[x != 0] / x[x != 0].abs()
        self.largest_relative = max(self.largest_relative, float(relative.max()) if relative.numel() else 0.0)
        excess = torch.where(same, 0.0, difference / allowed.nan_to_num(1.0, 1.0))
        if bool((excess > 1).any()):
            at = int(excess.argmax())
            index = tuple(map(int, torch.unravel_index(torch.tensor(at), x.shape)))
            said = (
                f"{name}{list(index)} of {place}: {float(y.flatten()[at]):.7g}, the model {float(x.flatten()[at]):.7g}"
            )
            self._beyond(float(excess.max()), int((excess > 1).sum()), said)

    def _beyond(self, excess: float, number: int, said: str) -> None:
        self.num_beyond += number
        if self.worst is None or excess > self._farthest:
            self.worst, self._farthest = said, excess

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        found = {name: value for name, value in asdict(self).items() if not name.startswith("_")}
        return {**found, "fits": self.fits}
