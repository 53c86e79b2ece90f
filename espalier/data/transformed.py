"""A dataset with the transform of one of its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from espalier.data.batch import shape_of
from espalier.data.raw_inputs import name_of_sample
from espalier.data.samples import collate_fn_of, is_deterministic
from espalier.errors import ConfigError, DataError, Problem, SampleError, UserError, closest, explain, shorten
from espalier.limits import with_advice

_DONE_HERE = ("finish_input", "finish_batch", "fit", "use", "check_samples")  # not to be done twice
_PATH = "data_loader.args.transform"  # where it usually stands, for messages


class _Transform:
    """What is done to each sample of a part."""

    def __init__(self, dataset: Any, transform: Callable[[Any], Any] | None, finish: Callable[[Any], Any] | None, *,
                 is_on_samples: bool = False, key: str = "transform") -> None:  # fmt: skip
        self._key = key  # which says what the transform is, in the arguments of the loader
        self.dataset, self._transform, self._finish, self._is_on_samples = dataset, transform, finish, is_on_samples

    @property
    def is_deterministic(self) -> bool:
        """Whether loading draws no random numbers; a transform may."""
        return self._transform is None and is_deterministic(self.dataset)

    @property
    def collate_fn(self) -> Callable[[Any], Any] | None:
        """That of the dataset."""
        return collate_fn_of(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("dataset", *_DONE_HERE):
            raise AttributeError(name)
        return getattr(self.dataset, name)  # classes, targets; of a stream state_dict, set_epoch, is_sharded

    def by_batch(self, collate_fn: Callable[[Any], Any]) -> tuple[Any, Callable[[Any], Any]]:
        """A dataset and a function to collate its samples, with the batches that this one and `collate_fn` give.

        Where the dataset can (`finish_batch`), the last step is done to all samples of a batch at once.
        """
        at_once = getattr(self.dataset, "finish_batch", None)
        if at_once is None or self._finish != at_once.__self__.finish_input:  # that of a dataset inside another
            return self, collate_fn
        one_by_one = Transformed(self.dataset, None, self._finish)
        unfinished = Transformed(self.dataset, self._transform, None, is_on_samples=self._is_on_samples,
                                 key=self._key)  # fmt: skip
        return unfinished, partial(_finished, at_once, one_by_one, collate_fn)

    def _apply(self, sample: Any) -> Any:
        if self._transform is not None and self._is_on_samples:
            sample = self._transform(sample)
        is_pair = isinstance(sample, (tuple, list)) and len(sample) > 0
        inputs = sample[0] if is_pair else sample
        if self._transform is not None and not self._is_on_samples:
            inputs = self._transform(inputs)
        if self._finish is not None:
            inputs = self._finish(inputs)
        return (inputs, *sample[1:]) if is_pair else inputs


class Transformed(_Transform, Dataset[Any]):
    """A map-style dataset with the transform of one part."""

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        sample = self.dataset[index]
        try:
            return self._apply(sample)
        except UserError:
            raise
        except Exception as error:
            raise self._failed(error, sample, index) from error

    def _failed(self, error: Exception, sample: Any, index: Any) -> Exception:
        """Short where a transform of a library refuses its input; one of the user's shows where it failed."""
        traceback, names = error.__traceback__, [""]
        while traceback is not None:
            names.append(traceback.tb_frame.f_globals.get("__name__", ""))
            traceback = traceback.tb_next
        kind, where = type(self.dataset).__name__, f"sample {name_of_sample(self.dataset, index)}"
        what = f"{self._key} cannot take {where} of {kind}: {type(error).__name__}: {error}"
        if not names[-1].startswith("torchvision."):
            return SampleError(with_advice(what, error))
        inputs = sample if self._is_on_samples or not isinstance(sample, (tuple, list)) else sample[0]
        got = f"{shape_of(inputs)} of {inputs.dtype}" if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        return DataError(explain(f"data error: {what}", key=f"args.{self._key}", got=got,
                                 fix="mend the transform, or bring the inputs to size before it, as by `size` of a "
                                     "dataset of ours"))  # fmt: skip


def _finished(at_once: Callable[[Any], Any], one_by_one: Transformed, collate_fn: Any, samples: list[Any]) -> Any:
    batch = None if get_worker_info() is not None else at_once(samples)  # a worker's is put into shared memory
    return collate_fn([*map(one_by_one._apply, samples)]) if batch is None else batch


class TransformedStream(_Transform, IterableDataset[Any]):
    """An iterable dataset with the transform of one part; its state and its rules are those of the dataset."""

    def __iter__(self) -> Iterator[Any]:
        return map(self._apply, self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)


def transforms_of(transform: Any) -> tuple[dict[str, Any], bool]:
    """The transform of each part, and whether it is given whole samples.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(transform, Mapping):
        return {"train": transform, "eval": transform}, False
    if unknown := sorted(transform.keys() - {"train", "eval", "on"}):
        raise ConfigError(Problem(f"{_PATH}.{unknown[0]}", "is not a part", got=shorten(transform[unknown[0]]),
                                  expected='"train", "eval", and "on": "input" or "sample"',
                                  closest=closest(unknown[0], ("train", "eval", "on"))))  # fmt: skip
    if (on := transform.get("on", "input")) not in ("input", "sample"):
        raise ConfigError(Problem(f"{_PATH}.on", "is out of range", got=shorten(on), expected="input or sample"))
    for part in ("train", "eval"):
        if transform.get(part) is not None and not callable(transform[part]):
            expected = 'a transform, as in {"type": "torchvision.transforms.v2.Resize", ...}'
            raise ConfigError(
                Problem(f"{_PATH}.{part}", "cannot be called", got=shorten(transform[part]), expected=expected)
            )
    return dict(transform), on == "sample"
