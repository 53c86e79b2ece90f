"""How far a loop has come: the bar of a terminal of any width, lines of the log elsewhere, the time left of the run."""

import contextlib
import fcntl
import os
import struct
import sys
import termios

import pytest
import torch

from espalier.journal import pace as pace_module
from espalier.journal.pace import Pace, in_words
from espalier.journal.progress import FIRST_LINE_S, LINE_EVERY_S, progress_bar


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3569, "59 min"), (3599, "1 h 0 min"), (12000, "3 h 20 min"),
     (86399, "1 d 0 h"), (187200, "2 d 4 h")],
)  # fmt: skip
def test_time_is_said_in_its_two_largest_units(seconds, words):
    """No "60 s" and no "24 h": what is rounded goes on to the next unit."""
    assert in_words(seconds) == words


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets: a list with the seconds."""
    now = [1000.0]
    monkeypatch.setattr(pace_module.time, "monotonic", lambda: now[0])
    return now


def test_time_left_is_that_of_the_pass_first_and_of_whole_epochs_then(clock):
    """Of 4 epochs: in the first by the rate of the pass; later by epochs, with validation and saving."""
    pace = Pace()
    assert pace.left(10, 5) is None  # outside of a run
    pace.begin_epoch(3)
    assert pace.left(10, 5) == 35
    assert pace.end_epoch(12) == 36
    clock[0] += 13
    pace.begin_epoch(2)
    clock[0] += 4
    assert pace.left(10, 6) == 2 * 12 + 8
    assert pace.end_epoch(14) == 2 * 13
    pace.begin_epoch(1)
    pace.limit(-0.5)  # max_steps ends it within
    clock[0] += 1
    assert pace.left(10, 9) == pytest.approx(13 * 0.5 - 1)


class _Terminal:
    """A stream to a terminal of so many columns, and what it shows."""

    def __init__(self, columns, lines):
        self._reader, writer = os.openpty()
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.stream = os.fdopen(writer, "w", encoding="utf-8")

    def shown(self):
        self.stream.flush()
        os.set_blocking(self._reader, False)
        found = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                found += os.read(self._reader, 100_000)
        return found.decode().replace("\r\n", "\n").split("\r")

    def close(self):
        self.stream.close()
        os.close(self._reader)


@pytest.mark.parametrize("columns", [0, 1, 20, 60, 80, 90, 91, 200])
@pytest.mark.parametrize("total", [40, None])
def test_bar_fits_a_terminal_of_any_width(columns, total, monkeypatch):
    """One line at a time, how far it is first; one that does not know its width gets the usual 80."""
    terminal, pace = _Terminal(columns, 0 if columns == 0 else 24), Pace()
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    pace.begin_epoch(3)
    bar = progress_bar(total, "Epoch 1/4", pace=pace, device=torch.device("cpu"))
    monkeypatch.setattr(bar, "_time", lambda: bar.start_t + 5)
    bar.set_postfix(loss="0.1234", refresh=False)
    bar.update(10)
    bar.close()
    *_, line, _, cleared = terminal.shown()
    terminal.close()
    assert cleared == ""
    assert len(line) <= max(1, (columns or 80) - 1)
    assert line.startswith(("Epoch 1/4:  25%" if total else "Epoch 1/4: 10")[: max(1, (columns or 80) - 1)])
    if columns in (0, 80):
        assert "loss=0.1234" in line
        assert ("25% 10/40 [00:15 left, run 1 min, loss=0.1234,  2.00batch/s]" in line) == bool(total)
    assert ("█" in line) == bool(total and columns > 90)


@pytest.mark.parametrize(("total", "line"), [
    (40, "Epoch 1/4: batch 10 of 40 (25%), loss 0.1234, 6.5 s/batch, 3 min left, run 16 min left"),
    (None, "Epoch 1/4: batch 10, loss 0.1234, 6.5 s/batch"),
])  # fmt: skip
def test_where_no_terminal_is_a_line_of_the_log_tells_now_and_then(total, line, monkeypatch, caplog, capfd):
    """After the first minute, and then every five: plain lines, and nothing of a bar."""
    caplog.set_level("INFO", logger="trainer")
    pace = Pace()
    pace.begin_epoch(3)
    bar = progress_bar(total, "Epoch 1/4", pace=pace)
    now = bar.start_t
    monkeypatch.setattr(bar, "_time", lambda: now)
    bar.set_postfix(loss="0.1234", refresh=False)
    lines = []
    for _ in range(60):
        now += 6.5
        bar.update()
        lines.append(len(caplog.messages))
    bar.close()
    assert caplog.messages[0] == line
    first = FIRST_LINE_S // 6.5
    assert [lines.index(1), lines.index(2)] == [first, first + LINE_EVERY_S // 6.5 + 1]
    assert len(caplog.messages) == 2
    assert capfd.readouterr().err == ""


def test_later_epochs_begin_with_less(monkeypatch, caplog):
    """How long an epoch takes is known then: of one of less than five minutes nothing is said but its numbers."""
    caplog.set_level("INFO", logger="trainer")
    pace = Pace()
    pace.begin_epoch(3)
    pace.end_epoch(200)
    bar = progress_bar(40, "Epoch 2/4", pace=pace)
    now = bar.start_t
    monkeypatch.setattr(bar, "_time", lambda: now)
    for _ in range(29):
        now += 10
        bar.update()
    assert caplog.messages == []
    now += 10
    bar.update()
    bar.close()
    assert len(caplog.messages) == 1
