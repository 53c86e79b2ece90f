"""What the system lets a run have: open files, processes, shared memory; and what to do where that is too little."""

from __future__ import annotations

import errno
import shutil
import threading
from pathlib import Path

from espalier.errors import chain_of, megabytes

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

ENOUGH = 4096  # open files, or processes, for the workers and batches of most runs
NO_THREAD = "can't start new thread"
FEWER_WORKERS = "lower data_loader.args.num_workers (0 loads in the training process)"
_SHARED = Path("/dev/shm")
_IN_SHARED_MEMORY = ("bus error", "shared memory", "unable to mmap", "unable to write to file </torch_")


def advice_on_limit(error: BaseException | None, fewer: str = FEWER_WORKERS, *, at_start: bool = False) -> str | None:
    """What to do about a limit of the system that an error speaks of, or one that led to it; None for other errors.

    Args:
        error: also one whose text is that of an error in a worker.
        fewer: what asks for less.
        at_start: whether workers were being started, whose locks are in shared memory.
    """
    for each in chain_of(error):
        text, code = str(each).lower(), getattr(each, "errno", None)
        if code in (errno.EMFILE, errno.ENFILE) or "too many open files" in text or "items of ancdata" in text:
            return _of_shell("open files", "RLIMIT_NOFILE", "-n", fewer)
        is_full = at_start and code in (errno.ENOSPC, errno.ENOSYS, errno.EACCES)
        if is_full or any(words in text for words in _IN_SHARED_MEMORY):
            return _on_shared_memory(fewer)
        if isinstance(each, BlockingIOError) or NO_THREAD in text:
            return _of_shell("processes and threads of this user", "RLIMIT_NPROC", "-u", fewer)
    return None


def with_advice(message: str, error: BaseException) -> str:
    """`message`, and what to do about a limit of the system if that is what `error` speaks of."""
    advice = advice_on_limit(error)
    return message if advice is None else f"{message.rstrip()}\nTo mend it, {advice}."


def try_start(thread: threading.Thread) -> bool:
    """Start a thread; False where the system allows no more of them."""
    try:
        thread.start()
    except RuntimeError as error:
        if NO_THREAD not in str(error):
            raise
        return False
    return True


def _of_shell(what: str, name: str, option: str, fewer: str) -> str:
    """How a limit of the shell is raised, up to what the system has set for it."""
    soft, hard = resource.getrlimit(getattr(resource, name)) if resource is not None else (-1, -1)
    raised = ENOUGH if hard < 0 else min(ENOUGH, hard)
    if soft < 0:
        return f"{fewer}; the system allows no more {what}"
    if raised <= soft:
        return f"{fewer}; who looks after this machine can raise the limit of {soft:,} {what}"
    return f"type `ulimit {option} {raised}` in this shell and start again (the limit is {soft:,} {what}), or {fewer}"


def _on_shared_memory(fewer: str) -> str:
    room = ""
    if _SHARED.is_dir():
        usage = shutil.disk_usage(_SHARED)
        room = f" ({megabytes(usage.free)} of {megabytes(usage.total)} are free in {_SHARED})"
    what = f"batches of workers need more shared memory{room}"
    return f"{fewer}, or data_loader.args.batch_size: {what}; a container gets it by docker run --shm-size=8g"
