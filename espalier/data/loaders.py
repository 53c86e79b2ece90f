"""Length, samples and batches of any data loader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from espalier.errors import DataError, explain


def length_of(data: Any) -> int | None:
    """`len(data)`; None for what has no length, such as an iterable dataset that does not know its own."""
    try:
        return len(data)
    except TypeError:
        return None


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
    got = f"{'an unknown number of' if samples is None else samples} samples, batch_size {size}"
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
