"""Completion of the commands, as argcomplete's function in a shell asks for it, and in the shells themselves."""

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

pytest.importorskip("argcomplete")
ACTIVATE = 'eval "$(activate-global-python-argcomplete --dest=-)"'
SHELLS = {
    "bash": (["bash", "--norc"], ACTIVATE),
    "zsh": (["zsh", "-f"], f"autoload -Uz compinit && compinit -u -D; {ACTIVATE}"),
    "fish": (["fish", "--no-config"], "source {root}/espalier/config/completion.fish"),
}


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    """A folder with the commands, a config and a run."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("espalier", "model", "config.json", *{line.split()[1] for line in LINES}):
        (folder / name).symlink_to(root / name)
    (folder / "saved/models/Digits/0101_1010").mkdir(parents=True)
    (folder / "saved/studies/Digits/search").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def offered(run, root, project, tmp_path_factory):
    """What a shell is told when TAB is pressed at the end of a line, and the finished process."""

    def ask(line):
        out = tmp_path_factory.mktemp("offered") / "out"
        env = {"_ARGCOMPLETE": "2", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
               "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'><=;|&(:", "_ARGCOMPLETE_STDOUT_FILENAME": str(out),
               "COMP_LINE": line, "COMP_POINT": str(len(line)), "PYTHONPATH": str(root)}  # fmt: skip
        done = run("-X", "importtime", line.split()[1], cwd=project, env=env)
        return [*filter(None, out.read_text().split("\013"))], done

    return ask


RUN, STUDY = "saved/models/Digits/0101_1010", "saved/studies/Digits/search"
LINES = {
    "python train.py -c co": ["config.json"],
    "python train.py -c config.json trainer.ep": ["trainer.epochs="],
    "python train.py trainer.epochs=3 trainer.precision=b": ["bf16"],  # what follows the last = is a word to bash
    "python train.py optimizer.type=S": ["SGD", "SparseAdam"],
    "python train.py loss=n": ["nll_loss"],
    "python train.py --check trainer.precision=": ["fp32", "bf16", "fp16"],
    "python train.py --help trainer.prec": ["trainer.precision"],
    "python train.py -h n": ["n_gpu", "name"],
    "python train.py -r sa": [RUN],
    "python train.py --overf": ["--overfit"],
    "python test.py -r sa": [RUN],
    "python tune.py -r sa": [STUDY],
    "python tune.py -c config.json --grid trainer.ac": ["trainer.accumulate=", "trainer.activation_checkpointing="],
    "python report.py sa": [STUDY, RUN],
    "python predict.py -r sa": [RUN],
    "python export.py --format to": ["torch_export"],
    "python serve.py sa": [RUN],
    "python parse_config.py co": ["config.json"],
    "python parse_config.py config.json trainer.ep": ["trainer.epochs="],
}
TYPED = {"python train.py trainer.ep": "trainer.epochs=", "python train.py trainer.precision=b": "bf16",
         "python train.py -c con": "config.json"}  # fmt: skip
FIRST = ("python train.py -c config.json trainer.ep", "python report.py sa")


@pytest.mark.parametrize(
    "line", [pytest.param(each, marks=[] if each in FIRST else [pytest.mark.slow]) for each in LINES]
)
def test_completion_offers_what_fits_without_torch(offered, line):
    """Nothing is printed, nothing slow is imported."""
    found, done = offered(line)
    assert (found, done.returncode, done.stdout) == (LINES[line], 0, "")
    loaded = {
        each.rpartition("|")[2].strip().split(".")[0] for each in done.stderr.splitlines() if "import time" in each
    }
    assert "espalier" in loaded
    assert loaded & {"torch", "numpy", "pandas"} == set()


def test_completion_is_marked_in_every_command(root):
    """Where argcomplete looks for it: in the first 1,024 bytes."""
    for name in {line.split()[1] for line in LINES}:
        assert b"PYTHON_ARGCOMPLETE_OK" in (root / name).read_bytes()[:1024], name


def take_terminal():
    """Make the terminal that of this process, as for whoever sits at it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Shell:
    """An interactive shell at a terminal."""

    def __init__(self, command, folder, env):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        self._process = subprocess.Popen(command, cwd=folder, env=env, stdin=slave, stdout=slave, stderr=slave,
                                         start_new_session=True, preexec_fn=take_terminal)  # fmt: skip
        os.close(slave)

    def type(self, keys):
        """Send what is typed."""
        os.write(self._master, keys.encode())

    def read_until(self, pattern, timeout_s=30):
        """What is shown, up to a pattern, or to the end of the time."""
        shown, end = "", time.monotonic() + timeout_s
        while time.monotonic() < end and not re.search(pattern, shown):
            if select.select([self._master], [], [], 0.1)[0]:
                shown += os.read(self._master, 65536).decode(errors="replace")
                shown = re.sub(r"\x1b\[[0-9;?]*[ -/]*[a-zA-Z]|\x1b\][^\x07]*\x07", "", shown)
        return shown

    def close(self):
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.fixture
def shell(request, root, project, tmp_path):
    """A shell whose completion is switched on by the one line."""
    command, switch = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {
        "PATH": path,
        "HOME": str(tmp_path),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "PS1": "$ ",
        "PYTHONPATH": str(root),
    }
    opened = Shell(command, project, env)
    opened.type(f"{switch.format(root=root)}; echo rea''dy\r")
    assert "ready" in opened.read_until("ready")
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS, indirect=True)
def test_completion_works_in_a_shell_for_python_train_py(shell):
    """A key, a value of it, and the name of a config; `python` is the command, and train.py only its argument."""
    for typed, whole in TYPED.items():
        shell.type(f"{typed}\t")
        assert whole in shell.read_until(re.escape(whole)), typed
        shell.type("\x15")
