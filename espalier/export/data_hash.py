"""A hash of the data that a model was evaluated on, so that others can tell whether theirs is the same."""

from __future__ import annotations

import hashlib
from typing import Any

from espalier.data.columns import targets_of
from espalier.data.named_loaders import each_of
from espalier.data.raw_inputs import raw_input_of
from espalier.journal.progress import progress_bar
from espalier.rng import kept_rng
from espalier.trials.duplicates import digest_of

INPUTS = "what the inputs were made from, sample by sample in the order of evaluation"
BOTH = f"{INPUTS}, each with its target"


def hash_of_data(loader: Any) -> dict[str, Any] | None:
    """A hash of all samples of a loader, or of several by name: SHA-256 over a hash of each, in their order.

    Inputs count as they are stored, before size, scale and transform; images as they were decoded.

    Returns:
        `sha256`, `num_samples`, and `of`: what it is a hash of. None where samples cannot be asked for one by one, or
        differ each time.
    """
    found, number, has_targets = hashlib.sha256(), 0, True
    for each in each_of(loader):
        if not (hasattr(each, "indices") and hasattr(each, "parts")):
            return None
        dataset = each.parts.dataset
        targets = targets_of(dataset)
        has_targets = has_targets and targets is not None
        with progress_bar(len(each), "Hash of the data") as bar:
            batch = 0
            while indices := each.indices(1, batch):
                for index in map(int, indices):
                    digest = _digest(dataset, index)
                    if number == 0 and digest != _digest(dataset, index):
                        return None
                    found.update(digest)
                    found.update(b"" if targets is None else digest_of(targets[index]))
                    number += 1
                batch += 1
                bar.update()
    if number == 0:
        return None
    return {"sha256": found.hexdigest(), "num_samples": number, "of": BOTH if has_targets else INPUTS}


def _digest(dataset: Any, index: int) -> bytes:
    with kept_rng():
        return digest_of(raw_input_of(dataset, index))
