"""What `Model.predict` gives, and how it is asked."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import torch

from espalier.errors import DataError
from espalier.inference.meaning import CLASSES, LABELS, NUMBERS, OUTPUTS, Meaning
from espalier.inference.predictions import Predictions
from espalier.inference.shown_table import ShownTable
from tests.espalier.inference.test_odd_files import STATES, model_of

CATS = Meaning(CLASSES, names=("cat", "dog"))


def said(meaning, outputs, places=None, faults=None):
    """Predictions of outputs."""
    outputs = torch.tensor(outputs)
    values, shares = meaning.read(outputs)
    places = np.arange(len(outputs)) if places is None else np.array(places)
    return Predictions(meaning, values.numpy(), None if shares is None else shares.numpy(), outputs.numpy(), places,
                       faults or {})  # fmt: skip


def test_predictions_of_classes_are_shown_and_tabled():
    """Their text, and a frame with the columns of the CSV."""
    found = said(CATS, [[2.0, 0.0], [0.0, 1.0]], places=[0, 2], faults={1: "empty"})
    assert repr(found) == ("Predictions for 2 inputs (1 other could not be used)\n  0: cat (88.1%)\n  2: dog (73.1%)")
    frame = found.to_frame(["a.png", "c.png"])
    assert [*frame.columns] == ["name", "prediction", "prediction_class", "p_cat", "p_dog"]
    assert frame.index.tolist() == [0, 2]
    assert frame["prediction_class"].tolist() == ["cat", "dog"]
    assert frame["p_cat"].to_numpy() == pytest.approx([0.880797, 0.268941], rel=1e-4)


def test_predictions_are_sliced_to_predictions():
    """A slice has the rows of all that there is."""
    found = said(CATS, [[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    last = found[1:]
    assert isinstance(last, Predictions)
    assert last.labels == ["dog", "dog"]
    assert last.places.tolist() == [1, 2]
    assert np.array_equal(last.outputs, found.outputs[1:])
    assert found[-1].probabilities == last[1].probabilities


@pytest.mark.parametrize(
    ("meaning", "outputs", "columns", "value"),
    [
        (Meaning(LABELS, True, names=("wet", "cold")), [[0.0, -200.0]], ["index", "prediction_wet", "prediction_cold",
         "p_wet", "p_cold"], {"labels": ["wet"], "probabilities": {"wet": 0.5, "cold": 0.0}}),
        (Meaning(NUMBERS, mean=(10.0,), std=(2.0,)), [[1.5]], ["index", "prediction"], {"value": [13.0]}),
        (Meaning(NUMBERS), [[1.5, float("nan")]], ["index", "prediction_0", "prediction_1"], {"value": [1.5, None]}),
        (Meaning(OUTPUTS), [[[1.0, 2.0]]], ["index", "prediction_0", "prediction_1"], {"value": [[1.0, 2.0]]}),
        (CATS, [[[[1.0, 2.0]], [[0.0, 3.0]]]], ["index", "pixels_cat", "pixels_dog"], {"value": [[0, 1]]}),
    ],
    ids=["labels", "scaled", "numbers", "outputs", "pixels"],
)  # fmt: skip
def test_predictions_of_each_kind_have_columns_and_json(meaning, outputs, columns, value):
    """Names of the columns, and values that JSON has."""
    found = said(meaning, outputs)
    assert [*found.columns()] == columns
    assert found[0].as_dict() == value
    json.dumps(found[0].as_dict(), allow_nan=False)
    assert repr(found).startswith("Predictions for 1 input\n  0: ")


def test_top_probabilities_come_with_their_classes():
    """The largest first, and no more than there are."""
    found = said(CATS, [[2.0, 0.0], [0.0, 1.0]])
    columns = found.columns(top=1)
    assert [*columns] == ["index", "prediction", "prediction_class", "top_1", "p_top_1"]
    assert columns["top_1"].tolist() == ["cat", "dog"]
    assert found[1].as_dict(top=1)["probabilities"] == {"dog": pytest.approx(0.731059)}
    assert [*found.columns(top=9)][-1] == "p_top_2"


def test_boxes_have_a_row_each_and_images_without_have_none():
    """Of what `interpret` says."""
    values = [{"boxes": np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]], "f4"), "labels": ["cat", "dog"], "scores": [0.9, 0.5]},
              {"boxes": np.zeros((0, 4), "f4"), "labels": [], "scores": []}]  # fmt: skip
    found = Predictions(Meaning(OUTPUTS), values, None, values, np.arange(2), {})
    frame = found.to_frame()
    assert frame.reset_index().to_dict("list") == {
        "index": [0, 0], "label": ["cat", "dog"], "score": [0.9, 0.5],
        "x1": [1, 5], "y1": [2, 6], "x2": [3, 7], "y2": [4, 8],
    }  # fmt: skip
    assert found[1].as_dict() == {"value": {"boxes": [], "labels": [], "scores": []}}


def test_inputs_may_be_anything_that_gives_them():
    """A list, an array, a generator, a tuple, a dict's values: the same predictions."""
    model = model_of(STATES["tensor"][0])
    arrays = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    expected = model.predict([*arrays]).outputs
    for inputs in (arrays, torch.from_numpy(arrays), (each for each in arrays), tuple(arrays), arrays.tolist(),
                   dict(enumerate(arrays)).values(), map(np.array, arrays)):  # fmt: skip
        assert np.array_equal(model.predict(inputs).outputs, expected)


def test_no_inputs_give_no_predictions():
    """Nothing is wrong with an empty list."""
    for kind in ("tensor", "image", "text", "row"):
        found = model_of(STATES[kind][0]).predict([])
        assert (len(found), found.labels, repr(found)) == (0, [], "Predictions for 0 inputs")
        assert found.to_frame().empty


def test_rows_may_be_a_data_frame_or_dicts():
    """One row, some, or a table."""
    model = model_of(STATES["row"][0])
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    expected = model.predict(frame).outputs
    assert np.array_equal(model.predict(frame.to_dict("records")).outputs, expected)
    assert np.array_equal(model.predict({"a": 2.0, "b": "y"}).outputs, expected[1:])


def test_input_that_cannot_be_used_is_named():
    """The first, by its place, unless they are to be left out."""
    model = model_of(STATES["tensor"][0])
    inputs = [[1, 2, 3, 4, 5], [1, 2], [5, 4, 3, 2, 1]]
    with pytest.raises(DataError) as raised:
        model.predict(inputs)
    assert str(raised.value) == (
        "data error: the input has another shape than those of training\n  from      inputs[1]\n"
        "  got       (2,)\n  expected  an array of shape (5,), float32"
    )
    found = model.predict(inputs, skips_faults=True)
    assert (found.places.tolist(), [*found.faults]) == ([0, 2], [1])


def test_table_of_a_terminal_has_the_largest_probabilities_and_what_has_room(monkeypatch):
    """Of the first predictions; what is left out is told."""
    monkeypatch.setenv("COLUMNS", "50")
    file = io.StringIO()
    table = ShownTable(file)
    table.add(said(Meaning(CLASSES, names=("a", "b", "c", "d")), [[0.0, 9.0, 5.0, 1.0]] * 21), ["x.png"] * 21, None)
    table.close()
    lines = file.getvalue().splitlines()
    assert lines[:2] == ["index  name   prediction  prediction_class  top_1",
                         "    0  x.png           1  b                 b"]  # fmt: skip
    assert len(lines) == 22
    assert lines[-1] == "(21 inputs, of which these are the first; 5 more columns: all of it with -o FILE)"
