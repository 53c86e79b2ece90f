"""Datasets that learn, inside wrappers of PyTorch through which a loader cannot teach them."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch.utils.data import ConcatDataset, Subset

from espalier.errors import ConfigError, Problem

_FIXES = {
    "Subset": 'give the loader the dataset itself, with a "split" (or the sampler espalier.data.samplers.Subset)',
    "ConcatDataset": "take espalier.datasets.MixedDatasets in its place",
}


@runtime_checkable
class Learns(Protocol):
    """A dataset that learns from its training samples."""

    def fit(self, indices: Any) -> dict[str, Any]:
        """What these samples teach."""

    def use(self, fitted: Any) -> None:
        """Take over what was learned."""


def refuse_hidden_fit(dataset: Any) -> None:
    """Refuse a wrapper around a dataset that would be neither fitted nor have its inputs finished.

    One that was fitted by hand, and keeps that as `fitted`, is left as it is.

    Raises:
        ConfigError: it is a `Subset`, as `random_split` gives them, or a `ConcatDataset`.
    """
    for each in _hidden(dataset):
        learns = isinstance(each, Learns) and vars(each).get("fitted") is None
        if learns or hasattr(each, "finish_input"):
            kind = type(each).__name__
            what = "learns from its training samples" if learns else "finishes its inputs after the transform"
            wrapper = "Subset" if isinstance(dataset, Subset) else "ConcatDataset"
            raise ConfigError(Problem("data_loader.args.dataset", f"hides from the loader that {kind} {what}",
                                      got=f"{kind} in a {wrapper}", fix=_FIXES[wrapper]))  # fmt: skip


def _hidden(dataset: Any) -> list[Any]:
    """The datasets within wrappers; none where there is no wrapper, or one that teaches them itself."""
    if isinstance(dataset, Subset):
        return _hidden(dataset.dataset) or [dataset.dataset]
    if isinstance(dataset, ConcatDataset) and not isinstance(dataset, Learns):
        return [inner for each in dataset.datasets for inner in _hidden(each) or [each]]
    return []
