"""The batches that an exported file is tried on: those of evaluation, and the same as the graph takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from espalier.data.named_loaders import each_of
from espalier.data.raw_inputs import raw_input_of, source_of_sample
from espalier.errors import UserError
from espalier.inference.feed import Prepared
from espalier.inference.model import Model
from espalier.inference.named_tensors import named_tensors
from espalier.rng import kept_rng


def raw_batches(model: Model, loader: Any, num_batches: int | None) -> Iterator[Any]:
    """The inputs of evaluation as `encode` of the preprocessing gives them, a batch for each of the loader.

    Ends at once where the data does not tell what its samples were made from.
    """
    for each in each_of(loader):
        if not (hasattr(each, "indices") and hasattr(each, "parts")):
            return
        batch = 0
        while (num_batches is None or batch < num_batches) and (indices := each.indices(max(each.epoch - 1, 1), batch)):
            try:
                yield _encoded(model, each.parts.dataset, [*map(int, indices)])
            except (UserError, TypeError, ValueError, RuntimeError, KeyError, AttributeError):
                return
            batch += 1


def _encoded(model: Model, dataset: Any, indices: list[int]) -> Any:
    with kept_rng():
        inputs = [_raw(dataset, each) for each in indices]
    prepared = Prepared(model.preprocessing.encode(inputs), model.transform, None, is_on_samples=model.is_on_samples)
    samples = [prepared[place][1] for place in range(len(inputs))]
    collate_fn = model.collate_fn or model.preprocessing.collate_fn
    return model.unpack(collate_fn(samples))[0]


def _raw(dataset: Any, index: int) -> Any:
    raw = raw_input_of(dataset, index)
    source, _ = source_of_sample(dataset, index)
    names = getattr(source, "features", None)
    return dict(zip(names, raw, strict=True)) if isinstance(raw, list) and isinstance(names, list) else raw


def equal(one: Any, other: Any) -> bool:
    """Whether two inputs have the same tensors, to the bit (NaN is NaN)."""
    left, right = named_tensors(one, "input"), named_tensors(other, "input")
    return left.keys() == right.keys() and all(
        each.shape == right[name].shape and each.dtype == right[name].dtype
        and bool(((each == right[name]) | ((each != each) & (right[name] != right[name]))).all())
        for name, each in left.items()
    )  # fmt: skip
