"""What can go wrong while batches are loaded, and how it is told."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from espalier.config.tree import dotted
from espalier.errors import DataError, SampleError, parts_of_message, with_origin
from espalier.limits import advice_on_limit
from espalier.training import faults
from espalier.training.stop import StopRequest


def started(loader: Any) -> Iterator[Any]:
    """A pass over `loader`, with its workers.

    Raises:
        DataError: the system does not allow as many.
    """
    num_workers = getattr(loader, "num_workers", 0)
    try:
        return iter(loader)
    except (OSError, RuntimeError) as error:
        advice = advice_on_limit(error, at_start=True) if num_workers else None
        if advice is None:
            raise
        cause, dataset = f"{type(error).__name__}: {error}", getattr(loader, "dataset", loader)
    # Outside of the handler, where nothing holds on to the workers that are there.
    raise DataError(faults.start_message(num_workers, dataset, cause, advice))


def located(error: Exception, trainer: Any, *, is_training: bool) -> Exception:
    """The same error; one of data says where that was named: file, line and key."""
    name = "test_data_loader" if trainer.optimizer is None else "valid_data_loader"
    return _in_section(error, trainer.config, "data_loader" if is_training or name not in trainer.config else name)


@contextlib.contextmanager
def of_section(config: Any, section: str) -> Iterator[None]:
    """Let an error of data say which section of the config named it."""
    try:
        yield
    except DataError as error:
        _in_section(error, config, section)
        raise


def _in_section(error: Exception, config: Any, section: str) -> Exception:
    if not isinstance(error, DataError) or "tree" not in dir(config) or section not in config.tree.values:
        return error
    key = parts_of_message(error)[1].get("key", "args.dataset")  # of a transform, say
    path = (section, *key.split("."))
    if (origin := config.tree.origin(path)) is not None:
        lines = [line for line in str(error).splitlines() if not line.startswith("  key ")]
        error.args = (with_origin(DataError("\n".join(lines)), f"{origin}, {dotted(path)}"),)
    return error


def is_dead_with_the_run(error: Exception, loader: Any, stop: StopRequest) -> bool:
    """Whether an error says that workers are gone, since whoever stops the run has stopped them, too."""
    # A worker that died with a batch in hand leaves a broken connection behind.
    has_workers = bool(getattr(loader, "num_workers", 0))
    if not (faults.is_dead_worker(error) or (has_workers and isinstance(error, (OSError, EOFError)))):
        return False
    time.sleep(0.1)  # for the signal
    return stop.is_due


def loading_error(error: Exception, loader: Any, place: str) -> SampleError:
    """The error for a batch that could not be loaded.

    Args:
        place: the batch, in words.
    """
    tell = faults.dead_worker_message if faults.is_dead_worker(error) else faults.loading_message
    return SampleError(tell(error, getattr(loader, "dataset", loader), place))
