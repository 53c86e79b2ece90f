"""How fast it is beside its peers: python -m benchmarks.speed [--data-dir ...] [--rounds N] [--only tiny,lenet,...]

Every comparison is made in rounds, A B C A B C ..., and told as ratios within a round. Writes docs/benchmarks.md and
docs/benchmarks.png; what is measured is kept in benchmarks/.results.json, so that a part can be measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import report
from benchmarks.processes import PYTHON, ROOT, Worker, last_json, run_process
from benchmarks.results import result
from benchmarks.tasks import SIZES, make_data

RESULTS = ROOT / "benchmarks" / ".results.json"
LIGHTNING = ROOT / "benchmarks" / ".venv-lightning" / "bin" / "python"
PEERS = (
    "classic",
    "fabric",
    "accelerate",
    "lightning",
    "hf_trainer",
    "ignite",
    "skorch",
    "fastai",
    "keras",
    "mmengine",
)
IN_PROCESS = {
    "tiny": ("hand", "limit", "ours", *PEERS),
    "lenet": ("hand", "limit", "ours", "ours_unfused", *PEERS),
    "options": ("hand_options", "ours_options"),
    "slow": ("hand", "ours", "lightning"),
}
SHELL = ("hand", "hand_workers", "limit", "ours", "classic", "lightning", "hf_trainer", "accelerate", "ignite")
ROUNDS = {"tiny": 6, "lenet": 6, "options": 6, "slow": 3, "shell": 3, "start": 5, "folder": 5, "by_config": 5,
          "flat": 3, "checkpoint": 7, "tensorboard": 3}  # fmt: skip
# Rounds: how often a process asks the system for memory is luck that lasts, and a third of a step of LeNet by hand.
FRESH_EVERY = {"tiny": 2, "lenet": 1, "options": 1, "slow": 2}
TITLES = {
    "tiny": (
        "A tiny model",
        "A linear layer 784-10, batch 32, SGD, 2 epochs of 1,875 steps, one thread: what is around the computation.",
    ),
    "lenet": (
        "LeNet",
        "The LeNet of model/model.py, batch 128, Adam, one epoch of 469 steps, two threads, images in memory.",
    ),
    "options": (
        "LeNet with options",
        "The same in bf16, a step for every two batches, gradients clipped to norm 1, and an average of the weights.",
    ),
    "slow": (
        "A slow model",
        "11 million weights, batch 256, Adam, about 200 ms a step, 24 steps, two threads, from the first to the last.",
    ),
}


def in_process(name: str, rounds: int, data_dir: Path | None) -> list[dict[str, Any]]:
    """Contestants in warm processes, begun anew after some rounds; one of them at work at a time."""
    title, about = TITLES[name]
    about += " Data: " + ("MNIST." if data_dir else "random.")
    about += (
        "" if name == "slow" else " The time of a step is that of the whole training, epoch ends included, by steps."
    )
    about += f" Processes are warm, and new ones {'after every other' if FRESH_EVERY[name] > 1 else 'in every'} round."
    found: list[dict[str, float]] = []
    logs: dict[str, dict[str, float]] = {}
    warnings: list[str] = []
    contestants = list(IN_PROCESS[name])
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.pt"
        torch.save(make_data(name, data_dir), data)
        for number in range(1, rounds + 1, FRESH_EVERY[name]):
            with contextlib.ExitStack() as stack:
                workers = []
                for contestant in tuple(contestants):
                    worker = Worker(contestant, name, data, SIZES[name][7])
                    stack.callback(worker.close)
                    try:
                        worker.train(0)  # to warm up
                        workers.append(worker)
                    except RuntimeError as error:
                        contestants.remove(contestant)
                        warnings.append(f"{contestant} failed: {str(error).strip().splitlines()[-1:]}")
                        print(error)
                    tell(f"{name}: {contestant} is warm")
                for each in range(number, min(number + FRESH_EVERY[name], rounds + 1)):
                    new = {worker.name: worker.train(each) for worker in workers}
                    logs.update(new)
                    found.append({worker: seconds_a_step(name, log) for worker, log in new.items()})
                    tell(f"{name}: round {each} of {rounds}")
    extra = {each: {key: log[key] for key in ("steps", "loss", "accuracy")} for each, log in logs.items()}
    reference = IN_PROCESS[name][0]
    faults = [*warnings, *differences(extra, reference)]
    return [result(title, about, found, reference, "us a step", 1e6, extra, faults)]


def seconds_a_step(name: str, log: dict[str, float]) -> float:
    """Of a whole training; of the slow model, which makes few steps, from the first to the last."""
    if name == "slow":
        return log["seconds_of_steps"] / (log["steps"] - 1)
    return log["seconds"] / log["steps"]


def differences(extra: dict[str, dict[str, float]], by: str = "hand") -> list[str]:
    """Where a contestant has not done the work of the reference: other steps, another loss or accuracy."""
    found, reference = [], extra[by]
    for name, log in extra.items():
        if log.get("steps", reference.get("steps")) != reference.get("steps"):
            found.append(f"{name} made {log['steps']:.0f} steps, by hand {reference['steps']:.0f}")
        for key, allowed in (("loss", 0.15 * reference["loss"]), ("accuracy", 0.03), ("test accuracy", 0.02)):
            if key in log and key in reference and not abs(log[key] - reference[key]) <= allowed:
                found.append(f"{name} ends with {key} {log[key]:.4f}, by hand {reference[key]:.4f}")
    return found


def shell(rounds: int, data_dir: Path | None) -> list[dict[str, Any]]:
    """Whole processes that train one epoch of MNIST from disk."""
    if data_dir is None:
        return []
    seconds: list[dict[str, float]] = []
    megabytes: list[dict[str, float]] = []
    logs: dict[str, dict[str, float]] = {}
    warnings: list[str] = []
    for number in range(1, rounds + 1):
        times, sizes = {}, {}
        for name in SHELL:
            with tempfile.TemporaryDirectory() as folder:
                done = run_process(shell_command(name, data_dir, folder))
                if done["code"] == 0:
                    times[name], sizes[name] = done["seconds"], done["memory_mb"]
                    logs[name] = log_of_ours(Path(folder)) if name == "ours" else last_json(done["output"])
                elif number == 1:
                    warnings.append(f"{name} failed: {done['output'].strip().splitlines()[-1:]}")
                    print(done["output"])
            tell(f"shell: {name}, round {number} of {rounds}: {done['seconds']:.1f} s")
        seconds.append(times)
        megabytes.append(sizes)
    keys = ("steps", "loss", "accuracy", "test_accuracy")
    extra = {name: {key.replace("_", " "): log[key] for key in keys} for name, log in logs.items()}
    clean = "an environment without the other peers" if LIGHTNING.exists() else "the environment of all peers"
    about = (
        "From the shell to its prompt: one epoch of MNIST from disk, batch 128, Adam, evaluation on the 10,000 test "
        "images, one checkpoint. Ours is `python train.py -c benchmarks/mnist.json` with every default on; the others "
        "take torchvision's images one by one, the limit reads the files whole and imports no torchvision. "
        f"Lightning runs in {clean}."
    )
    memory = "Peak resident memory of the same processes; of workers that of the largest process."
    return [result("MNIST from the shell", about, seconds, "hand", "seconds", 1.0, extra,
                   [*warnings, *differences(extra)]),
            result("MNIST from the shell, memory", memory, megabytes, "hand", "MB")]  # fmt: skip


def shell_command(name: str, data_dir: Path, folder: str) -> list[str]:
    if name == "ours":
        return [PYTHON, "train.py", "-c", "benchmarks/mnist.json", f"data_loader.args.data_dir={data_dir}",
                f"trainer.save_dir={folder}"]  # fmt: skip
    python = str(LIGHTNING) if name == "lightning" and LIGHTNING.exists() else PYTHON
    return [python, "-m", "benchmarks.shell", name, str(data_dir), folder]


def log_of_ours(folder: Path) -> dict[str, float]:
    line = next(folder.rglob("metrics.jsonl")).read_text(encoding="utf-8").splitlines()[-1]
    log = json.loads(line)
    return {**log, "steps": log["step"], "test_accuracy": log["val_accuracy"]}


def start(rounds: int, data_dir: Path | None) -> list[dict[str, Any]]:
    """How soon a command answers."""
    commands = {
        "bare script, to its first step": [PYTHON, "-m", "benchmarks.first_step"],
        "train.py, to its first step": [PYTHON, "train.py", "-c", "config.json", "n_gpu=0",
                                        "trainer.type=benchmarks.first_step.FirstStep"],
        "import torch": [PYTHON, "-c", "import torch"],
        "train.py --help": [PYTHON, "train.py", "--help"],
        "train.py, an unknown key": [PYTHON, "train.py", "-c", "config.json", "trainer.epochz=3"],
    }  # fmt: skip
    found, warnings = [], []
    for number in range(rounds + 1):  # the first one warms up
        seconds = {}
        for name, command in commands.items():
            with tempfile.TemporaryDirectory() as folder:
                is_ours = "first_step.FirstStep" in command[-1]
                done = run_process([*command, f"trainer.save_dir={folder}"] if is_ours else command)
            if done["code"] != (2 if "unknown" in name else 0) and number == 0:
                warnings.append(f"{name} ended with {done['code']}")
                print(done["output"])
            seconds[name] = done["seconds"]
        found.append(seconds)
    about = "Whole processes. The bare script imports torch, reads the digits and makes one step of Adam."
    return [result("Start", about, found[1:], next(iter(commands)), "seconds", warnings=warnings)]


def part(name: str, rounds: int, data_dir: Path | None) -> list[dict[str, Any]]:
    """A comparison of benchmarks/parts.py."""
    done = run_process([PYTHON, "-m", "benchmarks.parts", name, str(rounds), str(data_dir or "-")])
    if done["code"] != 0:
        print(done["output"])
        raise SystemExit(f"benchmarks.parts {name} ended with {done['code']}")
    return last_json(done["output"])["tables"]


MAKERS = {
    **{name: partial(in_process, name) for name in IN_PROCESS},
    "shell": shell,
    "start": start,
    **{name: partial(part, name) for name in ("folder", "by_config", "flat", "checkpoint", "tensorboard")},
}


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast training is beside peers.")
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST in torchvision's layout, and of cifar10_jpg")
    parser.add_argument("--rounds", type=int, help="for every comparison")
    parser.add_argument("--only", default=",".join(ROUNDS), help=f"some of {','.join(ROUNDS)}; none: only the report")
    args = parser.parse_args()
    data_dir = args.data_dir.resolve() if args.data_dir else None
    if data_dir is not None and not (data_dir / "MNIST").is_dir():
        sys.exit(f"MNIST is not in {data_dir}")
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in ROUNDS:
        if name not in args.only.split(","):
            continue
        began, rounds = time.monotonic(), args.rounds or ROUNDS[name]
        tables = MAKERS[name](rounds, data_dir)
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
        kept[name] = {"tables": tables, "date": time.strftime("%Y-%m-%d %H:%M"), "commit": commit.stdout.strip()}
        RESULTS.write_text(
            json.dumps({each: kept[each] for each in ROUNDS if each in kept}, indent=1), encoding="utf-8"
        )
        tell(f"{name} took {time.monotonic() - began:.0f} s")
    report.write(kept, [*IN_PROCESS["lenet"], "hand_workers", *IN_PROCESS["options"]])


if __name__ == "__main__":
    main()
