"""How fast two processes train: python -m benchmarks.scaling [--data-dir ...] [--rounds N] [--only LeNet]

Contestants are started once for each task, as torchrun would, and take turns of an epoch each. Writes
docs/benchmarks-scaling.md.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import report
from benchmarks.processes import PYTHON, ROOT, Terminal, environment
from benchmarks.results import result
from benchmarks.speed import differences
from benchmarks.tasks import make_data

GOAL = 0.98  # of the throughput of the reference
# Else glibc gives memory back after some steps and not after others, by the luck of what lies where.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
KINDS, NUMS = ("hand", "ours"), (1, 2)
REFERENCE = "hand, 2 processes"
Turns = Mapping[str, Mapping[str, float]]  # one of each contestant
TASKS: dict[str, dict[str, Any]] = {
    "LeNet": {
        "about": "The LeNet of model/model.py, {} in memory, batches of 128 of all processes together, Adam (fused).",
        "arch": {"type": "model.model.MnistModel", "args": {}},
        "loss": {"type": "torch.nn.NLLLoss"},
        "optimizer": {"type": "torch.optim.Adam", "args": {"lr": 0.002, "fused": True}},
        "batch_size": 128,
    },
    "ResNet-18": {
        "about": "torchvision's ResNet-18 on images of 3x32x32 (made up), batches of 64 of all processes together, SGD "
        "(fused).",
        "arch": {"type": "torchvision.models.resnet18", "args": {"num_classes": 10}},
        "loss": {"type": "torch.nn.CrossEntropyLoss"},
        "optimizer": {"type": "torch.optim.SGD", "args": {"lr": 0.02, "momentum": 0.9, "fused": True}},
        "batch_size": 64,
    },
}
NUM_IMAGES = 40 * 64  # of ResNet-18
INTRO = f"""# Benchmarks of several processes

Written by `make bench-scaling`: training on the CPU, one thread a process, processes that reach each other by Gloo.
Contestants take turns of an epoch each, in one run; the throughput of each is told as a ratio to that of PyTorch's
DistributedDataParallel in a loop by hand on two processes in the same round (the goal for ours: {GOAL}), the least, the
median and the greatest of several rounds. It is measured from the first step of an epoch to its last;
"whole epochs" is the median ratio with what stands around the steps, which for ours is a checkpoint, TensorBoard and a
log; the epoch of ResNet-18 has few steps, so that they weigh more there than in a real one.

glibc is told to keep the memory it has (`MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_`), for all alike. By default
it gives memory back after some steps and not after others, by the luck of a process, which costs LeNet up to a fifth of
a step; `--default-malloc` shows that.

- **hand**: DistributedDataParallel with its defaults; slices of the same global batches out of the same tensors;
  loss and hits added up; no bar, no log, no checkpoint. One process goes without DistributedDataParallel.
- **ours**: `train.py` with every default on, InMemoryDataset in BaseDataLoader.
"""


class Processes:
    """The processes of a contestant, which wait between its turns."""

    def __init__(self, name: str, num: int, folder: Path, values: Mapping[str, str]) -> None:
        self.terminal = Terminal()
        answers, write = os.pipe()
        command = [PYTHON, "-m", "benchmarks.scaling_rank", name, str(folder), str(write)]
        out = self.terminal.slave
        self.processes = [
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=out, stderr=out, text=True,
                             pass_fds=[write], env={**environment(threads=1), **values, **variables})
            for variables in variables_of(num, free_port())
        ]  # fmt: skip
        os.close(write)
        self.answers = os.fdopen(answers)

    def train_epoch(self) -> dict[str, float]:
        """What one turn took.

        Raises:
            RuntimeError: a process has died; with the end of what they wrote.
        """
        for process in self.processes:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write("\n")
                process.stdin.flush()
        line = self.answers.readline()
        if not line:
            self.close()
            raise RuntimeError(self.terminal.close()[-3000:])
        return json.loads(line)

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.kill()
            process.wait()


def variables_of(num: int, port: int) -> list[dict[str, str]]:
    """What torchrun would tell each of `num` processes; nothing to one that is alone."""
    if num == 1:
        return [{}]
    common = {"WORLD_SIZE": str(num), "LOCAL_WORLD_SIZE": str(num), "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": str(port)}  # fmt: skip
    return [{"RANK": str(rank), "LOCAL_RANK": str(rank), **common} for rank in range(num)]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def title_of(kind: str, num: int) -> str:
    return f"{kind}, {num} process{'es' * (num > 1)}"


def measure(
    name: str, rounds: int, data_dir: Path | None, values: Mapping[str, str]
) -> list[dict[str, dict[str, float]]]:
    """What the turn of each contestant took, by its title, for every round; `values` go into their environment.

    The first epoch of each warms up. Every second round goes backwards, so that none always follows the same one.
    """
    with tempfile.TemporaryDirectory() as path, contextlib.ExitStack() as stack:
        folder = Path(path)
        torch.save(data_of(name, data_dir), folder / "data.pt")
        (folder / "config.json").write_text(json.dumps(config_of(name, folder)), encoding="utf-8")
        contestants = {}
        for kind, num in itertools.product(KINDS, NUMS):
            title = title_of(kind, num)
            contestants[title] = Processes(kind, num, folder, values)
            stack.callback(contestants[title].close)
            contestants[title].train_epoch()
            tell(f"{name}: {title} is warm")
        found = []
        for number in range(rounds):
            titles = list(contestants)[:: -1 if number % 2 else 1]
            found.append({title: contestants[title].train_epoch() for title in titles})
            tell(f"{name}: round {number + 1} of {rounds}")
    return found


def config_of(name: str, folder: Path) -> dict[str, Any]:
    """The config of a task, whose data is in `folder`."""
    loader = {"path": str(folder / "data.pt"), "batch_size": TASKS[name]["batch_size"]}
    return {
        "name": "Scaling",
        "n_gpu": 0,
        "seed": 123,
        **{section: TASKS[name][section] for section in ("arch", "loss", "optimizer")},
        "data_loader": {"type": "benchmarks.scaling_rank.in_memory", "args": loader},
        "metrics": ["accuracy"],
        "trainer": {"epochs": 1000, "save_dir": str(folder / "saved"), "strategy": "ddp"},
    }


def data_of(name: str, data_dir: Path | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and classes."""
    if name == "LeNet":
        return make_data("lenet", data_dir)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(NUM_IMAGES, 3, 32, 32, generator=generator)
    return inputs, (inputs.flatten(1) @ torch.randn(3072, 10, generator=generator)).argmax(dim=1)


