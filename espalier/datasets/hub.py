"""Data sets of the library `datasets` of Hugging Face, from its hub or from files, in memory or as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset, IterableDataset

from espalier.errors import ConfigError, DataError, Problem, closest, explain, shorten

PATH = "data_loader.args.dataset.args"  # where it usually stands, for messages


class HuggingFace(Dataset[Any]):
    """A data set of the library `datasets`; a sample is `(input, target)`, tensors where the columns hold numbers.

    Args:
        path: a folder that `save_to_disk` wrote, or what `load_dataset` takes: a name on the hub, a folder, or "csv",
            "json", "parquet", "imagefolder" with `data_files` or `data_dir` in `args`.
        input: the column of inputs; of several a sample has a dict.
        target: the column of targets.
        split: such as "train" or "train[:10%]".
        args: other arguments of `load_dataset`, such as `{"name": "sst2"}` or `{"data_files": "train.csv"}`.

    Attributes:
        targets: the column of targets, `(N,)`.
        class_names: where the data names the classes of the target.
        num_classes: likewise.

    Raises:
        ConfigError: an argument suits neither the library nor the data.
        DataError: the library is missing, or the data cannot be found or read.
    """

    def __init__(self, path: str, input: str | list[str], target: str, split: str = "train",
                 args: dict[str, Any] | None = None) -> None:  # fmt: skip
        self._rows = load_rows(path, split, dict(args or {}), is_streamed=False).with_format("torch")
        self.input, self.target = input, target
        check_columns(self._rows.column_names, path, input, target)
        self.class_names: list[str] = class_names_of(self._rows, target)
        self.num_classes = len(self.class_names)
        self.facts = ("num_classes", "class_names") if self.class_names else ()

    @property
    def is_deterministic(self) -> bool:
        """Loading draws no random numbers; a subclass of a user may."""
        return type(self).__module__.startswith("espalier.")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return pair_of(self._rows[int(index)], self.input, self.target)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """These samples, read in one go."""
        if type(self).__getitem__ is not HuggingFace.__getitem__:
            return [self[index] for index in indices]
        rows = self._rows.__getitems__([int(index) for index in indices])
        return [pair_of(row, self.input, self.target) for row in rows]

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How inputs are prepared, see `espalier.preprocessing.tensors`: a row of such data, or its input alone."""
        return preprocessing_of(self._rows.features, self.input)

    @property
    def targets(self) -> np.ndarray:
        """The column of targets, as in the file."""
        return self.column(self.target)

    def column(self, name: str) -> np.ndarray:
        """The values of a column, `(N,)`.

        Raises:
            ConfigError: there is none of that name.
        """
        check_columns(self._rows.column_names, "the data set", name, name)
        return np.asarray(self._rows.with_format(None)[name][:])

    @property
    def made_from(self) -> dict[str, Any]:
        """All that samples depend on, for a cache; the library has a hash of the data."""
        return {"fingerprint": self._rows._fingerprint, "input": self.input, "target": self.target}


class HuggingFaceStream(IterableDataset[Any]):
    """A data set of the library `datasets`, read as a stream and never whole; a run resumes in the middle of an epoch.

    Workers read whole files: more workers than files have nothing to do.

    Args:
        path: as of `HuggingFace`, but for folders of `save_to_disk`, which are files already.
        input: as there.
        target: as there.
        split: such as "train".
        args: as there.
        shuffle_buffer: samples among which the next is drawn by chance, in a new order each epoch; 0 keeps the order.
            After a resume the buffer is filled anew: the order is then not that of a run that went through.
        seed: of that order.

    Raises:
        ConfigError: as of `HuggingFace`.
        DataError: as of `HuggingFace`.
    """

    def __init__(self, path: str, input: str | list[str], target: str, split: str = "train",
                 args: dict[str, Any] | None = None, shuffle_buffer: int = 0, seed: int = 0) -> None:  # fmt: skip
        rows = load_rows(path, split, dict(args or {}), is_streamed=True)
        if rows.column_names is not None:
            check_columns(rows.column_names, path, input, target)
        rows = rows.shuffle(seed=seed, buffer_size=shuffle_buffer) if shuffle_buffer else rows
        self._rows = rows.with_format("torch")
        self.input, self.target = input, target

    @property
    def preprocessing(self) -> dict[str, Any]:
        """As of `HuggingFace`."""
        return preprocessing_of(self._rows.features, self.input)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return (pair_of(row, self.input, self.target) for row in self._rows)

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass have the order of this epoch."""
        self._rows.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands."""
        state: dict[str, Any] = self._rows.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._rows.load_state_dict(state)


