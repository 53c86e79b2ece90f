"""Curves, pictures and distributions for TensorBoard."""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from espalier.errors import UserError
from espalier.limits import NO_THREAD

if TYPE_CHECKING:
    import numpy as np
    from torch.utils.tensorboard import SummaryWriter

_POINTS_EVERY = 1.0  # seconds; the thread that writes them holds up the steps beside it each time that it wakes
_WITHOUT_MODE = ("add_histogram", "add_embedding")  # whose tag stays as it is, as in the classic template


class TensorboardWriter:
    """A `SummaryWriter` that knows the step, so that a call names only the tag and the value.

    Any method of `SummaryWriter` can be called on it. Nothing is imported and no file made before the first one.

    Args:
        log_dir: where the event files go.
        logger: of the run; kept for code that looks for it here.
        enabled: False makes every call do nothing.
    """

    def __init__(self, log_dir: str | Path, logger: logging.Logger, enabled: bool) -> None:
        self.log_dir = Path(log_dir)
        self.logger = logger
        self.enabled = enabled
        self.step = 0
        self.mode = ""
        self.purge_step: int | None = None
        self._writer: SummaryWriter | None = None
        self._points: list[tuple[str, float, int, float]] = []  # that wait: tag, value, step, time
        self._own_tags: set[str] = set()  # of curves that code beside the framework draws
        self._written_at = -_POINTS_EVERY
        self._last_step_at: tuple[int, float] | None = None

    @property
    def writer(self) -> SummaryWriter | None:
        """The `SummaryWriter` behind this one, opened when first asked for; None when disabled, or not to be opened."""
        with self._outlived():
            return self._open() if self.enabled else None

    def set_step(self, step: int, mode: str = "train") -> None:
        """Say where the next values belong; in mode "train" also record how many steps went by per second."""
        now = monotonic()
        self.step, self.mode = step, mode
        if mode != "train":
            self._last_step_at = None  # the clock does not run through validation
            return
        if self._last_step_at is not None:
            last, then = self._last_step_at
            if step > last and now > then:
                self.add_scalar("steps_per_sec", (step - last) / (now - then))
        self._last_step_at = (step, now)

    def add_curves(self, curves: dict[str, dict[str, float]], step: int) -> None:
        """Add a point to each of several curves, `loss/train` and `loss/valid`.

        Points that come within a second of those written last are written with the next ones, or by `flush`.

        Args:
            curves: by mode ("train", "valid", or "" for tags that stay as they are), then by name.
            step: the place on the common axis, in optimizer steps.
        """
        if not self.enabled:
            return
        now = time()
        self._points += [(f"{name}/{mode}" if mode else name, value, step, now)
                         for mode in curves for name, value in curves[mode].items()]  # fmt: skip
        if monotonic() - self._written_at >= _POINTS_EVERY:
            self._write_points()

    def add_png(self, tag: str, image: np.ndarray, step: int) -> None:
        """A picture, uint8 of shape `(H, W, 3)`: as `add_image`, in a third of its time."""
        if self.writer is None:
            return
        from PIL import Image  # comes with tensorboard
        from tensorboard.compat.proto.summary_pb2 import Summary

        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG", compress_level=1)
        height, width, colours = image.shape
        shown = Summary.Image(height=height, width=width, colorspace=colours, encoded_image_string=file.getvalue())
        with self._outlived():
            self._add(Summary(value=[Summary.Value(tag=tag, image=shown)]), step)

    def _write_points(self) -> None:
        points, self._points, self._written_at = self._points, [], monotonic()
        if not points:
            return
        with self._outlived():
            self._open()
            from tensorboard.compat.proto.summary_pb2 import Summary

            for (step, when), group in itertools.groupby(points, key=lambda point: point[2:]):
                # A tag that other code draws gets a name of its own, else both would be one jagged curve.
                named = ((f"{tag}_epoch" if tag in self._own_tags else tag, value) for tag, value, *_ in group)
                values = [Summary.Value(tag=tag, simple_value=value) for tag, value in named]
                self._add(Summary(value=values), step, when)

    def _add(self, summary: Any, step: int, when: float | None = None) -> None:
        files: Any = self._open()._get_file_writer()  # type: ignore[no-untyped-call]
        files.add_summary(summary, step, when)

    def flush(self) -> None:
        """Bring everything to disk."""
        self._write_points()
        if self._writer is not None:
            with self._outlived():
                self._writer.flush()

    def close(self) -> None:
        """Bring everything to disk and close the files; a later call opens new ones."""
        self._write_points()
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._outlived():
                writer.close()

    @contextlib.contextmanager
    def _outlived(self) -> Iterator[None]:
        """A disk that fails ends the curves, not the run; nor does a name of a folder that is no Unicode."""
        try:
            yield
        except (OSError, RuntimeError, UnicodeEncodeError) as error:
            if isinstance(error, RuntimeError) and NO_THREAD not in str(error):
                raise
            if self.enabled:
                reason = getattr(error, "strerror", None) or error
                self.logger.warning("TensorBoard could not be written to %s: %s. The run goes on without.",
                                    self.log_dir, reason)  # fmt: skip
            self.enabled, self._writer, self._points = False, None, []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        writer = self.writer
        if writer is None:
            return lambda *args, **kwargs: None
        method = getattr(writer, name)
        if not callable(method):
            return method  # type: ignore[no-any-return]
        has_mode = self.mode and name not in _WITHOUT_MODE

        def call(*args: Any, **kwargs: Any) -> Any:
            if name.startswith("add_"):
                bound = inspect.signature(method).bind(*args, **kwargs)
                given = bound.arguments
                if "global_step" in bound.signature.parameters and given.get("global_step") is None:
                    given["global_step"] = self.step
                for tag in {"tag", "main_tag"} & set(given) if has_mode else ():
                    given[tag] = f"{given[tag]}/{self.mode}"
                if name == "add_scalar":
                    self._own_tags.add(str(given["tag"]))
                args, kwargs = bound.args, bound.kwargs
            with self._outlived():
                return method(*args, **kwargs)

        return call

    def _open(self) -> SummaryWriter:
        if self._writer is None:
            _leave_errors_to_next_call()
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise UserError(
                    f"tensorboard cannot be imported ({error}): pip install tensorboard, "
                    'or write "tensorboard": false under trainer'
                ) from error
            self._writer = SummaryWriter(str(self.log_dir), purge_step=self.purge_step)
        return self._writer


class _ThreadErrors:
    """In place of `threading.excepthook`: without the errors that TensorBoard's threads raise again where it is called.

    Args:
        others: what is told all other errors.
    """

    def __init__(self, others: Callable[[Any], Any]) -> None:
        self._others = others

    def __call__(self, error: Any) -> None:
        is_told = type(error.thread).__module__.startswith("tensorboard.") and isinstance(error.exc_value, OSError)
        if not is_told:
            self._others(error)


def _leave_errors_to_next_call() -> None:
    if not isinstance(threading.excepthook, _ThreadErrors):
        threading.excepthook = _ThreadErrors(threading.excepthook)
