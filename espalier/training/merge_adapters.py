"""A checkpoint of a model with adapters as one of the same model without: for export, and to go on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espalier.adapters import lora_of, merged
from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.checkpoints.mean import average_in
from espalier.errors import CheckpointError, explain
from espalier.training.saved_state import check_weights

_KEPT = ("arch", "epoch", "criterion", "data")


def merge_adapters(old: str | Path, new: str | Path) -> dict[str, Any]:
    """Write what `test.py` would evaluate of `old` to `new`, its adapters merged; gives these weights by name.

    `test.py -r` takes it, as do `init_from` and, with `torch.load(new)["state_dict"]`, the model without us.

    Raises:
        CheckpointError: `old` is damaged, or its config has no `arch.lora`.
    """
    state = load_checkpoint(Path(old))
    check_weights(state, old)
    config = state.get("config") or {}
    if (lora := lora_of(config.get("arch"))) is None:
        raise CheckpointError(explain(f"checkpoint error: {old} has no adapters: its config has no arch.lora"))
    average = average_in(state)
    weights = merged(state["state_dict"] if average is None else average["state_dict"], lora["alpha"])
    arch = {key: value for key, value in config["arch"].items() if key not in ("lora", "train", "unfreeze_at")}
    kept = {key: state[key] for key in _KEPT if key in state}
    save_checkpoint({**kept, "config": {**config, "arch": arch}, "state_dict": weights}, Path(new))
    return weights
