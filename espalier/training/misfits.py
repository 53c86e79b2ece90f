"""What a model and a loss were given where one of them failed: mostly they do not fit each other, or the data."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import nn

from espalier.config.objects import full_name
from espalier.data.batch import shape_of
from espalier.errors import TrainingError, UserError, explain
from espalier.training.restore import unwrap
from espalier.training.targets import NameOf, fault_of_targets, kind, losses_of, takes_classes

_MISFITS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


@contextlib.contextmanager
def explain_misfits(model: nn.Module, criterion: Any, name_of: NameOf = str) -> Iterator[None]:
    """Let an error out of a call of the model or the loss say what that was given.

    Args:
        name_of: what a sample of the batch is called.

    Raises:
        TrainingError: the loss cannot take what the model gives or such targets, or the model no such inputs.
    """
    try:
        yield
    except UserError:
        raise
    except _MISFITS as error:
        _refuse_on_device(error, criterion)
        given = _given(error.__traceback__, criterion)
        if given is not None:
            _tell(error, f"The loss {_name(criterion)}", given)
            _refuse_output(error, criterion, given)
            _refuse_targets(error, criterion, given, name_of)
        elif (given := _given(error.__traceback__, unwrap(model))) is not None:
            _tell(error, f"The model {type(unwrap(model)).__name__}", given)
            _refuse_texts(error, model, given)
            _refuse_inputs(error, unwrap(model), given)
        raise


def _given(traceback: TracebackType | None, function: Any) -> list[Any] | None:
    """What the outermost call of `function` was given by position, among those that had not ended."""
    while traceback is not None:
        if (found := _arguments(traceback.tb_frame, function)) is not None:
            return found
        traceback = traceback.tb_next
    return None


def _arguments(frame: FrameType, function: Any) -> list[Any] | None:
    if isinstance(function, nn.Module):
        is_call = frame.f_code.co_name == "_wrapped_call_impl" and frame.f_locals.get("self") is function
        return list(frame.f_locals["args"]) if is_call else None
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    if code is None or frame.f_code is not code:
        return None
    names = code.co_varnames[: code.co_argcount]
    return [frame.f_locals.get(name) for name in names if name != "self"]


def _tell(error: Exception, who: str, given: list[Any]) -> None:
    if hasattr(error, "add_note"):  # Python 3.11
        error.add_note(f"{who} was given {', '.join(map(kind_of, given))}.")


def _refuse_output(error: Exception, criterion: Any, given: list[Any]) -> None:
    if not given or isinstance(given[0], torch.Tensor) or type(given[0]).__name__ not in str(error):
        return  # it takes such things, and has failed of something else
    head = f"training error: the loss {_name(criterion)} cannot take what the model gives"
    fix = "let forward return one tensor"
    if isinstance(given[0], (list, tuple, dict)):
        fix += f", or write into your trainer: output = self.model(data){_part(given[0])}"
    raise TrainingError(explain(head, got=kind_of(given[0]), expected="a tensor", fix=fix)) from error


def _refuse_texts(error: Exception, model: nn.Module, given: list[Any]) -> None:
    is_text = given and isinstance(given[0], (list, tuple)) and all(isinstance(each, str) for each in given[0])
    if isinstance(error, TypeError) and is_text:
        head = f"training error: the model {type(unwrap(model)).__name__} cannot take texts"
        fix = "let the dataset, or its collate_fn, turn them into numbers"
        raise TrainingError(explain(head, got=kind_of(given[0]), expected="a tensor", fix=fix)) from error


def _refuse_targets(error: Exception, criterion: Any, given: list[Any], name_of: NameOf) -> None:
    for loss in losses_of(criterion) if len(given) > 1 else ():
        if (fault := fault_of_targets(loss, given[0], given[1], name_of)) is not None:
            raise TrainingError(str(fault)) from error


def _refuse_on_device(error: Exception, criterion: Any) -> None:
    """On a GPU a number out of range ends the process's use of it, so that nothing can be looked at any more."""
    if "device-side assert" in str(error):
        cause = "a class that the model has no output for, or " if takes_classes(criterion) else ""
        head = "training error: a number is out of range on the GPU"
        raise TrainingError(explain(head, got=f"{cause}an index that an embedding has no row for",
                                    fix="the same command with n_gpu=0 says which")) from error  # fmt: skip


