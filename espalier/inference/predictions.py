"""What a model says of some inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from espalier.errors import counted
from espalier.evaluation.judged import CLASSES
from espalier.inference.columns import columns_of_boxes, columns_of_classes, columns_of_parts, columns_of_pixels
from espalier.inference.meaning import OUTPUTS, Meaning

_MOST_SHOWN = 10


@dataclass(frozen=True)
class Prediction:
    """What a model says of one input.

    Attributes:
        value: the number of the class, `(K,)` of labels, numbers in units of the file, the output itself, or the dict
            that the model's own `interpret` gave.
        label: the name of the class (its number as a text where it has none); of labels a list of those that are
            predicted; None of numbers and of pixels.
        probability: of that class; None of all else.
        probabilities: of each class or label by its name; None of numbers, and of pixels.
    """

    value: Any
    label: str | list[str] | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None

    def as_dict(self, top: int | None = None) -> dict[str, Any]:
        """As values that JSON has: `label`, or `labels`, `probability` and `probabilities`; or `value`.

        Args:
            top: only so many probabilities, the largest first.
        """
        if self.label is None:
            return {"value": as_plain(self.value)}
        shares = self.probabilities or {}
        if top is not None:
            shares = dict(sorted(shares.items(), key=lambda each: -each[1])[:top])
        found = {"labels": self.label} if isinstance(self.label, list) else {
            "label": self.label, "probability": as_plain(self.probability)}  # fmt: skip
        return {**found, "probabilities": as_plain(shares)}


def as_plain(value: Any) -> Any:
    """Arrays as lists, float32 as the shortest number that reads as it, and None for one that JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(name): as_plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(each) for each in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    array = np.asarray(value)
    return as_plain(array.tolist()) if array.dtype.kind in "biufU" else str(value)


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

    def columns(self, names: Sequence[str] | None = None, top: int | None = None) -> dict[str, Any]:
        """The columns of a table: `index` (the place of the input), and what `test.py --predictions` has for it.

        Of boxes there is a row for each; of masks the number of pixels of each class.

        Args:
            names: of the inputs, a column more.
            top: only so many probabilities, the largest.

        Raises:
            DataError: they have none, as images.
        """
        if not len(self):
            return columns_of_classes(self.places, names, self.values, None, ())
        if _are_boxes(self.values):
            return columns_of_boxes(self.places, names, self.values)
        if self.meaning.kind == CLASSES and np.ndim(self.values[0]):
            return columns_of_pixels(self.places, names, self.values, self.names)
        if self.meaning.kind == OUTPUTS or isinstance(self.values, list):
            return columns_of_parts(self.places, names, self.values)
        return columns_of_classes(self.places, names, self.values, self.probabilities, self.names, top)

    def to_frame(self, names: Sequence[str] | None = None) -> Any:
        """A pandas `DataFrame` of `columns`, with `index` as its index."""
        import pandas as pd  # slow to import

        columns = {name: each.tolist() if each.dtype.kind == "U" else each
                   for name, each in self.columns(names).items()}  # fmt: skip
        return pd.DataFrame(columns).set_index("index")

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        if isinstance(index, slice):
            shares = None if self.probabilities is None else self.probabilities[index]
            return Predictions(self.meaning, self.values[index], shares, self.outputs[index], self.places[index],
                               dict(self.faults))  # fmt: skip
        value = self.values[index]
        shares = None if self.probabilities is None else self.probabilities[index]
        if shares is None or np.ndim(shares) != 1:
            return Prediction(value)
        by_name = dict(zip(self.names, map(float, shares), strict=True))
        if self.meaning.kind == "labels":
            chosen = [name for name, is_on in zip(self.names, value, strict=True) if is_on]
            return Prediction(value, chosen, None, by_name)
        return Prediction(int(value), self.names[int(value)], float(shares[int(value)]), by_name)

    def __repr__(self) -> str:
        head = f"Predictions for {counted(len(self), 'input')}"
        if self.faults:
            head += f" ({counted(len(self.faults), 'other')} could not be used)"
        shown = [f"  {place}: {_in_words(each)}" for place, each in
                 zip(self.places[:_MOST_SHOWN].tolist(), self[:_MOST_SHOWN], strict=True)]  # fmt: skip
        rest = [f"  and {len(self) - _MOST_SHOWN:,} more"] if len(self) > _MOST_SHOWN else []
        return "\n".join([head, *shown, *rest])


def _are_boxes(values: Any) -> bool:
    is_list = isinstance(values, list) and len(values) > 0
    return is_list and all(isinstance(each, Mapping) and "boxes" in each for each in values)


def _in_words(prediction: Prediction) -> str:
    """One line for what is said of an input."""
    if isinstance(prediction.label, str):
        return f"{prediction.label} ({prediction.probability:.1%})"
    if isinstance(prediction.label, list):
        return ", ".join(prediction.label) or "no label"
    if isinstance(prediction.value, Mapping):
        return ", ".join(f"{name} {np.shape(each) or each}" for name, each in prediction.value.items())
    array = np.asarray(prediction.value)
    numbers = ", ".join(f"{each:.6g}" for each in array.ravel()[:4].tolist()) if array.dtype.kind in "iuf" else ""
    return numbers if array.size <= 4 else f"array of shape {array.shape}"
