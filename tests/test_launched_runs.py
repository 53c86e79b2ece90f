"""Runs of several processes by the real commands: their numbers, their files, and what a disaster leaves of them."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from espalier.checkpoints.file import load_checkpoint
from tests.kill import differences, end_of

slow = pytest.mark.slow
no_gpus = pytest.mark.skipif(torch.cuda.device_count() > 1, reason="there are as many GPUs as it asks for")
TIMEOUT = 200  # seconds
LOST = re.compile(r"Rank \d ends: the connection to another rank is lost. What that rank says is the reason.\n")


def lines_of(folder, name="Tiny"):
    """What a run has left: its folder, the rows of its numbers, the lines of its log without their time."""
    (run,) = (folder / "saved" / "models" / name).iterdir()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    log = (folder / "saved" / "log" / name / run.name / "info.log").read_text().splitlines()
    return run, rows, [line.split(" - ", 3)[-1] for line in log]


@pytest.fixture
def tiny(tiny_config, tmp_path):
    """The file of a small config without random numbers in its model."""
    tiny_config["arch"]["args"] = {"dropout": 0.0}
    tiny_config["trainer"]["verbosity"] = 1
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny_config))
    return path


@pytest.mark.slow
def test_two_processes_print_and_write_once_the_numbers_of_one(run, tiny, tmp_path):
    """The same batches, shared; accuracies are equal to the bit."""
    commands = [("one", ""), ("two", "trainer.num_processes=2")]
    results = []
    for name, option in commands:
        result = run("train.py", "-c", tiny, f"trainer.save_dir={tmp_path / name / 'saved'}", *filter(None, [option]))
        assert (result.returncode, result.stderr) == (0, "")
        results.append(result.stdout)
    (_, rows, _), (_, rows_of_two, log) = (lines_of(tmp_path / name) for name, _ in commands)
    for text in results[1].splitlines(), log:
        assert [re.match(r"Epoch \d", line)[0] for line in text if line.startswith("Epoch")] == ["Epoch 1", "Epoch 2"]
        assert text.count("Device cpu, world size 2 (ddp), precision fp32.") == 1
    assert [line for line in results[1].splitlines() if line not in log] == []
    for row, row_of_two in zip(rows, rows_of_two, strict=True):
        seconds = row_of_two.pop("seconds"), row.pop("seconds")
        assert min(seconds) > 0
        assert row == {
            **row_of_two,
            **{name: pytest.approx(row_of_two[name], abs=1e-5) for name in ("loss", "val_loss")},
        }


def test_config_error_of_two_processes_is_told_once(run, tiny):
    """By the command itself, before it starts any."""
    result = run("train.py", "-c", tiny, "trainer.num_processes=2", "optimizer.args.lrr=1")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("config error: optimizer.args.lrr is not an argument of")
    assert result.stderr.count("config error") == 1


@pytest.mark.slow
def test_data_error_of_two_processes_is_told_once(run, tiny):
    """By the first of them."""
    result = run("train.py", "-c", tiny, "trainer.num_processes=2", "data_loader.args.data_dir=nowhere")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "data error: nowhere/digits.npz is not there\n"
        "  from      command line, data_loader.args.data_dir\n"
        "  fix       data_loader.args.data_dir is the folder of digits.npz, by default data/digits\n"
    )


@no_gpus
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["n_gpu=2"],
            "config error: n_gpu asks for more GPUs than there are\n"
            "  from      command line\n"
            "  got       2\n"
            "  expected  0, or 1 (the CPU where there is no GPU); found 0\n",
        ),
        (
            ["-d", "0,1"],
            "config error: -d names GPUs that are not there\n"
            "  from      command line\n"
            "  got       0,1\n"
            "  expected  among the 0 found\n",
        ),
    ],
    ids=["n_gpu", "d"],
)
def test_more_gpus_than_there_are_is_a_config_error(run, tiny, options, expected):
    """One GPU where there is none means the CPU; several do not."""
    result = run("train.py", "-c", tiny, *options)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected)


def test_check_of_a_run_of_two_is_made_by_one(run, tiny, tmp_path):
    """It is over sooner, and what works for one works for two."""
    result = run("train.py", "-c", tiny, "trainer.num_processes=2", "--check")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("Everything works. No run was left behind.") == 1
    assert "world size 1" in result.stdout
    assert {path.suffix for path in (tmp_path / "saved").rglob("*") if path.is_file()} <= {".png"}


# What follows takes a start of some processes, or two, each.

OPTIONS = (
    "n_gpu=0",
    "trainer.type=tests.fate.Fated",
    "trainer.epochs=3",
    "trainer.save_every_steps=8",
    "trainer.tensorboard=false",
    "data_loader.type=tests.fate.NoisyLoader",
    "data_loader.args.data_dir=data/digits",
    "data_loader.args.batch_size=64",  # 21 steps an epoch
)
TWO = "trainer.num_processes=2"
NEW = ("train.py", "-c", "config.json", *OPTIONS)


class Command:
    """A command of the repository that runs in `folder`, to which a deed of `tests.fate` is done."""

    def __init__(self, root, folder, *args, deed=None, env=None):
        self.folder = folder
        fate = folder / "fate"
        if deed is not None:
            fate.write_text(deed)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "FATE": str(fate), **(env or {})}
        command, pipe = [sys.executable, *map(str, args)], subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=root, stdout=pipe, stderr=pipe, text=True, env=env,
                                        start_new_session=True)  # fmt: skip

    def end(self):
        """Its exit code and what it printed, the numbers of processes left out."""
        out, err = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, out, re.sub(r"\(process \d+\)", "(process N)", err)

    def seconds_since(self):
        """How long ago the deed was done."""
        return time.time() - float((self.folder / "happened").read_text())


@pytest.fixture
def start(root):
    """Start a command; it is ended with the test."""
    started = []

    def start_command(*args, **options):
        started.append(Command(root, *args, **options))
        return started[-1]

    yield start_command
    for command in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.process.pid, signal.SIGKILL)
        command.process.communicate()


@pytest.fixture
def train(start):
    """Start a run in a folder, wait for its end: the command, its exit code, stdout and stderr."""

    def train_in(folder, *options, deed=None):
        command = start(folder, *NEW, TWO, f"trainer.save_dir={folder / 'saved'}", *options, deed=deed)
        return command, *command.end()

    return train_in


@pytest.fixture
def go_on(start):
    """Go on with the run in a folder until it ends well; what it printed."""

    def go_on_in(folder, *options):
        code, out, err = start(folder, "train.py", "-r", run_in(folder), *options).end()
        assert (code, err) == (0, "")
        return out

    return go_on_in


def run_in(folder):
    """The run folder of the only run there."""
    (run,) = (folder / "saved" / "models" / "Digits_LeNet").iterdir()
    return run


def position(folder):
    """Epochs done, and batches of the next one, at the last checkpoint."""
    state = load_checkpoint(run_in(folder) / "last.pth")
    return state["epoch"], state["progress"]["batches"]


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """How a run of two processes ends that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole")
    code, _, err = Command(root, folder, *NEW, TWO, f"trainer.save_dir={folder / 'saved'}").end()
    assert (code, err) == (0, "")
    return end_of(run_in(folder))


