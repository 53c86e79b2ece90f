"""A law: what a bundle says of inputs is what its run says: here, without a project, and by the lines in its card."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from espalier.errors import ConfigError
from espalier.export.packed import write_packed
from tests.cases import cases
from tests.espalier.datasets.pictures import write_folder

TOLERANCE = 1e-4
SPLIT = {"valid": 0.3, "test": 0.3, "seed": 1}
KINDS = ["array", "row", "text", "window", "image", "tensor"]
# Runs a file as a process would that has nothing of us, and no PyTorch.
ALONE = """
import runpy, sys
for name in ("torch", "torchvision", "pandas", "espalier", "onnx"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ELSEWHERE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import espalier
from espalier.inference.bundle import load_bundle
assert espalier.__file__.startswith(sys.argv[1]), espalier.__file__
assert not {"base", "trainer", "model", "parse_config", "data_loader"} & sys.modules.keys()
found = load_bundle(sys.argv[2]).predict(json.load(open(sys.argv[3])))
print(json.dumps([found.outputs.tolist(), found.labels]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Small data of every kind."""
    from examples.text.make_data import main as make_news
    from examples.timeseries.make_data import main as make_demand

    folder = tmp_path_factory.mktemp("data")
    make_news(folder / "news.csv")
    make_demand(folder / "demand.csv")
    write_folder(folder / "pictures", {"cat": 9, "dog": 8, "emu": 8}, ".png")
    return folder


def options_of(kind, data):
    """What a run of this kind is trained with."""
    path = "data_loader.args.dataset.args.path"
    image = {
        "name": "Pictures", "n_gpu": 0, "arch": {"type": "tests.espalier.inference.runs.Net", "args": {}},
        "data_loader": {"type": "BaseDataLoader", "args": {
            "dataset": {"type": "espalier.datasets.ImageFolder", "args": {"root": str(data / "pictures"), "size": 8}},
            "batch_size": 4, "split": SPLIT}},
        "loss": {"type": "torch.nn.CrossEntropyLoss"}, "metrics": ["accuracy"],
        "optimizer": {"type": "SGD", "args": {"lr": 0.1}}, "trainer": {"epochs": 2, "tensorboard": False},
    }  # fmt: skip
    (data / "pictures.json").write_text(json.dumps(image))
    return {
        "array": ["config.json", "trainer.epochs=1"],
        "row": ["examples/tabular/config.json", "trainer.epochs=3"],
        "text": ["examples/text/baseline.json", f"{path}={data / 'news.csv'}", "trainer.epochs=1"],
        "window": ["examples/timeseries/config.json", f"{path}={data / 'demand.csv'}", "trainer.epochs=1",
                   "trainer.limit_train_batches=20"],
        "image": [str(data / "pictures.json")],
        "tensor": ["examples/custom_dataset/config.json", "trainer.epochs=1"],
    }[kind]  # fmt: skip


def inputs_of(kind, data):
    """Some inputs as `predict` takes them, and as the lines of the card do: the name of a file, and its content."""
    import pandas as pd

    rng = np.random.default_rng(0)
    if kind == "row":
        rows = pd.read_csv("examples/tabular/cars.csv").head(30)
        rows.loc[[2, 5], "horsepower"] = np.nan
        rows.loc[3, "origin"] = "Atlantis"
        return rows.astype(object).where(rows.notna(), None).to_dict("records"), ("rows.csv", rows.to_csv(index=False))
    if kind == "text":
        texts = [*pd.read_csv(data / "news.csv")["description"].head(20), "Ein Wort, das es nicht gibt: Ähre", "?"]
        return texts, ("texts.txt", "\n".join(texts) + "\n")
    if kind == "image":
        paths = sorted((data / "pictures").rglob("*.png"))
        return [str(each) for each in paths], None
    samples = {"array": rng.integers(0, 256, (7, 1, 28, 28)).astype(np.uint8),
               "window": rng.normal(100, 20, (5, 168, 2)),
               "tensor": rng.normal(size=(9, 2)).astype(np.float32)}[kind]  # fmt: skip
    return samples, ("samples.npy", samples)


@pytest.fixture(scope="module", params=cases(KINDS))
def made(request, run, data, tmp_path_factory):
    """A run, its bundle as a folder and as a zip, and inputs: `(kind, run folder, bundle, zip, inputs, file)`."""
    kind, place = request.param, tmp_path_factory.mktemp(request.param)
    config, *options = options_of(kind, data)
    result = run("train.py", "-c", config, *options, f"trainer.save_dir={place / 'saved'}")
    assert result.returncode == 0, result.stderr
    (folder,) = (place / "saved/models").glob("*/*")
    assert run("test.py", "-r", folder).returncode == 0
    for name, more in (("bundle", ["--format", "all"]), ("bundle.zip", [])):
        result = run("export.py", "-r", folder, "--bundle", place / name, "--licence", "MIT", *more)
        assert result.returncode == 0, result.stderr
    return kind, folder, place / "bundle", place / "bundle.zip", *inputs_of(kind, data)


def process(code, *args, cwd):
    """The output of a fresh Python process that sees neither this folder nor its environment's paths."""
    env = {name: each for name, each in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run([sys.executable, "-I", "-c", code, *map(str, args)], cwd=cwd, capture_output=True,
                            text=True, timeout=120, env={**env, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def predicted(path, inputs):
    """By the model of a run, or of a bundle."""
    from predict import load_model

    return load_model(path, "cpu").predict(inputs)


def test_bundle_says_what_its_run_says(made):
    """By its folder and by its zip: the same labels, and outputs within the tolerance of the comparison."""
    _, folder, bundle, packed, inputs, _ = made
    expected = predicted(folder, inputs)
    for path in (bundle, packed):
        found = predicted(path, inputs)
        np.testing.assert_allclose(found.outputs, expected.outputs, rtol=TOLERANCE, atol=TOLERANCE)
        assert found.labels == expected.labels
        assert found.names == expected.names


def test_program_of_a_bundle_says_what_its_run_says(made, monkeypatch):
    """Where onnxruntime is not installed, PyTorch runs it."""
    import importlib.util

    from espalier.inference.program_network import ProgramNetwork

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    _, folder, bundle, _, inputs, _ = made
    from predict import load_model

    model = load_model(bundle, "cpu")
    assert isinstance(model.network, ProgramNetwork)
    assert model.predict(inputs).labels == predicted(folder, inputs).labels


def test_weights_of_a_bundle_say_what_its_run_says(made, tmp_path):
    """Alone, in the project, to the bit; a network that is in none of its rooms is not looked up."""
    from predict import load_model

    kind, folder, bundle, _, inputs, _ = made
    about = json.loads((bundle / "bundle.json").read_text())
    files = {name: (bundle / name).read_bytes() for name in ("model.safetensors", "metrics.json", "README.md")}
    about["files"] = {"safetensors": "model.safetensors"}
    write_packed(tmp_path / "weights", {**files, "bundle.json": json.dumps(about).encode()}, "Weights")
    if kind != "array":
        with pytest.raises(
            ConfigError, match="^config error: arch is a name out of a checkpoint that leads to foreign"
        ):
            load_model(tmp_path / "weights", "cpu")
        return
    model = load_model(tmp_path / "weights", "cpu")
    assert isinstance(model.network, torch.nn.Module)
    np.testing.assert_array_equal(model.predict(inputs).outputs, predicted(folder, inputs).outputs)


def test_bundle_is_loaded_where_there_is_no_project(made, tmp_path):
    """By a process whose only Espalier is a copy of the folder in another place."""
    _, folder, bundle, packed, inputs, _ = made
    shutil.copytree("espalier", tmp_path / "lib" / "espalier", ignore=shutil.ignore_patterns("__pycache__"))
    given = inputs.tolist() if isinstance(inputs, np.ndarray) else inputs
    (tmp_path / "inputs.json").write_text(json.dumps(given))
    expected = predicted(folder, inputs)
    for path in (bundle, packed):
        outputs, labels = json.loads(process(ELSEWHERE, tmp_path / "lib", path, tmp_path / "inputs.json", cwd=tmp_path))
        np.testing.assert_allclose(outputs, expected.outputs, rtol=TOLERANCE, atol=TOLERANCE)
        assert labels == expected.labels


def test_lines_in_the_card_say_what_the_run_says(made, tmp_path):
    """At most 15, in an empty folder but for the bundle, with NumPy, onnxruntime and Pillow alone."""
    kind, folder, bundle, _, inputs, file = made
    place = shutil.copytree(bundle, tmp_path / "place")
    lines = re.findall(r"```python\n(.*?)```", (place / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    assert len(lines.splitlines()) <= 15
    (place / "use.py").write_text(lines, encoding="utf-8")
    if file is None:
        given = [Path(each) for each in inputs]
    else:
        given = [place / file[0]]
        if isinstance(file[1], str):
            given[0].write_text(file[1], encoding="utf-8")
        else:
            np.save(given[0], file[1])
    said = "".join(process(ALONE, "use.py", each, cwd=place) for each in given).splitlines()
    found = predicted(folder, inputs)
    if kind in ("row", "window"):
        values = np.array([json.loads(line) for line in said])
        np.testing.assert_allclose(values.reshape(found.values.shape), found.values, rtol=TOLERANCE, atol=TOLERANCE)
        return
    labels, shares = zip(*(line.rsplit(" ", 1) for line in said), strict=True)
    assert list(labels) == found.labels
    expected = [each.probability for each in found]
    np.testing.assert_allclose(np.array(shares, dtype=float), expected, atol=0.02 if kind == "image" else TOLERANCE)
