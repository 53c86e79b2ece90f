"""A value for each sample of a dataset: its targets, a column, or the lengths of its samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from espalier.data.split_columns import codes_of, one_for_each
from espalier.errors import DataError, explain


def targets_of(dataset: Any) -> Any:
    """A value for each sample; None where the dataset has none that can be had without loading samples."""
    if isinstance(dataset, Subset):
        whole = targets_of(dataset.dataset)
        return None if whole is None else np.asarray(whole)[np.asarray(dataset.indices)]
    if isinstance(dataset, ConcatDataset):
        each = [targets_of(part) for part in dataset.datasets]
        return None if any(own is None for own in each) else np.concatenate([np.asarray(own) for own in each])
    return dataset.tensors[-1] if isinstance(dataset, TensorDataset) else getattr(dataset, "targets", None)


def values_of(dataset: Any, name: str | None, attribute: str = "targets") -> Any:
    """The column of that name or, for None, what the dataset has as `attribute`; also through PyTorch's own wrappers.

    Raises:
        DataError: it has none.
    """
    if name is None and attribute == "targets" and (targets := targets_of(dataset)) is not None:
        return targets
    if isinstance(dataset, Subset):
        return np.asarray(values_of(dataset.dataset, name, attribute))[np.asarray(dataset.indices)]
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([np.asarray(values_of(each, name, attribute)) for each in dataset.datasets])
    try:
        return getattr(dataset, attribute) if name is None else dataset.column(name)
    except AttributeError as error:
        if error.obj is not dataset:
            raise
    wanted = f"an attribute `{attribute}`" if name is None else "a method `column(name)`"
    raise DataError(explain(f"data error: {type(dataset).__name__} does not tell {name or attribute} of its samples",
                            fix=f"give the dataset {wanted}: a value for each sample"))  # fmt: skip


def classes_of(dataset: Any, name: str | None, aim: str) -> np.ndarray:
    """A number for the class of each sample: of a column or, for None, of the targets.

    Args:
        aim: what it is for, for messages.

    Raises:
        DataError: there is none, or the values are no classes.
    """
    fault = f"{'the targets' if name is None else f'column {name!r}'} cannot {aim}"
    values = one_for_each(values_of(dataset, name), len(dataset), fault)
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise DataError(explain(f"data error: {fault}: they are no classes",
                                got=f"numbers such as {values[values != np.floor(values)][0]:g}",
                                fix="name a column of classes"))  # fmt: skip
    return codes_of(values)


def numbers_of(values: Any, num_samples: int, fault: str) -> np.ndarray:
    """The values as one number for each sample.

    Raises:
        DataError: they are not that; `fault` follows from it.
    """
    values = one_for_each(values, num_samples, fault)
    try:
        numbers: np.ndarray = values.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(explain(f"data error: {fault}", got=repr(values[0]),
                                expected="a number for each sample")) from None  # fmt: skip
    return numbers