def _refuse_inputs(error: Exception, model: nn.Module, given: list[Any]) -> None:
    """Name the layer that cannot take its input: by type, by size, or by a number that it has no row for."""
    layer, value = _innermost(error.__traceback__)
    if layer is None or not isinstance(value, torch.Tensor) or not value.numel():
        return
    name = next((name for name, each in model.named_modules() if each is layer and name), None)
    what = f"{'model' if layer is model else 'layer'} {type(layer).__name__ if name is None else name}"
    what += "" if name is None else f" ({type(layer).__name__})"
    head, weight, got = f"training error: the {what} cannot take its input", getattr(layer, "weight", None), kind(value)
    if isinstance(layer, nn.Embedding):
        if value.is_floating_point():
            raise TrainingError(explain(head, got=got, expected="int64", fix="let the dataset give whole numbers, "
                                        "or take a Linear layer for these")) from error  # fmt: skip
        got = f"numbers from {int(value.min())} to {int(value.max())}, {got}"
        expected = f"0 to {layer.num_embeddings - 1}, since it has {layer.num_embeddings} rows"
        fix = 'give the embedding as many rows as there are numbers, as by "${data.vocab_size}"'
        raise TrainingError(explain(head, got=got, expected=expected, fix=fix)) from error
    if not isinstance(weight, torch.Tensor) or not weight.is_floating_point():
        return
    if value.dtype != weight.dtype and re.search("dtype|type", str(error)):
        expected = str(weight.dtype).removeprefix("torch.")
        fix = f"let the dataset give {expected}: torch.as_tensor(x, dtype=torch.{expected})"
        raise TrainingError(explain(head, got=got, expected=expected, fix=fix)) from error
    if isinstance(layer, nn.Linear) and value.shape[-1] != layer.in_features:
        is_of_data = given and isinstance(given[0], torch.Tensor) and given[0].shape[-1:] == value.shape[-1:]
        fix = f"give it in_features {value.shape[-1]}"
        fix += ', or "${data.in_features}", which some datasets know' if is_of_data else ""
        raise TrainingError(explain(head, got=got, expected=f"{layer.in_features} features", fix=fix)) from error


def _innermost(traceback: TracebackType | None) -> tuple[nn.Module | None, Any]:
    """The layer that failed, and what it was given first."""
    found: tuple[nn.Module | None, Any] = None, None
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name == "_wrapped_call_impl" and isinstance(frame.f_locals.get("self"), nn.Module):
            found = frame.f_locals["self"], next(iter(frame.f_locals["args"]), None)
        traceback = traceback.tb_next
    return found


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _part(output: Any) -> str:
    """How to get at what is likely to be meant."""
    names = getattr(output, "_fields", ()) or (tuple(output) if isinstance(output, dict) else ())
    name = next((each for each in ("logits", "out", "output") if each in names), names[0] if names else None)
    if isinstance(output, dict) and not hasattr(output, str(name)):
        return f'["{name}"]'
    return "[0]" if name is None else f".{name}"


def kind_of(value: Any) -> str:
    """A value in words: shape and type of tensors, class of others."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {shape_of(value)} of {str(value.dtype).removeprefix('torch.')}"
    if value is None:
        return "None"
    if isinstance(value, (list, tuple, dict)):
        named = dict(zip(value._fields, value, strict=True)) if hasattr(value, "_fields") else value
        return f"{full_name(type(value)).removeprefix('builtins.')} of {shape_of(named)}"
    return f"a {type(value).__name__}"
