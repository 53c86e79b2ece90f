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
from espalier.training.unpacked import pair_from
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


class ByPosition(nn.Module):
    """Takes two inputs by position alone."""

    def forward(self, image, age, /) -> torch.Tensor:
        """Gives the first."""
        return image


class ByName(nn.Module):
    """Takes two inputs by name alone."""

    def forward(self, *, image, age=None, sex):
        """Gives the first."""
        return image


class Many(nn.Module):
    """Takes any number of inputs by position."""

    def forward(self, *inputs: torch.Tensor):
        """Gives the first."""
        return inputs[0]


class Mixed(nn.Module):
    """Takes the first as it comes, the second by name."""

    def forward(self, image, *, age):
        """Gives the first."""
        return image


@pytest.mark.parametrize(
    ("model", "inputs", "what", "got", "signature", "fix"),
    [
        (ByPosition(), {"image": X, "age": Y}, "takes image, age by position alone, and is given a dict",
         "image=a tensor (4, 3) of float32, age=a tensor (4,) of int64", "self, image, age, /",
         'let unpack give a tuple, in that order, as in: return (batch["image"], batch["age"]), target'),
        (ByPosition(), X, "is given 1 input, and takes 2", "a tensor (4, 3) of float32", "self, image, age, /",
         "let unpack give a tuple of what forward takes, in that order"),
        (Many(), {"image": X}, "takes *inputs by position alone, and is given a dict",
         "image=a tensor (4, 3) of float32", "self, *inputs: torch.Tensor",
         'let unpack give a tuple, in that order, as in: return (batch["image"],), target'),
        (ByName(), (X, Y), "takes image, sex by name alone, and is given a tuple",
         "a tensor (4, 3) of float32, a tensor (4,) of int64", "self, *, image, age=None, sex",
         'let unpack give a dict, as in: return {"image": ..., "sex": ...}, target'),
        (Mixed(), X, "takes age by name alone, and is given one input by position", "a tensor (4, 3) of float32",
         "self, image, *, age", 'let unpack give a dict, as in: return {"image": ..., "age": ...}, target'),
    ],
)  # fmt: skip
def test_way_in_which_forward_takes_its_arguments_is_told(model, inputs, what, got, signature, fix):
    """By position or by name alone, with the signature as it is written."""
    with pytest.raises(TrainingError) as error, explain_misfits(model, nll_loss):
        call_with(model, inputs)
    assert str(error.value) == (
        f"training error: forward of the model {type(model).__name__} {what}\n  got       {got}\n"
        f"  expected  forward({signature})\n  fix       {fix}"
    )


class Loop:
    """A trainer whose `unpack` gives what it is told to."""

    def __init__(self, given):
        self.given = given

    def unpack(self, batch):
        """Whatever that is."""
        return self.given

    def run(self, batch):
        """As the loop of a trainer."""
        data, target = self.unpack(batch)
        return data, target


@pytest.mark.parametrize(
    ("given", "got", "fix"),
    [
        ((X, X, Y), "3 things: tuple of [(4, 3), (4, 3), (4,)]",
         "several inputs stand in a tuple of their own: return (first, second), target"),
        (None, "None", 'let unpack end with "return inputs, target"'),
        ((X,), "tuple of [(4, 3)]", "let it give the target, too"),
        (X, "a tensor (4, 3) of float32", "let it give the target, too"),
    ],
)  # fmt: skip
def test_unpack_that_gives_no_pair_is_told_with_what_it_gave(given, got, fix):
    """In a loop, and where `--check` and lazy modules ask for the input."""
    message = (
        f"training error: unpack of Loop gives no pair of input and target\n  got       {got}\n"
        f"  expected  return inputs, target\n  fix       {fix}"
    )
    with pytest.raises(TrainingError) as error, explain_misfits(One(), nll_loss):
        Loop(given).run([X, Y])
    assert str(error.value) == message
    with pytest.raises(TrainingError) as error:
        pair_from(Loop(given), [X, Y])
    assert str(error.value) == message


def test_value_error_of_another_line_is_left_as_it_is():
    """What was taken apart there was not given by `unpack`."""
    with pytest.raises(ValueError, match="unpack") as error, explain_misfits(One(), nll_loss):
        _, _ = (1, 2, 3)
    assert not isinstance(error.value, TrainingError)


@pytest.mark.parametrize(
    ("library", "called"),
    [("transformers.models.bert", "num_labels"), ("segmentation_models_pytorch.unet", "classes"), ("m", "num_classes")],
)
def test_outputs_to_give_are_named_as_the_library_of_the_model_does(monkeypatch, library, called):
    """A model of transformers has no num_classes."""
    model = Model(X.clone())
    monkeypatch.setattr(Model, "__module__", library)
    with pytest.raises(TrainingError) as error:
        step(model, nn.CrossEntropyLoss(), target=Y + 5)
    assert str(error.value).splitlines()[-1] == (
        f'  fix       give the model 6 outputs, as by "{called}": "${{data.num_classes}}"'
    )


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
IMAGES = torch.zeros(4, 3, 2, 2)


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
        (nn.Sequential(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(8)), IMAGES, "the layer 1 (BatchNorm2d) cannot take its "
         "input\n  got       (4, 16, 2, 2) of float32\n  expected  8 channels\n"
         "  fix       give it num_features 16, or let what comes before it give 8"),
        (nn.Sequential(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(8, affine=False)), IMAGES, "the layer 1 (BatchNorm2d) "
         "cannot take its input\n  got       (4, 16, 2, 2) of float32\n  expected  8 channels\n"
         "  fix       give it num_features 16, or let what comes before it give 8"),
        (nn.Sequential(nn.Conv2d(1, 16, 1)), IMAGES, "the layer 0 (Conv2d) cannot take its input\n"
         "  got       (4, 3, 2, 2) of float32\n  expected  1 channel\n  fix       give it in_channels 3"),
        (nn.Sequential(nn.Conv2d(3, 6, 1), nn.ConvTranspose2d(5, 3, 1)), IMAGES, "the layer 1 (ConvTranspose2d) cannot "
         "take its input\n  got       (4, 6, 2, 2) of float32\n  expected  5 channels\n"
         "  fix       give it in_channels 6, or let what comes before it give 5"),
        (nn.Sequential(nn.Conv2d(3, 6, 1), nn.GroupNorm(2, 4)), IMAGES, "the layer 1 (GroupNorm) cannot take its "
         "input\n  got       (4, 6, 2, 2) of float32\n  expected  4 channels\n"
         "  fix       give it num_channels 6, or let what comes before it give 4"),
        (nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(5)), X, "the layer 1 (LayerNorm) cannot take its input\n"
         "  got       (4, 6) of float32\n  expected  [5] features\n"
         "  fix       give it normalized_shape [6], or let what comes before it give [5]"),
        (nn.Sequential(nn.GRU(5, 2)), X, "the layer 0 (GRU) cannot take its input\n"
         "  got       (4, 3) of float32\n  expected  5 features\n  fix       give it input_size 3"),
    ],
    ids=["features", "features inside", "float64", "bytes", "embedding", "embedding of floats", "batch norm",
         "batch norm without weights", "convolution", "transposed", "group norm", "layer norm", "recurrent"],
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
