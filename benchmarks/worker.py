"""One contestant in a process that stays warm: python -m benchmarks.worker <contestant> <task> <data file> <fd>

For each number that it reads it trains once, from that seed, and writes what came of it to the file descriptor.
"""

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.tasks import SIZES, task_in_memory


def main(name: str, task_name: str, data: str, answers: int) -> None:
    torch.set_num_threads(SIZES[task_name][7])
    contestant = importlib.import_module(f"benchmarks.contestants.{name}")
    ends: list[float] = []  # of the optimizer's steps
    register_optimizer_step_post_hook(lambda *call: ends.append(perf_counter()))
    for line in sys.stdin:
        torch.manual_seed(int(line))
        with tempfile.TemporaryDirectory() as folder:
            fit = contestant.prepare(task_in_memory(task_name, Path(data), Path(folder)))
            ends.clear()
            began = perf_counter()
            log = fit()
            seconds = perf_counter() - began
            inside = ends[-1] - ends[0] if ends else seconds
        answer = {"seconds": seconds, "steps": len(ends), "seconds_of_steps": inside, **log}
        os.write(answers, json.dumps({name: float(value) for name, value in answer.items()}).encode() + b"\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--help"]:
        sys.exit(print(__doc__))
    main(*sys.argv[1:4], int(sys.argv[4]))
