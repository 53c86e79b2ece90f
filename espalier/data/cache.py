"""Samples kept as they were loaded once: in memory, or in a file that later runs find again."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import logging
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from espalier.atomic import write_atomically
from espalier.data.raw_inputs import name_of_sample, raw_input_of
from espalier.data.sample_store import SampleStore, write_samples
from espalier.data.samples import is_deterministic, is_in_memory, source_of
from espalier.data.workers import WorkerStart, as_it_is
from espalier.errors import ConfigError, DataError, Problem, counted, explain, megabytes, shorten
from espalier.file_lock import file_lock
from espalier.memory import available_memory
from espalier.rng import kept_rng, seed_sample

KINDS = ("memory", "disk")
_FOLDER = Path("~/.cache/espalier")
_KNOWN = {"torch", "torchvision", *sys.stdlib_module_names}  # packages whose classes nobody edits
_TRIED = 100  # samples after which it is clear how large all of them will be
logger = logging.getLogger("data")


class Cached(Dataset[Any]):
    """A map-style dataset whose samples are decoded once: `fill` loads them all, and later passes copy bytes.

    A sample that is random comes out the same in every epoch, so random transforms belong after the cache. Everything
    else that the dataset offers (`targets`, `fit`, `finish_input`, ...) is that of the dataset. Until `fill` was called
    samples are loaded as without a cache; it has to be called before workers start, which then share what it made.

    On disk the samples of all processes and runs are in one file, found by a hash of what they were made from: the
    dataset says so by an attribute `made_from` of plain values (its arguments, its files with sizes and times of
    change), and the source files of its classes count too: samples that were loaded by other code are loaded again.
    The file is there whole or not at all, and made by one process, for which the others wait.

    Args:
        dataset: its samples are tensors, arrays, numbers, texts, or tuples, lists and dicts of these.
        kind: "memory" or "disk".
        folder: for "disk"; None takes `~/.cache/espalier`.

    Raises:
        ConfigError: `kind` is another one.
    """

    def __init__(self, dataset: Any, kind: str, folder: str | Path | None = None) -> None:
        if isinstance(dataset, IterableDataset):
            what = "cannot keep an iterable dataset, whose samples have no numbers"
            raise ConfigError(Problem("data_loader.args.cache", what, fix="leave the cache out"))
        if kind not in KINDS:
            raise ConfigError(Problem("data_loader.args.cache", "is not a kind of cache", got=shorten(kind),
                                      expected="memory or disk"))  # fmt: skip
        self.dataset, self.kind = dataset, kind
        self.folder = Path(_FOLDER if folder is None else folder).expanduser()
        self._path: Path | None = None
        self._store: SampleStore | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index] if self._store is None else self._store[index]

    def raw_input(self, index: int) -> Any:
        """What the input of a sample was made from, as the dataset tells it."""
        return raw_input_of(self.dataset, index)

    def name_of(self, index: int) -> str:
        """What the dataset calls a sample."""
        return name_of_sample(self.dataset, index)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getstate__(self) -> dict[str, Any]:
        """A worker that is started afresh opens the file itself."""
        return {**self.__dict__, "_store": None if self._path is not None else self._store}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._path is not None:
            self._store = _opened(self._path, len(self))

    @property
    def is_deterministic(self) -> bool:
        """Whether loading draws no random numbers."""
        return self.is_filled or is_deterministic(self.dataset)

    @property
    def is_filled(self) -> bool:
        """Whether samples come from the cache."""
        return self._store is not None

    def use(self, fitted: dict[str, Any]) -> None:
        """Let the dataset take over what was fitted. Samples may be others then: the cache has to be filled again."""
        self.dataset.use(fitted)
        self._store = self._path = None

    def fill(self, num_workers: int = 0) -> None:
        """Load every sample, unless that was done before, or the file is there.

        Args:
            num_workers: processes that load.

        Raises:
            DataError: samples that cannot be kept, that are too many for the memory or the disk, or, for a cache on
                disk, a dataset that does not say all that it is made from.
        """
        if self.is_filled:
            return
        if self.kind == "memory":
            start, memory = time.monotonic(), io.BytesIO()
            self._write(memory, num_workers, available_memory())
            self._store = SampleStore(torch.frombuffer(memory.getbuffer(), dtype=torch.uint8))
            self._tell(memory.tell(), start)
            return
        path = self.folder / f"{self._key()}.samples"
        self._store = _opened(path, len(self)) or self._built(path, num_workers)
        self._path = path

    def _built(self, path: Path, num_workers: int) -> SampleStore:
        """The store of a file that this process makes, or that another is making."""
        start = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with file_lock(path.with_suffix(".lock"), f"makes the cache {path}") as is_alone:
                if (store := _opened(path, len(self))) is not None:
                    return store
                if is_alone:
                    for left in self.folder.glob(f".{path.stem}.*"):  # by a process that was killed
                        left.unlink(missing_ok=True)
                free = shutil.disk_usage(self.folder).free
                # Under a name of its own: without locks two processes may be here.
                own = path.with_name(f"{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
                write_atomically(own, lambda file: self._write(file, num_workers, free))
                own.replace(path)
        except OSError as error:
            raise DataError(explain(f"data error: the cache {path} cannot be written", got=str(error),
                                    fix="name another folder, or leave the cache out")) from error  # fmt: skip
        self._tell(path.stat().st_size, start)
        made = _opened(path, len(self))
        assert made is not None
        return made

    def _write(self, file: Any, num_workers: int, available: int | None) -> None:
        """Write all samples in order, unless it shows that they will be too many."""
        loader: DataLoader[Any] = DataLoader(
            _Seeded(self.dataset), batch_size=None, num_workers=num_workers, collate_fn=as_it_is,
            generator=torch.Generator(), worker_init_fn=WorkerStart(self.dataset, None) if num_workers else None,
        )  # fmt: skip
        counting = _Counting(file)

        def checked() -> Iterator[Any]:
            for number, sample in enumerate(loader):
                if number == _TRIED and available is not None:
                    self._check_size(counting.size // _TRIED * len(self), available)
                yield sample

        write_samples(counting, checked())

    def _check_size(self, needed: int, available: int) -> None:
        if needed > available:
            fix = "leave the cache out" if self.kind == "disk" else 'cache on "disk", or leave the cache out'
            raise DataError(explain(f"data error: the samples do not fit in a cache in {self._place}",
                                    got=f"about {megabytes(needed)} for {counted(len(self), 'sample')}",
                                    expected=f"at most {megabytes(available)}", fix=fix))  # fmt: skip

    def _key(self) -> str:
        """A hash of what the samples are made from, and by which code."""
        kind = type(self.dataset)
        if not hasattr(self.dataset, "made_from"):
            if is_in_memory(self.dataset):
                raise self._not_on_disk("", fix="leave the cache out: they are in memory as it is")
            expected = "an attribute made_from: plain values that name its arguments and files"
            raise self._not_on_disk("", expected=expected, fix='add it, or cache in "memory"')
        if unnamed := _arguments_beside_made_from(kind):
            raise self._not_on_disk(": it has arguments that the made_from it inherits does not know",
                                    got=", ".join(unnamed),
                                    fix="give it a made_from of its own: {**super().made_from, "
                                        f'"{unnamed[0]}": self.{unnamed[0]}}}')  # fmt: skip
        code = {each.__module__: None for each in kind.__mro__ if each.__module__.partition(".")[0] not in _KNOWN}
        made = [torch.__version__, kind.__module__, kind.__qualname__, len(self), self.dataset.made_from]
        try:
            made.append([inspect.getsource(sys.modules[name]) for name in code])
            return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:32]
        except (OSError, TypeError) as error:
            what = ": it cannot be told what they are made from"
            fix = 'write the class into a file, keep made_from to plain values, or cache in "memory"'
            raise self._not_on_disk(what, got=str(error), fix=fix) from error

    def _not_on_disk(self, why: str, **answers: str) -> DataError:
        kind = type(source_of(self.dataset)).__name__
        return DataError(explain(f"data error: samples of {kind} cannot be cached on disk{why}", **answers))

    @property
    def _place(self) -> str:
        return "memory" if self.kind == "memory" else str(self.folder)

    def _tell(self, num_bytes: int, start: float) -> None:
        took = time.monotonic() - start
        logger.info("Cached %s, %s, in %s: %.1f s.", counted(len(self), "sample"), megabytes(num_bytes), self._place,
                    took)  # fmt: skip


def _arguments_beside_made_from(kind: type) -> list[str]:
    """The arguments of a class that the class it has `made_from` of does not take."""
    owner = next((each for each in kind.__mro__ if "made_from" in vars(each)), kind)
    known = inspect.signature(owner).parameters
    return [name for name, each in inspect.signature(kind).parameters.items()
            if name not in known and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]  # fmt: skip


class _Counting:
    """A file that knows how much was written to it."""

    def __init__(self, file: Any) -> None:
        self._file, self.size = file, 0

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._file.write(data)
        self.size += len(data)


class _Seeded(Dataset[Any]):
    """The samples of a dataset, the random numbers of each a function of its index alone."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.is_seeded = dataset, not is_deterministic(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if not self.is_seeded:
            return self.dataset[index]
        with kept_rng():
            seed_sample(0, index)
            return self.dataset[index]


def _opened(path: Path, number: int) -> SampleStore | None:
    """The samples in a file; None where it is not there, or not what it should be."""
    if not path.is_file():
        return None
    try:
        store = SampleStore(torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        logger.warning("The cache %s is damaged and is made again.", path)
        return None
    return store if len(store) == number else None
