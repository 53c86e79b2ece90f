"""Several processes of one run, forked from this one, that reach each other by Gloo."""

import os
import pickle
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from unittest import mock

from torch import distributed as dist

TIMEOUT = 100  # seconds


def run_ranks(num, action, timeout=TIMEOUT):
    """What `action(rank)` gives on each of `num` processes; their errors are this one's."""
    with tempfile.TemporaryDirectory() as folder:
        pids = [_fork(rank, num, Path(folder), action, timeout) for rank in range(num)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        results = [_read(Path(folder, str(rank))) for rank in range(num)]
    if any(codes):
        errors = "\n".join(f"rank {rank}: {each}" for rank, each in enumerate(results) if codes[rank])
        raise AssertionError(f"exit codes {codes}\n{errors}")
    return results


def _fork(rank, num, folder, action, timeout):
    pid = os.fork()
    if pid == 0:
        signal.alarm(timeout)
        code, result = 1, None
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
        try:
            with mock.patch.dict(os.environ, {name: str(value) for name, value in names.items()}):
                if num > 1:
                    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=num)
                    dist.barrier()  # a rank that ends at once would close what another is still connecting to
                result = action(rank)
                if num > 1:
                    dist.destroy_process_group()
            code = 0
        except SystemExit as error:
            code, result = error.code or 0, f"SystemExit({error.code})"
        except BaseException:
            result = traceback.format_exc()
        finally:
            Path(folder, str(rank)).write_bytes(pickle.dumps(result))
            sys.stdout.flush()
            os._exit(code)
    return pid


def _read(path):
    return pickle.loads(path.read_bytes()) if path.exists() else "died"
