"""predict.py as a user runs it."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from predict import load_model
from tests.cases import cases

SIZE = 28


def digits(number, part=True):
    """Images of the test part as the loader of the digits has them, uint8 (N, 28, 28)."""
    from data_loader.data_loaders import DigitsDataLoader

    loader = DigitsDataLoader("data/digits", 32, shuffle=False, training=not part)
    return np.stack([np.asarray(loader.dataset.inputs[index, 0]) for index in range(number)])


@pytest.fixture(scope="module")
def folder(finished):
    """The run."""
    return finished[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with twelve digits, every other one in a folder below."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "more").mkdir()
    for number, image in enumerate(digits(12)):
        Image.fromarray(image).save(folder / ("more" if number % 2 else ".") / f"{number:02d}.png")
    return folder


def rows_of(text):
    """The rows of a CSV as dicts."""
    return list(csv.DictReader(text.splitlines()))


def test_predict_on_a_gpu_that_is_not_there_is_refused(folder, images, run):
    """As test.py and export.py refuse it; on no other device in its place."""
    result = run("predict.py", "-r", folder, images, "-d", "97")
    head = "config error: -d names GPUs that are not there\n  from      command line\n  got       97\n"
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.endswith(f"{head}  expected  among the 0 found\n")


def test_predict_folder_prints_a_row_for_each_image_in_order(folder, images, run):
    """To a pipe all rows are written as CSV, named by their paths, hidden files left out."""
    (images / ".hidden.png").write_bytes(b"no image")
    result = run("predict.py", "-r", folder, images)
    assert result.returncode == 0, result.stderr
    found = rows_of(result.stdout)
    even, odd = (range(first, 12, 2) for first in (0, 1))
    names = [f"{number:02d}.png" for number in even] + [f"more/{number:02d}.png" for number in odd]
    assert [row["name"] for row in found] == [str(images / name) for name in names]
    assert [*found[0]] == ["index", "name", "prediction", *(f"p_{number}" for number in range(10))]
    assert result.stderr.splitlines()[-1] == "12 of 12 inputs predicted"


def test_predict_test_arrays_gives_the_file_of_test_py(folder, tmp_path, run):
    """The rows are those of `test.py --predictions`, to the last digit, but for the targets."""
    np.save(tmp_path / "test.npy", digits(359))
    told, said = tmp_path / "told.csv", tmp_path / "said.csv"
    assert run("test.py", "-r", folder, "--predictions", told).returncode == 0
    result = run("predict.py", "-r", folder, tmp_path / "test.npy", "-o", said)
    assert result.returncode == 0, result.stderr
    expected = [{name: cell for name, cell in row.items() if name != "target"} for row in rows_of(told.read_text())]
    assert rows_of(said.read_text()) == expected
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == f"359 of 359 inputs predicted: {said}"


def test_predict_bad_inputs_are_named_and_the_others_predicted(folder, images, tmp_path, run):
    """Exit code 1, a line for each bad input with the reason, and all good ones in the file."""
    bad = tmp_path / "bad"
    bad.mkdir()
    good = (images / "00.png").read_bytes()
    (bad / "a.png").write_bytes(good[: len(good) // 2])
    (bad / "b.png").touch()
    (bad / "c.png").write_bytes(good)
    (bad / "d.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(bad / "e.npy", np.zeros((2, 5, 5), dtype=np.uint8))
    (bad / "f.txt").write_text("x\n1\n")
    (bad / "g").mkdir()
    names = [bad / name for name in ("a.png", "b.png", "c.png", "d.npy", "e.npy", "f.txt", "g", "h.png")]
    result = run("predict.py", "-r", folder, *names, "-o", tmp_path / "said.json")
    assert result.returncode == 1, result.stderr
    assert [each["name"] for each in json.loads((tmp_path / "said.json").read_text())] == [str(bad / "c.png")]
    *lines, last = result.stderr.splitlines()
    assert last == f"1 of 8 inputs predicted, 7 could not be used: {tmp_path / 'said.json'}"
    told = [line for line in lines if str(bad) in line]
    assert [next(name for name in "abcdefgh" if str(bad / name) in line) for line in told] == [*"abdefgh"]
    assert "Traceback" not in result.stderr


def test_predict_nothing_that_can_be_used_writes_no_file(folder, tmp_path, run):
    """Exit code 1, and the file that was there before is as it was."""
    said = tmp_path / "said.csv"
    said.write_text("mine")
    result = run("predict.py", "-r", folder, tmp_path / "none.png", "-o", said)
    assert result.returncode == 1
    assert said.read_text() == "mine"
    assert result.stderr.splitlines()[-2:] == [
        f"the image {tmp_path / 'none.png'} cannot be read; got No such file or directory",
        "0 of 1 input predicted, 1 could not be used",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["said.csv"]


MISUSE = {
    "nothing": ([], "config error: INPUT is missing\n  from      command line\n"
                "  fix       name files or folders, or - for a list on stdin\n"),
    "format": (["a.png", "-o", "said.txt"], "config error: --output names no format that can be written\n"
               "  from      command line\n  got       said.txt\n"
               "  expected  .csv or .json or .jsonl or .parquet or .npz\n  fix       write said.csv\n"),
    "batch": (["a.png", "--batch-size", "0"], "config error: --batch-size is too small\n  from      command line\n"
              "  got       0\n  expected  1 or more\n"),
    "same": (["config.json", "-o", "config.json"], "config error: --output names a file that is an input, too\n"
             "  from      command line\n  got       config.json\n  expected  another file\n"),
    "draw": (["a.png", "--draw", "config.json"], "config error: --draw names a file\n  from      command line\n"
             "  got       config.json\n  expected  a folder\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", cases(MISUSE, "nothing"))
def test_predict_misuse_is_refused_before_the_model_is_loaded(name, run):
    """Exit code 2, and what is wrong."""
    words, told = MISUSE[name]
    result = run("predict.py", "-r", "nowhere", *words)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", told)


def test_predict_python_and_command_say_the_same(folder, images, tmp_path, run):
    """`load_model(...).predict` has what the file has; a list of paths, one path and arrays are taken."""
    run("predict.py", "-r", folder, images, "-o", tmp_path / "said.npz")
    model = load_model(folder)
    paths = [images / f"{number:02d}.png" for number in range(0, 12, 2)]
    said = model.predict(paths, batch_size=12)
    with np.load(tmp_path / "said.npz") as file:
        assert said.labels == [str(each) for each in file["prediction"][:6]]
        assert np.allclose(said.probabilities, file["probabilities"][:6], atol=1e-6)
        assert file["classes"].tolist() == said.names
    alone = model.predict(str(paths[0]))
    assert len(alone) == 1
    assert alone[0].label == said[0].label
    assert np.array_equal(model.predict(digits(1)).values, said.values[:1])


def test_predict_draws_each_image(folder, images, tmp_path, run):
    """A PNG for each and an overview."""
    result = run("predict.py", "-r", folder, images, "--draw", tmp_path / "drawn", "--top", "2")
    assert result.returncode == 0, result.stderr
    assert [*rows_of(result.stdout)[0]] == ["index", "name", "prediction", "top_1", "p_top_1", "top_2", "p_top_2"]
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == sorted([f"{place:05d}_{number:02d}.png" for place, number in
                            enumerate([*range(0, 12, 2), *range(1, 12, 2)])] + ["overview.png"])  # fmt: skip
    with Image.open(tmp_path / "drawn" / "overview.png") as opened:
        assert opened.size[0] == 8 * 258  # pictures of 9 * 28 pixels, and 6 between them


@pytest.mark.slow
def test_predict_stdin_lists_images_or_is_one(folder, images, tmp_path):
    """Lines are paths; what is no text is one image; an array has a sample for each index."""
    np.save(tmp_path / "x.npy", digits(3))
    for content, number in (("\n".join(map(str, sorted(images.glob("0*.png")))).encode(), 5),
                            ((images / "00.png").read_bytes(), 1), ((tmp_path / "x.npy").read_bytes(), 3)):  # fmt: skip
        command = [sys.executable, "predict.py", "-r", folder, "-"]
        done = subprocess.run(command, input=content, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        assert len(rows_of(done.stdout.decode())) == number
