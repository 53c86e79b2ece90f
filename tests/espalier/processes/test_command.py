"""How a command shows an error, and ends when a signal comes."""

import errno
import os
import signal
import sys
import time

import pytest

from espalier.errors import DataError, python_command
from espalier.processes.command import errors_without_traceback


def test_errors_without_traceback_user_error_is_printed_and_exits_with_2(monkeypatch, capsys):
    """A person sees the text alone, on stderr."""
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(SystemExit) as end, errors_without_traceback():
        raise DataError("data error: no data")
    assert end.value.code == 2
    assert capsys.readouterr() == ("", "data error: no data\n")


def test_errors_without_traceback_debug_lets_the_error_through(monkeypatch):
    """With --debug the traceback is wanted."""
    monkeypatch.setattr(sys, "argv", ["train.py", "--debug"])
    with pytest.raises(DataError, match="^no data$"), errors_without_traceback():
        raise DataError("no data")


def test_errors_without_traceback_other_error_steers_no_terminal(monkeypatch, capsys):
    """What a library says of a file of a stranger stands in a traceback, too."""
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    with pytest.raises(ValueError, match="bug") as raised, errors_without_traceback():
        raise ValueError("a bug \x1b[31m")
    sys.excepthook(raised.type, raised.value, raised.tb)
    assert capsys.readouterr().err.splitlines()[-1] == r"ValueError: a bug \x1b[31m"


def test_errors_without_traceback_other_error_is_left_alone(monkeypatch):
    """A fault of the program keeps its traceback, even a ValueError."""
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(ValueError, match="^a bug$"), errors_without_traceback():
        raise ValueError("a bug")


@pytest.fixture
def sigint_of_foreground():
    """Ctrl-C as Python takes it by default; a shell that starts tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_of_foreground")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 143)])
def test_errors_without_traceback_signal_names_the_command_and_exits_as_shells_expect(name, code, monkeypatch, capsys):
    """A signal before training, such as Ctrl-C, ends a command without a traceback; handlers are as before."""
    monkeypatch.setattr(sys, "argv", ["train.py", "-c", "my config.json"])
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(SystemExit) as end, errors_without_traceback():
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(1)
    assert end.value.code == code
    told = f"Stopped by {name}. To begin again: {python_command()} train.py -c 'my config.json'\n"
    assert capsys.readouterr() == ("", told)
    assert signal.getsignal(getattr(signal, name)) is before


def test_command_in_a_folder_that_is_gone_says_so(tmp_path, monkeypatch, capsys):
    """Libraries would end the process and blame something else; the interpreter has its name all the same."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit) as end, errors_without_traceback():
        pytest.fail("the command is not begun")
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"the current folder is not there any more: {os.strerror(errno.ENOENT)}\n"
        "  fix       change to a folder that is, with cd\n"
    )
    assert python_command() == "python"
