"""The numbers of a run as JSON lines."""

import errno
import io
import json
import math
import os

import numpy as np
import pytest
import torch

from espalier.errors import CheckpointError
from logger import MetricsFile


@pytest.fixture
def file(tmp_path):
    """A metrics file of the epochs 1 to 3."""
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for epoch in (1, 2, 3):
        file.write({"epoch": epoch, "loss": 1 / epoch})
    return file


def rows(file):
    """The lines as a strict reader sees them: no NaN, no Infinity."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in file.path.read_text().splitlines()]


def test_write_appends_one_object_a_line(file):
    """Each epoch is one line, in order, readable at once."""
    assert rows(file) == [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}, {"epoch": 3, "loss": 1 / 3}]


def test_write_a_new_writer_goes_on_after_the_old_lines(file):
    """Opening the file again does not empty it."""
    MetricsFile(file.path).write({"epoch": 4})
    assert [row["epoch"] for row in rows(file)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (torch.tensor(0.5), 0.5),
        (torch.tensor([0.5]), 0.5),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (torch.tensor(3), 3),
        (torch.tensor([0.5, 1.0]), [0.5, 1.0]),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array([1, 2]), [1, 2]),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (torch.tensor(math.nan), None),
        (np.float64(math.inf), None),
        ([0.1, math.nan], [0.1, None]),
        (torch.tensor([math.inf, 1.0]), [None, 1.0]),
        ({"a": math.nan}, {"a": None}),
        ([0.1, 0.2], [0.1, 0.2]),
        (True, True),
        (None, None),
        ("text", "text"),
        (complex(1, 2), "(1+2j)"),
    ],
    ids=repr,
)
def test_write_value_is_plain_json(tmp_path, value, written):
    """Tensors become numbers, what is not finite null, anything else text: every line is strict JSON."""
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.write({"value": value})
    assert rows(file) == [{"value": written}]


@pytest.mark.parametrize(("epoch", "left"), [(0, []), (1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (9, [1, 2, 3])])
def test_truncate_drops_the_epochs_after(file, epoch, left):
    """A run that goes on after epoch N finds the lines up to N."""
    file.truncate(epoch)
    assert [row["epoch"] for row in rows(file)] == left


@pytest.mark.parametrize(
    "torn", ['{"epoch": 4, "lo', "{", "", "[1, 2]", '{"loss": 1.0}', '{"epoch": null}', "\x00\x00"]
)
def test_truncate_drops_a_torn_line(file, torn):
    """A line that a kill cut short, or that names no epoch, goes; the next write starts a line of its own."""
    with file.path.open("a") as stream:
        stream.write(torn)
    file.truncate(3)
    file.write({"epoch": 4})
    assert [row["epoch"] for row in rows(file)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe", b'{"epoch": 2, "name": "\xff"}', b"[" * 200_000, b'{"epoch": ' + b"9" * 5000 + b"}",
     b'{"epoch": NaN}', b'{"epoch": true}', b'{"epoch": 1e999}', b'{"epoch": "2"}', b"null", b'"a text"'],
    ids=lambda line: line[:20],
)  # fmt: skip
def test_truncate_drops_lines_that_cannot_be_read_and_counts_them(file, line, caplog):
    """Whatever stands in a line that is none of ours, it goes like one that was torn."""
    with file.path.open("ab") as stream:
        stream.write(line + b"\n" + line + b'\n{"epoch": 4, "step": "x"}\n')
    file.truncate(3)
    assert [row["epoch"] for row in rows(file)] == [1, 2, 3]
    assert [record.getMessage() for record in caplog.records] == [f"{file.path}: 2 lines could not be read and went."]


def test_truncate_without_a_file_makes_none(tmp_path):
    """A run that never wrote a line has nothing to drop."""
    MetricsFile(tmp_path / "metrics.jsonl").truncate(3)
    assert list(tmp_path.iterdir()) == []


def test_truncate_that_is_interrupted_keeps_the_lines(file, monkeypatch):
    """The lines of finished epochs are never in danger: a full disk leaves the file as it was."""
    before = file.path.read_text()

    def full_disk(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(CheckpointError, match="cannot be brought back to epoch 2\n.*No space left"):
        file.truncate(2)
    assert file.path.read_text() == before


class Parts(io.FileIO):
    """A file that takes ten bytes at a time and, once it is told to, no more after those."""

    is_full = False

    def write(self, data):
        if self.is_full and self.tell() > self.start:
            raise OSError(28, "No space left on device")
        return super().write(bytes(data)[:10])


@pytest.fixture
def in_parts(file, monkeypatch):
    """The metrics file on such a disk."""

    def open_in_parts(path, mode, **kwargs):
        opened = Parts(path, mode.replace("b", ""))
        opened.start = opened.tell()
        return opened

    monkeypatch.setattr("espalier.journal.metrics_file.open", open_in_parts, raising=False)
    return file


def test_write_taken_in_parts_is_written_whole(in_parts):
    """A write that took less than it was given goes on with the rest."""
    in_parts.write({"epoch": 4, "loss": 0.25})
    assert rows(in_parts)[-1] == {"epoch": 4, "loss": 0.25}


@pytest.mark.parametrize("can_take_back", [True, False])
def test_write_that_fails_half_way_leaves_no_half_line(in_parts, can_take_back, monkeypatch):
    """What was written of a line is taken back, at once or before the next line."""
    truncate = os.truncate

    def refuse(path, length):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Parts, "is_full", True)
    if not can_take_back:
        monkeypatch.setattr(os, "truncate", refuse)
    in_parts.write({"epoch": 4})
    assert [line[-1] for line in in_parts.path.read_text().splitlines()].count("}") == 3
    monkeypatch.setattr(Parts, "is_full", False)
    monkeypatch.setattr(os, "truncate", truncate)
    in_parts.write({"epoch": 5})
    assert [row["epoch"] for row in rows(in_parts)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_write_where_nothing_can_be_appended_writes_the_file_anew(file, monkeypatch, caplog, code):
    """Some file systems, of clouds and of cards, take whole files only."""

    def refuse(path, mode, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("espalier.journal.metrics_file.open", refuse, raising=False)
    for epoch in (4, 5):
        file.write({"epoch": epoch})
    assert [row["epoch"] for row in rows(file)] == [1, 2, 3, 4, 5]
    assert caplog.messages == []
    target = file.path.rename(file.path.with_name("elsewhere"))
    file.path.symlink_to(target)
    monkeypatch.undo()
    file.write({"epoch": 6})  # a link is no such file system
    assert file.path.is_symlink() and target.read_text().count("epoch") == 5
    assert len(file.waiting) == len(caplog.messages) == 1
