"""How values of the log are called in TensorBoard: those of one name are neighbours, `loss/train`, `loss/valid`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

TRAIN, VALID, TEST, BATCH, BEST = "train", "valid", "test", "batch", "best"
_VALID_PREFIX, _BATCH_SUFFIX = "val_", "_of_batch"
_AS_THEY_ARE = ("learning_rate", "seconds")  # neither of training nor of validation
# Tags that begin so have a switch of their own.
_SWITCHES = {"learning_rate": "learning_rate", "speed/": "speed", "memory/": "speed", "norm/": "norms"}


def tag_of(name: str, *, is_of_batch: bool = False) -> str:
    """The tag of a value: `val_loss` is `loss/valid`, `loss_of_batch` is `loss/batch`; of a watched module its name."""
    if is_of_batch:
        return f"{name.removesuffix(_BATCH_SUFFIX)}/{BATCH}" if name.endswith(_BATCH_SUFFIX) else name
    if name.startswith(_AS_THEY_ARE):
        return "speed/seconds_per_epoch" if name == "seconds" else name
    return f"{name.removeprefix(_VALID_PREFIX)}/{VALID if name.startswith(_VALID_PREFIX) else TRAIN}"


def switch_of(tag: str) -> str:
    """Which of `trainer.tensorboard` a curve belongs to."""
    return next((switch for begin, switch in _SWITCHES.items() if tag.startswith(begin)), "scalars")


def best_tags(names: Iterable[str]) -> dict[str, str]:
    """By tag, the names whose values at the best epoch are shown: of validation, or of training where there is none."""
    names = _measured(names)
    valid = [name for name in names if name.startswith(_VALID_PREFIX)]
    return {f"{name.removeprefix(_VALID_PREFIX)}/{BEST}": name for name in valid or names}


def layout_of(names: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
    """Charts for the tab CUSTOM SCALARS: training and validation of each value that has both, in one chart."""
    names = _measured(names)
    both = [name for name in names if _VALID_PREFIX + name in names]
    charts: dict[str, list[Any]] = {each: ["Multiline", [f"^{re.escape(each)}/({TRAIN}|{VALID})$"]] for each in both}
    return {"training and validation": charts} if charts else {}


def _measured(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith(_AS_THEY_ARE)]
