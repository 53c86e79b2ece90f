"""Length, samples, batches and position of any data loader."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from espalier.errors import DataError, counted, explain

logger = logging.getLogger("resume")


def length_of(data: Any) -> int | None:
    """`len(data)`; None for what has no length, such as an iterable dataset that does not know its own."""
    try:
        return len(data)
    except TypeError:
        return None


def num_samples_in(dataset: Any) -> int:
    """`len(dataset)` of a map-style dataset.

    Raises:
        DataError: it has no length.
    """
    try:
        return len(dataset)
    except TypeError as error:
        head = f"data error: {type(dataset).__name__} does not say how many samples it has"
        fix = "give it a __len__; or, where samples can only be read one after the other, make it an IterableDataset"
        raise DataError(explain(head, got=str(error), fix=fix)) from error


def no_batch(loader: Any, what: str) -> DataError:
    """The error for a loader that gives no batch.

    Args:
        what: `"training"` or `"validation"`.
    """
    samples, size = samples_of(loader), getattr(loader, "batch_size", None)
    drops_last = getattr(loader, "drop_last", False)
    fix = "look at the path and the filters of the dataset"
    if samples:
        fix = "lower the batch size" + (", or set drop_last to false" if drops_last else "")
    number = "an unknown number of samples" if samples is None else counted(samples, "sample")
    got = f"{number}, batch_size {size}"
    head = f"data error: the {what} data gives no batch"
    return DataError(explain(head, got=got + (", drop_last true" if drops_last else ""), fix=fix))


def samples_of(loader: Any) -> int | None:
    """How many samples a pass over a loader has; None where that is not known."""
    for data in (getattr(loader, "sampler", None), getattr(loader, "dataset", None)):
        if (length := length_of(data)) is not None:
            return length
    return None


def validation_of(data_loader: Any) -> Any:
    """The loader of the samples that `data_loader` has set aside; None where it has none, as a plain `DataLoader`."""
    split = getattr(data_loader, "split_validation", None)
    return None if split is None else split()


def obstacle_in(loader: Any) -> str | None:
    """Why a pass over `loader` cannot be entered in its middle; None when it can."""
    if loader is None:
        return "The trainer has no data_loader that could be entered in the middle"
    has_state = all(hasattr(loader, name) for name in ("state_dict", "load_state_dict"))
    if getattr(loader, "is_resumable", has_state):
        return None
    is_own = hasattr(loader, "seek")
    what = type(loader.dataset if is_own else loader).__name__
    return f"{what} has no state_dict by which {'its samples' if is_own else 'data'} can be entered in the middle"


def data_state(loader: Any, is_inside: bool) -> dict[str, Any]:
    """Where `loader` stands: `is_inside` one pass, or before the next."""
    is_own = hasattr(loader, "seek")
    inside = loader.state_dict() if hasattr(loader, "state_dict") and (is_inside or not is_own) else None
    next_pass = loader.epoch if is_own and inside is None else None
    samples = getattr(loader, "n_samples", None)
    return {"next_pass": next_pass, "inside": inside, "is_inside": is_inside, "samples": samples}


def load_data_state(loader: Any, state: dict[str, Any]) -> None:
    """Let the next pass over `loader` begin where `state` was taken."""
    samples = getattr(loader, "n_samples", None)
    if samples != state["samples"]:
        logger.warning("The training data had %s samples in the checkpoint and has %s now: "
                       "the run will not end as it would have.", state["samples"], samples)  # fmt: skip
    if state["inside"] is not None:
        loader.load_state_dict(state["inside"])
    elif state["next_pass"] is not None and hasattr(loader, "seek"):
        loader.seek(state["next_pass"])


class Endless(Iterator[Any]):
    """The batches of a loader again and again; it has the attributes of the loader, its `state_dict` too.

    Raises:
        DataError: the loader has no batch.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self._batches: Iterator[Any] | None = None

    def begin(self) -> Endless:
        """Begin a pass now, not at the first batch."""
        self._batches = iter(self.loader)
        return self

    def __next__(self) -> Any:
        if self._batches is None:
            self.begin()
        for _ in range(3):  # the rest of a pass that was entered at its very end may be empty
            for batch in self._batches or ():
                return batch
            self.begin()
        raise DataError("data error: the data loader gave no batch, so it cannot be repeated")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("seek", "loader"):
            raise AttributeError(name)
        return getattr(self.loader, name)  # batch_size, n_samples, ... and state_dict

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next batch be the one after `state` was taken."""
        loader: Any = self.loader
        loader.load_state_dict(state)
        self._batches = None


def inf_loop(data_loader: Iterable[Any]) -> Endless:
    """The batches of `data_loader` again and again, without end."""
    return Endless(data_loader)
