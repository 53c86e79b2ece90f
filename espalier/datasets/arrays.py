"""Inputs and targets out of NumPy files."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from espalier.data.in_memory import Batch, InMemoryDataset
from espalier.datasets.labels import not_fitted
from espalier.errors import ConfigError, DataError, Problem, closest, counted, explain, shorten

PATH = "data_loader.args.dataset.args"  # where it usually stands, for messages
_LARGE = 2**28  # bytes from which on a .npy file is mapped into memory, not read
_CHUNK = 2**24  # values that are looked at in one go
_CHOICES = {"normalize": (None, "fit"), "layout": (None, "NHW", "NHWC")}
_HELD = {
    "u2": np.int32,
    "u4": np.int64,
    "u8": np.int64,
    "f8": np.float32,
}  # what torch does not have, or models not use


class Arrays(InMemoryDataset):
    """Inputs and targets from two .npy files, or under two names in one .npz file; a sample is `(input, target)`.

    A .npy file of 256 MB and more is mapped: pages are read when a batch needs them, and worker processes share them.
    float64 becomes float32, and whole numbers as targets int64.

    Args:
        inputs: the file, shape `(N, ...)`; with `path` the name in it.
        targets: likewise, shape `(N, ...)`.
        path: of a .npz file.
        normalize: "fit": by mean and standard deviation of the training samples, for each index of the second
            dimension (a feature, or a channel of images); None: inputs are given as they are.
        layout: "NHWC" or "NHW" for images that have the channel last, or none; they are given as `(C, H, W)`.

    Attributes:
        in_features: values in one input.
        in_channels: of inputs `(C, ...)` with at least two dimensions; `image_size`: the others, `[H, W]`.

    Raises:
        ConfigError: an argument is out of range.
        DataError: a file is not there, holds something else, or the arrays differ in length.
    """

    def __init__(self, inputs: str, targets: str, path: str | None = None, normalize: Literal["fit"] | None = None,
                 layout: Literal["NHW", "NHWC"] | None = None) -> None:  # fmt: skip
        for name, value in (("normalize", normalize), ("layout", layout)):
            if value not in _CHOICES[name]:
                raise ConfigError(Problem(f"{PATH}.{name}", "is out of range", got=shorten(value),
                                          expected=f"one of: {', '.join(map(shorten, _CHOICES[name]))}"))  # fmt: skip
        self._sources = (inputs, targets, path)
        self._normalize, self._layout = normalize, layout
        self._is_ready = normalize is None
        self.fitted: dict[str, Any] | None = {} if self._is_ready else None  # there is nothing to learn
        self._is_mapped = path is None and any(_is_large(Path(each).expanduser()) for each in (inputs, targets))
        super().__init__(*self._load())
        self.facts = ("in_features", *(("in_channels", "image_size") if self.inputs.dim() > 2 else ()))

    def _load(self) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets = self._read()
        if len(inputs) != len(targets):
            raise DataError(explain("data error: inputs and targets differ in length", self._where(),
                                    got=f"{counted(len(inputs), 'input')} and "
                                        f"{counted(len(targets), 'target')}"))  # fmt: skip
        if len(inputs) == 0:
            raise DataError(explain("data error: the arrays are empty", self._where()))
        expected = {"NHW": 3, "NHWC": 4}.get(self._layout or "")
        if expected not in (None, inputs.dim()):
            raise ConfigError(Problem(f"{PATH}.layout", f"needs inputs of {counted(expected, 'dimension')}",
                                      got=f"inputs of shape {tuple(inputs.shape)}"))  # fmt: skip
        if self._layout is not None:
            inputs = inputs.permute(0, 3, 1, 2) if self._layout == "NHWC" else inputs.unsqueeze(1)
        is_whole = not (targets.is_floating_point() or targets.is_complex())
        return inputs, targets.long() if is_whole else targets

    def _read(self) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets, path = self._sources
        if path is None:
            return _tensor(load_npy(inputs), inputs), _tensor(load_npy(targets), targets)
        with _telling(path), contextlib.ExitStack() as stack:
            file = np.load(_there(path), allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("one array without a name, as in .npy")
            stack.enter_context(file)
            for name in (inputs, targets):
                if name not in file:
                    raise DataError(explain(f"data error: {path} has no array {name!r}",
                                            expected=f"one of: {', '.join(file)}",
                                            closest=closest(name, file)))  # fmt: skip
            return tuple(_tensor(file[name], f"{name} of {path}") for name in (inputs, targets))  # type: ignore[return-value]

    def _where(self) -> str:
        inputs, targets, path = self._sources
        return f"{inputs} and {targets}" + ("" if path is None else f" of {path}")

    @property
    def in_features(self) -> int:
        """Values in one input."""
        return math.prod(self.inputs.shape[1:])

    @property
    def in_channels(self) -> int:
        """Of inputs `(C, ...)`."""
        return int(self.inputs.shape[1])

    @property
    def image_size(self) -> list[int]:
        """Of inputs `(C, H, W)`: `[H, W]`."""
        return list(self.inputs.shape[2:])

    @property
    def is_deterministic(self) -> bool:
        """Loading draws no random numbers; a subclass of a user may."""
        return type(self).__module__.startswith("espalier.")

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """How inputs are prepared, see `espalier.preprocessing.arrays`."""
        known = super().preprocessing
        return None if known is None else {**known, "layout": self._layout, "is_single": True}

    def fit(self, indices: np.ndarray) -> dict[str, Any]:
        """Mean and standard deviation of these samples alone; empty without `normalize`."""
        if self._normalize is None:
            return {}
        rows = torch.from_numpy(np.unique(np.asarray(indices, dtype=np.int64)))
        if len(rows) == 0:
            raise DataError(explain("data error: there is no training sample to fit on", self._where()))
        mean, std = self._mean_and_std(rows)
        return {"mean": mean.tolist(), "std": std.tolist()}

    def _mean_and_std(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """In two passes over the samples, in float64."""
        number = len(rows) * math.prod(self.inputs.shape[2:])
        mean = torch.stack([each.sum(1) for each in self._columns(rows)]).sum(0) / number
        squares = [(each - mean[:, None]).square().sum(1) for each in self._columns(rows)]
        return mean, (torch.stack(squares).sum(0) / number).sqrt()

    def _columns(self, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Some samples at a time, as float64 `(C, ...)`."""
        for chosen in torch.split(rows, max(1, _CHUNK // max(1, self.in_features))):
            values = self.inputs.index_select(0, chosen).double()
            yield values.reshape(len(chosen), -1).T if values.dim() < 3 else values.transpose(0, 1).flatten(1)

    def use(self, fitted: dict[str, Any]) -> None:
        """Take over what `fit` gave, here or in an earlier run."""
        self.fitted = fitted
        if self._normalize is not None:
            shape = (-1, *(1 for _ in self.inputs.shape[2:]))
            self.mean = torch.tensor(fitted["mean"], dtype=torch.float32).reshape(shape)
            # A feature that is constant has nothing to scale.
            self.scale = torch.tensor([1 / each if each else 1.0 for each in fitted["std"]]).reshape(shape)
        self._is_ready = True

    def batch(self, indices: Sequence[int] | torch.Tensor) -> Batch:
        """The batch of these samples."""
        if not self._is_ready:
            raise not_fitted(self._where())
        inputs, targets = super().batch(indices)
        return (inputs.float() if inputs.dtype == torch.float64 else inputs), targets

    def __getstate__(self) -> dict[str, Any]:
        """A worker that is started afresh maps large files itself."""
        left_out = ("inputs", "targets") if self._is_mapped else ()
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._is_mapped:
            self.inputs, self.targets = self._load()


def _there(path: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        beside = [each.name for each in found.parent.iterdir()] if found.parent.is_dir() else []
        near = closest(found.name, beside)
        raise DataError(explain(f"data error: there is no file {path}",
                                closest=None if near is None else str(found.parent / near)))  # fmt: skip
    return found


def _is_large(path: Path) -> bool:
    return path.is_file() and path.stat().st_size >= _LARGE


def load_npy(path: str) -> np.ndarray:
    """The array in a file; a large one mapped, so that what is written to it goes to no file."""
    found = _there(path)
    with _telling(path):
        array = np.load(found, mmap_mode="c" if _is_large(found) else None, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("several arrays, as in .npz: name it as path, and inputs and targets by their names in it")
        return array


@contextlib.contextmanager
def _telling(path: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(explain(f"data error: {path} cannot be read as NumPy arrays", got=str(error),
                                expected="numbers, as numpy.save or numpy.savez write them")) from error  # fmt: skip


def _tensor(array: np.ndarray, name: str) -> torch.Tensor:
    """An array as a tensor of a type that models take; float64 that is mapped stays, until a batch is made."""
    if array.dtype.kind not in "biufc":
        raise DataError(explain(f"data error: {name} holds no numbers", got=str(array.dtype)))
    is_mapped = isinstance(array, np.memmap)
    held = _HELD.get(array.dtype.str[1:])
    if is_mapped and array.dtype.isnative and held in (None, np.float32):
        return torch.from_numpy(array)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=held or array.dtype.newbyteorder("=")))