@slow
@pytest.mark.parametrize("rank", [0, 1])
def test_killed_rank_with_restarts_changes_nothing(train, whole, tmp_path, rank):
    """All begin again from the middle of the epoch, and the run ends as if nothing had been."""
    _, code, out, err = train(tmp_path, "trainer.max_restarts=1", deed=f"kill,{rank},2,15")
    line = f"Rank {rank} (process N) was killed by SIGKILL. Restart 1 of 1 follows, from the last checkpoint.\n"
    lost = f"Rank {1 - rank} ends: the connection to another rank is lost. What that rank says is the reason.\n"
    assert (code, err.replace(lost, "")) == (0, line)  # whether it comes to say so is a matter of milliseconds
    assert f"Going on with {run_in(tmp_path)} after a restart." in out
    assert differences(whole, end_of(run_in(tmp_path))) == []


@slow
def test_killed_rank_with_a_schedule_from_the_command_line_goes_on(train, tmp_path):
    """The restarted processes have the same command line, which changes nothing of what they restore."""
    schedule = 'lr_scheduler={"type": "MultiStepLR", "args": {"milestones": [1], "gamma": 0.5}}'
    _, code, out, err = train(tmp_path, "trainer.max_restarts=1", schedule, deed="kill,1,2,15")
    assert (code, "cannot be changed" in err) == (0, False)
    assert f"Going on with {run_in(tmp_path)} after a restart." in out


