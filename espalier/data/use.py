"""What of a dataset those need to know who use a trained model, as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset, default_collate

from espalier.data.cache import Cached
from espalier.data.columns import targets_of
from espalier.data.facts import class_names_of, plain
from espalier.data.hidden_fit import Learns
from espalier.data.loaders import Endless
from espalier.data.parts import Parts
from espalier.data.samples import collate_fn_of

ONLY_DATASET = "dataset"  # the kind of a preprocessing that only the dataset itself can do
AS_GIVEN = {"kind": "tensor"}  # the preprocessing of a loader without a dataset
MAKE_SAMPLES = {"__getitem__", "__getitems__", "__iter__", "batch", "image", "finish_input", "finish_batch"}


def state_for_use(dataset: Any, loader: Any = None) -> dict[str, Any]:
    """How inputs are prepared, what the classes are called, and what the targets are.

    Args:
        loader: of that dataset; None where that is not known.

    Returns:
        `preprocessing`: see `preprocessing_of`. Where it is known: `class_names`; `target`: `{"is_whole", "ndim"}`;
        `scale`: `{"mean", "std"}` of targets that are scaled; `by_loader`: what the loader does beside: "transform"
        where it has one, "collate_fn" where it has one that is not the dataset's.
    """
    loader = loader.loader if isinstance(loader, Endless) else loader
    found = {
        "preprocessing": preprocessing_of(dataset, loader),
        "class_names": class_names_of(dataset),
        "target": _target_of(dataset),
        "scale": scale_of(dataset),
        "by_loader": _done_by(loader, dataset),
    }
    return {name: value for name, value in found.items() if value}


def preprocessing_of(dataset: Any, loader: Any = None) -> dict[str, Any]:
    """How a dataset prepares inputs, in plain values with a "kind", for `espalier.preprocessing`.

    What it says itself as `preprocessing`, unless a subclass makes its samples in a way of its own. Of others the kind
    is "tensor": inputs are what the dataset gives; or, where something is done that is not known to others, "dataset":
    only the dataset can do it, and `why` says so.
    """
    found = [_of_source(each, loader) for each in sources_of(dataset)]
    if any(each != found[0] for each in found):
        return {"kind": ONLY_DATASET, "why": "its parts prepare inputs in different ways"}
    return found[0]


def sources_of(dataset: Any) -> list[Any]:
    """The datasets inside wrappers of PyTorch and of ours, that add nothing of their own to a sample."""
    if isinstance(dataset, Cached):
        return sources_of(dataset.dataset)
    if isinstance(dataset, Subset) and type(dataset).__getitem__ is Subset.__getitem__:
        return sources_of(dataset.dataset)
    if isinstance(dataset, ConcatDataset) and type(dataset).__getitem__ is ConcatDataset.__getitem__:
        return [inner for each in dataset.datasets for inner in sources_of(each)] or [dataset]
    return [dataset]


def _of_source(source: Any, loader: Any) -> dict[str, Any]:
    if (said := said_by(source)) is not None:
        return {**_outline(loader), **said} if said["kind"] == "tensor" else said
    name = type(source).__name__
    if any(each.__module__.startswith("torchvision.datasets") for each in type(source).__mro__):
        return {"kind": ONLY_DATASET, "why": f"{name} reads images, and may transform them, itself"}
    if hasattr(source, "finish_input"):
        return {"kind": ONLY_DATASET, "why": f"{name} finishes inputs after the transform"}
    if type(source) is TensorDataset:
        parts = [{"shape": list(each.shape[1:]), "dtype": _name(each.dtype)} for each in source.tensors[:1]]
        return {"kind": "tensor", **parts[0]}
    learns = {"learned_by": name} if isinstance(source, Learns) else {}
    return {"kind": "tensor", **_outline(loader), **learns}


def said_by(source: Any) -> dict[str, Any] | None:
    """What a dataset says as `preprocessing`; None where it does not, or a subclass makes samples in another way."""
    if "preprocessing" not in vars(source):
        kinds = type(source).__mro__
        owner = next((place for place, each in enumerate(kinds) if "preprocessing" in vars(each)), None)
        if owner is None or any(MAKE_SAMPLES & vars(each).keys() for each in kinds[:owner]):
            return None
    said = source.preprocessing
    return plain(said) if isinstance(said, dict) and isinstance(said.get("kind"), str) else None


def _outline(loader: Any) -> dict[str, Any]:
    """What the first batch of training showed of an input, where samples went into it as they were."""
    outline = (_parts_of(loader) and loader.parts.outline) or {}
    parts = outline.get("items")
    if not isinstance(parts, list) or len(parts) != 2 or loader.collate_fn is not default_collate:
        return {}
    found: dict[str, Any] = parts[0] or {}
    if loader.parts.has_transform or not found:
        return {}
    items = found.get("items")
    inner = items.values() if isinstance(items, dict) else items or [found]
    return found if all(each and "dtype" in each for each in inner) else {}


def _done_by(loader: Any, dataset: Any) -> list[str]:
    if not isinstance(loader, DataLoader):
        return []
    parts, own = _parts_of(loader), collate_fn_of(dataset)
    collate_fn = getattr(loader.collate_fn, "for_eval", loader.collate_fn)
    is_ours = collate_fn == own and getattr(own, "__module__", "").startswith("espalier.")
    is_known = collate_fn is default_collate or (is_ours and said_by(sources_of(dataset)[0]) is not None)
    has_transform = parts is not None and parts.has_transform
    return ["transform"] * has_transform + ["collate_fn"] * (not is_known)


def _parts_of(loader: Any) -> Parts | None:
    found = vars(loader).get("parts") if isinstance(loader, DataLoader) else None
    return found if isinstance(found, Parts) else None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _target_of(dataset: Any) -> dict[str, Any] | None:
    targets = targets_of(dataset)
    if not isinstance(targets, (torch.Tensor, np.ndarray, list, tuple)) or not len(targets):
        return None
    try:
        first = np.asarray(targets[0])
    except (TypeError, ValueError):
        return None
    return {"is_whole": first.dtype.kind in "iub", "ndim": first.ndim}


def scale_of(dataset: Any) -> dict[str, Any] | None:
    """`{"mean", "std"}` of targets that were scaled, each a number or a list; None where they were not."""
    source = sources_of(dataset)[0]
    mean, std = (getattr(source, name, None) for name in ("target_mean", "target_std"))
    return None if mean is None or std is None else {"mean": plain(mean), "std": plain(std)}
