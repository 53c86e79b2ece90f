"""What a model and a loss were given where one of them failed: mostly they do not fit each other, or the data."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from espalier.errors import TrainingError, UserError, counted, explain
from espalier.training.forward_arguments import in_words, refuse_arguments
from espalier.training.outputs import kind_of, parts_of_output, taken_by
from espalier.training.restore import unwrap
from espalier.training.targets import NameOf, fault_of_targets, kind, losses_of, may_take_classes
from espalier.training.unpacked import refuse_unpacked

# As libraries of models call the number of classes, where not num_classes.
_NUM_CLASSES = {"transformers": "num_labels", "segmentation_models_pytorch": "classes"}
# What layers call the size of their input, and the axis that has it.
_SIZES: tuple[tuple[type[nn.Module], str, int], ...] = (
    (nn.Linear, "in_features", -1), (_NormBase, "num_features", 1), (nn.GroupNorm, "num_channels", 1),
    (nn.RNNBase, "input_size", -1),
)  # fmt: skip
_MISFITS = (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


@contextlib.contextmanager
def explain_misfits(model: nn.Module, criterion: Any, name_of: NameOf = str) -> Iterator[None]:
    """Let an error out of a call of the model or the loss say what that was given.

    Args:
        name_of: what a sample of the batch is called.

    Raises:
        TrainingError: the loss cannot take what the model gives or such targets, or the model no such arguments.
    """
    try:
        yield
    except UserError:
        raise
    except _MISFITS as error:
        _refuse_on_device(error, criterion)
        refuse_unpacked(error)
        given = _given(error.__traceback__, criterion)
        if given is not None:
            _tell(error, f"The loss {_name(criterion)}", given)
            _refuse_output(error, criterion, given[0])
            _refuse_targets(error, criterion, unwrap(model), given[0], name_of)
        elif (given := _given(error.__traceback__, unwrap(model))) is not None:
            _tell(error, f"The model {type(unwrap(model)).__name__}", given)
            if isinstance(error, TypeError):
                refuse_arguments(error, unwrap(model), *given)
                _refuse_texts(error, model, given[0])
            _refuse_lacking_targets(error, unwrap(model), *given)
            _refuse_small(error, unwrap(model), *given)
            _refuse_inputs(error, unwrap(model), given[0])
        raise


Given = tuple[list[Any], dict[str, Any]]  # what a function was given by position, and by name


def _given(traceback: TracebackType | None, function: Any) -> Given | None:
    """What the outermost call of `function` was given, among those that had not ended."""
    while traceback is not None:
        if (found := _arguments(traceback.tb_frame, function)) is not None:
            return found
        traceback = traceback.tb_next
    return None


def _arguments(frame: FrameType, function: Any) -> Given | None:
    if isinstance(function, nn.Module):
        is_call = frame.f_code.co_name == "_wrapped_call_impl" and frame.f_locals.get("self") is function
        return (list(frame.f_locals["args"]), dict(frame.f_locals["kwargs"])) if is_call else None
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    if code is None or frame.f_code is not code:
        return None
    names = code.co_varnames[: code.co_argcount]
    return [frame.f_locals.get(name) for name in names if name != "self"], {}


def _tell(error: Exception, who: str, given: Given) -> None:
    if hasattr(error, "add_note"):  # Python 3.11
        error.add_note(f"{who} was given {in_words(*given)}.")


def _refuse_lacking_targets(
    error: Exception, model: nn.Module, by_position: list[Any], by_name: dict[str, Any]
) -> None:
    """Say how a model is trained that takes its targets in training, and computes its losses, as a detector does."""
    taken = [*inspect.signature(type(model).forward).parameters][1:]
    place = taken.index("targets") if "targets" in taken else len(taken)
    is_lacking = place >= len(by_position) and by_name.get("targets") is None
    if model.training and is_lacking and place < len(taken):
        head = (
            f"training error: the model {type(model).__name__} needs its targets in training, and computes its losses"
        )
        fix = ("give them in a loop that sums these losses, such as that of DetectionTrainer in docs/training.md: "
               "losses = self.forward((images, targets))")  # fmt: skip
        raise TrainingError(explain(head, got=in_words(by_position, by_name), fix=fix)) from error


def _refuse_small(error: Exception, model: nn.Module, by_position: list[Any], by_name: dict[str, Any]) -> None:
    """Say that images are too small for what a model makes of them."""
    if re.search("Output size is too small|Kernel size can't be greater than actual input size", str(error)):
        head = f"training error: the input is too small for the model {type(model).__name__}"
        fix = "let the dataset give larger images, or take a model that halves them less often"
        raise TrainingError(explain(head, got=f"{in_words(by_position, by_name)}; {error}", fix=fix)) from error


def _refuse_output(error: Exception, criterion: Any, given: list[Any]) -> None:
    if not given or isinstance(given[0], torch.Tensor) or type(given[0]).__name__ not in str(error):
        return  # it takes such things, and has failed of something else
    head = f"training error: the loss {_name(criterion)} cannot take what the model gives"
    fix = "let forward return one tensor"
    if isinstance(given[0], list) and all(isinstance(each, Mapping) for each in given[0]):
        fix = ("write a _valid_epoch that counts metrics alone, by self.track(None, output, target), such as that of "
               "DetectionTrainer in docs/training.md")  # fmt: skip
    elif parts := parts_of_output(given[0]):
        part = next((each for each in ("logits", "out", "output") if each in parts), next(iter(parts)))
        fix += f', or write under arch: "output": "{part}"'
    raise TrainingError(explain(head, got=kind_of(given[0]), expected="a tensor", fix=fix)) from error


def _refuse_texts(error: Exception, model: nn.Module, given: list[Any]) -> None:
    is_text = given and isinstance(given[0], (list, tuple)) and all(isinstance(each, str) for each in given[0])
    if is_text:
        head = f"training error: the model {type(unwrap(model)).__name__} cannot take texts"
        fix = "let the dataset, or its collate_fn, turn them into numbers"
        raise TrainingError(explain(head, got=kind_of(given[0]), expected="a tensor", fix=fix)) from error


def _refuse_targets(error: Exception, criterion: Any, model: nn.Module, given: list[Any], name_of: NameOf) -> None:
    called = _NUM_CLASSES.get(type(model).__module__.partition(".")[0], "num_classes")
    for loss in losses_of(criterion) if len(given) > 1 else ():
        if (fault := fault_of_targets(loss, given[0], given[1], name_of, called)) is not None:
            raise TrainingError(str(fault)) from error


def _refuse_on_device(error: Exception, criterion: Any) -> None:
    """On a GPU a number out of range ends the process's use of it, so that nothing can be looked at any more."""
    if "device-side assert" in str(error):
        cause = "a class that the model has no output for, or " if may_take_classes(criterion) else ""
        head = "training error: a number is out of range on the GPU"
        raise TrainingError(explain(head, got=f"{cause}an index that an embedding has no row for",
                                    fix="the same command with n_gpu=0 says which")) from error  # fmt: skip