@slow
def test_killed_rank_ends_the_run_which_goes_on_by_hand(train, go_on, whole, tmp_path):
    """Within half a minute, and one line says who died."""
    command, code, _, err = train(tmp_path, deed="kill,1,2,15")
    assert command.seconds_since() < 30
    assert (code, err) == (137, "Rank 1 (process N) was killed by SIGKILL.\n")
    epochs, batches = position(tmp_path)
    assert (epochs, batches > 0) == (1, True)
    go_on(tmp_path, TWO)
    assert differences(whole, end_of(run_in(tmp_path))) == []


@slow
@pytest.mark.parametrize(
    ("options", "deed", "last"),
    [((), "fail,1,2,15", "ValueError: a bug"), ((), "fail,0,2,15", "ValueError: a bug"),
     (["data_loader.args.flaw=77"], None, "")],
    ids=["rank 1", "rank 0", "sample"],
)  # fmt: skip
def test_error_of_one_rank_is_shown_once_with_its_rank(train, tmp_path, options, deed, last):
    """The others end silently, and soon."""
    began = time.time()
    command, code, out, err = train(tmp_path, *options, deed=deed)
    assert (command.seconds_since() if deed else time.time() - began) < 30
    text = LOST.sub("", err)  # on a busy machine that rank may take longer than the others wait
    assert (code, out.count("Traceback")) == (1, 0)
    assert text.startswith(f"Rank {deed.split(',')[1] if deed else text[5]} of 2 failed:\nTraceback")
    assert text.count("failed:\n") == 1
    assert text.rstrip().splitlines()[-1].startswith(last or "espalier.errors.SampleError: ")


@slow
@pytest.mark.parametrize(
    ("deed", "name", "expected"),
    [
        ("terminate all,0,2,4", "SIGTERM", 143),
        ("terminate,1,2,4", "SIGTERM", 143),
        ("interrupt all,0,2,4", "SIGINT", 130),
    ],
)
def test_signal_leaves_one_checkpoint_to_go_on_from(train, go_on, whole, tmp_path, deed, name, expected):
    """To the command, as from a scheduler or a terminal, or to one of its processes."""
    command, code, out, err = train(tmp_path, "trainer.save_every_steps=null", deed=deed)
    assert command.seconds_since() < 30
    assert (code, err) == (expected, "")
    assert out.count(f"Stopped by {name} in epoch 2, after ") == 1
    names = {path.name for path in run_in(tmp_path).iterdir()}
    assert names == {
        "checkpoint-epoch1.pth",
        "last.pth",
        "model_best.pth",
        "config.json",
        "metrics.jsonl",
        "run.json",
        "report.html",
    }
    epochs, batches = position(tmp_path)
    assert (epochs, batches > 0) == (1, True)
    go_on(tmp_path, TWO)
    assert differences(whole, end_of(run_in(tmp_path))) == []


