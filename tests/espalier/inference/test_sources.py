"""Which files a command line names, how they are read, and what is written of them."""

import csv
import io
import json
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from espalier.inference.command import predict_files
from espalier.inference.folders import files_in
from espalier.inference.request import Request
from espalier.inference.sources import Source, sources_of
from espalier.preprocessing.kinds import load_preprocessing
from tests.espalier.inference.test_odd_files import STATES, model_of

VECTORS = np.arange(35, dtype=np.float32).reshape(7, 5)


def asked(kind, *inputs, **options):
    """What a command line names, for a kind of preprocessing."""
    return [*sources_of([str(each) for each in inputs], load_preprocessing(STATES[kind][0]), **options)]


def names_in(source):
    """The names of all inputs of a source."""
    return [source.name_of(place) for place in range(len(source))]


def test_files_in_folders_are_those_of_a_dataset_of_images_in_its_order(tmp_path):
    """Byte by byte over whole paths, without hidden ones, and not for ever where a link leads up."""
    for name in ("b/1.PNG", "b.d/1.png", "a 1.png", "a/2.png", "a/10.png", ".h/1.png", "a/.h.png", "a/x.txt", "Z.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    found = [str(Path(path).relative_to(tmp_path)) for path, _ in files_in(str(tmp_path), (".png",))]
    assert found == ["Z.png", "a 1.png", "a/10.png", "a/2.png", "b.d/1.png", "b/1.PNG"]


def test_arrays_of_several_files_are_one_source_in_their_order(tmp_path):
    """Those of one form; of an .npz the inputs; one sample by itself; lists and tables of numbers, too."""
    np.save(tmp_path / "a.npy", VECTORS[:3])
    np.savez(tmp_path / "b.npz", inputs=VECTORS[3:5], labels=np.arange(2))
    np.save(tmp_path / "c.npy", VECTORS[5])
    (tmp_path / "d.json").write_text(json.dumps({"inputs": VECTORS[6:].tolist()}))
    np.savetxt(tmp_path / "e.csv", VECTORS[:2], delimiter=",")
    arrays, listed, table = asked(
        "tensor", *(tmp_path / name for name in ("a.npy", "b.npz", "c.npy", "d.json", "e.csv"))
    )
    names = [name.removeprefix(f"{tmp_path}/") for name in names_in(arrays)]
    assert names == ["a.npy[0]", "a.npy[1]", "a.npy[2]", "b.npz[0]", "b.npz[1]", "c.npy"]
    assert np.array_equal(np.stack([*arrays.inputs]), VECTORS[:6])
    assert [*listed.inputs] == VECTORS[6:].tolist()
    assert np.array_equal(np.stack(table.inputs), VECTORS[:2])
    assert names_in(table) == [f"{tmp_path}/e.csv:1", f"{tmp_path}/e.csv:2"]


@pytest.mark.parametrize("state", [{"kind": "tensor", "columns": ["photo"], "is_image": True}, STATES["array"][0]])
def test_image_files_and_tables_of_them_are_read_where_inputs_are_images(tmp_path, state):
    """Those of a column of a data set, and those in memory, as well."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(STATES["png"][1])
    (tmp_path / "t.csv").write_text("path\nin/a.png\n")
    preprocessing = load_preprocessing(state)
    for given in ("in", "t.csv"):
        (source,) = sources_of([str(tmp_path / given)], preprocessing)
        assert names_in(source) == [str(tmp_path / "in" / "a.png")]
        assert preprocessing.encode(source.inputs)[0].dtype == torch.uint8


def test_lines_of_a_text_are_named_by_their_numbers(tmp_path):
    """Blank ones are none."""
    (tmp_path / "a.txt").write_text("\ufeffone few\r\n\r\n  \ntwo\u2028parts\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text('text,more\n"a\nfew",1\n,2\n')
    (source,) = asked("text", tmp_path / "a.txt", tmp_path / "b.csv")
    assert source.inputs == ["one few", "two\u2028parts", "a\nfew", ""]
    assert [name.rpartition("/")[2] for name in names_in(source)] == ["a.txt:1", "a.txt:4", "b.csv:1", "b.csv:2"]


def test_series_is_what_comes_next_or_all_windows(tmp_path):
    """One input for a file, or one for each window."""
    (tmp_path / "a.csv").write_text("a,b\n" + "".join(f"{row},{row}\n" for row in range(6)))
    (last,) = asked("window", tmp_path / "a.csv")
    (every,) = asked("window", tmp_path / "a.csv", every_window=True)
    assert (len(last), len(every)) == (1, 4)


def test_images_may_be_named_in_a_table(tmp_path):
    """Relative to the table."""
    (tmp_path / "list.csv").write_text("path,label\nx/1.jpg,a\nx/2.jpg,b\n")
    (source,) = asked("image", tmp_path / "list.csv")
    assert source.inputs == [str(tmp_path / "x" / "1.jpg"), str(tmp_path / "x" / "2.jpg")]


@pytest.mark.parametrize(
    ("kind", "content", "inputs"),
    [
        ("image", b"a.png\r\n\nb c.jpg\n", ["a.png", "b c.jpg"]),
        ("image", b"\x89PNG\0\0", [b"\x89PNG\0\0"]),
        ("text", b"one\n\ntwo\n", ["one", "two"]),
        ("tensor", b"[[1, 2]]", [[1, 2]]),
    ],
    ids=["list", "image", "texts", "json"],
)
def test_stdin_is_a_list_or_the_inputs_themselves(monkeypatch, kind, content, inputs):
    """As the kind of the model has it; twice it is not there."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    first, second = asked(kind, "-", "-")
    assert [*first.inputs] == inputs
    assert second.reason == "data error: stdin can be read once"


def test_rows_on_stdin_are_csv_or_json(monkeypatch):
    """Both give the same table."""
    for content in (b"a,b\n1,x\n2,y\n", b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n',
                    b'[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]'):  # fmt: skip
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        (source,) = asked("row", "-")
        assert isinstance(source, Source)
        assert source.inputs.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
        assert names_in(source) == ["stdin:1", "stdin:2"]


def rows_of(path):
    """What a file says, as a list of dicts."""
    if path.suffix == ".csv":
        return [*csv.DictReader(path.open(newline=""))]
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_dict("records")
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def test_every_format_says_the_same(tmp_path, capsys):
    """Of inputs in many batches, with a bad one among them, whose place stays free."""
    lines = [f"{number},{'x' if number % 3 else '?'}" for number in range(30)]
    lines[7] = "word,x"
    (tmp_path / "rows.csv").write_text("a,b\n" + "\n".join(lines) + "\n")
    found = {}
    for ending in (".csv", *([".parquet"] if find_spec("pyarrow") else []), ".json", ".jsonl"):
        output = tmp_path / f"said{ending}"
        request = Request((str(tmp_path / "rows.csv"),), output, batch_size=4)
        assert predict_files(model_of(STATES["row"][0]), request, io.StringIO()) == 1
        found[ending] = [(int(row["index"]), row.get("label", row.get("prediction_class")),
                          float(row.get("p_more", row.get("probabilities", {}).get("more"))))
                         for row in rows_of(output)]  # fmt: skip
    assert [place for place, *_ in found[".csv"]] == [place for place in range(30) if place != 7]
    for each in found.values():
        places, labels, shares = zip(*each, strict=True)
        assert [*zip(places, labels, strict=True)] == [row[:2] for row in found[".csv"]]
        assert shares == pytest.approx([row[2] for row in found[".csv"]])
    told = capsys.readouterr().err.splitlines()
    assert told[-2] == (
        f"{tmp_path}/rows.csv:8: 'a' has a value that cannot be used; got \"word\"; "
        "expected a number of at most 3.4e+38, or no value"
    )
    assert told[-1] == f"29 of 30 inputs predicted, 1 could not be used: {tmp_path / 'said.jsonl'}"


def test_interrupt_leaves_no_part_of_a_file(tmp_path):
    """What was there stays."""
    np.save(tmp_path / "x.npy", VECTORS)
    (tmp_path / "said.csv").write_text("mine")
    model = model_of(STATES["tensor"][0])
    forward = model.network.forward
    calls = []

    def interrupted(x):
        calls.append(len(x))
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return forward(x)

    model.network.forward = interrupted
    with pytest.raises(KeyboardInterrupt):
        predict_files(model, Request((str(tmp_path / "x.npy"),), tmp_path / "said.csv", batch_size=2), io.StringIO())
    assert calls == [2, 2, 2]
    assert (tmp_path / "said.csv").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["said.csv", "x.npy"]


def test_array_of_wrong_inputs_is_not_tried_to_its_end(tmp_path, capsys):
    """Half a thousand that a model cannot take speak for all of one shape."""
    np.save(tmp_path / "x.npy", np.zeros((2000, 3), dtype=np.float32))
    model = model_of({"kind": "tensor"})
    model.network.forward = lambda x: x @ x
    assert predict_files(model, Request((str(tmp_path / "x.npy"),)), io.TextIOWrapper(io.BytesIO())) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[-1] == "0 of 2,000 inputs predicted, 2,000 could not be used"
    assert f"{tmp_path}/x.npy: 1,496 inputs more are not tried" in told
