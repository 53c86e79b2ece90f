"""A Python that has the large packages imported, and forks for each command: two to four seconds saved on each.

The repository's own modules are not among them: every command imports those afresh, from its own folder.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

PACKAGES = "torch", "torch._dynamo", "torchvision", "torch.utils.tensorboard"
TIMEOUT = 120  # seconds


class WarmPython:
    """Runs scripts as `python script.py ...` would, one after the other."""

    def __init__(self):
        pipe = subprocess.PIPE
        self._compiled = tempfile.TemporaryDirectory()  # modules, once for all commands
        keep = {"PYTHONPYCACHEPREFIX": self._compiled.name, "PYTHONDONTWRITEBYTECODE": ""}
        env = {**os.environ, "OMP_NUM_THREADS": "1", **keep}
        self._server = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True, env=env)

    def run(self, command, cwd, env, folder):
        """The finished process, its output as text; `folder` takes the output meanwhile."""
        out, err = Path(folder, "stdout"), Path(folder, "stderr")
        request = {"command": command, "cwd": str(cwd), "env": env, "outputs": [str(out), str(err)]}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return subprocess.CompletedProcess(command, code, out.read_text(), err.read_text())

    def close(self):
        """End the server."""
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()
        self._compiled.cleanup()


def become(command, cwd, env, outputs):
    """Make this forked process the one that `command` would have been, and run its script."""
    signal.alarm(TIMEOUT)
    for number, path in enumerate([os.devnull, *outputs]):
        opened = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = str(Path(command[0]).resolve().parent)
    sys.path[1:1] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv, sys.orig_argv = command, [sys.executable, *command]
    try:
        runpy.run_path(command[0], run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code
        if not isinstance(code, int | None):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    # what the interpreter does at its end, without taking a million objects apart
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def serve():
    """Fork for each request that stands on a line of stdin; the exit code goes to stdout."""
    for package in PACKAGES:
        __import__(package)
    gc.freeze()  # a child's collector leaves those pages alone
    while line := sys.stdin.readline():
        child = os.fork()
        if not child:
            become(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    os._exit(0)


if __name__ == "__main__":
    serve()
