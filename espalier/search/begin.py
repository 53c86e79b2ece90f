"""Before the first trial of a study: its share of the machine, and whether every end of its space can be built."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from espalier.config.space import between, ends, sample, space_of
from espalier.config.tree import ConfigTree
from espalier.config.tune import is_search
from espalier.errors import UserError, explain, shorten
from espalier.processes.launch import num_cores
from espalier.search.points import SPLIT, points_of
from espalier.search.study import with_values


def with_threads(tree: ConfigTree, jobs: int) -> None:
    """Give each of several trials at once its share of the processor's cores, unless the config says how many."""
    trainer = tree.values.get("trainer")
    if jobs > 1 and isinstance(trainer, dict) and trainer.get("num_threads") is None:
        tree.set(("trainer", "num_threads"), max(1, num_cores() // jobs), "tune.jobs")


def ends_of(tree: ConfigTree) -> list[dict[str, Any]]:
    """What has to be buildable before the first trial: each end of each range and a point between, or all listed."""
    if not is_search(tree.values["tune"]):
        seen = {json.dumps({**point, "seed": 0, SPLIT: 0}, sort_keys=True): point for point in points_of(tree.values)}
        return [*seen.values()]  # with one seed of each, and the last fold, which is no larger than the others
    space = space_of(tree.values["tune"]["space"])
    return [*ends(space), sample(space, between)]


def check_ends(tree: ConfigTree, build: Callable[[ConfigTree], object]) -> None:
    """Build each end of the space.

    Raises:
        UserError: one cannot be built; says which, and why.
    """
    for values in ends_of(tree):
        config = ConfigTree(with_values(tree.values, values), dict(tree.origins))
        told = ", ".join(f"{path}={shorten(value)}" for path, value in values.items())
        try:
            with _in_silence():
                build(config)
        except UserError as error:
            raise UserError(f"{explain(f'tune error: a trial could not begin, with {told}')}\n{error}") from error
        except Exception as error:
            head = f"tune error: a trial could not begin, with {told}"
            raise UserError(explain(head, got=f"{type(error).__name__}: {error}", fix="change the range")) from error


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Without log lines: each trial writes its own."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)


def slots_of(config: Mapping[str, Any], num_gpus: int) -> int:
    """How many trials at once: as `tune.jobs` says, else one for each GPU (or as many as one needs), or one."""
    asked, each = config["tune"].get("jobs"), int(config.get("n_gpu") or 0)
    if asked is not None:
        return int(asked)
    return max(1, math.floor(num_gpus / each)) if each and num_gpus else 1
