"""Where the words go: the console, and `info.log` once the run has a folder."""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import os
import sys
import warnings
from io import TextIOWrapper
from pathlib import Path

from espalier.console import harden_console
from espalier.errors import printable
from espalier.own_file import own_file_opener
from espalier.processes.environment import is_rank_zero

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
        file = open(self.baseFilename, "ab", opener=own_file_opener)  # noqa: SIM115
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

    def __init__(self, stays: bool) -> None:
        super().__init__(capacity=10_000, flushLevel=_KEEP_ALL)
        self.stays = stays
        self.before: tuple[int, bool] = logging.WARNING, False  # level, and whether warnings were logged

    @property
    def path(self) -> Path | None:
        """The file it writes to, if any."""
        return Path(self.target.baseFilename) if isinstance(self.target, _LogFile) else None

    def writes_to(self, path: Path) -> bool:
        """Whether that file is open, and still there."""
        return self.path is not None and path.exists() and self.path.samefile(path)

    def open(self, path: Path) -> None:
        if self.target is not None:
            self.target.close()
        target = _LogFile(path, encoding="utf-8")
        target.setFormatter(_Formatter(_FILE_FORMAT))
        self.target = target
        self.capacity = 1  # from now on each line goes through at once
        self.flush()


def setup_logging(
    save_dir: str | Path | None = None,
    log_config: str | Path | None = None,
    default_level: int = logging.INFO,
    *,
    stays: bool = True,
) -> None:
    """Send log lines to the console and, once called with a folder, to `save_dir/info.log` as well.

    Lines logged before the folder is known are kept and written then. Calling it again changes only the folder.

    Args:
        save_dir: the log folder of the run.
        log_config: a JSON file for `logging.config.dictConfig`, to be used in place of all that; its file names are
            taken to be in `save_dir`. None, or a file that is not there, is for ours.
        default_level: the least level that is shown.
        stays: False for a run from Python: `close_logging` takes away what this adds, and what writes to the console
            already goes on doing so alone.
    """
    harden_console()
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
        file_handler = _FileHandler(stays)
        file_handler.before = root.level, logs_warnings()
        console = _ConsoleHandler()
        console.setFormatter(_Formatter())
        if not is_rank_zero():  # of several processes, of which one writes all that they would write alike
            console.setLevel(logging.ERROR)
            console.setFormatter(_Formatter(f"Rank {os.environ['RANK']}: %(message)s"))
        if stays or not any(map(_is_console, root.handlers)):
            root.addHandler(console)
        root.addHandler(file_handler)
        root.setLevel(default_level if stays else min(root.level or default_level, default_level))
        logging.captureWarnings(True)
    if save_dir is not None and not file_handler.writes_to(Path(save_dir, "info.log")):
        file_handler.open(Path(save_dir) / "info.log")


def has_logging() -> bool:
    """Whether `setup_logging` was called."""
    return any(isinstance(each, _FileHandler) for each in logging.getLogger().handlers)


def logs_warnings() -> bool:
    """Whether Python's warnings are logged."""
    return warnings.showwarning is getattr(logging, "_showwarning", None)


def close_logging() -> None:
    """Take away what `setup_logging(..., stays=False)` has added, so that lines of others do not go to the run."""
    root = logging.getLogger()
    found = next((each for each in root.handlers if isinstance(each, _FileHandler)), None)
    if found is None or found.stays:
        return
    for handler in [each for each in root.handlers if isinstance(each, (_ConsoleHandler, _FileHandler))]:
        root.removeHandler(handler)
        handler.close()
    if found.target is not None:
        found.target.close()
    level, has_warnings = found.before
    root.setLevel(level)
    logging.captureWarnings(has_warnings)


def _is_console(handler: logging.Handler) -> bool:
    """Whether somebody else shows log lines, as after `logging.basicConfig()`."""
    stream = getattr(handler, "stream", None)
    return stream is not None and stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
