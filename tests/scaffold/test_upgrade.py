"""What an update does to a project of version 0.1 beside the framework and the shared files."""

import json

from scaffold.first.upgrade import upgrade
from scaffold.options import Options
from scaffold.record import Record

OLD = b"from engine.monitor import Monitor\n"
NEW = b"from espalier.training.monitor import Monitor\n"


def record(**tests):
    """One of a project that came with these tests."""
    return Record("0.1.0", Options("Demo"), {}, tests={f"tests/base/{name}.py": data for name, data in tests.items()})


def test_upgrade_rewrites_what_is_the_owners():
    """Code and configs, wherever they are, with each line told; not the framework, nor what is kept aside of it."""
    files = {
        "trainer/trainer.py": OLD,
        "mine/deep/a.py": b"import engine.sample_rng\n",
        "configs/a.json": b'{"type": "engine.monitor.Monitor"}',
        "espalier/training/x.py": OLD,
        "espalier_edits/0.1.0/x.py": OLD,
        "notes.txt": OLD,
        "model/model.py": b"import torch\n",
    }
    result = upgrade(files, record(), {"tests/test_new.py": b""})
    assert result.files == {
        "trainer/trainer.py": NEW,
        "configs/a.json": b'{"type": "espalier.training.monitor.Monitor"}',
    }
    assert result.rows == [
        ("rewritten", "trainer/trainer.py:1: from espalier.training.monitor import ..."),
        ("to do", "mine/deep/a.py:1: engine.sample_rng is gone"),
        ("rewritten", 'configs/a.json:1: "espalier.training.monitor.Monitor"'),
    ]


def test_upgrade_replaces_the_tests_of_the_framework():
    """Unedited ones go, whatever their line ends; edited ones and the owner's stay; those of a new project come."""
    files = {
        "tests/base/a.py": b"a\r\n",
        "tests/base/b.py": b"mine\n",
        "tests/test_mine.py": b"mine\n",
        "tests/test_model.py": b"mine, too\n",
    }
    new = {"tests/test_model.py": b"new\n", "tests/conftest.py": b"new\n"}
    result = upgrade(files, record(a=b"a\n", b=b"b\n", gone=b"c\n"), new)
    assert result.files == {"tests/base/a.py": None, "tests/conftest.py": b"new\n"}
    assert result.rows == [
        ("removed", "tests/: 1 files that test the framework itself"),
        ("kept", "tests/base/b.py, which tests the framework: you edited it"),
        ("added", "tests/conftest.py"),
    ]


def test_upgrade_tells_what_to_write_in_a_notebook():
    """Its file stays; one that is no notebook is none of ours."""
    cells = [{"cell_type": "markdown", "source": [OLD.decode()]}, {"cell_type": "code", "source": [OLD.decode(), "x"]}]
    files = {
        "notebooks/a.ipynb": json.dumps({"cells": cells}).encode(),
        "b.ipynb": b"[]",
        "c.ipynb": b"{",
        "d.ipynb": b"",
    }
    result = upgrade(files, record(), {})
    said = "notebooks/a.ipynb:2: in this cell, write from espalier.training.monitor import ..."
    assert (result.files, result.rows) == ({}, [("to do", said)])