@slow
def test_time_limit_of_two_processes_stops_them_where_they_can_go_on(train, go_on, whole, tmp_path):
    """With the exit code of a signal."""
    _, code, out, err = train(tmp_path, "trainer.max_time=00:00:02", deed="slow down,0,1,5")
    assert (code, err) == (143, "")
    assert out.count("Stopped by trainer.max_time in epoch ") == 1
    go_on(tmp_path, TWO, "trainer.max_time=null")
    assert differences(whole, end_of(run_in(tmp_path))) == []


@pytest.fixture
def agents(start, tmp_path):
    """Start an agent as on a machine of its own, one of two that share a disk; each has one process of the run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start_agent(folder, *options, deed=None):
        folder.mkdir(exist_ok=True)
        agent = ("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-id=x",
                 "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", *options)  # fmt: skip
        # else torch (2.15) never tells an agent that comes later where the processes are to meet
        env = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        return start(folder, *agent, *NEW, f"trainer.save_dir={tmp_path / 'saved'}", deed=deed, env=env)

    def start_host():
        """The first of them; the agents meet there."""
        host = start_agent(tmp_path / "host")
        began = time.time()
        with socket.socket() as tried:
            while tried.connect_ex(("127.0.0.1", port)) != 0:
                assert time.time() - began < TIMEOUT
                time.sleep(0.1)
        return host

    return start_host, start_agent


@slow
def test_two_machines_are_as_two_processes_of_one(agents, whole, tmp_path):
    """One folder, one set of lines, and the same bits."""
    start_host, start_agent = agents
    results = [each.end() for each in (start_host(), start_agent(tmp_path / "other", "--local-addr=127.0.0.2"))]
    assert [code for code, _, _ in results] == [0, 0]
    assert sum(out.count("Trained to epoch 3 in") for _, out, _ in results) == 1
    assert differences(whole, end_of(run_in(tmp_path))) == []


@slow
def test_machine_that_goes_down_and_comes_back_changes_nothing(agents, whole, tmp_path):
    """The same command there, and the run goes on from its last checkpoint."""
    start_host, start_agent = agents
    host, other = start_host(), start_agent(tmp_path / "other", deed="kill both,-1,2,15")
    assert other.end()[0] == -signal.SIGKILL
    again = start_agent(tmp_path / "again")
    results = [host.end(), again.end()]
    assert [code for code, _, _ in results] == [0, 0]
    outs = "".join(out for _, out, _ in results)
    assert outs.count(f"Going on with {run_in(tmp_path)} after a restart.") == 1
    assert differences(whole, end_of(run_in(tmp_path))) == []


@slow
def test_divided_run_in_shards_is_evaluated_and_goes_on_in_one_process(train, start, go_on, tmp_path):
    """What training has reported of the test data is what `test.py` finds in the checkpoint."""
    data = {"type": "DigitsDataLoader", "args": {"data_dir": "data/digits", "batch_size": 64, "training": False}}
    options = "trainer.strategy=fsdp", "trainer.checkpoint=sharded", "data_loader.args.validation_split=0"
    _, code, out, err = train(tmp_path, *options, f"valid_data_loader={json.dumps(data)}", "trainer.epochs=2")
    assert (code, err) == (0, "")
    assert "Model MnistModel with 21,840 parameters, 21,840 of them trainable." in out
    run = run_in(tmp_path)
    assert len(list(run.glob("shards-*/__1_*"))) == 2
    tests = [f"test_data_loader={json.dumps(data)}"]
    code, out, err = start(tmp_path, "test.py", "-r", run, *tests).end()
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = json.loads((run / "test.json").read_text())["evaluations"][-1]
    assert {f"val_{name}": value for name, value in found["metrics"].items()} == {
        name: pytest.approx(value, abs=1e-6 if name == "val_loss" else 0)
        for name, value in rows[found["epoch"] - 1].items()
        if name.startswith("val_")
    }
    out = go_on(tmp_path, "trainer.num_processes=1", "trainer.epochs=3")
    assert "Epoch 3/3" in out
    assert "Epoch 2/" not in out
