"""The signals that ask a process to end, and how it ends then."""

from __future__ import annotations

import signal

# SLURM sends SIGUSR1 ahead of a time limit (--signal=USR1@120); SIGHUP comes when a terminal or its connection is gone.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


class Interruption(SystemExit):
    """A run that was asked to stop has saved its state and ends."""


def stop_signals() -> list[int]:
    """Their numbers, where this system has them; without SIGHUP where it is ignored, as under nohup."""
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    return [each for each in numbers if not (is_hangup(each) and signal.getsignal(each) is signal.SIG_IGN)]


def is_hangup(number: int) -> bool:
    """Whether it is SIGHUP, of which both the system and the shell send one."""
    return number == getattr(signal, "SIGHUP", None)


def exit_code_of(number: int) -> int:
    """How a process ends that was asked by a signal: 130 by Ctrl-C, 129 by SIGHUP, else 143 as by SIGTERM."""
    return 128 + number if number == signal.SIGINT or is_hangup(number) else 143
