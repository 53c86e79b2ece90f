"""What becomes of inputs that a model cannot take, and of a machine that fails."""

import numpy as np
import pytest
import torch
from torch import nn

from espalier.errors import DataError
from espalier.inference.meaning import CLASSES, NUMBERS, OUTPUTS, Meaning, meaning_of
from espalier.inference.model import OF_MACHINE, Model
from espalier.preprocessing.kinds import load_preprocessing
from tests.espalier.inference.test_odd_files import Sums, model_of


class Picky(nn.Module):
    """Doubles batches, but refuses those with a negative number."""

    def forward(self, x):
        if bool((x < 0).any()):
            raise IndexError("a number below 0")
        return 2 * x


def picky():
    """A model whose preprocessing fails at negative inputs, for the whole batch that has one."""
    model = model_of({"kind": "tensor", "shape": [3], "dtype": "float32"})
    model.preprocessing.module = Picky()
    return model


def test_input_that_the_arithmetic_of_a_preprocessing_refuses_is_a_fault_of_its_own():
    """The others of its batch are predicted, each as alone."""
    inputs = np.arange(15, dtype=np.float32).reshape(5, 3)
    inputs[3, 1] = -1
    said = picky().predict([*inputs], skips_faults=True)
    assert said.faults == {3: "data error: the model cannot take the input: IndexError: a number below 0"}
    assert said.places.tolist() == [0, 1, 2, 4]
    assert said.outputs[:, 0].tolist() == [2 * inputs[place].sum() for place in (0, 1, 2, 4)]
    with pytest.raises(DataError) as caught:
        picky().predict([*inputs])
    assert str(caught.value) == (
        "data error: the model cannot take the input: IndexError: a number below 0\n  from      inputs[3]"
    )


@pytest.mark.parametrize("kind", OF_MACHINE)
def test_machine_that_fails_is_no_fault_of_an_input(kind):
    """Nor is each input tried again by itself."""
    calls = []

    def fail(inputs):
        calls.append(len(inputs))
        raise kind("gone")

    model = Model(Sums().eval(), load_preprocessing({"kind": "tensor"}), Meaning(CLASSES), torch.device("cpu"),
                  forward=fail)  # fmt: skip
    with pytest.raises(kind, match="gone"):
        model.predict(np.zeros((4, 3), dtype=np.float32), skips_faults=True)
    assert calls == [4]


def own_loss(output, target):
    """A loss as a project writes it."""
    return (output - target).abs().mean()


@pytest.mark.parametrize(("shape", "is_known"), [((2,), True), ((2, 1), True), ((2, 4), False), ((2, 3, 1), True)])
def test_outputs_of_an_own_loss_are_in_units_of_the_file_where_they_are_as_many_as_targets(shape, is_known):
    """As `test.py --predictions` has them; other outputs are left as they are."""
    meaning = meaning_of(own_loss, scale={"mean": 10.0, "std": 2.0}).of(torch.ones(shape))
    assert meaning.kind == (NUMBERS if is_known else OUTPUTS)
    assert meaning.read(torch.ones(shape))[0].unique().tolist() == ([12.0] if is_known else [1.0])
