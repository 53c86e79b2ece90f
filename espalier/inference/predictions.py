"""What a model says of some inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from espalier.inference.meaning import Meaning


@dataclass(frozen=True)
class Prediction:
    """What a model says of one input.

    Attributes:
        value: the number of the class, `(K,)` of labels, numbers in units of the file, or the output itself.
        label: the name of the class (its number as a text where it has none); of labels a list of those that are
            predicted; None of numbers and of pixels.
        probability: of that class; None of all else.
        probabilities: of each class or label by its name; None of numbers, and of pixels.
    """

    value: Any
    label: str | list[str] | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None


class Predictions(Sequence[Prediction]):
    """What a model says of some inputs, in their order.

    Attributes:
        meaning: what the values are.
        values: of all, `(N, ...)`: see `Prediction.value`. A list where they differ in size.
        probabilities: `(N, K, ...)`, of classes and labels; else None.
        names: of the classes or labels, K of them; empty of numbers.
        outputs: of the network, `(N, ...)`, float32, as it gave them.
        faults: what is wrong with inputs that were left out, by their places; these have no row in the others.
        places: of each row, its place among the inputs, `(N,)`.
    """

    def __init__(self, meaning: Meaning, values: Any, probabilities: Any, outputs: Any, places: np.ndarray,
                 faults: dict[int, str]) -> None:  # fmt: skip
        self.meaning, self.values, self.probabilities, self.outputs = meaning, values, probabilities, outputs
        self.places, self.faults = places, faults
        number = 0 if probabilities is None or not len(probabilities) else np.shape(probabilities[0])[0]
        known = list(meaning.names)
        self.names = known if len(known) == number else [str(each) for each in range(number)]

    @property
    def labels(self) -> list[Any]:
        """The label of each, see `Prediction.label`."""
        return [each.label for each in self]

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | list[Prediction]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        value = self.values[index]
        shares = None if self.probabilities is None else self.probabilities[index]
        if shares is None or np.ndim(shares) != 1:
            return Prediction(value)
        by_name = dict(zip(self.names, map(float, shares), strict=True))
        if self.meaning.kind == "labels":
            chosen = [name for name, is_on in zip(self.names, value, strict=True) if is_on]
            return Prediction(value, chosen, None, by_name)
        return Prediction(int(value), self.names[int(value)], float(shares[int(value)]), by_name)
