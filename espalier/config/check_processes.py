"""What in a config cannot be together, or not here, where a run has several processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from espalier.config.file import ConfigTree, dotted
from espalier.config.schema import FSDP, check_keys, entries_of
from espalier.errors import Problem, shorten


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


def _check_division(tree: ConfigTree, trainer: dict[str, Any]) -> Iterator[Problem]:
    """A model in parts: what is made for whole ones does not work with it."""
    options = trainer.get("fsdp")
    if isinstance(options, dict):
        here = ("trainer", "fsdp")
        yield from check_keys(tree, here, FSDP)
    several = len(entries_of("optimizer", tree.values.get("optimizer"))) > 1
    for name, is_set in (
        ("ema_decay", trainer.get("ema_decay") is not None),
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
