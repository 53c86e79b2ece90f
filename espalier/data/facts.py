"""What a dataset knows and a config may ask for as `${data.NAME}`: sizes, names, and weights of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Subset

from espalier.data.columns import targets_of
from espalier.data.raw_inputs import source_of_sample
from espalier.errors import DataError, closest, explain

OF_TARGETS = ("num_classes", "class_weights")  # of any dataset whose targets are whole numbers
OF_ANY = ("num_samples", *OF_TARGETS)


def names_of_facts(dataset: Any) -> tuple[str, ...]:
    """What a dataset, or a class of datasets, can tell a config."""
    own = own_facts(dataset)
    return (*own, *(name for name in OF_ANY if name not in own))


def own_facts(dataset: Any) -> tuple[str, ...]:
    """The names of attributes in its `facts`; whatever else it calls so is none."""
    found = getattr(dataset, "facts", ())
    is_names = isinstance(found, (tuple, list)) and all(isinstance(each, str) for each in found)
    return tuple(found) if is_names else ()


def fact_of(dataset: Any, name: str, training: np.ndarray) -> Any:
    """What a dataset says under this name, a plain value; of classes, by the samples that train.

    Raises:
        DataError: there is no such fact, or it has no targets to tell it from.
    """
    if name in own_facts(dataset):
        return plain(getattr(dataset, name))
    if name == "num_samples":
        return len(training)
    if name not in OF_TARGETS:
        names = names_of_facts(dataset)
        what, expected = f"data error: the data knows no {name!r}", f"one of: {', '.join(names)}"
        raise DataError(explain(what, expected=expected, closest=closest(name, names)))
    counts = _class_counts(dataset, training, name)
    if name == "num_classes":
        return len(counts)
    return [len(training) / (len(counts) * count) if count else 0.0 for count in counts.tolist()]


def class_names_of(dataset: Any) -> list[str]:
    """What a dataset calls its classes, in their order, through PyTorch's wrappers; empty where it has no names."""
    source = source_of_sample(dataset, 0)[0] if isinstance(dataset, (Subset, ConcatDataset)) and len(dataset) else None
    known = (getattr(each, name, None) for each in (dataset, source) for name in ("class_names", "classes"))
    names = next((each for each in known if isinstance(each, (list, tuple))), ())  # "classes" may be their number
    return [str(each) for each in names]


def plain(value: Any) -> Any:
    """A value as a config can hold it: numbers, texts, lists."""
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _class_counts(dataset: Any, indices: np.ndarray, name: str) -> np.ndarray:
    """How many of these samples there are of each class."""
    targets = targets_of(dataset)
    what = f"data error: the data cannot tell {name}"
    if targets is None:
        raise DataError(explain(what, got=f"{type(dataset).__name__} without targets",
                                fix="give the dataset an attribute `targets`, a class for each sample"))  # fmt: skip
    chosen = np.asarray(targets)[indices]
    if chosen.ndim != 1 or chosen.dtype.kind not in "iub" or (chosen < 0).any():
        raise DataError(explain(what, got=f"targets of type {chosen.dtype} and shape {tuple(np.shape(targets))}",
                                expected="a whole number from 0 for each sample, its class"))  # fmt: skip
    return np.bincount(chosen.astype(np.int64))
