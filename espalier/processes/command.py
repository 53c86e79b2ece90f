"""How a command begins and ends: what it prints of an error, what a signal makes of it, and its exit code."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espalier.console import harden_console
from espalier.errors import UserError, explain, printable, python_command
from espalier.processes.environment import (
    configure_process,
    is_distributed,
    is_rank_zero,
    print_rank,
    wait_for_other_reports,
)
from espalier.startup import pause_collector, resume_collector
from espalier.stop_signals import exit_code_of, is_hangup, stop_signals


def _check_folder() -> None:
    try:
        Path.cwd()
    except OSError as error:  # libraries would end the process, and speak of something else
        head = f"the current folder is not there any more: {error.strerror}"
        raise UserError(explain(head, fix="change to a folder that is, with cd")) from None


def _show_traceback(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    print(printable("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


@contextlib.contextmanager
def errors_without_traceback() -> Iterator[None]:
    """Print a `UserError` as its text and exit with its code; with `--debug` on the command line let it through.

    Ctrl-C exits with 130, as shells expect, SIGHUP with 129, SIGTERM and SIGUSR1 with 143; each says how to begin
    again. A console that cannot be written to, or lacks a character, ends nothing. Control characters in a traceback
    are escapes, too.
    Of several processes of a run only one tells what all would.
    """

    def stop(number: int, frame: Any) -> None:
        if is_hangup(number):
            signal.signal(number, signal.SIG_IGN)  # a lost connection sends two
        raise KeyboardInterrupt(number)

    harden_console()
    numbers = stop_signals() if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.signal(number, stop) for number in numbers if number != signal.SIGINT}
    pause_collector()
    configure_process()
    try:
        _check_folder()
        yield
    except Exception as error:
        sys.stdout.flush()
        wait_for_other_reports(error)
        is_message = isinstance(error, UserError) and "--debug" not in sys.argv
        if not (is_message and is_rank_zero("LOCAL_RANK")):  # what that one says is mostly so for all
            print_rank()
        if not is_message:
            sys.excepthook = _show_traceback
            raise
        print(printable(str(error)), file=sys.stderr)
        raise SystemExit(error.exit_code if isinstance(error, UserError) else 2) from None
    except KeyboardInterrupt as stopped:
        number = stopped.args[0] if stopped.args else signal.SIGINT
        sys.stdout.flush()
        again = shlex.join([python_command(), *sys.argv])
        may_follow_another = is_distributed() and number == signal.SIGTERM  # the rest is ended so when one has died
        if is_rank_zero("LOCAL_RANK") and not may_follow_another:
            print(f"Stopped by {signal.Signals(number).name}. To begin again: {again}", file=sys.stderr)
        raise SystemExit(exit_code_of(number)) from None
    finally:
        resume_collector()
        for number, handler in before.items():
            signal.signal(number, handler)
