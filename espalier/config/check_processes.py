"""What in a config cannot be together, or not here, where a run has several processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from espalier.config.schema import FSDP, NO_FP16, check_section, names_in
from espalier.config.tree import COMMAND_LINE, ConfigTree, dotted
from espalier.errors import Problem, counted, shorten
from espalier.processes.environment import NO_SYNC_BATCHNORM, is_distributed, num_local_processes


def check_processes(tree: ConfigTree, trainer: dict[str, Any]) -> Iterator[Problem]:
    """The problems of `trainer.num_processes`, `trainer.strategy` and `trainer.fsdp`."""
    n_gpu, processes = tree.values.get("n_gpu"), trainer.get("num_processes")
    if type(n_gpu) is int and n_gpu > 0 and type(processes) is int and processes != n_gpu:
        what = "is for runs without GPUs; n_gpu says how many there are of these"
        yield Problem("trainer.num_processes", what, tree.origin(("trainer", "num_processes")), str(processes),
                      fix="remove it, or set n_gpu=0")  # fmt: skip
    if trainer.get("strategy") == "fsdp":
        yield from _check_division(tree, trainer)
    elif trainer.get("fsdp") is not None:
        yield Problem("trainer.fsdp", "has no effect without trainer.strategy", tree.origin(("trainer", "fsdp")),
                      fix='write "strategy": "fsdp" under trainer')  # fmt: skip


def processes_asked(values: Mapping[str, Any]) -> tuple[int, str]:
    """How many processes a config, right or wrong, asks for on a machine, and the key that does."""
    trainer = values.get("trainer")
    given = {
        "n_gpu": values.get("n_gpu"),
        "trainer.num_processes": trainer.get("num_processes") if isinstance(trainer, Mapping) else None,
    }
    counts = [(count, path) for path, count in given.items() if type(count) is int and count > 1]
    return max(counts, default=(1, "n_gpu"), key=lambda each: each[0])


def fault_of_named(named: str | None, available: int) -> Problem | None:
    """What is wrong with the GPUs that `-d` names, which are the only ones to be seen then; None for nothing."""
    if named is None or len(named.split(",")) <= available:
        return None
    return Problem("-d", "names GPUs that are not there", COMMAND_LINE, named, f"among the {available} found")


def check_devices(tree: ConfigTree, named: str | None, available: int) -> Iterator[Problem]:
    """More GPUs than there are; one where there is none means the CPU.

    Args:
        named: what `-d` names.
        available: how many there are.
    """
    asked = tree.values.get("n_gpu") or 0
    num_named = 0 if named is None else len(named.split(","))
    if (fault := fault_of_named(named, available)) is not None:
        yield fault
    is_told = num_named > available and asked == num_named  # -d has set n_gpu, too
    sees_one = available == 1 and is_distributed()  # maybe each another one, which they find out together
    if type(asked) is int and asked > max(1, available) and not (is_told or sees_one):
        expected = f"0, or 1 (the CPU where there is no GPU); found {available}"
        yield Problem("n_gpu", "asks for more GPUs than there are", tree.origin(("n_gpu",)), str(asked), expected)
    in_use = num_local_processes()
    if asked and 0 < available < in_use and not sees_one:
        what = "needs a GPU for each process of a machine"
        expected = f"at most {counted(available, 'process')} on a machine"
        yield Problem("n_gpu", what, tree.origin(("n_gpu",)), counted(in_use, "process"), expected)
    trainer = tree.values.get("trainer")
    if isinstance(trainer, dict) and trainer.get("precision") == "fp16" and not (asked and available):
        yield Problem("trainer.precision", *NO_FP16)
    is_one_of_several = processes_asked(tree.values)[0] > 1 or is_distributed()
    if isinstance(trainer, dict) and trainer.get("sync_batchnorm") and is_one_of_several and not (asked and available):
        what, _, *answers = NO_SYNC_BATCHNORM
        yield Problem("trainer.sync_batchnorm", what, tree.origin(("trainer", "sync_batchnorm")), *answers)


def _check_division(tree: ConfigTree, trainer: dict[str, Any]) -> Iterator[Problem]:
    """A model in parts: what is made for whole ones does not work with it."""
    options = trainer.get("fsdp")
    if isinstance(options, dict):
        here = ("trainer", "fsdp")
        yield from check_section(tree, here, FSDP)
    several = len(names_in("optimizer", tree.values.get("optimizer"))) > 1
    for name, is_set in (
        ("ema_decay", trainer.get("ema_decay") is not None),
        ("swa", trainer.get("swa") is not None),
        ("find_unused_parameters", trainer.get("find_unused_parameters")),
        ("watch", trainer.get("watch")),
        ("precision", trainer.get("precision") == "fp16"),
    ):
        if is_set:
            path = ("trainer", name)
            yield Problem(dotted(path), "does not go with trainer.strategy fsdp", tree.origin(path),
                          shorten(trainer[name]), fix='remove it, or write "strategy": "ddp"')  # fmt: skip
    if several:
        origin = tree.origin(("trainer", "strategy"))
        yield Problem("trainer.strategy", "cannot be fsdp with several optimizers", origin, '"fsdp"',
                      fix='write "strategy": "ddp"')  # fmt: skip
