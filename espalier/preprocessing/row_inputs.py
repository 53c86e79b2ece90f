"""The inputs that the cells of rows make together, as operations that a graph can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


class RowInputs(nn.Module):
    """Numbers filled and scaled, and categories as one-hot or as indices: as `espalier.datasets.Table` makes them.

    Args:
        columns: what was fitted of each.
        has_indicators: whether a column that had gaps in training has an input that says so.
        is_indexed: whether categories stay indices; else each becomes as many inputs as there are of it.
    """

    fill: torch.Tensor
    center: torch.Tensor
    scale: torch.Tensor
    order: torch.Tensor
    column_of_level: torch.Tensor
    level: torch.Tensor
    numbers_with_gaps: torch.Tensor
    categories_with_gaps: torch.Tensor

    def __init__(self, columns: Sequence[Mapping[str, Any]], *, has_indicators: bool, is_indexed: bool) -> None:
        super().__init__()
        self.is_indexed = is_indexed
        numbers = [each for each in columns if "categories" not in each]
        categories = [each for each in columns if "categories" in each]
        self.num_numbers, self.num_categories = len(numbers), len(categories)
        for name in ("fill", "center", "scale"):
            self._keep(name, [each[name] for each in numbers], torch.float64)
        levels = [(place, level) for place, each in enumerate(categories) for level in range(1, _size(each) + 1)]
        self._keep("column_of_level", [place for place, _ in levels], torch.int64)
        self._keep("level", [level for _, level in levels], torch.int64)
        for name, those in (("numbers_with_gaps", numbers), ("categories_with_gaps", categories)):
            places = [place for place, each in enumerate(those) if each["has_gaps"]]
            self._keep(name, places if has_indicators else [], torch.int64)
        self._keep("order", _order(columns, has_indicators, is_indexed), torch.int64)

    def _keep(self, name: str, values: list[Any], dtype: torch.dtype) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=dtype), persistent=False)

    def forward(self, row: Mapping[str, torch.Tensor]) -> Any:
        """Float32 `(B, F)`, or a dict of `numbers`, float32 `(B, F)`, and `categories`, int64 `(B, K)`.

        Args:
            row: `numbers`, float64 `(B, N)`, NaN where there is none; `categories`, int64 `(B, K)`, from 1, 0 for one
                that training has not seen, -1 where there is none. Each only where there are such columns.
        """
        parts: list[torch.Tensor] = []
        if self.num_numbers:
            parts += self._of_numbers(row["numbers"])
        if self.num_categories and not self.is_indexed:
            parts += self._of_categories(row["categories"])
        inputs = torch.cat(parts, dim=1)[:, self.order] if parts else None
        if not self.is_indexed:
            return inputs
        given = next(iter(row.values()))
        return {
            "numbers": given.new_zeros(given.shape[0], 0, dtype=torch.float32) if inputs is None else inputs,
            "categories": row["categories"].clamp(min=0)
            if self.num_categories
            else given.new_zeros(given.shape[0], 0, dtype=torch.int64),
        }

    def _of_numbers(self, numbers: torch.Tensor) -> list[torch.Tensor]:
        is_missing = numbers.isnan()
        scaled = (torch.where(is_missing, self.fill, numbers) - self.center) / self.scale
        return [scaled.float(), *_chosen(is_missing, self.numbers_with_gaps)]

    def _of_categories(self, categories: torch.Tensor) -> list[torch.Tensor]:
        is_level = categories[:, self.column_of_level] == self.level
        return [is_level.float(), *_chosen(categories < 0, self.categories_with_gaps)]


def _chosen(is_missing: torch.Tensor, places: torch.Tensor) -> list[torch.Tensor]:
    return [is_missing[:, places].float()] if len(places) else []


def _size(column: Mapping[str, Any]) -> int:
    return len(column["categories"]) if "categories" in column else 1


def _order(columns: Sequence[Mapping[str, Any]], has_indicators: bool, is_indexed: bool) -> list[int]:
    """Where each input stands in what `forward` joins: numbers, gaps of these, levels, gaps of the categories."""
    places: dict[tuple[int, str], range] = {}
    total = 0
    for is_category in (False, True):
        those = [place for place, each in enumerate(columns) if ("categories" in each) == is_category]
        for place in () if is_category and is_indexed else those:
            places[place, "values"] = range(total, total + _size(columns[place]))
            total += _size(columns[place])
        for place in () if is_category and is_indexed else those:
            if has_indicators and columns[place]["has_gaps"]:
                places[place, "gaps"] = range(total, total + 1)
                total += 1
    return [at for each in range(len(columns)) for what in ("values", "gaps") for at in places.get((each, what), ())]
