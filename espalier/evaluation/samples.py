"""Which samples an evaluation has seen: their numbers in the dataset, their names, their pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import SequentialSampler

from espalier.console import readable
from espalier.data.facts import class_names_of
from espalier.data.raw_inputs import HasRawInputs, name_of_sample, source_of_sample
from espalier.data.use import scale_of
from espalier.evaluation.judged import as_numbers, in_units
from espalier.rng import kept_rng, seed_sample

_LONGEST = 300  # characters of a text in test.json


class SamplesSeen:
    """The samples of the pass that a loader has given last.

    Args:
        loader: of this pass.
        number: how many samples of it were measured.

    Attributes:
        indices: of each sample in the dataset, in the order of the pass; where that cannot be known, its place in it.
        is_known: whether they are those of the dataset.
    """

    def __init__(self, loader: Any, number: int) -> None:
        self._loader = loader
        self.dataset = loader.parts.dataset if hasattr(loader, "parts") else getattr(loader, "dataset", None)
        self._scale = scale_of(self.dataset)
        known = _indices_of(loader, number)
        self.is_known = known is not None
        self.indices = list(range(number)) if known is None else known

    @property
    def class_names(self) -> list[str]:
        """Of the dataset, where it has some."""
        return class_names_of(self.dataset)

    @property
    def has_names(self) -> bool:
        """Whether the samples have names of their own, and not their numbers alone."""
        return bool(self.indices) and self.name(0) != str(self.indices[0])

    def name(self, place: int) -> str:
        """What the sample at a place of the pass is called: by the dataset, or its number."""
        index = self.indices[place]
        return readable(name_of_sample(self.dataset, index)) if self.is_known else str(index)

    def in_units(self, values: torch.Tensor | None) -> torch.Tensor | None:
        """Predictions or targets of the samples as the file has them, where the dataset has scaled its numbers."""
        if values is None or self._scale is None or not values.is_floating_point():
            return values
        return in_units(values, as_numbers(self._scale["mean"]), as_numbers(self._scale["std"]))

    def text(self, place: int) -> str | None:
        """What the input of a sample was made from, where that is a text or the row of a table; a long one is cut."""
        if not self.is_known:
            return None
        source, index = source_of_sample(self.dataset, self.indices[place])
        raw = source.raw_input(index) if isinstance(source, HasRawInputs) else None
        if isinstance(raw, list):
            names = getattr(source, "features", ())
            values = [f"{each:.6g}" if isinstance(each, float) else str(each) for each in raw]
            raw = ", ".join(f"{name}={each}" for name, each in zip(names, values, strict=True)
                            ) if len(names) == len(raw) else ", ".join(values)  # fmt: skip
        return raw[:_LONGEST] if isinstance(raw, str) else None

    def image(self, place: int) -> torch.Tensor | None:
        """The input of a sample `(C, H, W)` as the model sees it; None where that is no image."""
        if not self.is_known:
            return None
        with kept_rng():
            seed_sample(0, 0)
            sample = self._loader.dataset[self.indices[place]]
        inputs = sample[0] if isinstance(sample, (tuple, list)) and sample else None
        is_image = isinstance(inputs, torch.Tensor) and inputs.dim() == 3 and inputs.shape[0] in (1, 3, 4)
        return inputs if is_image else None


def _indices_of(loader: Any, number: int) -> list[int] | None:
    if not hasattr(loader, "indices"):
        is_in_order = isinstance(getattr(loader, "sampler", None), SequentialSampler)
        return list(range(number)) if is_in_order else None
    epoch = loader.epoch - 1  # of the pass that was begun last
    found: list[int] = []
    while len(found) < number:
        indices = loader.indices(epoch, len(found) // (loader.batch_size or 1))
        if not indices:
            return None
        found.extend(indices)
    return found if len(found) == number else None
