"""A function of the project that makes an input of what people have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch.utils.data import Dataset

from espalier.checkpoints.saved_shape import NAMED, TEXT, Maybe, check_shape
from espalier.preprocessing.contract import EachOf, Preprocessing
from espalier.preprocessing.tensors import WHAT, as_tensor

_STATE = {"function": TEXT, "args?": Maybe(NAMED), "takes?": TEXT}


class Function(Preprocessing):
    """What `function(value, **args)` gives is an input, as the dataset would give it ahead of the transform.

    State: `function`, a dotted name; `args`; and `takes`, what it takes, in words. Of lists and arrays of NumPy that it
    gives tensors are made.

    Args:
        function: what the name leads to.
    """

    def __init__(self, state: Mapping[str, Any], function: Callable[..., Any]) -> None:
        super().__init__(state)
        check_shape(self.state, _STATE, WHAT)
        self.takes = state.get("takes") or f"what {state['function']} takes"
        self.function = partial(function, **(state.get("args") or {}))

    def encode(self, inputs: Sequence[Any]) -> Dataset[Any]:
        """What the function gives for each input."""
        return EachOf(inputs, self._input)

    def _input(self, value: Any) -> Any:
        return as_tensor(self.function(value), {})