def tables_of(name: str, about: str, rounds: Sequence[Turns]) -> list[dict[str, Any]]:
    """The throughput of each contestant beside the reference, and that of two processes beside that of one."""
    rates = [{title: TASKS[name]["batch_size"] / turn["step_s"] for title, turn in each.items()} for each in rounds]
    extra = {}
    for title in rounds[0]:
        turns = [each[title] for each in rounds]
        extra[title] = {
            "ms a step": median(turn["step_s"] for turn in turns) * 1e3,
            "the median step": median(turn["median_step_s"] for turn in turns) * 1e3,
            "CPU ms": median(turn["cpu_s"] for turn in turns) * 1e3,
            "whole epochs": median(each[REFERENCE]["epoch_s"] / each[title]["epoch_s"] for each in rounds),
            **{key: turns[-1][key] for key in ("steps", "loss", "accuracy")},
        }
    more = "The throughput on two processes, divided by that on one."
    gains = [{kind: each[title_of(kind, 2)] / each[title_of(kind, 1)] for kind in KINDS} for each in rates]
    return [result(name, about, rates, REFERENCE, "samples a second", 1.0, extra, doubts(rounds[-1])),
            result(f"{name}, two processes beside one", more, gains, None, "times")]  # fmt: skip


def doubts(turns: Turns) -> list[str]:
    """Where ours has not done what is done by hand on as many processes."""
    pairs = {num: {kind: turns[title_of(kind, num)] for kind in KINDS} for num in NUMS}
    return [f"{each} (processes: {num})" for num, pair in pairs.items() for each in differences(pair)]


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def write(tables: Sequence[dict[str, Any]], load: float) -> None:
    """Write docs/benchmarks-scaling.md."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    when = f"{time.strftime('%Y-%m-%d %H:%M')}, commit {commit.stdout.strip()}, load of the machine before: {load:.1f}"
    lines = [INTRO, *report.machine(), f"- {when}", ""]
    for table in tables:
        lines += [f"## {table['title']}", "", table["about"], "", *report.rows_of(table), ""]
        lines += [f"**Warning:** {each}.\n" for each in table["warnings"]]
        lines += [f"{table['rounds']} rounds.", ""]
    (report.DOCS / "benchmarks-scaling.md").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure training on two processes beside one, and beside PyTorch's.")
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST in torchvision's layout; none: made-up images")
    parser.add_argument("--rounds", type=int, default=4, help="of every task")
    parser.add_argument("--only", choices=TASKS, help="one task; nothing is written then")
    parser.add_argument("--default-malloc", action="store_true", help="as glibc comes; nothing is written then")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *call: sys.exit(143))  # so that the processes and the folder go too
    tables, load = [], os.getloadavg()[0]
    values = {} if args.default_malloc else KEEP_MEMORY
    for name in [args.only] if args.only else TASKS:
        about = TASKS[name]["about"].format("MNIST" if args.data_dir else "made-up images")
        tables += tables_of(name, about, measure(name, args.rounds, args.data_dir, values))
        print("\n".join(["", *report.rows_of(tables[-2]), "", *report.rows_of(tables[-1]), ""]))
    if not args.only and not args.default_malloc:
        write(tables, load)


if __name__ == "__main__":
    main()
