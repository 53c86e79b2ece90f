"""A model card fills itself with what is known, says what is not, and lets no name become markup."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from espalier.export.card import card_of, cell
from espalier.export.packed import write_packed
from espalier.export.plain import plain_lines
from espalier.inference.bundle import load_bundle
from tests.espalier.inference.small_bundle import ABOUT, small_files

CONFIG = {"arch": {"type": "Net"}, "loss": "nll_loss", "optimizer": {"type": "SGD", "args": {"lr": 0.1}},
          "data_loader": {"type": "Rows", "args": {"batch_size": 8}}, "trainer": {"epochs": 4}}  # fmt: skip
TEST = {"section": "data_loader", "weights": "average", "num_samples": 40, "metrics": {"accuracy": 0.925, "loss": 0.2},
        "intervals": {"accuracy": [0.85, 0.975]}}  # fmt: skip
FIGURES = {
    "epoch": 3,
    "training": {"epochs": 3, "steps": 30, "seed": 7, "device": "a machine"},
    "validation": {"loss": 0.25, "accuracy": 0.9},
    "tests": [TEST],
    "data": {"test": {"sha256": "ab" * 32, "num_samples": 40, "of": "what the inputs were made from"}},
    "exported": {"onnx": {"num_bytes": 1234, "latency_s": {"1": {"eager": 0.002, "exported": 0.001}},
                          "comparison": {"num_samples": 40, "largest_absolute": 1e-6, "largest_relative": 1e-5,
                                         "metrics": {"accuracy": 0.925}, "metrics_exported": {"accuracy": 0.925}}}},
}  # fmt: skip


def section(text, title):
    """The lines under a heading."""
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_card_tells_what_was_found():
    """Figures with their intervals, the hash of the data, the comparison."""
    text = card_of(ABOUT, CONFIG, FIGURES)
    first = "For classification: it takes arrays, as the dataset gives them, and gives one of 2 classes."
    assert text.startswith(f"# Small\n\n{first}\n\n- Network: `Net`, 8 weights\n")
    found = section(text, "How well it does")
    assert "On 40 samples of test data (`data_loader`, with the average of the weights):" in found
    assert "| accuracy | 0.925 | 0.85 to 0.975 |\n| loss | 0.2 | - |" in found
    assert "On the validation data: loss 0.25, accuracy 0.9. Where these chose epoch 3, they flatter." in found
    assert f"The test data, 40 samples, has the SHA-256 `{'ab' * 32}`: of what the inputs were made from." in found
    assert "| model.onnx | 1,234 | 40 | 1e-06 | 1e-05 | 1: 1, 2 |" in section(text, "How it was checked")
    trained = section(text, "How it was trained")
    assert "- samples at once: 8\n- loss: `nll_loss`\n- optimizer: `SGD`\n- learning rate: 0.1\n- seed: 7\n" in trained
    assert "0 no, 1 yes" in section(text, "Classes")
    assert "- The test data has only 40 samples: see the intervals." in section(text, "Limits")


@pytest.mark.parametrize(("kind", "dims", "first"), [
    ("classes", ["batch", 3, 8, 8], "For segmentation: it takes images, and gives one of 2 classes for each pixel."),
    ("classes", ["batch", "length"], "For classification: it takes images, and gives one of 2 classes."),
    ("outputs", ["batch", 3, 8, 8], "It takes images, and gives the output of the network."),
])  # fmt: skip
def test_card_of_many_values_for_each_input(kind, dims, first):
    """It speaks of pixels where there are some; what is said of such an input is no label."""
    about = {**ABOUT, "takes": "images", "is_of_pixels": True, "inputs": {"image": {"dtype": "uint8", "dims": dims}},
             "meaning": {**ABOUT["meaning"], "kind": kind}}  # fmt: skip
    text = card_of(about, CONFIG, FIGURES)
    assert text.splitlines()[2] == first
    assert "    print(each.value)\n" in text
    assert ("for every pixel, also for one" in text) == ("segmentation" in first)


def test_card_of_a_run_that_was_not_evaluated_says_so():
    """And no licence is made up."""
    text = card_of({**ABOUT, "licence": None}, {}, {"epoch": 0})
    assert "Nothing is known: it was not evaluated where this was made." in section(text, "How well it does")
    assert "- No test data was evaluated" in section(text, "Limits")
    assert "- Licence: not stated: ask whoever made it before you use it" in text
    assert "How it was checked" not in text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b", "# big", "![x](http://a/b)", "`x`", "one\ntwo"])
def test_names_do_not_become_markup(name):
    """In headings, lists of classes and tables."""
    meaning = {**ABOUT["meaning"], "names": [name, "yes"]}
    test = {**TEST, "metrics": {name: 0.5}, "intervals": {}}
    text = card_of({**ABOUT, "name": name, "meaning": meaning}, CONFIG, {**FIGURES, "tests": [test]})
    assert text.splitlines()[0] == f"# {cell(name)}"
    assert f"| {cell(name)} | 0.5 | - |" in text
    assert f"0 {cell(name)}, 1 yes" in text
    assert re.sub(r"\\.", "", cell(name)).isalnum() or not set("`|<>[]#") & set(re.sub(r"\\.", "", cell(name)))


def test_lines_of_a_card_run_without_us(tmp_path):
    """In a process that has neither Espalier nor PyTorch, in the folder of the bundle."""
    folder = tmp_path / "small"
    files = small_files()
    files["README.md"] = card_of(ABOUT, CONFIG, FIGURES).encode()
    write_packed(folder, files, "Small")
    lines = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    rows = np.random.default_rng(0).normal(size=(5, 3))
    np.save(tmp_path / "rows.npy", rows)
    absent = "import sys; sys.modules.update(torch=None, espalier=None, pandas=None)\n"
    env = {name: each for name, each in os.environ.items() if not name.startswith("PYTHON")}
    said = subprocess.run([sys.executable, "-I", "-c", absent + lines, str(tmp_path / "rows.npy")], cwd=folder,
                          capture_output=True, text=True, timeout=60, env=env, check=True).stdout  # fmt: skip
    found = load_bundle(folder).predict(rows.astype(np.float32))
    labels, shares = zip(*(line.split() for line in said.splitlines()), strict=True)
    assert list(labels) == found.labels
    np.testing.assert_allclose(np.array(shares, dtype=float), [each.probability for each in found], rtol=1e-5)


COLUMN = {"name": "age", "kind": "number", "has_gaps": False, "is_inferred": True, "fill": 0, "center": 0, "scale": 1}
ROW = {"kind": "row", "columns": [COLUMN], "categories": "one_hot", "missing": "mean", "is_csv": True, "read": {}}
TEXT = {"kind": "text", "tokenizer": "characters", "max_length": None, "vocabulary": ["a"]}


@pytest.mark.parametrize(("values", "reason"), [
    ({"files": {"torch_export": "model.pt2"}}, "it has no ONNX file"),
    ({"arguments": {"transform": {"type": "x"}}},
     "its inputs pass a transform of the config (`arguments.transform` in bundle.json) first"),
    ({"preprocessing": TEXT, "arguments": {"collate_fn": {"type": "x"}}},
     "its inputs are brought together in a way of their own (`arguments.collate_fn` in bundle.json)"),
    ({"preprocessing": {**TEXT, "tokenizer": None}}, "its texts are taken apart by a function of its project"),
    ({"preprocessing": {**ROW, "read": {"sep": ";"}}, "has_preprocessing": {"onnx": True}},
     "its tables are read in a way of their own (`preprocessing.read`, or the form of dates)"),
    ({"preprocessing": ROW}, "the arithmetic of its preprocessing is not in the graph"),
    ({"preprocessing": {"kind": "function", "function": "data_loader.read"}},
     "its inputs are prepared by code of its project (function)"),
])  # fmt: skip
def test_card_says_why_there_are_no_lines(values, reason):
    """Where a few lines would be wrong."""
    about = {**ABOUT, **values}
    assert plain_lines(about) == ([], reason)
    assert f"Without Espalier there is no short way: {reason}." in card_of(about, CONFIG, {})


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers", "outputs"])
@pytest.mark.parametrize("state", [{"kind": "tensor"}, {"kind": "image", "size": 8, "channels": 1},
                                   {"kind": "image", "size": [8, 9]}, {"kind": "image", "size": None}, TEXT,
                                   {"kind": "window", "columns": ["x"], "history": 3}, ROW,
                                   {**ROW, "columns": [COLUMN, {**COLUMN, "name": "day", "kind": "date"},
                                                       {"name": "sex", "categories": ["f"], "kind": "category"}]}],
                         ids=str)  # fmt: skip
def test_lines_are_few_and_python(kind, state):
    """For whatever goes in and comes out."""
    names = {"row": ["numbers", "categories"], "text": ["ids"]}.get(state["kind"], ["input"])
    about = {
        **ABOUT, "preprocessing": state, "has_preprocessing": {"onnx": True},
        "inputs": dict.fromkeys(names, ABOUT["inputs"]["input"]), "meaning": {**ABOUT["meaning"], "kind": kind},
        "outputs": ["output", *{"numbers": ["prediction"], "outputs": []}.get(kind, ["probabilities"])],
    }  # fmt: skip
    lines, _ = plain_lines(about)
    compile("\n".join(lines), "use.py", "exec")
    assert 0 < len(lines) <= 15
    assert json.dumps(lines).isascii()
