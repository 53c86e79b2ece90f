"""A trained model that takes what its dataset took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset, default_collate

from espalier.data.batch import call_with, pair_of, to_device
from espalier.errors import DataError, UserError
from espalier.inference.feed import Fault, Groups, Prepared, as_inputs, reason_of
from espalier.inference.meaning import OUTPUTS, Meaning
from espalier.inference.output_rows import rows_of
from espalier.inference.predictions import Predictions
from espalier.preprocessing.contract import Preprocessing
from espalier.training.accumulator import Precision
from espalier.training.outputs import part_of
from espalier.training.tensors import channels_last

# What is wrong with the machine, whatever the input; the second is not in all versions of PyTorch.
OF_MACHINE = (torch.OutOfMemoryError, vars(torch).get("AcceleratorError", torch.OutOfMemoryError))
# What an input may make a network raise.
OF_INPUTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Outputs:
    """What the network gave for some inputs.

    Attributes:
        places: of each row among the inputs.
        output: `(B, ...)`; or a list of what the model gives for each, where that is no tensor.
        meaning: of this output.
        predictions: as of `Meaning.read`; or a list of what is said of each.
        probabilities: likewise.
    """

    places: list[int]
    output: Any
    meaning: Meaning
    predictions: Any
    probabilities: torch.Tensor | None


@dataclass(repr=False)
class Model:
    """A network, what is done to its inputs, and what its outputs mean; nothing of a trainer.

    Attributes:
        network: in evaluation mode, on `device`; takes what `unpack` gives.
        preprocessing: of inputs, see there. `predict` takes what its `takes` says.
        meaning: of outputs.
        device: where it computes.
        batch_size: inputs that are looked at together; by default as many as in evaluation, which gives the same bits.
        transform: of the inputs of evaluation; None for none.
        is_on_samples: whether that is given `(input, target)`.
        collate_fn: of samples `(input, target)`.
        unpack: input and target of a batch, the trainer's.
        forward: what the network gives for an input; None: the input as its arguments.
        output_path: what part of the output counts, `arch.output`.
        precision: of autocast: "fp32", "bf16" or "fp16".
        is_channels_last: whether batches of images are laid out so, which gives other roundings.
        has_preprocessing: whether the network, an exported graph, does the arithmetic of the preprocessing itself.
        interpret: what the output of a batch means, where the network says so itself: a dict for each input, such as of
            its `boxes`, `labels` and `scores`; None: `meaning` says it.
        facts: what is worth knowing beside, as plain values: run, epoch, metrics, hash of the data, versions.
    """

    network: Any
    preprocessing: Preprocessing
    meaning: Meaning
    device: torch.device
    batch_size: int = 32
    transform: Callable[[Any], Any] | None = None
    is_on_samples: bool = False
    collate_fn: Callable[[list[Any]], Any] | None = None
    unpack: Callable[[Any], tuple[Any, Any]] = pair_of
    forward: Callable[[Any], Any] | None = None
    output_path: str | None = None
    precision: str = "fp32"
    is_channels_last: bool = False
    has_preprocessing: bool = False
    interpret: Callable[[Any], list[dict[str, Any]]] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        said = ", ".join(self.class_names[:5]) + (", ..." if len(self.class_names) > 5 else "")
        gives = f"{self.meaning.kind} ({said})" if said else self.meaning.kind
        return f"{type(self.network).__name__} on {self.device}: takes {self.preprocessing.takes}; gives {gives}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the classes or labels; empty where they have none, or it gives numbers."""
        return self.meaning.names

    def predict(self, inputs: Any, *, batch_size: int | None = None, num_workers: int = 0,
                skips_faults: bool = False) -> Predictions:  # fmt: skip
        """What the model says of each input.

        Args:
            inputs: several, see `preprocessing.takes`; a path or a text alone is one.
            skips_faults: whether an input that cannot be used is left out and told in `Predictions.faults`.

        Raises:
            DataError: an input cannot be used, and `skips_faults` is False; or none can.
        """
        found: list[Outputs] = []
        faults: dict[int, str] = {}
        for outputs, wrong in self.outputs_of(inputs, batch_size=batch_size, num_workers=num_workers):
            if wrong and not skips_faults:
                raise DataError(_at(wrong[0]))
            found += outputs
            faults.update({each.place: each.reason for each in wrong})
        return together(self.meaning, found, faults)

    @torch.no_grad()
    def outputs_of(self, inputs: Any, *, batch_size: int | None = None,
                   num_workers: int = 0) -> Iterator[tuple[list[Outputs], list[Fault]]]:  # fmt: skip
        """The same batch by batch: what was computed, and the inputs that cannot be used."""
        encoded = self.preprocessing.encode(as_inputs(inputs))
        yield from self.outputs_of_encoded(encoded, batch_size=batch_size, num_workers=num_workers)

    @torch.no_grad()
    def outputs_of_encoded(self, encoded: Any, *, batch_size: int | None = None,
                           num_workers: int = 0) -> Iterator[tuple[list[Outputs], list[Fault]]]:  # fmt: skip
        """The same of what `preprocessing.encode` gave."""
        module = None if self.has_preprocessing else self.preprocessing.module
        collate_fn = self.collate_fn or self.preprocessing.collate_fn
        # Of a plain batch it finishes all inputs at once, else each ahead of the collate function.
        at_once, by_itself = (module, None) if collate_fn is default_collate else (None, module)
        prepared = Prepared(encoded, self.transform, by_itself, is_on_samples=self.is_on_samples)
        loader = DataLoader(prepared, batch_size or self.batch_size, num_workers=num_workers,
                            collate_fn=Groups(collate_fn))  # fmt: skip
        for groups, faults in loader:
            found = []
            for each in groups:
                try:
                    batch = each.batch if at_once is None else (at_once(each.batch[0]), each.batch[1])
                    found.append(self._outputs(each.places, batch))
                except OF_MACHINE:
                    raise
                except OF_INPUTS as error:
                    found += self._one_by_one(encoded, each.places, error, faults)
            yield found, faults

    def __call__(self, batch: Any) -> Any:
        """What the network gives for a batch of finished inputs, on any device: the part that `arch.output` names."""
        with torch.no_grad(), Precision(self.precision, self.device).autocast():
            inputs = to_device(channels_last(batch) if self.is_channels_last else batch, self.device)
            output = call_with(self.network, inputs) if self.forward is None else self.forward(inputs)
        return output if self.output_path is None else part_of(output, self.output_path)

    def _one_by_one(self, encoded: Any, places: list[int], error: Exception, faults: list[Fault]) -> list[Outputs]:
        """What the network gives for each input of a batch that it cannot take as a whole; adds the faults."""
        if len(places) == 1:
            reason = reason_of(error)
            if not isinstance(error, UserError):
                reason = f"data error: the model cannot take the input: {reason.removeprefix('data error: ')}"
            faults.append(Fault(places[0], reason))
            return []
        found = []
        for place in places:
            for outputs, wrong in self.outputs_of_encoded(Subset(encoded, [place]), batch_size=1):
                found += [replace(each, places=[place]) for each in outputs]
                faults += [replace(each, place=place) for each in wrong]
        return found

    def _outputs(self, places: list[int], batch: Any) -> Outputs:
        output = self(input_of(self.unpack, batch))
        if self.interpret is not None:
            said = rows_of(self.interpret(output), len(places))
            return Outputs(places, rows_of(output, len(places)), Meaning(OUTPUTS), said, None)
        if not isinstance(output, torch.Tensor):
            rows = rows_of(output, len(places))
            return Outputs(places, rows, Meaning(OUTPUTS), rows, None)
        if len(output) != len(places):
            got = f"an output of shape {tuple(output.shape)} for {len(places)}"
            raise ValueError(f"the model gives no output for each input: {got}")
        meaning = self.meaning.of(output)
        values, shares = meaning.read(output)
        return Outputs(places, output.float().cpu(), meaning, values.cpu(), None if shares is None else shares.cpu())


