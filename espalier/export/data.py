"""The data that an exported file is compared on: the validation part of a run, or its test data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espalier.checkpoints.file import load_checkpoint
from espalier.data.loaders import validation_of
from espalier.data.named_loaders import as_one, each_of
from espalier.errors import DataError, explain
from espalier.evaluation.build import build_evaluation
from espalier.training.build_data import SECTION, build_test_data, section_of_test
from espalier.training.learned import learned_in, use_learned


def build_comparison(config: Any, rooms: Mapping[str, Any], *, is_raw: bool = False) -> tuple[Any, Any, str]:
    """The trainer that evaluates the checkpoint of a config, its loader, and what the data is: "validation" or "test".

    The trainer is None where its class has nothing to evaluate with, as that of a GAN.

    Args:
        config: as of `ConfigParser.from_args(..., evaluating=True)`.
        rooms: the modules in which `arch`, `loss`, `metrics`, `data_loader` and `trainer` are looked up.
        is_raw: take the weights themselves, not their average.

    Raises:
        UserError: there is no such data here, or something cannot be built.
    """
    found: list[str] = []

    def build(checkpoint: dict[str, Any]) -> Any:
        try:
            loader, kind = _data(config, rooms["data_loader"], checkpoint)
        except DataError as error:
            head = (
                "export error: a file is compared with its model before it is left, and the data for that is not here"
            )
            fix = "bring the data back, or name other: -c CONFIG, whose data sections are taken instead"
            raise DataError(explain(head, got=str(error).removeprefix("data error: "), fix=fix)) from error
        found.append(kind)
        return loader

    if not hasattr(config.trainer_class(rooms["trainer"]), "_valid_epoch"):
        return None, build(load_checkpoint(config.resume, with_shards=False)), found[0]
    trainer, loader, _ = build_evaluation(config, rooms, build, is_raw=is_raw)
    return trainer, loader, found[0]


def _data(config: Any, module_data: Any, checkpoint: dict[str, Any]) -> tuple[Any, str]:
    loader = _validation_data(config, module_data, checkpoint)
    if loader is not None:
        return loader, "validation"
    return build_test_data(config, section_of_test(config, module_data), module_data, checkpoint), "test"


def _validation_data(config: Any, module_data: Any, checkpoint: dict[str, Any]) -> Any:
    """The validation data of the run; None where it has none, or where other data was asked for in its place."""
    if "data_loader" not in config or (SECTION in config and "valid_data_loader" not in config):
        return None
    if "valid_data_loader" in config:
        loader = as_one(config.init_obj("valid_data_loader", module_data))
    else:
        loader = validation_of(config.init_obj("data_loader", module_data))
    if loader is not None:
        use_learned(learned_in(checkpoint), config, *each_of(loader), may_learn=False)
    return loader
