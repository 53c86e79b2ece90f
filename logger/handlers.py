"""Where the words go: the console, and `info.log` once the run has a folder."""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import os
import sys
from io import TextIOWrapper
from pathlib import Path

from utils.console import steady_console
from utils.errors import printable
from utils.group import is_first
from utils.own_file import own

_FILE_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
_KEEP_ALL = logging.CRITICAL + 1  # a MemoryHandler hands its lines on at this level: never by itself


class _Formatter(logging.Formatter):
    """Writes characters that would steer a terminal as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _ConsoleHandler(logging.Handler):
    """Writes to stdout without tearing a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        try:
            tqdm.write(self.format(record), file=sys.stdout)
        except OSError:  # nobody reads it any more; the line is in info.log
            return
        except Exception:  # as in the handlers of `logging`: a line that cannot be written does not end a run
            self.handleError(record)


class _LogFile(logging.FileHandler):
    """Says once, in a line, that it cannot be written."""

    def _open(self) -> TextIOWrapper:
        file = open(self.baseFilename, "ab", opener=own)  # noqa: SIM115
        return TextIOWrapper(file, encoding=self.encoding, errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not getattr(self, "has_failed", False):
            self.has_failed = True
            print(f"{self.baseFilename} could not be written: {error.strerror}. The run goes on.", file=sys.stderr)


class _FileHandler(logging.handlers.MemoryHandler):
    """Keeps lines in memory until the run has a folder, then writes them and all later ones to its `info.log`."""

    def __init__(self) -> None:
        super().__init__(capacity=10_000, flushLevel=_KEEP_ALL)

    def open(self, path: Path) -> None:
        if self.target is not None:
            self.target.close()
        target = _LogFile(path, encoding="utf-8")
        target.setFormatter(_Formatter(_FILE_FORMAT))
        self.target = target
        self.capacity = 1  # from now on each line goes through at once
        self.flush()


def setup_logging(
    save_dir: str | Path | None = None, log_config: str | Path | None = None, default_level: int = logging.INFO
) -> None:
    """Send log lines to the console and, once called with a folder, to `save_dir/info.log` as well.

    Lines logged before the folder is known are kept and written then. Calling it again changes only the folder.

    Args:
        save_dir: the log folder of the run.
        log_config: a JSON file for `logging.config.dictConfig`, to be used in place of all that; its file names are
            taken to be in `save_dir`. None, or a file that is not there, is for ours.
        default_level: the least level that is shown.
    """
    steady_console()
    if log_config is not None and Path(log_config).is_file():
        config = json.loads(Path(log_config).read_text(encoding="utf-8"))
        for handler in config.get("handlers", {}).values():
            if "filename" in handler:
                handler["filename"] = str(Path(save_dir or ".") / handler["filename"])
        logging.config.dictConfig(config)
        return
    root = logging.getLogger()
    file_handler = next((h for h in root.handlers if isinstance(h, _FileHandler)), None)
    if file_handler is None:
        file_handler = _FileHandler()
        console = _ConsoleHandler()
        console.setFormatter(_Formatter())
        if not is_first():  # of several processes, of which one writes all that they would write alike
            console.setLevel(logging.ERROR)
            console.setFormatter(_Formatter(f"Rank {os.environ['RANK']}: %(message)s"))
        root.addHandler(console)
        root.addHandler(file_handler)
        root.setLevel(default_level)
        logging.captureWarnings(True)
    if save_dir is not None:
        file_handler.open(Path(save_dir) / "info.log")
