"""The trainer that evaluates a checkpoint; it has nothing to train with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.mean import average_in
from espalier.device import prepare_device
from espalier.errors import ConfigError, Problem
from espalier.rng import DEFAULT_SEED, seed_everything
from espalier.training.criterion import combine, load_loss
from espalier.training.lazy import fill_lazy
from espalier.training.restore import load_weights
from espalier.training.saved_state import check_weights, restoring


def build_evaluation(
    config: Any, rooms: Mapping[str, Any], build_loader: Callable[[dict[str, Any]], Any], *, is_raw: bool = False
) -> tuple[Any, Any, dict[str, Any]]:
    """Build the trainer, with the weights of `config.resume`: their average, where validation in training used that.

    Args:
        rooms: the modules in which `arch`, `loss`, `metrics` and `trainer` are looked up.
        build_loader: gives the loader of what is evaluated, of the checkpoint.
        is_raw: take the weights themselves.

    Returns:
        The trainer, the loader and the checkpoint.

    Raises:
        UserError: something cannot be built, or does not fit the checkpoint.
    """
    Trainer = config.trainer_class(rooms["trainer"])
    check_evaluates(Trainer, config)
    seed_everything(config.get("seed", DEFAULT_SEED))  # as in training, so that a split is the same one
    checkpoint = load_checkpoint(config.resume)
    check_weights(checkpoint, config.resume)
    data_loader = build_loader(checkpoint)
    device, _ = prepare_device(min(1, config.get("n_gpu", 0)))
    model = config.init_obj("arch", rooms["arch"])
    fill_lazy(model, data_loader, Trainer)
    model.to(device)
    average = None if is_raw else average_in(checkpoint)
    load_weights(model, checkpoint["state_dict"] if average is None else average["state_dict"])
    criterion = combine(config.init_ftn("loss", rooms["loss"]), config["loss"], config["arch"].get("output"))
    with restoring(config.resume):
        load_loss(criterion, checkpoint, config.snapshot["loss"])
    metrics = config.init_ftn("metrics", rooms["metrics"])
    # The code that validates during training gives the numbers here too.
    trainer = Trainer(model, criterion, metrics, None, config, device, None, valid_data_loader=data_loader)
    return trainer, data_loader, checkpoint


def check_evaluates(Trainer: type, config: Any) -> None:
    """Make sure that a class of trainers has what evaluates.

    Raises:
        ConfigError: it trains alone, as that of a GAN may.
    """
    if not hasattr(Trainer, "_valid_epoch"):
        what = f"names {Trainer.__name__}, which has no _valid_epoch, so that there is nothing to evaluate"
        fix = f"give {Trainer.__name__} a method _valid_epoch(self, epoch), such as that of trainer/trainer.py"
        raise ConfigError(Problem("trainer.type", what, config.origin("trainer.type"), fix=fix))
