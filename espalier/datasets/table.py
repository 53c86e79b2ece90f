"""A table as a dataset: numbers scaled, gaps filled, categories encoded, by what the training rows alone say."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from espalier.data.in_memory import Batch, InMemoryDataset
from espalier.datasets.cells import kind_of_cells, kind_of_rows, raw_values
from espalier.datasets.columns import KINDS, Categories, Numbers, column_of, gaps_in_words
from espalier.datasets.for_use import makes_own_samples, state_of_rows
from espalier.datasets.labels import Labels, not_fitted
from espalier.datasets.table_file import check_column, load_table, shorten_names, types_are_inferred
from espalier.datasets.table_inputs import fit_column, indexed_inputs, news_of, one_hot_inputs
from espalier.errors import ConfigError, DataError, Problem, closest, explain, shorten

logger = logging.getLogger("data")

PATH = "data_loader.args.dataset.args"  # where it usually stands, for messages
CHOICES = {
    "categories": ("one_hot", "index"),
    "missing": ("mean", "median", "indicator", "refuse"),
    "scale": ("standard", "min_max", "none"),
    "task": (None, "classification", "regression"),
}
_MOST_CLASSES = 20  # different whole numbers, above which they are no classes


class Table(InMemoryDataset):
    """Rows of a CSV, TSV, Parquet or JSON lines file; a sample is `(inputs, target)`.

    Inputs are float32 `(F,)`, in the order of the columns, or with `categories="index"` a dict of `numbers`, float32
    `(F,)`, and `categories`, int64 `(K,)`. A target is a class, int64 `()`, or of a regression float32 `(1,)`: what a
    `Linear(..., 1)` gives. Beside outputs `(B, 1)`, targets `(B,)` would broadcast to `(B, B)` in `MSELoss`.

    Args:
        path: of the file, also packed (.gz).
        target: the name of the column to predict.
        features: names of the columns to predict it by; all others by default.
        drop: columns to leave out, which splits may still use.
        types: the kind of a column where the values do not tell: "number", "category", "date" (ISO 8601, in days) or a
            date with its form, as in "date:%d.%m.%Y". By default it is that of the training rows: texts are
            categories, truth values numbers; a row of another part that is no such number is refused.
        categories: "one_hot", where one that is missing or was not seen in training is all zero; or "index", from 1,
            where such a one is 0: for `Embedding(cardinality, ...)` with a cardinality of `cardinalities`.
        missing: what stands for a missing number: the "mean" or "median" of the training rows; "indicator" is the mean
            and one more input that says so, for a column with gaps in the training rows (also of one-hot categories);
            "refuse" allows no gap.
        scale: of numbers: "standard" (mean 0, standard deviation 1), "min_max" (0 to 1) or "none".
        scale_target: whether the target of a regression is scaled to mean 0 and standard deviation 1.
        task: by default texts and truth values are classes, and whole numbers of which the training rows have few: at
            most 20 different ones, each twice on the average. A line of the log says what came of it.
        read: options of pandas' reader, such as `{"sep": ";", "decimal": ",", "na_values": ["?"]}` or "encoding".

    Attributes:
        targets: the values as in the file, `(N,)`; after `use` those of the samples, `(N,)` or `(N, 1)`.
        in_features: number of inputs F.
        num_outputs: number of classes, or 1.
        feature_names: of the inputs; with "index" those of the numbers, then of the categories.
        cardinalities: with "index", for each category how many indices it has, that of 0 among them.
        class_names, num_classes: of a classification.
        target_mean, target_std: of a regression: what a prediction is in units of the file, `y * std + mean`.

    Raises:
        ConfigError: an argument is none of those above.
        DataError: the file or a column of it is not what it should be.
    """

    is_deterministic = True
    facts: tuple[str, ...] = (
        "in_features", "num_outputs", "feature_names", "cardinalities",
        "num_classes", "class_names", "target_mean", "target_std",
    )  # fmt: skip

    def __init__(
        self,
        path: str | Path,
        target: str,
        *,
        features: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        categories: Literal["one_hot", "index"] = "one_hot",
        missing: Literal["mean", "median", "indicator", "refuse"] = "mean",
        scale: Literal["standard", "min_max", "none"] = "standard",
        scale_target: bool = False,
        task: Literal["classification", "regression"] | None = None,
        read: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.target, self.types = path, target, dict(types or {})
        self.categories, self.missing, self.scaling = categories, missing, scale
        self.scale_target, self.task = scale_target, task
        _check_choices({"categories": categories, "missing": missing, "scale": scale, "task": task}, self.types)
        dates = [name for name, kind in self.types.items() if kind.startswith("date")]
        self._frame, self.read = load_table(path, read, texts=dates), dict(read or {})
        self.features = self._names_of_features(features, drop)
        self._columns: dict[tuple[str, str], Numbers | Categories] = {}
        for name, kind in self.types.items():
            self._column(name, kind)
        self._read_columns: list[Numbers | Categories] = []
        self._labels = Labels(self._frame[target], path, self._reading(target))
        super().__init__(torch.empty(len(self._frame), 0), torch.empty(len(self._frame)))
        self.targets: Any = self._labels.raw
        self._told: set[str] = set()
        self._checks: list[Callable[[Any], None]] = [self._refuse]  # that samples may be given

    def _names_of_features(self, features: Sequence[str] | None, drop: Sequence[str]) -> list[str]:
        for name in (self.target, *(features or ()), *drop, *self.types):
            check_column(name, self._frame, self.path)
        others = [name for name in self._frame.columns if name != self.target]
        found = [name for name in (others if features is None else features) if name not in drop]
        if self.target in found:
            raise ConfigError(Problem(f"{PATH}.features", "names the target", got=self.target, fix="take it out"))
        if not found:
            raise ConfigError(Problem(PATH, "leaves no column to predict the target by",
                                      got=f"the columns {shorten_names(list(self._frame.columns))}"))  # fmt: skip
        if other := [name for name in self.types if name not in found]:
            raise ConfigError(Problem(f"{PATH}.types", "names a column that is no feature", got=other[0],
                                      fix="take it out, or out of drop"))  # fmt: skip
        return list(dict.fromkeys(found))

    def _reading(self, name: str) -> dict[str, Any] | None:
        """The options that a column was read with, where pandas found its type by looking at all rows."""
        return self.read if types_are_inferred(self.path, self.read, name) else None

    def _column(self, name: str, kind: str) -> Numbers | Categories:
        """A column read as of this kind."""
        check_column(name, self._frame, self.path)
        column = self._columns.get((name, kind))
        if column is None:
            column = column_of(self._frame[name], kind, self.path, self._reading(name))
            self._columns = {**self._columns, (name, kind): column}
            if self.missing == "refuse" and column.is_missing.any():
                raise DataError(explain(f"data error: column {name!r} of {self.path} has gaps",
                                        got=gaps_in_words(column.is_missing),
                                        fix=f'"missing": "mean", or "drop": ["{name}"]'))  # fmt: skip
        return column

    def __len__(self) -> int:
        return len(self._frame)

    def column(self, name: str) -> np.ndarray:
        """The values of any column of the file as they stand in it, `(N,)`; dates as such where `types` says so.

        Raises:
            DataError: there is none of that name.
        """
        check_column(name, self._frame, self.path)
        column = self._columns.get((name, self.types.get(name, "")))
        if column is not None and column.kind.startswith("date"):
            return column.values  # type: ignore[union-attr]
        return raw_values(self._frame[name])

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """How rows become inputs, see `espalier.preprocessing`; None before `use`, and where a subclass does it."""
        return None if not self._read_columns or makes_own_samples(self, Table) else state_of_rows(self)

    def raw_input(self, index: int) -> list[Any]:
        """What the file says under the features of a row: numbers, texts, dates, and None for no category."""
        return [
            self._frame[name].iat[index] if column.kind.startswith("date") else column.value(index)
            for name, column in zip(self.features, self._read_columns, strict=False)
        ]

    def fit(self, indices: Any) -> dict[str, Any]:
        """What inputs and targets are made with, as plain values, of these rows alone.

        Raises:
            DataError: a column has no value in them, or the target one class alone.
        """
        rows = np.sort(np.asarray(indices, dtype=np.int64))
        if len(rows) == 0:
            raise DataError(f"data error: {self.path} cannot be fitted on no rows at all")
        task = self.task or self._task_of(rows)
        columns = [
            fit_column(name, self._column(name, self._kind(name, rows)), rows, self.missing, self.scaling, self.path)
            for name in self.features
        ]
        fitted: dict[str, Any] = {"task": task, "columns": columns}
        if task == "classification":
            return {**fitted, "classes": self._labels.fit(rows)}
        column = self._target
        column.check(rows)
        target = column.fit(rows, "mean", "standard" if self.scale_target else "none")
        return {**fitted, "target": {"mean": target["center"], "std": target["scale"]}}

    def _kind(self, name: str, rows: np.ndarray) -> str:
        """The kind of a column, by what the config says or else by these rows alone."""
        return self.types.get(name) or kind_of_rows(self._frame[name], rows, self.path, self._reading(name))

    def _task_of(self, rows: np.ndarray) -> str:
        """What the target of these rows is: classes, or numbers."""
        series = self._frame[self.target].iloc[rows]
        kind = kind_of_cells(series, self._reading(self.target))
        is_few = False
        if kind in ("integer", "floating", "mixed-integer-float"):
            numbers = self._target.values[rows]
            is_few = bool((numbers == np.floor(numbers)).all()) and len(np.unique(numbers)) <= min(
                _MOST_CLASSES, len(rows) / 2
            )
        is_classes = is_few or kind in ("string", "boolean", "categorical", "mixed")
        task = "classification" if is_classes else "regression"
        logger.info("The target %r of %s makes this a %s.", self.target, self.path, task)
        return task

    @cached_property
    def _target(self) -> Numbers:
        column = column_of(self._frame[self.target], "number", self.path, self._reading(self.target))
        assert isinstance(column, Numbers)
        return column

    def use(self, fitted: Mapping[str, Any]) -> None:
        """Make inputs and targets of all rows, with what `fit` found here or on another file.

        Raises:
            DataError: the file lacks a column, or holds text where numbers were.
        """
        self.fitted = fitted
        columns = [(each, self._column(each["name"], each["kind"])) for each in fitted["columns"]]
        self._read_columns = [column for _, column in columns]
        faults = [fault for column in self._read_columns if isinstance(column, Numbers) for fault in column.faults]
        for each, column in columns:
            self._tell(news_of(each, column, self.path))
        with_indicators = self.missing == "indicator"
        if self.categories == "index":
            self.inputs, self.feature_names = indexed_inputs(columns, with_indicators)
            self.in_features = self.inputs["numbers"].shape[1]
            self.cardinalities = [len(each["categories"]) + 1 for each in fitted["columns"] if "categories" in each]
        else:
            self.inputs, self.feature_names = one_hot_inputs(columns, with_indicators, self.path)
            self.in_features = self.inputs.shape[1]
        facts = ["in_features", "num_outputs", "feature_names"]
        facts += ["cardinalities"] if self.categories == "index" else []
        if fitted["task"] == "classification":
            self.class_names = list(fitted["classes"])
            self.num_classes = self.num_outputs = len(self.class_names)
            self.targets = self._labels.use(self.class_names)
            facts += ["num_classes", "class_names"]
        else:
            self.target_mean, self.target_std = fitted["target"]["mean"], fitted["target"]["std"]
            target = self._target
            faults += target.faults
            scaled = (target.values - self.target_mean) / self.target_std
            self.targets, self.num_outputs = torch.from_numpy(scaled.astype(np.float32)[:, None]), 1
            facts += ["target_mean", "target_std"]
        self.facts = tuple(facts)
        self._checks = [fault.check for fault in faults]
        self._checks += [self._labels.check] if self._labels.has_unseen and fitted["task"] == "classification" else []

    def check_samples(self, indices: Any) -> None:
        """Make sure that these samples can be used: before a run, not when the first batch with one of them comes.

        Raises:
            DataError: one is of a class that no training row has, or holds text where the training rows have numbers.
        """
        for check in self._checks:
            check(indices)

    def _tell(self, lines: Iterable[str]) -> None:
        """Log each line once."""
        for line in lines:
            if line not in self._told:
                self._told.add(line)
                logger.warning("%s", line)

    def batch(self, indices: Sequence[int] | torch.Tensor) -> Batch:
        """The batch of these samples.

        Raises:
            DataError: `use` was not called, or a sample is of a class that no training row has.
        """
        self.check_samples(indices)
        return super().batch(indices)

    def _refuse(self, indices: Any) -> None:
        raise not_fitted(self.path)


def _check_choices(given: Mapping[str, Any], types: Mapping[str, str]) -> None:
    found = [
        Problem(f"{PATH}.{name}", "is no choice", got=shorten(value),
                closest=closest(str(value), map(str, CHOICES[name])),
                expected=f"one of: {', '.join(map(shorten, CHOICES[name]))}")
        for name, value in given.items() if value not in CHOICES[name]
    ]  # fmt: skip
    found += [
        Problem(f"{PATH}.types.{name}", "is no kind of column", got=shorten(kind), closest=closest(str(kind), KINDS),
                expected=f"one of: {', '.join(KINDS)}, or a date with its form, as in date:%d.%m.%Y")
        for name, kind in types.items() if kind not in KINDS and not str(kind).startswith("date:")
    ]  # fmt: skip
    if found:
        raise ConfigError(found)
