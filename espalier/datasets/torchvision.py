"""Any image data set of torchvision, by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espalier.datasets.decode import Size, load_image, pil_to_tensor
from espalier.datasets.pixels import ImageDataset, Normalize
from espalier.errors import ConfigError, DataError, Problem, closest, explain, shorten
from espalier.file_lock import file_lock

_PATH = "data_loader.args.dataset.args"  # where it usually stands, for messages
_OURS = (
    "transform",
    "target_transform",
    "transforms",
    "root",
    "loader",
    "download",
)  # arguments that are not to be given


class Torchvision(ImageDataset):
    """A data set of `torchvision.datasets` for classification, downloaded into `root` when it is not there.

    Size, normalisation and facts are those of `espalier.datasets.pixels.ImageDataset`.

    Args:
        name: as in `torchvision.datasets`, such as "CIFAR10" or "FashionMNIST".
        root: the folder that holds it.
        size: None: images stay as they are.
        normalize: as there.
        channels: 3 for colour, 1 for grey; None: as the first image has.
        download: whether to download what is not there.
        args: its other arguments, such as `{"train": false}` or `{"split": "test"}`.

    Attributes:
        targets: the class of each image, int64 `(N,)`.
        class_names: those of torchvision; the numbers as texts where it has none.

    Raises:
        ConfigError: there is no such data set, or it has no such argument.
        DataError: it is not there and cannot be downloaded, or is not one of images and classes.
    """

    def __init__(
        self,
        name: str,
        root: str,
        size: Size = None,
        normalize: Normalize = "fit",
        channels: int | None = None,
        download: bool = True,
        args: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.root, self.args = name, Path(root).expanduser(), dict(args or {})
        self._source = _load(name, self.root, self.args, download, partial(load_image, channels=channels or 3))
        first = self._source[0] if len(self._source) else None
        image = first[0] if isinstance(first, tuple) and len(first) == 2 else None
        if not (isinstance(image, torch.Tensor) or hasattr(image, "convert")):
            got = "no samples" if first is None else f"samples of {_kinds(first)}"
            raise DataError(explain(f"data error: torchvision's {name} is no data set of images and targets", got=got,
                                    fix='write a Dataset around it, and name that as "type"'))  # fmt: skip
        super().__init__(
            size, normalize, (1 if getattr(image, "mode", "RGB") == "L" else 3) if channels is None else channels
        )
        self.targets = self._all_targets()
        names = getattr(self._source, "classes", None) or range(int(self.targets.max()) + 1)
        self.class_names = [", ".join(each) if isinstance(each, tuple) else str(each) for each in names]

    def _all_targets(self) -> np.ndarray:
        """The targets where they are to be had without images, or else from every sample."""
        source = self._source
        found = next((getattr(source, name) for name in ("targets", "labels") if hasattr(source, name)), None)
        if found is None:
            blank = torch.zeros(3, 1, 1, dtype=torch.uint8)
            without_images = _load(self.name, self.root, self.args, False, lambda path: blank)
            found = [without_images[index][1] for index in range(len(source))]
        targets = np.asarray(found)
        if targets.shape != (len(source),) or targets.dtype.kind not in "iu" or targets.min() < 0:
            raise DataError(explain(f"data error: torchvision's {self.name} has no classes as targets",
                                    got=f"targets of type {targets.dtype} and shape {targets.shape}",
                                    fix='write a Dataset around it, and name that as "type"'))  # fmt: skip
        return targets.astype(np.int64)

    @property
    def made_from(self) -> dict[str, Any]:
        """All that samples depend on, for a cache: which data set, where, and the arguments."""
        return {"name": self.name, "root": str(self.root.resolve()), "args": self.args, "size": self.size,
                "channels": self.in_channels}  # fmt: skip

    def load(self, index: int) -> torch.Tensor:
        """The image of a sample: uint8 `(C, H, W)`."""
        image = self._source[index][0]
        return image if isinstance(image, torch.Tensor) else pil_to_tensor(image, self.in_channels)

    def fit_targets(self, indices: np.ndarray) -> dict[str, Any]:
        """The classes, which the data set names, whichever images train."""
        return {"class_names": list(self.class_names)}

    def use_targets(self, fitted: dict[str, Any]) -> None:
        """Check that the classes are those of training.

        Raises:
            DataError: they are not.
        """
        if fitted["class_names"] != self.class_names:
            what = f"data error: torchvision's {self.name} has other classes than in training"
            raise DataError(explain(what, got=shorten(self.class_names), expected=shorten(fitted["class_names"])))


def _load(name: str, root: Path, args: dict[str, Any], download: bool, loader: Callable[[str], Any]) -> Any:
    """The data set itself; one that decodes files has it done by `loader`."""
    from torchvision import datasets

    kind = getattr(datasets, name, None) if name in datasets.__all__ else None
    if not isinstance(kind, type):
        raise ConfigError(Problem(f"{_PATH}.name", "is no data set of torchvision", got=shorten(name),
                                  closest=closest(str(name), datasets.__all__)))  # fmt: skip
    known = _parameters_of(kind)
    _check_args(name, args, known)
    options = {**({"root": str(root)} if "root" in known else {}), **({"loader": loader} if "loader" in known else {})}
    try:
        try:
            return kind(**options, **args)
        except (RuntimeError, OSError):
            if not (download and "download" in known):
                raise
        root.mkdir(parents=True, exist_ok=True)
        with file_lock(root / f".{name}.lock", f"downloads {name}"):
            return kind(**options, **args, download=True)
    except ImportError as error:
        raise DataError(explain(f"data error: torchvision's {name} needs a package that is missing", got=str(error),
                                fix=f"pip install {error.name}" if error.name else None)) from error  # fmt: skip
    except (RuntimeError, OSError) as error:
        could = " and could not be downloaded" if download and "download" in known else ""
        fix = "connect to a network, or copy its files there" if could else "copy its files there"
        raise DataError(explain(f"data error: torchvision's {name} is not in {root}{could}", got=str(error),
                                fix=f"{fix}, or name another folder as root")) from error  # fmt: skip
    except (ValueError, TypeError) as error:
        raise ConfigError(Problem(f"{_PATH}.args", f"does not suit {name}", got=f"{shorten(args)}: {error}")) from error


def _parameters_of(kind: type) -> set[str]:
    """The arguments of a data set; of one that hands some on also those of the class that it hands them to."""
    found: set[str] = set()
    for each in kind.__mro__:
        parameters = inspect.signature(each.__init__).parameters.values()  # type: ignore[misc]
        found |= {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
        if all(each.kind != each.VAR_KEYWORD for each in parameters):
            break
    return found - {"self"}


def _check_args(name: str, args: dict[str, Any], known: set[str]) -> None:
    free = sorted(known - {*_OURS})
    faults = [
        Problem(f"{_PATH}.args.{each}", "is an argument of the loader" if "transform" in each else
                f"is not an argument of torchvision's {name}", got=shorten(args[each]),
                expected=f"one of: {', '.join(free)}", closest=closest(each, free))
        for each in args if each not in free
    ]  # fmt: skip
    if faults:
        raise ConfigError(faults)


def _kinds(sample: Any) -> str:
    parts = sample if isinstance(sample, tuple) else (sample,)
    return ", ".join(type(each).__name__ for each in parts)
