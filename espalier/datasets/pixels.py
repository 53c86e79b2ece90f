"""What all datasets of images share: size, normalisation, and what is fitted on the training part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from espalier.datasets.decode import Size, fit_to_size
from espalier.datasets.labels import not_fitted
from espalier.datasets.normalization import Scales, normalize
from espalier.errors import ConfigError, DataError, Problem, explain, shorten

_PATH = "data_loader.args.dataset.args"  # where it usually stands, for messages
_MOST_FITTED = 2000  # images that mean and std are taken of
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
Normalize = str | dict[str, Any] | None


class ImageDataset(Dataset[Any]):
    """Images of one size as uint8, and how they are normalised. A subclass gives `load(index)` and `targets`.

    A sample is `(image, target)`, the image uint8 `(C, H, W)`: transforms, and a cache, work on these. The loader has
    `finish_input` make float32 of it, normalised.

    Args:
        size: a number: the shorter side is scaled to it and the middle square cut out; `(H, W)`: scaled to that;
            None: images stay as they are.
        normalize: "fit": by mean and standard deviation of the training images, per channel; "imagenet": by those that
            pretrained networks expect; `{"mean": [...], "std": [...]}` in units from 0 to 1; None: only to 0 to 1.
        channels: 3 for colour, 1 for grey.

    Attributes:
        targets: what is to be predicted, a value for each sample.
        class_names: the name of each class, in the order of their numbers.
        mean: per channel, in units from 0 to 1; std likewise.
        image_size: `[H, W]`; None where images differ.

    Raises:
        ConfigError: an argument is out of range.
    """

    facts: tuple[str, ...] = ("num_classes", "class_names", "mean", "std", "in_channels", "image_size")
    targets: Any
    class_names: list[str]

    def __init__(self, size: Size, normalize: Normalize, channels: int) -> None:
        self.size = (size[0], size[1]) if isinstance(size, list) and len(size) == 2 else size
        self.in_channels = channels
        self._is_fitted = normalize == "fit"
        self._is_ready = not self._is_fitted
        _check(self.size, normalize, channels)
        given = IMAGENET if normalize == "imagenet" else normalize if isinstance(normalize, dict) else None
        self._set_normalisation(given or {"mean": [0.0] * channels, "std": [1.0] * channels})
        self.image_size: list[int] | None = None

    def _set_normalisation(self, values: dict[str, Any]) -> None:
        self.mean, self.std = list(values["mean"]), list(values["std"])
        self._scales = Scales.of(self.mean, self.std)

    # What a subclass gives

    def load(self, index: int) -> torch.Tensor:
        """The image of a sample as it is stored: uint8 `(C, H, W)`, `C` as `channels` says."""
        raise NotImplementedError

    def fit_targets(self, indices: np.ndarray) -> dict[str, Any]:
        """What is to be known of the targets, as plain values."""
        raise NotImplementedError

    def use_targets(self, fitted: dict[str, Any]) -> None:
        """Take over what `fit_targets` gave."""
        raise NotImplementedError

    # What the loader asks for

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def is_deterministic(self) -> bool:
        """Loading draws no random numbers; a subclass of a user may."""
        return type(self).__module__.startswith("espalier.")

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How images are prepared, see `espalier.preprocessing.images`.

        Files are prepared so, too, but where a subclass outside of this package loads images in its own way.
        """
        return {
            "kind": "image", "size": self.size, "channels": self.in_channels, "mean": self.mean, "std": self.std,
            "image_size": self.image_size, "takes_files": type(self).load.__module__.startswith("espalier."),
        }  # fmt: skip

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        if not self._is_ready:
            raise not_fitted(type(self).__name__)
        return self.image(index), self.target(index)

    def image(self, index: int) -> torch.Tensor:
        """The image of a sample, brought to size: uint8 `(C, H, W)`."""
        return fit_to_size(self.load(index), self.size)

    def raw_input(self, index: int) -> Any:
        """What tells images apart that become alike when they are brought to size: the image as it is stored."""
        return self.load(index)

    def target(self, index: int) -> Any:
        """The target of a sample."""
        return self.targets[index].item()

    def fit(self, indices: np.ndarray) -> dict[str, Any]:
        """What is fitted on these samples alone, in plain values.

        Mean and standard deviation are exact over at most 2,000 of the images, evenly spaced over the sorted indices.
        """
        chosen = np.unique(np.asarray(indices, dtype=np.int64))
        if len(chosen) == 0:
            raise DataError(f"data error: there is no training sample to fit {type(self).__name__} on")
        fitted = self.fit_targets(chosen)
        num_looked_at = min(len(chosen), _MOST_FITTED if self._is_fitted else 1)
        chosen = chosen[np.arange(num_looked_at) * len(chosen) // num_looked_at]
        moments, sizes = _Moments(self.in_channels), set()
        for index in chosen.tolist():
            image = self.image(index)
            moments.add(image)
            sizes.add(tuple(image.shape[-2:]))
        fitted["image_size"] = list(sizes.pop()) if len(sizes) == 1 else None
        return {**fitted, **moments.mean_and_std()} if self._is_fitted else fitted

    def use(self, fitted: dict[str, Any]) -> None:
        """Take over what `fit` gave, here or in an earlier run.

        Raises:
            DataError: it does not fit this data.
        """
        self.fitted = fitted
        self.use_targets(fitted)
        self.image_size = fitted["image_size"]
        if self._is_fitted:
            self._set_normalisation(fitted)
        self._is_ready = True

    def finish_input(self, image: torch.Tensor) -> torch.Tensor:
        """An image, or a batch of them, as float32 and normalised. Of float input the values are taken as 0 to 1.

        Raises:
            DataError: it is none, or of another number of channels.
        """
        return normalize(image, self._scales)

    def finish_batch(self, samples: list[Any]) -> Any:
        """What `collate_fn` makes of samples whose images `finish_input` has finished; None where these have to do it.

        Each image is written as float32 into its place of the batch and normalised there, while the core's cache has
        it: that takes half the time of an image by itself and a copy.
        """
        kind, ours = type(self), ImageDataset
        if kind.finish_input is not ours.finish_input or kind.collate_fn is not ours.collate_fn:
            return None
        if not all(isinstance(each, tuple) and type(each[0]) is torch.Tensor for each in samples):
            return None
        images, shape = [each[0] for each in samples], samples[0][0].shape
        if {(each.dtype, each.shape) for each in images} != {(torch.uint8, shape)} or shape[:-2] != (self.in_channels,):
            return None
        shift, scale = self._scales[:2]
        batch = torch.empty((len(images), *shape), dtype=torch.float32)
        for image, place in zip(images, batch, strict=True):
            place.copy_(image).sub_(shift).mul_(scale)
        return [batch, *default_collate([each[1:] for each in samples])]

    @staticmethod
    def collate_fn(batch: list[Any]) -> Any:
        """A batch of samples.

        Raises:
            DataError: their images differ in size.
        """
        try:
            return default_collate(batch)
        except RuntimeError:
            shapes = [tuple(each[0].shape) for each in batch if isinstance(each, tuple) and hasattr(each[0], "shape")]
            if len(different := list(dict.fromkeys(shapes))) < 2:
                raise
            raise DataError(explain("data error: images of different size cannot be one batch",
                                    got=f"{different[0]} and {different[1]}",
                                    fix='give the dataset a size, such as "size": 224, or the loader a transform or a '
                                        "collate_fn that brings them to one")) from None  # fmt: skip


class _Moments:
    """Sums of values and squares per channel: whole numbers, so exact in any order."""

    def __init__(self, channels: int) -> None:
        self._number, self._sums, self._squares = 0, [0] * channels, [0] * channels

    def add(self, image: torch.Tensor) -> None:
        """Count an image, uint8 `(C, H, W)`."""
        values = image.flatten(1).double()  # whole numbers below 2**53 stay exact
        self._number += values.shape[1]
        for channel, (total, squares) in enumerate(
            zip(values.sum(1).tolist(), values.square().sum(1).tolist(), strict=True)
        ):
            self._sums[channel] += int(total)
            self._squares[channel] += int(squares)

    def mean_and_std(self) -> dict[str, list[float]]:
        """Of the values divided by 255; over all of them, not as an estimate from a sample."""
        number = self._number
        variances = [number * square - total**2 for total, square in zip(self._sums, self._squares, strict=True)]
        return {
            "mean": [total / (255 * number) for total in self._sums],
            "std": [math.sqrt(each) / (255 * number) for each in variances],
        }


def _check(size: Any, normalize: Any, channels: Any) -> None:
    faults = []
    sizes = [size] if isinstance(size, int) else size if isinstance(size, (tuple, list)) and len(size) == 2 else [0]
    if size is not None and not all(type(each) is int and each > 0 for each in sizes):
        expected = "a number of pixels, or [height, width]"
        faults.append(Problem(f"{_PATH}.size", "is out of range", got=shorten(size), expected=expected))
    if channels not in (1, 3):
        faults.append(Problem(f"{_PATH}.channels", "is out of range", got=shorten(channels), expected="1 or 3"))
    elif not _is_normalisation(normalize, channels):
        each = "3 numbers" if channels == 3 else "1 number"
        expected = (
            f'"fit", "imagenet" (3 channels), null, or {{"mean": [...], "std": [...]}} with {each} each, std above 0'
        )
        faults.append(Problem(f"{_PATH}.normalize", "is out of range", got=shorten(normalize), expected=expected))
    if faults:
        raise ConfigError(faults)


def _is_normalisation(given: Any, channels: int) -> bool:
    if isinstance(given, dict):
        lists = [given.get(name) for name in ("mean", "std")]
        return set(given) == {"mean", "std"} and all(
            isinstance(each, (list, tuple))
            and len(each) == channels
            and all(isinstance(number, (int, float)) and math.isfinite(number) for number in each)
            for each in lists
        ) and all(number > 0 for number in given["std"])  # fmt: skip
    return given in (None, "fit") or (given == "imagenet" and channels == 3)
