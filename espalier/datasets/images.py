"""Images in files, a folder for each class."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espalier.datasets.decode import EXTENSIONS, Size, load_image
from espalier.datasets.pixels import ImageDataset, Normalize
from espalier.errors import DataError, closest, counted, explain

_PARTS = {"train", "training", "val", "valid", "validation", "dev", "test"}  # names of folders that are no classes
logger = logging.getLogger("data")


class ImageFolder(ImageDataset):
    """A folder with one subfolder for each class, whose images may lie in further folders; hidden ones are left out.

    Classes are numbered by their names and images ordered by their paths, byte by byte: the same on every machine.
    Size, normalisation and facts are those of `espalier.datasets.pixels.ImageDataset`.

    Args:
        root: the folder.
        size: as there; None: images stay as they are.
        normalize: as there.
        channels: 3 for colour, 1 for grey.
        extensions: which files are images, by the end of their names in any case; None: all common ones.

    Attributes:
        paths: of the images.
        targets: the class of each image, int64 `(N,)`.

    Raises:
        DataError: the folder is not there, or has another layout.
    """

    def __init__(self, root: str, size: Size = None, normalize: Normalize = "fit", channels: int = 3,
                 extensions: Sequence[str] | None = None) -> None:  # fmt: skip
        super().__init__(size, normalize, channels)
        self.root = Path(root).expanduser()
        endings = EXTENSIONS if extensions is None else tuple(f".{each.lower().lstrip('.')}" for each in extensions)
        self._folders = _class_folders(self.root)
        files = [each for name in self._folders for each in _files_in(self.root / name, name, endings)]
        self._names = sorted(files, key=os.fsencode)  # relative, as in "cat/1.jpg"
        self._folder_of = np.array(
            [self._folders.index(each.partition("/")[0]) for each in self._names], dtype=np.int64
        )
        self._check_folders(endings)
        self.use_targets({"class_names": self._folders})

    def _check_folders(self, endings: tuple[str, ...]) -> None:
        counts = np.bincount(self._folder_of, minlength=len(self._folders))
        expected = f"files that end in: {', '.join(endings)}"
        if not self._names:
            raise DataError(explain(f"data error: {self.root} has no images", expected=expected))
        if not counts.all():
            empty = [name for name, count in zip(self._folders, counts, strict=True) if count == 0]
            raise DataError(explain(f"data error: class folders of {self.root} have no images", got=_listed(empty),
                                    expected=expected, fix="remove them, or put images there"))  # fmt: skip

    @property
    def paths(self) -> list[Path]:
        """Of the images, in order."""
        return [self.root / each for each in self._names]

    @property
    def made_from(self) -> dict[str, Any]:
        """All that samples depend on, for a cache: arguments, and path, size and time of change of each file."""
        return made_from(self, self.root, self._names)

    def load(self, index: int) -> torch.Tensor:
        """The image of a sample as it is stored: uint8 `(C, H, W)`."""
        return load_image(f"{self.root}/{self._names[index]}", self.in_channels)

    def raw_input(self, index: int) -> bytes:
        """The file of an image."""
        return (self.root / self._names[index]).read_bytes()

    def name_of(self, index: int) -> str:
        """The path of an image below `root`."""
        return self._names[index]

    def fit_targets(self, indices: np.ndarray) -> dict[str, Any]:
        """The classes, which the folders name, whichever images train."""
        return {"class_names": list(self._folders)}

    def use_targets(self, fitted: dict[str, Any]) -> None:
        """Number the folders as they were in training, so that another root may lack some of them.

        Raises:
            DataError: there is a folder that training had not.
        """
        names = fitted["class_names"]
        if unknown := [each for each in self._folders if each not in names]:
            raise DataError(explain(f"data error: {self.root} has folders of classes that training did not have",
                                    got=_listed(unknown), expected=f"only: {_listed(names)}"))  # fmt: skip
        self.class_names = list(names)
        self.targets = np.array([names.index(each) for each in self._folders], dtype=np.int64)[self._folder_of]


def made_from(dataset: ImageDataset, root: Path, names: Sequence[str]) -> dict[str, Any]:
    """What the samples of a dataset of image files depend on, in plain values; of the files a hash of all of them."""
    files = hashlib.sha256()
    for name in names:
        found = (root / name).stat()
        files.update(os.fsencode(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0"))
    return {
        "root": str(root.resolve()), "files": files.hexdigest(), "size": dataset.size, "channels": dataset.in_channels,
        "targets": hashlib.sha256(np.ascontiguousarray(dataset.targets).tobytes()).hexdigest(),
    }  # fmt: skip


def _class_folders(root: Path) -> list[str]:
    """The names of the subfolders, ordered byte by byte.

    Raises:
        DataError: there are none, or they are the parts of a data set.
    """
    if not root.is_dir():
        near = closest(root.name, [each.name for each in root.parent.iterdir()]) if root.parent.is_dir() else None
        raise DataError(explain(f"data error: there is no folder {root}",
                                got="a file" if root.is_file() else None,
                                closest=None if near in (None, root.name) else str(root.parent / near)))  # fmt: skip
    entries = [each for each in root.iterdir() if not each.name.startswith(".")]
    folders = sorted((each.name for each in entries if each.is_dir()), key=os.fsencode)
    beside = sum(each.suffix.lower() in EXTENSIONS for each in entries)
    if not folders:
        got = f"{counted(beside, 'image')}, and no folders" if beside else "no folders"
        raise DataError(explain(f"data error: {root} has no class folders", got=got,
                                expected="one folder for each class, as in cat/1.jpg and dog/1.jpg",
                                fix="where a table says the classes, use espalier.datasets.ImageTable"))  # fmt: skip
    if all(each.lower() in _PARTS for each in folders):
        raise DataError(explain(f"data error: the folders of {root} are parts, not classes", got=_listed(folders),
                                expected="one folder for each class",
                                fix="name one of them, and another one in a valid_data_loader section"))  # fmt: skip
    if beside:
        logger.warning("Left out: %s beside the class folders of %s.", counted(beside, "image"), root)
    return folders


def _files_in(folder: Path, name: str, endings: tuple[str, ...]) -> Iterator[str]:
    """The images in a folder and those below it; `name` is put before each, with `/` on every system."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files_in(folder / entry.name, f"{name}/{entry.name}", endings)
            elif entry.name.lower().endswith(endings):
                yield f"{name}/{entry.name}"


def _listed(names: list[str], most: int = 10) -> str:
    rest = f", ... ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
