"""Images whose paths and targets stand in a table."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from espalier.datasets.cells import raw_values, text_of
from espalier.datasets.columns import gaps_in_words
from espalier.datasets.decode import Size, load_image
from espalier.datasets.images import made_from
from espalier.datasets.labels import Labels
from espalier.datasets.pixels import ImageDataset, Normalize
from espalier.datasets.table_file import check_column, load_table, types_are_inferred
from espalier.errors import ConfigError, DataError, Problem, closest, counted, explain, shorten

PATH = "data_loader.args.dataset.args"  # where it usually stands, for messages
logger = logging.getLogger("data")
TASKS = ("classification", "multilabel", "regression")


class ImageTable(ImageDataset):
    """Images whose paths and targets stand in a table (CSV, TSV, Parquet or JSON lines), in its order.

    A target is a class number; of "multilabel" float32 `(num_classes,)` of zeros and ones; of "regression" float32
    `(1,)`, or `(T,)` of T columns. Classes are those of the training part. Size, normalisation and their facts are
    those of `espalier.datasets.pixels.ImageDataset`.

    Args:
        path: the table.
        image: the column of paths.
        target: the column to predict; of "regression" also several.
        task: "classification", "multilabel": any number of labels in one cell; or "regression".
        separator: between the labels of a cell.
        root: the folder that paths start from; None: that of the table.
        suffix: what is added to each path, such as ".jpg" where the table has names only.
        size: None: images stay as they are.
        normalize: as there.
        channels: 3 for colour, 1 for grey.
        read: options of pandas' reader, as of `Table`.

    Attributes:
        targets: the values as in the file, `(N,)`; after `use` those of the samples.

    Raises:
        ConfigError: an argument is out of range.
        DataError: the table or an image is not there, a column is missing, has gaps, or holds no numbers.
    """

    def __init__(
        self,
        path: str,
        image: str = "path",
        target: str | list[str] = "label",
        task: Literal["classification", "multilabel", "regression"] = "classification",
        *,
        separator: str = ",",
        root: str | None = None,
        suffix: str = "",
        size: Size = None,
        normalize: Normalize = "fit",
        channels: int = 3,
        read: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(size, normalize, channels)
        if task not in TASKS or (isinstance(target, list) and task != "regression"):
            name, value = ("task", task) if task not in TASKS else ("target", target)
            expected = f"one of: {', '.join(TASKS)}" if name == "task" else "one column, but for a regression"
            raise ConfigError(Problem(f"{PATH}.{name}", "is out of range", got=shorten(value), expected=expected,
                                      closest=closest(str(task), TASKS) if name == "task" else None))  # fmt: skip
        self.path, self.target_name, self.task, self.separator = path, target, task, separator
        self.image_name, self.suffix = image, suffix
        names = [target] if isinstance(target, str) else target
        self._frame = load_table(path, read, texts=[image, *(names if task == "multilabel" else ())])
        self._is_ready = False  # classes and targets are made by `use`
        for name in (image, *names):
            check_column(name, self._frame, path)
        self.root = Path(path).expanduser().parent if root is None else Path(root).expanduser()
        self._names = self._names_of_files(image, suffix)
        reading = dict(read or {}) if isinstance(target, str) and types_are_inferred(path, read or {}, target) else None
        self._labels = Labels(self._frame[target], path, reading) if task == "classification" else None
        self.targets = self._numbers() if task == "regression" else raw_values(self._frame[target])
        self.class_names = []
        if task == "regression":
            self.facts = tuple(each for each in self.facts if each not in ("num_classes", "class_names"))

    def _names_of_files(self, column: str, suffix: str) -> list[str]:
        """The paths of all rows, each of a file that is there."""
        series = self._frame[column]
        if (is_missing := series.isna().to_numpy()).any():
            raise DataError(explain(f"data error: the paths {column!r} of {self.path} have gaps",
                                    got=gaps_in_words(is_missing), fix="take these rows out of the file"))  # fmt: skip
        names = [f"{text_of(each)}{suffix}" for each in series.tolist()]
        lacking = [row for row, name in enumerate(names) if not (self.root / name).is_file()]
        if lacking:
            row = lacking[0]
            got = f"{len(lacking):,} of {len(names):,}, the first is {self.root / names[row]} in row {row + 1}"
            fix = "root is the folder that paths start from, suffix what is added to each"
            raise DataError(explain(f"data error: images of {self.path} are not there", got=got, fix=fix))
        return names

    def _numbers(self) -> np.ndarray:
        """The targets of a regression, float32 `(N, T)`."""
        import pandas as pd

        names = [self.target_name] if isinstance(self.target_name, str) else self.target_name
        columns = []
        for name in names:
            values = pd.to_numeric(self._frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
            if not (is_number := np.isfinite(values)).all():
                row = int(is_number.argmin())
                got = f"{shorten(str(self._frame[name].iloc[row]))} in row {row + 1}"
                what = f"data error: the target {name!r} of {self.path} holds no numbers alone"
                raise DataError(explain(what, got=got, fix="mend these rows, or take them out of the file"))
            columns.append(values)
        return np.stack(columns, 1).astype(np.float32)

    def _labels_of_row(self, index: int) -> list[str]:
        cell = self._frame[self.target_name].iloc[index]
        parts = [] if cell != cell or cell is None else text_of(cell).split(self.separator)
        return list(dict.fromkeys(each.strip() for each in parts if each.strip()))

    def column(self, name: str) -> np.ndarray:
        """The values of a column as they stand in the file, `(N,)`.

        Raises:
            DataError: there is none of that name.
        """
        check_column(name, self._frame, self.path)
        return raw_values(self._frame[name])

    @property
    def preprocessing(self) -> dict[str, Any]:
        """As of other images; a row of such a table is one, too."""
        return {**super().preprocessing, "column": self.image_name, "suffix": self.suffix}

    @property
    def made_from(self) -> dict[str, Any]:
        """All that samples depend on, for a cache: arguments, targets, and what is known of the files."""
        return {**made_from(self, self.root, self._names), "table": str(Path(self.path).resolve())}

    def load(self, index: int) -> torch.Tensor:
        """The image of a sample as it is stored: uint8 `(C, H, W)`."""
        return load_image(self.root / self._names[index], self.in_channels)

    def raw_input(self, index: int) -> bytes:
        """The file of an image."""
        return (self.root / self._names[index]).read_bytes()

    def name_of(self, index: int) -> str:
        """The path of an image, as in the table."""
        return self._names[index]

    def fit_targets(self, indices: np.ndarray) -> dict[str, Any]:
        """The classes of these samples; nothing of a regression."""
        if self._labels is not None:
            return {"class_names": self._labels.fit(indices)}
        if self.task == "regression":
            return {}
        return {"class_names": sorted({each for index in indices.tolist() for each in self._labels_of_row(index)})}

    def use_targets(self, fitted: dict[str, Any]) -> None:
        """Make targets of what the table says.

        Labels of "multilabel" that no training sample has are left out, and logged.
        """
        if self.task == "regression":
            return
        self.class_names = list(fitted["class_names"])
        if self._labels is not None:
            self.targets = self._labels.use(self.class_names).numpy()
            return
        numbers = {name: number for number, name in enumerate(self.class_names)}
        self.targets, unknown = np.zeros((len(self._frame), len(numbers)), dtype=np.float32), Counter[str]()
        for index in range(len(self._frame)):
            for name in self._labels_of_row(index):
                if name in numbers:
                    self.targets[index, numbers[name]] = 1
                else:
                    unknown[name] += 1
        _tell_of_unknown(self.path, unknown)

    def check_samples(self, indices: Any) -> None:
        """Make sure that these samples can be used: before a run, not when the first batch with one of them comes.

        Raises:
            DataError: one is of a class that no training sample has.
        """
        if self._labels is not None:
            self._labels.check(indices)

    def target(self, index: int) -> Any:
        """The target of a sample.

        Raises:
            DataError: it is of a class that no training sample has.
        """
        if self._labels is None:
            return torch.from_numpy(self.targets[index].copy())
        if self._labels.has_unseen:
            self._labels.check([index])
        return self.targets[index].item()


def _tell_of_unknown(path: str, unknown: Counter[str]) -> None:
    if unknown:
        shown = ", ".join(f"{name!r} ({counted(count, 'time')})" for name, count in sorted(unknown.items())[:5])
        logger.warning("Labels of %s that no training sample has are left out: %s.", path, shown)
