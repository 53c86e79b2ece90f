"""Processes that believe in a terminal, so that every contestant draws its bar."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable


class Terminal:
    """A terminal of 24 rows and 120 columns; keeps the last that was written to it."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        self.text = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the end, on Linux
            while some := os.read(self.master, 65536):
                self.text = (self.text + some)[-20_000:]

    def close(self) -> str:
        """What was written last."""
        os.close(self.slave)
        self._thread.join(timeout=5)
        os.close(self.master)
        return self.text.decode(errors="replace").replace("\r\n", "\n")


def environment(threads: int | None = None) -> dict[str, str]:
    """For every process alike."""
    values = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TERM": "xterm", "CUDA_VISIBLE_DEVICES": ""}
    return values if threads is None else {**values, "OMP_NUM_THREADS": str(threads)}


class Worker:
    """A contestant in a process of its own, which waits between its turns."""

    def __init__(self, name: str, task: str, data: Path, threads: int) -> None:
        self.name, self.terminal = name, Terminal()
        answers, write = os.pipe()
        command = [PYTHON, "-m", "benchmarks.worker", name, task, str(data), str(write)]
        out = self.terminal.slave
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=out, stderr=out, text=True,
                                        pass_fds=[write], env=environment(threads))  # fmt: skip
        os.close(write)
        self.answers = os.fdopen(answers)

    def train(self, seed: int) -> dict[str, float]:
        """One turn.

        Raises:
            RuntimeError: the process has died; with the end of what it wrote.
        """
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{seed}\n")
            self.process.stdin.flush()
        line = self.answers.readline()
        if not line:
            self.process.wait()
            raise RuntimeError(self.terminal.close()[-2000:])
        return json.loads(line)

    def close(self) -> None:
        """Let the process end."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(timeout=60)


def run_process(command: Sequence[str], cwd: Path = ROOT) -> dict[str, Any]:
    """Seconds, peak memory in MB, exit code and output of a whole process."""
    terminal = Terminal()
    answers, write = os.pipe()
    launcher = [PYTHON, "-S", "-E", str(ROOT / "benchmarks" / "launch.py"), str(write)]
    out = terminal.slave
    subprocess.run([*launcher, *command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True,
                   pass_fds=[write], env=environment())  # fmt: skip
    os.close(write)
    with os.fdopen(answers) as file:
        measured = json.loads(file.read())
    return {**measured, "output": terminal.close()}


def last_json(output: str) -> dict[str, Any]:
    """The JSON object that a process printed as its last line."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    return json.loads(lines[-1])
