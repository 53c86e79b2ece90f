"""What is exported of a run, and the inputs that the file is tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from torch.utils.data import IterableDataset

from espalier.data.named_loaders import each_of
from espalier.errors import DataError, UserError, explain
from espalier.export.graph import Graph, can_hold_preprocessing
from espalier.export.real_batches import equal, raw_batches
from espalier.export.sizes import Sizes, sizes_of
from espalier.inference.model import Model
from espalier.inference.named_tensors import named_tensors
from espalier.rng import DEFAULT_SEED, kept_rng, seed_everything

_LOOKED_AT = 4  # batches, and single samples
_EXAMPLES = (7, 1)  # samples, beside as many as evaluation takes at once
_NO_DATA = "name data that is here: -c CONFIG, whose data sections are taken instead"


@dataclass
class Subject:
    """What is exported, and what it is compared on.

    Attributes:
        model: on the CPU.
        graph: of it.
        examples: inputs of the graph: first a batch as evaluation has them, then others of other size.
        sizes: the dimensions that may change.
        trainer: that evaluates; None where the examples alone are compared.
        loader: of its data; None likewise.
        num_batches: that are compared; None for all.
        arch: that section of the config.
        notes: for people, a sentence each.
    """

    model: Model
    graph: Graph
    examples: list[Any]
    sizes: Sizes
    trainer: Any = None
    loader: Any = None
    num_batches: int | None = None
    arch: Any = None
    notes: list[str] = field(default_factory=list)

    @property
    def example(self) -> Any:
        """A batch as evaluation has them."""
        return self.examples[0]

    @property
    def batch_size(self) -> int:
        """Of the evaluation."""
        return len(first_tensor(self.examples[0]))


def subject_of(model: Model, trainer: Any, loader: Any, num_batches: int | None = None) -> Subject:
    """What is exported of a model, with data, and the trainer that evaluates the model on it.

    Args:
        trainer: None where there is none: then some batches of the data are compared, without metrics.
        loader: of the data.
        num_batches: that are compared; None for all.

    Raises:
        DataError: there is no batch.
        UserError: the model does not take what the data gives.
    """
    with kept_rng():
        finished = list(_examples(loader, model.unpack if trainer is None else trainer.unpack))
    if not finished:
        raise DataError(explain("export error: there is no data to compare the file on", fix=_NO_DATA))
    raw = list(islice(raw_batches(model, loader, num_batches), _LOOKED_AT)) if can_hold_preprocessing(model) else []
    holds = bool(raw) and equal(model.preprocessing.module(raw[0]), finished[0])  # type: ignore[misc]
    subject = subject_with(model, raw if holds else finished, has_preprocessing=holds)
    subject.trainer, subject.loader, subject.num_batches = trainer, loader, num_batches
    if model.interpret is not None:
        subject.notes.append(
            "The file gives the output of the network: what `interpret` makes of it is not part of it."
        )
    if model.preprocessing.module is not None and not holds:
        subject.notes.append("The file takes finished inputs: what prepares them is not part of it.")
    return subject


def own_examples(model: Model) -> list[Any] | None:
    """What `example_inputs(num)` of a network gives, which has it where its input is no data: noise, say; else None."""
    make = getattr(model.network, "example_inputs", None)
    if make is None:
        return None
    with kept_rng():
        seed_everything(DEFAULT_SEED)
        return [make(number) for number in (max(2, model.batch_size), *_EXAMPLES)]


def subject_with(model: Model, examples: list[Any], *, has_preprocessing: bool = False, arch: Any = None) -> Subject:
    """What is exported of a model, compared on these inputs alone."""
    try:
        graph = Graph(model, examples[0], has_preprocessing=has_preprocessing)
    except UserError:
        raise
    except Exception as error:  # of many kinds, as a network may do anything
        head = "export error: the network does not take what the data gives"
        fix = "give it a method example_inputs(self, num), which returns what forward takes, for so many samples"
        raise UserError(explain(head, got=f"{type(error).__name__}: {error}"[:300], fix=fix)) from error
    return Subject(model, graph, examples, sizes_of(graph, examples), arch=arch)


def without_preprocessing(subject: Subject) -> Subject:
    """The same, of finished inputs."""
    if subject.graph.preprocessing is None:
        return subject
    with torch.no_grad():
        examples = [subject.graph.preprocessing(each) for each in subject.examples]
    bare = subject_with(subject.model, examples, arch=subject.arch)
    return replace(subject, graph=bare.graph, examples=examples, sizes=bare.sizes)


def _examples(loader: Any, unpack: Callable[[Any], tuple[Any, Any]]) -> Iterator[Any]:
    """Inputs of the first batches, and of single samples, which differ more in size."""
    one = each_of(loader)[0]
    with torch.no_grad():
        for batch in islice(one, _LOOKED_AT):
            yield unpack(batch)[0]
        dataset: Any = getattr(one, "dataset", None)
        collate_fn = getattr(one, "collate_fn", None)
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
            return
        if collate_fn is None or getattr(one, "batch_size", None) is None:
            return
        for index in range(min(_LOOKED_AT, len(dataset))):
            yield unpack(collate_fn([dataset[index]]))[0]


def first_tensor(inputs: Any) -> torch.Tensor:
    """The first of the tensors in an input, whose first dimension counts samples."""
    return next(iter(named_tensors(inputs, "input").values()))
