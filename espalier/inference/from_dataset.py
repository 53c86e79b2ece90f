"""Inputs prepared by the dataset itself: where it transforms them in a way that no checkpoint can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from espalier.data.use import sources_of
from espalier.errors import CheckpointError, DataError, explain
from espalier.preprocessing.contract import SAY_HOW, EachOf, Preprocessing
from espalier.preprocessing.images import files_named_in, image_of, is_picture
from espalier.preprocessing.tensors import as_tensor


class FromDataset(Preprocessing):
    """What a dataset does to an input, done by it: that of torchvision reads an image, and transforms it.

    Of one that only finishes its inputs after the transform, an input is taken as the dataset gives it.

    Args:
        dataset: that of the run, or a wrapper of it.
        state: what `espalier.data.use.preprocessing_of` says of it.

    Raises:
        CheckpointError: it has parts that differ, or gives no sample to learn from what it reads.
    """

    def __init__(self, dataset: Any, state: Mapping[str, Any]) -> None:
        super().__init__(state)
        sources = sources_of(dataset)
        if len({f"{type(each)} {vars(each).get('transforms')}" for each in sources}) > 1:
            what = "checkpoint error: how inputs are prepared cannot be told"
            raise CheckpointError(explain(what, why="the parts of the dataset prepare them in different ways",
                                          fix=SAY_HOW))  # fmt: skip
        self.source = sources[0]
        name = type(self.source).__name__
        self.raw: Any = _raw_input(self.source) if _is_of_torchvision(self.source) else None
        self.takes_images = is_picture(self.raw)
        self.takes = f"image files, PIL images and arrays, as {name} reads them" if self.takes_images else (
            f"what {name} gives")  # fmt: skip

    def encode(self, inputs: Sequence[Any]) -> Dataset[Any]:
        """What the dataset would give for each input; a PIL image by itself is one."""
        return EachOf([inputs] if is_picture(inputs) else inputs, self._input)

    def read_file(self, path: str | Path) -> Any:
        """The image files that a table names."""
        return files_named_in(path) if self.takes_images else super().read_file(path)

    def _input(self, value: Any) -> Any:
        if not self.takes_images:
            given = as_tensor(value, {})
            return given if not _is_of_torchvision(self.source) else _transformed(self.source, given)
        return _transformed(self.source, self._picture(value))

    def _picture(self, value: Any) -> Any:
        """A PIL image of the mode and, where all of them have one, the size of those of the dataset."""
        from PIL import Image

        if isinstance(value, (str, Path)) and callable(reader := vars(self.source).get("loader")):
            try:
                return reader(str(value))
            except (OSError, ValueError) as error:
                raise DataError(explain(f"data error: the image {value} cannot be read", got=str(error))) from error
        mode = self.raw.mode if self.raw.mode in ("L", "RGB") else None
        if is_picture(value):
            picture = value
        else:
            array = image_of(value, 1 if mode == "L" else 3).movedim(0, -1).numpy()
            picture = Image.fromarray(array[:, :, 0] if mode == "L" else array)
        picture = picture if mode is None or picture.mode == mode else picture.convert(mode)
        is_fixed = isinstance(vars(self.source).get("data"), (np.ndarray, torch.Tensor))
        return picture.resize(self.raw.size) if is_fixed and picture.size != self.raw.size else picture


def finished_after(transform: Callable[[Any], Any] | None, dataset: Any, *,
                   is_on_samples: bool) -> Callable[[Any], Any] | None:  # fmt: skip
    """A transform and what the dataset does last to an input, `finish_input`."""
    finish = getattr(dataset, "finish_input", None)
    return transform if finish is None else _Finished(transform, finish, is_on_samples=is_on_samples)


class _Finished:
    def __init__(self, transform: Callable[[Any], Any] | None, finish: Callable[[Any], Any], *,
                 is_on_samples: bool) -> None:  # fmt: skip
        self.transform, self.finish, self.is_on_samples = transform, finish, is_on_samples

    def __call__(self, given: Any) -> Any:
        given = given if self.transform is None else self.transform(given)
        return (self.finish(given[0]), *given[1:]) if self.is_on_samples else self.finish(given)


def _is_of_torchvision(source: Any) -> bool:
    return any(each.__module__.startswith("torchvision.datasets") for each in type(source).__mro__)


def _transformed(source: Any, value: Any) -> Any:
    """What the transform of a dataset of torchvision makes of an input."""
    both = vars(source).get("transforms")
    if (alone := vars(source).get("transform")) is not None:
        return alone(value)
    return value if both is None or hasattr(both, "transform") else both(value, 0)[0]


def _as_it_is(value: Any, *others: Any) -> Any:
    """What a transform gives that does nothing, of an input or of input and target."""
    return (value, *others) if others else value


def _raw_input(source: Any) -> Any:
    """What a dataset of torchvision reads for its first sample, ahead of all transforms."""
    names = ("transform", "target_transform", "transforms")
    before = {name: value for name, value in vars(source).items() if name in names and value is not None}
    vars(source).update(dict.fromkeys(before, _as_it_is))
    try:
        sample = source[0]
    except Exception as error:  # whatever a dataset raises that has no sample
        what = f"checkpoint error: how {type(source).__name__} reads inputs cannot be told"
        raise CheckpointError(explain(what, got=f"{type(error).__name__}: {error}", fix=SAY_HOW)) from error
    finally:
        vars(source).update(before)
    return sample[0] if isinstance(sample, (tuple, list)) else sample
