"""The garbage collector waits while a command imports what it needs."""

import gc
import sys

import pytest

from espalier.errors import UserError
from espalier.processes.command import errors_without_traceback
from espalier.startup import pause_collector, resume_collector


@pytest.fixture(autouse=True)
def _thawed():
    frozen = gc.get_freeze_count()
    yield
    if not frozen:
        gc.unfreeze()


def test_collector_waits_and_then_leaves_out_what_there_is(monkeypatch):
    """Objects from before the end of the pause are not looked at again; those from after it are."""
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    pause_collector()
    assert not gc.isenabled()
    kept = [object()]
    resume_collector()
    assert gc.isenabled() and gc.get_freeze_count() > 0
    assert not any(each is kept for each in gc.get_objects())
    later = [object()]
    assert any(each is later for each in gc.get_objects())


def test_collector_looks_at_all_where_the_compiler_is_imported_already(monkeypatch):
    """What that brings along must be collected at the end, or it complains on stderr."""
    monkeypatch.setitem(sys.modules, "torch._dynamo", sys)
    frozen = gc.get_freeze_count()
    pause_collector()
    resume_collector()
    assert gc.isenabled() and gc.get_freeze_count() <= frozen


def test_collector_that_was_off_stays_off():
    """Who switched it off knows why."""
    gc.disable()
    try:
        pause_collector()
        resume_collector()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_command_that_fails_leaves_the_collector_on():
    """Whatever ends it."""
    with pytest.raises(SystemExit), errors_without_traceback():
        assert not gc.isenabled()
        raise UserError("no")
    assert gc.isenabled()
