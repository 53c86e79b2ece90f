"""Model, loss and data that do not fit each other: told by what was given, not by the inside of PyTorch alone."""

import functools
import sys
from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import nn

from espalier.data.batch import call_with
from espalier.errors import TrainingError
from espalier.training.criterion import WeightedSum
from espalier.training.misfits import explain_misfits
from model.loss import nll_loss

Outputs = namedtuple("Outputs", "logits aux")
X, Y = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)


class Model(nn.Module):
    """Gives what it is told to."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, inputs):
        """Fails where there is nothing to give."""
        return inputs @ torch.zeros(5, 3) if self.output is X else self.output


class ModelOutput(OrderedDict):
    """As those of transformers: a dict whose values are attributes too."""

    logits = X


class Called:
    """An object that can be called."""

    def __call__(self, output, target):
        return (output - target).mean()


def step(model, loss, inputs=X, target=Y):
    """One step as a trainer makes it."""
    with explain_misfits(model, loss):
        return loss(model(inputs), target)


SUM = WeightedSum([nll_loss], [1.0])
WRITE = ', or write under arch: "output": '


@pytest.mark.parametrize(
    ("output", "loss", "name", "got", "way"),
    [
        ((X, X), nll_loss, "nll_loss", "tuple of [(4, 3), (4, 3)]", WRITE + '"0"'),
        ([X], nn.CrossEntropyLoss(), "CrossEntropyLoss", "list of [(4, 3)]", WRITE + '"0"'),
        ({"out": X}, nn.MSELoss(), "MSELoss", "dict of {out: (4, 3)}", WRITE + '"out"'),
        ({"a": X, "logits": X}, nn.L1Loss(), "L1Loss", "dict of {a: (4, 3), logits: (4, 3)}", WRITE + '"logits"'),
        (ModelOutput(loss=X, logits=X), nll_loss, "nll_loss",
         f"{__name__}.ModelOutput of {{loss: (4, 3), logits: (4, 3)}}", WRITE + '"logits"'),
        (Outputs(X, X), functools.partial(nll_loss), "partial",
         f"{__name__}.Outputs of {{logits: (4, 3), aux: (4, 3)}}", WRITE + '"logits"'),
        (None, SUM, "WeightedSum", "None", ""),
        (None, nn.BCEWithLogitsLoss(), "BCEWithLogitsLoss", "None", ""),
        ("x", Called(), "Called", "a str", ""),
    ],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_loss_that_cannot_take_the_output_is_told_with_both(output, loss, name, got, way):
    """The kind of output, the name of the loss, and what to write."""
    with pytest.raises(TrainingError) as error:
        step(Model(output), loss)
    assert str(error.value) == (
        f"training error: the loss {name} cannot take what the model gives\n"
        f"  got       {got}\n  expected  a tensor\n  fix       let forward return one tensor{way}"
    )


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(3, 2)), nn.Sequential(nn.Flatten()), nn.Linear(3, 2)])
@pytest.mark.parametrize(
    ("inputs", "got", "fix"),
    [
        ([X[0], X[1]], "[(3,), (3,)]", 'where AsList makes the batches, give it "stack_input": true; or let forward '
         "stack them: torch.stack(inputs)"),
        ([X[0], X[1:]], "[(3,), (3, 3)]", "take espalier.data.collate.Pad, or samples of one shape"),
    ],
)  # fmt: skip
def test_model_that_cannot_take_a_list_is_told(model, inputs, got, fix):
    """How it becomes a tensor goes by the shapes."""
    with pytest.raises(TrainingError) as error:
        step(model, nll_loss, inputs)
    head = f"training error: the model {type(model).__name__} cannot take samples as a list"
    assert str(error.value) == f"{head}\n  got       list of {got}\n  expected  a tensor\n  fix       {fix}"


def test_model_that_cannot_take_texts_is_told():
    """They are a matter of the dataset."""
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(TrainingError) as error:
        step(model, nll_loss, ["a", "b"])
    assert str(error.value) == (
        "training error: the model Sequential cannot take texts\n  got       list of [str, str]\n  expected  a tensor\n"
        "  fix       let the dataset, or its collate_fn, turn them into numbers"
    )


class Two(nn.Module):
    """Takes two inputs."""

    def forward(self, left, right):
        """Gives the first."""
        return left


class One(nn.Module):
    """Takes one input, and fails inside where that is a text."""

    def forward(self, x):
        """Never of use."""
        return Two()(x) if isinstance(x, str) else x


DICT_AND_TUPLE = "let unpack give a tuple of what forward takes, in that order, or a dict by name"


@pytest.mark.parametrize(
    ("model", "inputs", "fault", "closest", "fix"),
    [
        (Two(), {"left": X, "rigth": X}, "takes no argument rigth and is not given right", "right",
         "let unpack give a dict of what forward takes, or let forward take what it is given"),
        (Two(), {"left": X, "right": X, "labels": Y}, "takes no argument labels", None,
         "let unpack give a dict of what forward takes, or let forward take what it is given"),
        (Two(), {"left": X}, "is not given right", None,
         "let unpack give right too, or give it a default in forward"),
        (One(), {"a": X, "b": X}, "takes no argument a, b and is not given x", None,
         "write def forward(self, a, b), or let unpack give a tuple of it: return (inputs,), target"),
        (Two(), X, "is not given right", None, DICT_AND_TUPLE),
        (Two(), (), "is not given left, right", None, DICT_AND_TUPLE),
        (Two(), [X, X], "is not given right", None,
         "write into your trainer: def unpack(self, batch): return tuple(batch[0]), batch[1]"),
        (Two(), (X, X, X), "is given 3 inputs, and takes 2", None,
         "let unpack give what forward takes; one input that is a tuple: return (inputs,), target"),
    ],
)  # fmt: skip
def test_arguments_that_forward_does_not_take_are_told_with_those_it_takes(model, inputs, fault, closest, fix):
    """Names given, names taken, the closest, and what to write."""
    with pytest.raises(TrainingError) as error, explain_misfits(model, nll_loss):
        call_with(model, inputs)
    head, got, expected, *lines = str(error.value).splitlines()
    name = type(model).__name__
    assert head == f"training error: forward of the model {name} {fault}"
    assert expected == f"  expected  forward(self, {'left, right' if name == 'Two' else 'x'})"
    assert all(f"{each}=a tensor" in got for each in inputs) if isinstance(inputs, dict) else "=" not in got
    assert lines == [*([f"  closest   {closest}"] if closest else []), f"  fix       {fix}"]


def test_type_error_inside_the_model_is_left_as_it_is():
    """Of a module that the model calls."""
    with pytest.raises(TypeError, match="missing 1 required positional argument") as error:
        step(One(), nll_loss, "text")
    assert not isinstance(error.value, TrainingError)


def fails_inside(output, target):
    """A loss of the user's that takes a dict, and has a fault of its own."""
    return output["aut"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with Python 3.11")
@pytest.mark.parametrize(
    ("output", "loss", "note"),
    [
        (torch.zeros(4), nn.NLLLoss(), "The loss NLLLoss was given a tensor (4,) of float32, a tensor (4,) of int64."),
        ({"out": X}, fails_inside, "The loss fails_inside was given dict of {out: (4, 3)}, a tensor (4,) of int64."),
        (X, nll_loss, "The model Model was given a tensor (4, 3) of float32."),
    ],
)
def test_other_errors_keep_their_traceback_and_note_what_was_given(output, loss, note):
    """Shapes and types of numbers, as the most frequent faults are in them."""
    with pytest.raises((RuntimeError, KeyError, ValueError)) as error:
        step(Model(output), loss)
    assert not isinstance(error.value, TrainingError)
    assert error.value.__notes__ == [note]


F64 = X.double()
NUMBERS = torch.tensor([[0, 5], [1, 2]])


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.Linear(5, 3), X, "the model Linear cannot take its input\n  got       (4, 3) of float32\n"
         "  expected  5 features\n"
         '  fix       give it in_features 3, or "${data.in_features}", which some datasets know'),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(5, 3)), X, "the layer 2 (Linear) cannot take its input\n"
         "  got       (4, 4) of float32\n  expected  5 features\n  fix       give it in_features 4"),
        (nn.Sequential(nn.Linear(3, 4)), F64, "the layer 0 (Linear) cannot take its input\n"
         "  got       (4, 3) of float64\n  expected  float32\n"
         "  fix       let the dataset give float32: torch.as_tensor(x, dtype=torch.float32)"),
        (nn.Conv1d(3, 3, 1), torch.zeros(4, 3, 3, dtype=torch.uint8), "the model Conv1d cannot take its input\n"
         "  got       (4, 3, 3) of uint8\n  expected  float32\n"
         "  fix       let the dataset give float32: torch.as_tensor(x, dtype=torch.float32)"),
        (nn.Sequential(nn.Embedding(5, 3)), NUMBERS, "the layer 0 (Embedding) cannot take its input\n"
         "  got       numbers from 0 to 5, (2, 2) of int64\n  expected  0 to 4, since it has 5 rows\n"
         '  fix       give the embedding as many rows as there are numbers, as by "${data.vocab_size}"'),
        (nn.Embedding(5, 3), X, "the model Embedding cannot take its input\n  got       (4, 3) of float32\n"
         "  expected  int64\n"
         "  fix       let the dataset give whole numbers, or take a Linear layer for these"),
    ],
    ids=["features", "features inside", "float64", "bytes", "embedding", "embedding of floats"],
)  # fmt: skip
def test_layer_that_cannot_take_its_input_is_named(model, inputs, message):
    """What it was given, what it takes, and what to write."""
    with pytest.raises(TrainingError) as error:
        step(model, nll_loss, inputs)
    assert str(error.value) == f"training error: {message}"


def test_error_of_something_else_is_left_alone():
    """Neither model nor loss is to blame."""
    with pytest.raises(KeyError) as error, explain_misfits(Model(X), nll_loss):
        raise KeyError("elsewhere")
    assert not hasattr(error.value, "__notes__")
