"""What the tests share: a small config on made-up data, and running the commands as a user would."""

import copy
import gc
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
collect_ignore = ["project"]  # tests of a new project, run there by tests/template/test_project.py
WARM = "ESPALIER_TESTS_WARM_PYTHON"  # the address of a Python that has torch imported


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One more than there are cores: much of a test is waiting for files and for other processes."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else None


def pytest_configure(config):
    sys.path.insert(0, str(ROOT))
    if not hasattr(config, "workerinput"):  # one server for all test processes, which inherit the environment
        from tests.warm import WarmPython  # the folder of the repository is importable only now

        config.warm_python = WarmPython()
        os.environ[WARM] = config.warm_python.address
    if not config.getoption("numprocesses", None):  # the process that hands the tests out has no need of it
        _prepare(config)


def _prepare(config):
    import torch
    from hypothesis import settings

    os.fsync = lambda handle: None  # no test can lose power: those that need to see it put their own in its place
    torch.set_num_threads(1)  # small tensors; and the test processes then do not fight for the cores
    # Autograd begins with a thread for each kind of device. A trace of torch.export makes one up, and no process that
    # is forked later could compute gradients then.
    torch.ones(1, requires_grad=True).sum().backward()
    if hasattr(os, "register_at_fork"):  # torch's pool is made anew by the first who asks; by two at once, not at all
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
    # The default run tries the same few examples everywhere; the slow one looks for many new ones each time.
    settings.register_profile("same", derandomize=True, deadline=None, max_examples=20)
    settings.register_profile("new", deadline=None)
    settings.load_profile("new" if config.getoption("markexpr").startswith("slow") else "same")


def pytest_collection_finish():
    import torch._dynamo  # noqa: F401  the first optimizer would import it

    for logger in list(logging.root.manager.loggerDict.values()):
        logger.propagate = True  # else pytest looks after each of torch's fifty, six times in every test
    gc.collect()
    gc.freeze()  # the many processes forked here need not copy what the collector would touch


def pytest_unconfigure(config):
    gc.unfreeze()
    if hasattr(config, "warm_python"):
        config.warm_python.close()


@pytest.fixture(autouse=True)
def _logging_restored():
    """Handlers that a test's run installs go with the test."""
    root = logging.getLogger()
    # without those that a fixture of a whole file has installed
    handlers, level = (
        [each for each in root.handlers if type(each).__module__ != "espalier.journal.logging_setup"],
        root.level,
    )
    root.handlers[:] = handlers[:]
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


@pytest.fixture
def generators_restored():
    """A test leaves the random number generators of the others alone."""
    from espalier.training.rng_state import get_rng_state, set_rng_state

    state = get_rng_state()
    yield
    set_rng_state(state)


@pytest.fixture
def has_gpus(monkeypatch):
    """Let PyTorch say that it is made for a kind of GPU, and that so many are there."""
    import torch

    def say(kind, number):
        device = None if kind is None else torch.device(kind)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: device)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: number)

    return say


@pytest.fixture(scope="session")
def root():
    """The folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Run a command of the repository with this Python; returns the finished process, its output as text."""
    from tests.warm import run_warm

    def run_command(*args, cwd=ROOT, env=None):
        command = list(map(str, args))
        env = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        if command[0].endswith(".py"):
            return run_warm(os.environ[WARM], command, cwd, env, tmp_path_factory.mktemp("output"))
        return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=120, env=env)

    return run_command


@pytest.fixture
def config_command(monkeypatch, capsys):
    """`python parse_config.py` in this process; gives exit code, output and errors."""

    import parse_config
    from espalier.processes.command import errors_without_traceback

    monkeypatch.setattr(logging.getLogger("config"), "handlers", [])  # that the command adds one to

    def call(*argv):
        monkeypatch.setattr(sys, "argv", ["parse_config.py", *map(str, argv)])
        capsys.readouterr()
        try:
            with errors_without_traceback():
                code = parse_config.main()
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def finished(run, tmp_path_factory):
    """The run folder of a short training with everything on, and the process that made it; not to be changed."""
    saved = tmp_path_factory.mktemp("finished") / "saved"
    result = run("train.py", "-c", "config.json", "name=Digits", "trainer.epochs=2", f"trainer.save_dir={saved}")
    assert result.returncode == 0, result.stderr
    (folder,) = (saved / "models" / "Digits").iterdir()
    return folder, result


TINY_CONFIG = {
    "name": "Tiny",
    "n_gpu": 0,
    "seed": 7,
    "arch": {"type": "MnistModel", "args": {}},
    "data_loader": {
        "type": "DigitsDataLoader",
        "args": {
            "data_dir": str(ROOT / "data" / "digits"),
            "batch_size": 128,
            "shuffle": True,
            "validation_split": 0.1,
        },
    },
    "optimizer": {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9}},
    "loss": "nll_loss",
    "metrics": ["accuracy"],
    "trainer": {"epochs": 2, "monitor": "off", "tensorboard": False, "verbosity": 0},
}


@pytest.fixture
def tiny_config(tmp_path):
    """A complete config on the digits that may be changed; runs go to `tmp_path/saved`."""
    config = copy.deepcopy(TINY_CONFIG)
    config["trainer"]["save_dir"] = str(tmp_path / "saved")
    return config


@pytest.fixture
def from_checkpoint(tiny_config, tmp_path):
    """The config inside a checkpoint without a file beside it, `values` changed; `config` is what -c says."""
    import argparse

    from espalier.checkpoints.file import save_checkpoint
    from parse_config import ConfigParser

    def make(values=None, config=None, overrides=(f"trainer.save_dir={tmp_path / 'saved'}",)):
        path = tmp_path / "download" / "model.pth"
        path.parent.mkdir()
        save_checkpoint({"state_dict": {}, "config": {**tiny_config, **(values or {})}}, path)
        given = None
        if config is not None:
            given = str(tmp_path / "given.json")
            Path(given).write_text(json.dumps(config))
        return ConfigParser.from_args(argparse.Namespace(config=given, resume=str(path), overrides=overrides))

    return make