def input_of(unpack: Callable[[Any], tuple[Any, Any]], batch: Any) -> Any:
    """The input of a batch without targets; where `unpack` is for batches of whole samples by name, of such a one."""
    try:
        return unpack(batch)[0]
    except (TypeError, KeyError, IndexError, AttributeError):
        if isinstance(batch, (list, tuple)) and isinstance(batch[0], Mapping):
            return unpack(WithoutTarget(batch[0]))[0]
        raise


class WithoutTarget(dict[str, Any]):
    """Samples by name; what they have not, such as a target, is None."""

    def __missing__(self, name: str) -> None:
        return None


def _at(fault: Fault) -> str:
    """What is wrong, and with which input, counted from 0 as lists are."""
    head, *lines = fault.reason.splitlines()
    return "\n".join([head, f"  from      inputs[{fault.place}]", *lines])


def together(meaning: Meaning, found: list[Outputs], faults: Mapping[int, str]) -> Predictions:
    """What was computed in batches as one; `meaning` is that of none."""
    places = np.array([place for each in found for place in each.places], dtype=np.int64)
    meaning = found[0].meaning if found else meaning
    has_shares = bool(found) and found[0].probabilities is not None
    return Predictions(meaning, _joined([each.predictions for each in found]),
                       _joined([each.probabilities for each in found]) if has_shares else None,
                       _joined([each.output for each in found]), places, dict(faults))  # fmt: skip


def _joined(parts: list[Any]) -> Any:
    """Batches as one array; as a list where they differ in size, or are lists."""
    if not parts:
        return np.empty(0, dtype=np.float32)
    if all(isinstance(part, torch.Tensor) for part in parts) and len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(parts).numpy()
    return [row.numpy() if isinstance(row, torch.Tensor) else row for part in parts for row in part]