def load_rows(path: str, split: str, args: dict[str, Any], *, is_streamed: bool) -> Any:
    """The data set of the library: of one split."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(explain("data error: the library datasets of Hugging Face is not installed",
                                fix='pip install -e ".[hub]"')) from error  # fmt: skip
    folder = Path(path).expanduser()
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            return _saved_split(datasets.load_from_disk(str(folder)), path, split, is_streamed)
        return datasets.load_dataset(path, split=split, streaming=is_streamed, **args)
    except (OSError, RuntimeError) as error:
        fix = "connect to a network, or name a folder or files that are here"
        what = f"data error: the data set {path} cannot be loaded"
        raise DataError(explain(what, got=str(error), fix=fix)) from error
    except (ValueError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        got = f"split {shorten(split)}, args {shorten(args)}: {error}"
        raise ConfigError(Problem(PATH, f"does not suit the data set {path}", got=got)) from error


def _saved_split(saved: Any, path: str, split: str, is_streamed: bool) -> Any:
    """What `save_to_disk` wrote: one data set, or one for each split."""
    if isinstance(saved, dict):
        if split not in saved:
            expected = f"one of: {', '.join(saved)}"
            raise ConfigError(Problem(f"{PATH}.split", f"is not in {path}", got=shorten(split), expected=expected,
                                      closest=closest(split, saved)))  # fmt: skip
        saved = saved[split]
    return saved.to_iterable_dataset() if is_streamed else saved


def check_columns(known: Sequence[str], path: str, input: str | list[str], target: str) -> None:
    """Hold the names of columns against those of the data.

    Raises:
        ConfigError: with each that it does not have.
    """
    named = [("input", each) for each in ([input] if isinstance(input, str) else input)] + [("target", target)]
    faults = [
        Problem(f"{PATH}.{role}", f"names a column that {path} does not have", got=shorten(name),
                expected=f"one of: {', '.join(known)}", closest=closest(name, known))
        for role, name in named if name not in known
    ]  # fmt: skip
    if faults:
        raise ConfigError(faults)


def class_names_of(rows: Any, target: str) -> list[str]:
    """The names of the classes, where the data has them."""
    return list(getattr(rows.features[target], "names", None) or ())


def dtype_of(feature: Any) -> dict[str, str]:
    """The `dtype` that tensors of a feature have, or of what is in its lists; empty of one that holds no numbers."""
    while hasattr(feature, "feature"):
        feature = feature.feature
    name = str(feature.dtype).rstrip("0123456789") if hasattr(feature, "dtype") else ""
    dtype = {"int": "int64", "uint": "int64", "float": "float32", "bool": "bool"}.get(name)
    return {} if dtype is None else {"dtype": dtype}


def preprocessing_of(features: Any, input: str | list[str]) -> dict[str, Any]:
    """What is known of the input columns; `features` of a stream may be None."""
    if not isinstance(input, str):
        items = {} if features is None else {"items": {name: dtype_of(features[name]) for name in input}}
        return {"kind": "tensor", "columns": input, **items}
    if features is None:
        return {"kind": "tensor", "columns": [input]}
    is_image = type(features[input]).__name__ == "Image"
    return {"kind": "tensor", "columns": [input], "is_image": is_image, **dtype_of(features[input])}


def pair_of(row: dict[str, Any], input: str | list[str], target: str) -> tuple[Any, Any]:
    """Input and target of a row."""
    return (row[input] if isinstance(input, str) else {name: row[name] for name in input}), row[target]