def _refuse_inputs(error: Exception, model: nn.Module, given: list[Any]) -> None:
    """Name the layer that cannot take its input: by type, by size, or by a number that it has no row for."""
    layer, value = _innermost(error.__traceback__)
    if isinstance(value, list) and "list" in str(error):
        _refuse_list(error, model, value)
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
        expected = f"0 to {layer.num_embeddings - 1}, since it has {counted(layer.num_embeddings, 'row')}"
        fix = 'give the embedding as many rows as there are numbers, as by "${data.vocab_size}"'
        raise TrainingError(explain(head, got=got, expected=expected, fix=fix)) from error
    is_number = isinstance(weight, torch.Tensor) and weight.is_floating_point()
    if is_number and weight is not None and value.dtype != weight.dtype and re.search("dtype|type", str(error)):
        expected = str(weight.dtype).removeprefix("torch.")
        fix = f"let the dataset give {expected}: torch.as_tensor(x, dtype=torch.{expected})"
        raise TrainingError(explain(head, got=got, expected=expected, fix=fix)) from error
    if (sizes := _sizes(layer, value)) is not None:
        name, size, there = sizes
        fix = f"give it {name} {there}"
        if isinstance(layer, nn.Linear):
            is_of_data = given and isinstance(given[0], torch.Tensor) and given[0].shape[-1:] == value.shape[-1:]
            fix += ', or "${data.in_features}", which some datasets know' if is_of_data else ""
        elif not (given and given[0] is value):
            fix += f", or let what comes before it give {size}"
        unit = "channels" if isinstance(layer, (_ConvNd, _NormBase, nn.GroupNorm)) else "features"
        expected = f"{size} {unit.removesuffix('s') if size == 1 else unit}"
        raise TrainingError(explain(head, got=got, expected=expected, fix=fix)) from error


def _sizes(layer: nn.Module, value: torch.Tensor) -> tuple[str, Any, Any] | None:
    """Where a layer takes another size than its input has: what it calls that, what it takes, and what is there."""
    if isinstance(layer, nn.LayerNorm):
        size, there = [*layer.normalized_shape], [*value.shape[-len(layer.normalized_shape) :]]
        return None if size == there else ("normalized_shape", size, there)
    known = [(name, axis) for each, name, axis in _SIZES if isinstance(layer, each)]
    if isinstance(layer, _ConvNd):
        known = [("in_channels", -len(layer.kernel_size) - 1)]
    for name, axis in known:
        if -value.dim() <= axis < value.dim() and value.shape[axis] != vars(layer)[name]:
            return name, vars(layer)[name], value.shape[axis]
    return None


def _refuse_list(error: Exception, model: nn.Module, value: list[Any]) -> None:
    """Say how samples that were left as a list become one tensor."""
    if not value or not all(isinstance(each, torch.Tensor) for each in value):
        return
    is_of_one_shape = len({each.shape for each in value}) == 1
    fix = 'where AsList makes the batches, give it "stack_input": true; or let forward stack them: torch.stack(inputs)'
    fix = fix if is_of_one_shape else "take espalier.data.collate.Pad, or samples of one shape"
    head = f"training error: the model {type(model).__name__} cannot take samples as a list"
    raise TrainingError(explain(head, got=kind_of(value), expected="a tensor", fix=fix)) from error


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
    function, _ = taken_by(function, None)
    return str(getattr(function, "__name__", type(function).__name__))
