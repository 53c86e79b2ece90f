"""The class of each sample, by names that are fitted on the training samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from espalier.datasets.cells import raw_values
from espalier.datasets.columns import Categories, categories_of, gaps_in_words
from espalier.errors import DataError, counted, explain, shorten


class Labels:
    """The classes of a column.

    Args:
        series: of pandas, named, a value for each sample.
        path: of the file, for messages.
        reading: as of `columns.column_of`.

    Attributes:
        raw: the values as they stand in the file, `(N,)`.

    Raises:
        DataError: a value is missing.
    """

    def __init__(self, series: Any, path: Any, reading: Mapping[str, Any] | None = None) -> None:
        if (is_missing := series.isna().to_numpy()).any():
            raise DataError(explain(f"data error: the target {str(series.name)!r} of {path} has gaps",
                                    got=gaps_in_words(is_missing), fix="take these rows out of the file"))  # fmt: skip
        self.name, self.path, self.raw = str(series.name), path, raw_values(series)
        self._series, self._reading = series, reading
        self._is_unseen: torch.Tensor | None = None

    @cached_property
    def _column(self) -> Categories:
        return categories_of(self._series, self._reading)

    def fit(self, indices: np.ndarray) -> list[str]:
        """The names of the classes of these samples: by the alphabet, or numbers in their order.

        Raises:
            DataError: there is only one.
        """
        classes = self._column.fit(indices)
        if len(classes) < 2:
            raise DataError(explain(f"data error: {self.name!r} of {self.path} has one class alone",
                                    got=f"{shorten(classes)} in all {counted(len(indices), 'training sample')}",
                                    expected="at least two classes"))  # fmt: skip
        return classes

    def use(self, classes: list[str]) -> torch.Tensor:
        """The number of each sample's class, int64 `(N,)`; -1 for one that is not among these."""
        targets = torch.from_numpy(self._column.inputs(classes) - 1)
        is_unseen = targets < 0
        self._is_unseen = is_unseen if is_unseen.any() else None
        return targets

    @property
    def has_unseen(self) -> bool:
        """Whether there are samples of a class that was not fitted."""
        return self._is_unseen is not None

    def check(self, indices: Sequence[int] | torch.Tensor) -> None:
        """Refuse samples of a class that was not fitted.

        Raises:
            DataError: naming it.
        """
        if self._is_unseen is None:
            return
        chosen = torch.as_tensor(indices)
        unseen = chosen[self._is_unseen[chosen]]
        if len(unseen):
            index = int(unseen[0])
            level = self._column.levels[int(self._column.codes[index])]
            number = int((self._column.codes == self._column.codes[index]).sum())
            raise DataError(explain(f"data error: class {level!r} of {self.path} is not in the training part",
                                    got=f"column {self.name!r} has it in {number:,} of {len(self.raw):,} rows, "
                                    f"such as row {index + 1}", expected="every class among the training samples",
                                    fix='divide by class, "split": {"stratify": true}'))  # fmt: skip


def not_fitted(path: Any) -> DataError:
    """The error for a sample that is asked of a dataset before `use`."""
    return DataError(explain(f"data error: {path} gives no sample before it is fitted on the training part",
                             fix="the data loader does so; by hand: dataset.use(dataset.fit(indices))"))  # fmt: skip
