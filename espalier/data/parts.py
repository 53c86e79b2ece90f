"""The parts of one dataset: the samples of each, what is learned from those that train, and how each is transformed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch.utils.data import DistributedSampler, IterableDataset, RandomSampler, SequentialSampler

from espalier.data.cache import Cached
from espalier.data.columns import values_of
from espalier.data.facts import fact_of, names_of_facts, plain
from espalier.data.hidden_fit import refuse_hidden_fit
from espalier.data.loaders import length_of, num_samples_in
from espalier.data.order import EpochOrder, split_indices
from espalier.data.split_columns import Split
from espalier.data.splits import faults_of_split, parts_of
from espalier.data.transformed import Transformed, TransformedStream, transforms_of
from espalier.errors import ConfigError, DataError, Problem, explain, parts_of_message

_SPLIT = "data_loader.args.split"  # where it usually stands, for messages
_OF_ALL = (RandomSampler, SequentialSampler, DistributedSampler)  # samplers that leave out no sample


class Parts:
    """A dataset, and its training, validation and test parts. All of them see one copy of the data.

    A dataset may offer more than samples; each of these is left out where it has nothing to say:

    - `targets`: a value for each sample, for stratified splits and class weights.
    - `column(name)`: a value for each sample, to split by.
    - `fit(indices)`: plain values, such as a mean or a vocabulary, learned from these samples alone; `use(values)`
      takes them over before a sample is loaded, and may keep them as `fitted`.
    - `keep_apart(parts)`: the indices of the parts, by name, without samples that have something of another part.
    - `check_samples(indices)`: raises a `DataError` for samples that cannot be used then.
    - `finish_input(input)`: the last thing that is done to an input, after the transform of its part.
    - `facts`: names of attributes that a config may ask for as `${data.<name>}`.

    Args:
        dataset: map-style or iterable.
        split: a `split` section (see `espalier.data.splits`), or only the share or number of validation samples;
            None or 0: all samples train.
        transform: of each input; `{"train": ..., "eval": ...}` for one each, either of which may be left out. With
            `"on": "sample"` it is given whole samples, such as an image and its mask.
        seed: of the split.

    Attributes:
        indices: the samples of each part, by its name; None where all of them train.
        is_on_samples: whether the transforms are given whole samples.
        outline: what the first batch was made of, see `espalier.data.batch.outline_of`; None before there was one.

    Raises:
        ConfigError: the split or the transform cannot be made from this dataset, or a wrapper hides what it learns.
    """

    def __init__(self, dataset: Any, split: dict[str, Any] | float | None, transform: Any, seed: int) -> None:
        refuse_hidden_fit(dataset)
        self.dataset = dataset
        self.indices: Split | None = None
        self.outline: Any = None
        self._sampler: Any = None
        self._fitted: dict[str, Any] | None = None
        self._transforms, self.is_on_samples = transforms_of(transform)
        if isinstance(split, dict):
            self.indices = parts_of(split, num_samples_in(dataset), seed, self.column)
        elif split:
            train, valid = split_indices(num_samples_in(dataset), split, seed)
            self.indices = {"train": train, "valid": valid, "test": valid[:0]}
        if self.indices is not None and hasattr(dataset, "keep_apart"):
            self.indices = dataset.keep_apart(self.indices)

    # The samples of each

    def order_of(self, part: str, seed: int, shuffle: bool = False) -> EpochOrder | None:
        """The order of the samples of a part; None where it has none, or nothing was divided."""
        indices = () if self.indices is None else self.indices[part]
        return EpochOrder(np.asarray(indices), shuffle, seed) if len(indices) else None

    def train_by(self, sampler: Any) -> None:
        """Note what draws the samples that train, whoever made it: what is learned is learned from these alone."""
        self._sampler = sampler

    def column(self, name: str | None) -> Any:
        """A value for each sample: the column of that name or, for None, the targets.

        Raises:
            ConfigError: the dataset has none.
        """
        try:
            return values_of(self.dataset, name)
        except DataError as error:
            head, answers = parts_of_message(error)
            path = f"{_SPLIT}.stratify" if name is None else _SPLIT
            known = map(answers.get, ("got", "expected", "closest", "fix"))
            raise ConfigError(Problem(path, f"cannot be made: {head}", None, *known)) from None

    @property
    def train_indices(self) -> np.ndarray:
        """The samples that train.

        Raises:
            DataError: a sampler of the user's does not say which.
        """
        sampler = getattr(self._sampler, "sampler", self._sampler)  # of a batch sampler
        if hasattr(sampler, "indices"):
            return np.asarray(sampler.indices)
        if self.indices is not None and sampler is None:
            return self.indices["train"]
        if self.learns and not isinstance(sampler, (type(None), *_OF_ALL)):
            kinds = type(sampler).__name__, type(self.dataset).__name__
            what = "data error: {} does not say which samples train, and {} learns from them".format(*kinds)
            raise DataError(explain(what, fix="give it an attribute `indices`, or use one of espalier.data.samplers"))
        return np.arange(length_of(self.dataset) or 0)

    # What is learned from the training part

    @property
    def fitted(self) -> dict[str, Any]:
        """What the dataset has learned from its training part: plain values; empty where there is nothing to learn."""
        if self._fitted is None:
            known = getattr(self.dataset, "fitted", None) if self.indices is None else None  # by hand, from other data
            if not (self.learns and isinstance(known, dict)):
                known = plain(self.dataset.fit(self.train_indices)) if self.learns else {}
            self.load_fitted(known)
        return self._fitted or {}

    def load_fitted(self, values: dict[str, Any]) -> None:
        """Take over what was learned before, in place of learning it here.

        Raises:
            DataError: there are samples that cannot be used then.
        """
        self._fitted = values
        if self.learns:
            self._use()
        if self.learns and hasattr(self.dataset, "check_samples"):
            chosen = getattr(self._sampler, "indices", None)
            used = np.arange(len(self.dataset)) if chosen is None else np.asarray(chosen)
            self.dataset.check_samples(used if self.indices is None else np.concatenate([*self.indices.values()]))

    def _use(self) -> None:
        self.dataset.use(self._fitted)
        if isinstance(getattr(self.dataset, "fitted", {}), dict):  # where it is kept in mind whose values it has
            self.dataset.fitted = self._fitted

    def prepare(self) -> None:
        """Let the dataset give samples of these parts: by what was learned from their training part, and no other."""
        fitted = self.fitted
        in_use = getattr(self.dataset, "fitted", None)
        if self.learns and isinstance(in_use, dict) and in_use is not fitted and in_use != fitted:
            self._use()

    def fill(self, num_workers: int) -> bool:
        """Fill the cache by so many workers, before a run; whether there is one to be filled.

        Raises:
            DataError: the samples cannot be kept.
        """
        self.prepare()
        if not isinstance(self.dataset, Cached) or self.dataset.is_filled:
            return False
        self.dataset.fill(num_workers)
        return True

    @property
    def division(self) -> str | None:
        """Tells one training part from another, as a short text; None where nothing was divided."""
        if self.indices is None:
            return None
        return hashlib.sha256(np.ascontiguousarray(self.indices["train"], dtype="<i8").tobytes()).hexdigest()[:16]

    @property
    def learns(self) -> bool:
        """Whether the dataset has something to learn."""
        return callable(getattr(self.dataset, "fit", None)) and callable(getattr(self.dataset, "use", None))

    @property
    def has_nothing_to_learn(self) -> bool:
        """Whether the dataset says that it knows all, as `Arrays` does that are not normalised."""
        known: Any = getattr(self.dataset, "fitted", None)
        return bool(known == {})

    @property
    def has_variants(self) -> bool:
        """Whether training and evaluation see samples in different ways."""
        return self._transforms.get("train") is not self._transforms.get("eval")

    @property
    def eval_transform(self) -> Any:
        """What is done to the inputs of an evaluation; with `is_on_samples` to its samples. None for nothing."""
        return self._transforms.get("eval")

    @property
    def has_transform(self) -> bool:
        """Whether there is any, in training or in evaluation."""
        return any(self._transforms.get(part) is not None for part in ("train", "eval"))

    @property
    def fact_names(self) -> tuple[str, ...]:
        """What `fact` knows."""
        return names_of_facts(self.dataset)

    def fact(self, name: str) -> Any:
        """What the data says under this name, a plain value: `num_classes`, or one of the `facts` of the dataset.

        Raises:
            DataError: there is no such fact, or this data has no targets to tell it from.
        """
        _ = self.fitted
        return fact_of(self.dataset, name, self.train_indices)

    # Its samples

    def view(self, part: str) -> Any:
        """The dataset with the transform of a part, "train" or "eval"; samples keep their numbers in the whole."""
        transform = self._transforms.get(part)
        finish = getattr(self.dataset, "finish_input", None)
        if transform is None and finish is None:
            return self.dataset
        kind = TransformedStream if isinstance(self.dataset, IterableDataset) else Transformed
        key = f"transform.{part}" if self.has_variants else "transform"
        return kind(self.dataset, transform, finish, is_on_samples=self.is_on_samples, key=key)


def one_split(split: dict[str, Any] | None, validation_split: float) -> dict[str, Any] | float:
    """What a loader's arguments say of how to divide the data; 0 for nothing.

    Raises:
        ConfigError: both say it.
    """
    if split is not None and validation_split:
        raise ConfigError(Problem(_SPLIT, "and validation_split both say how to divide the data",
                                  fix="keep one of them"))  # fmt: skip
    return split or validation_split


def faults_of_arguments(arguments: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with a loader's arguments in a config, as far as that shows before there is data."""
    if isinstance(arguments.get("split"), dict):  # in a loader of the user's it may mean something else
        yield from faults_of_split(arguments["split"])
