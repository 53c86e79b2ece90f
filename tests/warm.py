"""A Python that has the large packages imported, and forks for each command: two to four seconds saved on each.

The repository's own modules are not among them: every command imports those afresh, from its own folder.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path

PACKAGES = "torch", "torch._dynamo", "torchvision", "torch.utils.tensorboard"
TIMEOUT = 120  # seconds


class WarmPython:
    """The server of all test processes; they find it by its `address`."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.address = str(Path(self._folder.name, "socket"))
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        command, pipe = [sys.executable, __file__, self.address], subprocess.PIPE
        self._server = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env)
        self._server.stdout.readline()  # it listens, and imports what it needs meanwhile

    def close(self):
        """End the server."""
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()
        self._folder.cleanup()


def run_warm(address, command, cwd, env, folder):
    """Run a script as `python script.py ...` would: the finished process, its output as text.

    `folder` takes the output meanwhile.
    """
    out, err = Path(folder, "stdout"), Path(folder, "stderr")
    request = {"command": command, "cwd": str(cwd), "env": env, "outputs": [str(out), str(err)]}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        server.sendall(json.dumps(request).encode() + b"\n")
        code = int(server.makefile().readline())
    return subprocess.CompletedProcess(command, code, out.read_text(), err.read_text())


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
    sys.pycache_prefix = env.get("PYTHONPYCACHEPREFIX", sys.pycache_prefix) or None  # else that of the server
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


def answer(connection):
    """Run what is asked for in a process forked off this one, itself one of the server's, and tell its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = json.loads(connection.makefile().readline())
    child = os.fork()
    if not child:
        connection.close()
        become(**request)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os._exit(0)


def serve(address):
    """Fork for each that connects to `address`, until stdin is closed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(100)
    print("listening", flush=True)
    for package in PACKAGES:
        __import__(package)
    sys.pycache_prefix, sys.dont_write_bytecode = str(Path(address).parent), False  # compiled once for all commands
    for finalizer in list(weakref.finalize._registry):
        finalizer.atexit = False  # in each child torch would take its thousands of operators apart
    os.fsync = lambda handle: None  # as in the tests themselves: hundreds of small files would wait for the disk
    gc.freeze()  # a child's collector leaves those pages alone
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            answer(connection)
        connection.close()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
