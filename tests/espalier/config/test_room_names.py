"""The names of a room, from its source and without importing it."""

import importlib
import sys

import pytest

from espalier.config.json_schema import choices_of
from espalier.config.room_names import names_in_source
from parse_config import ROOMS


@pytest.mark.parametrize("section", ROOMS)
def test_names_in_source_are_those_of_the_imported_room(section):
    """Whatever a config may name there, and nothing else."""
    names = names_in_source(section, ROOMS[section])
    assert {*names} == {*choices_of(section, importlib.import_module(ROOMS[section]))}
    assert names == sorted(names)


def test_names_in_source_run_nothing(tmp_path, monkeypatch):
    """Neither the module nor its package is imported; one that is no Python has no names."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_room").mkdir()
    (tmp_path / "a_room/__init__.py").write_text("raise SystemExit\nfrom .inner import Own, other\nclass Third: pass")
    (tmp_path / "a_room/inner.py").write_text(
        "raise SystemExit\nclass Own: pass\ndef other(): pass\nclass _Hidden: pass"
    )
    (tmp_path / "a_room/broken.py").write_text("class (")
    assert names_in_source("arch", "a_room") == ["Own", "Third"]
    assert names_in_source("arch", "a_room.inner") == ["Own"]
    assert names_in_source("loss", "a_room.inner") == ["Own", "other"]
    assert names_in_source("arch", "a_room.broken") == names_in_source("arch", "a_room.missing") == []
    assert names_in_source("arch", "no_such_package.inner") == []
    assert "a_room" not in sys.modules
