"""A model as a server uses it: what one request has sent is prepared by itself, and computed with that of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from espalier.errors import DataError, UserError, parts_of_message
from espalier.inference.model import Model, together
from espalier.report.privacy import public


@dataclass(frozen=True)
class Bad:
    """An input that cannot be used, and why, in a sentence."""

    reason: str


class Engine:
    """Makes samples of inputs, and answers of samples.

    Args:
        model: as `load_model` gives it.
        batch_size: of a request with more samples this many are computed at once.
    """

    def __init__(self, model: Model, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size

    def samples(self, inputs: Any) -> list[Any]:
        """A sample for each input, or a `Bad`. May be called in several threads at once.

        Args:
            inputs: a list of some, each of which may be a `Bad` already; or a table of some.

        Raises:
            UserError: none of the inputs can be used.
        """
        if not isinstance(inputs, list):
            return self._encoded(inputs)
        good = [each for each in inputs if not isinstance(each, Bad)]
        found = self._encoded(good) if good else []
        if len(found) != len(good):
            raise DataError("data error: the inputs cannot be told apart")
        rest = iter(found)
        return [each if isinstance(each, Bad) else next(rest) for each in inputs]

    def _encoded(self, inputs: Any) -> list[Any]:
        encoded: Any = self.model.preprocessing.encode(inputs)
        return [_sample(encoded, place) for place in range(len(encoded))]

    def answers(self, samples: list[Any]) -> list[Any]:
        """For each sample a `Prediction`, or a `Bad`."""
        try:
            return self._answers(samples)
        except (torch.OutOfMemoryError, MemoryError):
            if len(samples) == 1:
                return [Bad("the model needs more memory for it than there is")]
        return [answer for each in samples for answer in self.answers([each])]

    def _answers(self, samples: list[Any]) -> list[Any]:
        found: list[Any] = [Bad("the model has given nothing for it")] * len(samples)
        for outputs, faults in self.model.outputs_of_encoded(samples, batch_size=self.batch_size):
            said = together(self.model.meaning, outputs, {})
            for place, prediction in zip(said.places.tolist(), said, strict=True):
                found[place] = prediction
            for each in faults:
                found[each.place] = Bad(sentence(each.reason))
        return found


def sentence(error: Exception | str) -> str:
    """A message as a sentence for one who has sent something, without a path of this machine."""
    if isinstance(error, Exception) and not isinstance(error, UserError):
        error = f"{type(error).__name__}: {error}"
    head, answers = parts_of_message(error if isinstance(error, UserError) else UserError(error or "no reason"))
    told = [f"{label} {text}" for label, text in answers.items() if label != "from"]
    return public(head + (f" ({'; '.join(told)})" if told else ""))


def _sample(encoded: Any, place: int) -> Any:
    try:
        return encoded[place]
    except Exception as error:  # of one input; a library that reads a file may raise anything
        return Bad(sentence(error))
