"""A file held against its model: on inputs of many sizes, and on the data of evaluation, with the metrics of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from espalier.data.batch import call_with
from espalier.errors import UserError, explain
from espalier.export.compare import Comparison
from espalier.export.graph import Graph
from espalier.export.real_batches import equal, raw_batches
from espalier.export.sizes import Sizes, trials
from espalier.export.subject import Subject, first_tensor


@dataclass(frozen=True)
class Misfit:
    """A size that the model takes and the file does not.

    Attributes:
        name: of the dimension.
        why: what the file did.
    """

    name: str
    why: str


def tried(subject: Subject, network: Any, sizes: Sizes, found: Comparison) -> Misfit | None:
    """Give a file inputs of many sizes; the first that it does not take as the model does, or None.

    Adds the sizes to `found`, and to `sizes` how small one may be: a file need not take what is smaller than all data.
    """
    graph = subject.graph
    if not _agrees(subject, network, found):
        return None  # whatever its size: the comparison on data will tell
    for name, size, is_small, inputs in trials(graph, sizes, subject.examples):
        try:
            expected = graph.eager(inputs)
        except Exception:  # the model itself does not take this size
            continue
        one = Comparison(found.atol, found.rtol)
        try:
            one.add(expected, call_with(network, inputs), 0, f"{name} {size}")
        except Exception as error:  # as above
            if is_small:
                sizes.least[name] = size + 1
                continue
            return Misfit(name, f"fixed: {_why(error, size)}")
        if not one.fits:
            return Misfit(name, f"fixed: with {size} the file gives something else: {one.worst}")
        found.sizes_tried.append(f"{name} {size}")
    return None


def _agrees(subject: Subject, network: Any, found: Comparison) -> bool:
    """Whether the file gives what the model gives for the first example; True where it does not take that."""
    one = Comparison(found.atol, found.rtol)
    try:
        one.add(subject.graph.eager(subject.example), call_with(network, subject.example))
    except Exception:  # of the libraries that run files
        return True
    return one.fits


def _why(error: Exception, size: int) -> str:
    said = (str(error).strip() or repr(error)).splitlines()[0]
    if said.startswith("Guard failed"):  # in names that nobody has given
        return f"PyTorch finds one size alone in what forward does, and {size} is another"
    return f"{size} is refused: {said[:200]}"


def compare(subject: Subject, network: Any, found: Comparison) -> Comparison:
    """Compare a file with its model, on the data of evaluation where there is a trainer, else on the examples.

    Raises:
        UserError: the file does not take a batch.
    """
    if subject.trainer is None:
        for place, inputs in enumerate(subject.examples):
            output = _called(network, inputs, place)
            found.add(subject.graph.eager(inputs), output, len(first_tensor(inputs)), f"batch {place + 1}")
        return found
    trainer = subject.trainer
    found.metrics = _numbers(trainer.evaluate_epoch(0))
    raw = raw_batches(subject.model, subject.loader, subject.num_batches) if subject.graph.has_preprocessing else None

    def exported(inputs: Any, place: int) -> Any:
        return _called(network, inputs if raw is None else _raw_of(subject, next(raw, None), inputs, place), place)

    beside = Beside(_finished_graph(subject).eager, exported, found)
    found.metrics_exported = _numbers(_evaluate_with(trainer, beside))
    if not beside.num_calls:
        raise UserError(explain(f"export error: _valid_epoch of {type(trainer).__name__} calls no model, so that "
                                "there is nothing to compare", fix="let it call self.forward(inputs)"))  # fmt: skip
    return found


def _evaluate_with(trainer: Any, beside: Beside) -> Any:
    """Evaluate with something else in place of the model, however the trainer calls it."""
    model = trainer.model
    trainer.forward = beside
    try:
        metrics = trainer.evaluate_epoch(0)
        if not beside.num_calls:  # it calls self.model itself
            trainer.model = _InPlace(model, beside)
            metrics = trainer.evaluate_epoch(0)
    finally:
        del trainer.forward
        trainer.model = model
    return metrics


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))}


def _finished_graph(subject: Subject) -> Graph:
    """A graph that takes finished inputs."""
    graph = subject.graph
    if graph.preprocessing is None:
        return graph
    with torch.no_grad():
        return Graph(subject.model, graph.preprocessing(subject.examples[0]), has_preprocessing=False)


def _raw_of(subject: Subject, raw: Any, inputs: Any, place: int) -> Any:
    """The input of the graph for a batch of the evaluation: what prepares one has to give the other, to the bit."""
    preprocessing = subject.graph.preprocessing
    if raw is None or preprocessing is None or not equal(preprocessing(raw), inputs):
        head = f"export error: inputs of batch {place + 1} are prepared otherwise in evaluation than predict does it"
        raise UserError(explain(head, fix="let the preprocessing of the dataset say all that it does to an input"))
    return raw


def _called(network: Any, inputs: Any, place: int) -> Any:
    try:
        return call_with(network, inputs)
    except Exception as error:  # of the libraries that run files
        head = f"export error: the file does not take batch {place + 1}, which the model takes"
        said = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(explain(head, got=said[:300])) from error


class Beside:
    """What a trainer calls in place of its model: calls the file, and compares it with the model.

    Args:
        model: takes the input of a batch.
        exported: takes the input of a batch and its number, from 0 on.
        found: is added to.

    Attributes:
        num_calls: of batches.
    """

    def __init__(self, model: Callable[[Any], Any], exported: Callable[[Any, int], Any], found: Comparison) -> None:
        self._model, self._exported, self._found = model, exported, found
        self.num_calls = 0

    def __call__(self, inputs: Any) -> Any:
        """The output of the file."""
        with torch.no_grad():
            output = self._exported(inputs, self.num_calls)
            place, number = f"batch {self.num_calls + 1}", len(first_tensor(inputs))
            self._found.add(self._model(inputs), output, number, place)
        self.num_calls += 1
        return output


class _InPlace(nn.Module):
    def __init__(self, model: Any, beside: Beside) -> None:
        super().__init__()
        self.model, self.beside = model, beside

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.beside(kwargs or (args[0] if len(args) == 1 else args))
