"""Rank and world size from torchrun's environment, and how one of several processes behaves; needs no torch."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

from espalier.errors import chain_of

# What torchrun sets for each process that it starts.
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
ALIKE_S = 4.0  # how long the other ranks of a machine wait for its first to report the same error
LOST_S = 8.0  # how long a rank that lost the connection to another waits for that one's reason
SET_PARENT_DEATH_SIGNAL = 1  # of prctl on Linux
# Why batch norm over several processes is refused on CPUs, and where from, what for, what instead.
NO_SYNC_BATCHNORM = ("needs GPUs with several processes", None, "true", None, None,
                     "remove it: each process then normalises by its own part of a batch")  # fmt: skip
GONE = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Connection was likely closed",
    "ncclRemoteError",
)


_deferred: list[Callable[[], object]] = []  # calls to make ahead of the next collective


def defer(call: Callable[[], object]) -> None:
    """Make a collective `call` ahead of the next collective of this rank; never, if an error ends it before."""
    _deferred.append(call)


def run_deferred() -> None:
    """Make the deferred calls; every collective begins with this."""
    while _deferred:
        _deferred.pop(0)()


def clear_deferred() -> None:
    """Drop the deferred calls, when the run is over."""
    _deferred.clear()


def is_launched() -> bool:
    """Whether torchrun, or our own launcher, has started this process."""
    return all(name in os.environ for name in VARIABLES)


def is_distributed() -> bool:
    """Whether this process is one of several, also before torch.distributed is initialized."""
    return is_launched() and int(os.environ["WORLD_SIZE"]) > 1


def is_rank_zero(name: str = "RANK") -> bool:
    """Whether this process has rank 0, or is alone; with "LOCAL_RANK" the one of its machine."""
    return not is_launched() or os.environ[name] == "0"


def leave_to_rank_zero(work: str) -> None:
    """End this process with exit code 0, unless it has rank 0: of several started for `work`, one does it.

    Raises:
        SystemExit: its rank is another.
    """
    if not is_rank_zero():
        raise SystemExit(0)
    if is_distributed():
        print(f"{work} needs one process; the others of the {os.environ['WORLD_SIZE']} end.", flush=True)


def num_local_processes() -> int:
    """The number of processes of the run on this machine; at least, where a launcher tells each only its own number."""
    return max(int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0)) + 1)


def new_run_id() -> str:
    """A new id for the processes that this one is about to launch, by which `is_child` knows them."""
    return f"{os.getpid()}-{time.time_ns()}"


def is_child() -> bool:
    """Whether our own launcher has started this process, rather than torchrun."""
    return is_launched() and os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(f"{os.getppid()}-")


def is_restarted_on_failure() -> bool:
    """Whether an exit code other than 0 makes torchrun start the run again; ours knows a stop by its exit code."""
    done, most = (int(os.environ.get(f"TORCHELASTIC_{name}", 0)) for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    return is_launched() and not is_child() and done < most


def configure_process() -> None:
    """As one of several: write whole lines, and be stopped should the launcher be killed."""
    if not is_launched():
        return
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True, write_through=False)  # PYTHONUNBUFFERED would tear them
    if int(os.environ["WORLD_SIZE"]) > 2:  # where `Replica` sets an option of which C++ warns on every rank
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # which is read when torch is imported
    if is_child() and sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error only says that another rank is gone, which tells its own reason.

    A rank that was waited for too long is not gone: the place where this one waited is all there is to go by.
    """
    *_, first = chain_of(error)
    kind, text = type(first), str(first)
    is_from_torch = kind.__module__ == "torch.distributed" or (kind is RuntimeError and "/gloo/" in text)
    return is_from_torch and any(words in text for words in GONE)


def wait_for_other_reports(error: Exception) -> None:
    """Ahead of reporting `error`, wait whether another rank reports it first.

    Local rank 0 reports at once. The others wait: where all ranks fail alike, the launcher ends them meanwhile. A rank
    that only lost the connection to another one says so after a longer wait, since that one has the reason.

    Raises:
        SystemExit: there is nothing more to report.
    """
    if not is_distributed():
        return
    is_lost = is_lost_connection(error)
    try:
        time.sleep(LOST_S if is_lost else 0 if is_rank_zero("LOCAL_RANK") else ALIKE_S)
    except KeyboardInterrupt:  # this is how errors_without_traceback learns of SIGTERM
        raise SystemExit(1) from None
    if is_lost:
        line = f"Rank {os.environ['RANK']} ends: the connection to another rank is lost."
        print(f"{line} What that rank says is the reason.", file=sys.stderr, flush=True)
        raise SystemExit(1) from None


def print_rank() -> None:
    """As one of several, print which rank the error that follows is of."""
    if is_distributed():
        print(f"Rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} failed:", file=sys.stderr, flush=True)
        sys.excepthook = sys.__excepthook__  # torch's puts the rank before each line of a traceback
