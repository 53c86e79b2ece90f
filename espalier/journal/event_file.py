"""A file of TensorBoard events that is written at once, without a thread, and replaced when it is written again."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espalier.atomic import write_atomically

# Their names come before `events.out.tfevents...`: TensorBoard reads the files of a folder in the order of their names,
# and some of its readers do not go back to a file when they have begun the next.
ABOUT_NAME, TESTS_NAME = "_about.tfevents", "_tests.tfevents"


def write_events(path: Path, summaries: Sequence[tuple[Any, int]]) -> None:
    """Write summaries, each with its step, in place of what is in the file.

    Raises:
        OSError: the file cannot be written.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    data = _records([Event(wall_time=time.time(), file_version="brain.Event:2"), *_events(summaries)])
    write_atomically(path, lambda file: file.write(data))


def append_events(path: Path, summaries: Sequence[tuple[Any, int]]) -> None:
    """Add summaries to the file, so that a TensorBoard that has it open sees them.

    Raises:
        OSError: the file is not there, or cannot be written.
    """
    data = _records(_events(summaries))
    with path.open("r+b") as file:
        file.seek(0, io.SEEK_END)
        file.write(data)


def _events(summaries: Sequence[tuple[Any, int]]) -> list[Any]:
    from tensorboard.compat.proto.event_pb2 import Event

    return [Event(wall_time=time.time(), step=step, summary=summary) for summary, step in summaries]


def _records(events: Sequence[Any]) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    for event in events:
        RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()
