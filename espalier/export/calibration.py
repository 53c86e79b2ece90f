"""The samples that a file of 8 bits takes the ranges of its values from: training data, never the test part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from espalier.checkpoints.file import load_checkpoint
from espalier.errors import UserError, explain
from espalier.export.int8 import MOST_LOSS, NUM_SAMPLES, Request
from espalier.export.real_batches import raw_batches
from espalier.export.subject import Subject
from espalier.inference.model import Model
from espalier.rng import kept_rng
from espalier.training.learned import learned_in, use_learned


def int8_request(config: Any, rooms: Mapping[str, Any], subject: Subject, args: Any) -> Request | None:
    """What a command line says of 8 bits; None where that is nothing.

    Raises:
        UserError: it says something that cannot be.
    """
    _check(args)
    if not args.int8:
        return None

    def samples(is_raw: bool) -> Iterator[Any]:
        if subject.trainer is None:  # what its network takes is no data
            return iter(subject.examples)
        return _samples(_training_data(config, rooms["data_loader"]), subject.model, is_raw=is_raw)

    rule = (config.get("trainer") or {}).get("monitor") or "off"
    num_samples = NUM_SAMPLES if args.int8_samples is None else args.int8_samples
    source = "example inputs" if subject.trainer is None else "training data"
    return Request(samples, num_samples, MOST_LOSS if args.most_loss is None else args.most_loss, rule, source)


def _check(args: Any) -> None:
    for name in ("int8_samples", "most_loss"):
        value = getattr(args, name)
        option = f"--{name.replace('_', '-')}"
        if value is not None and not args.int8:
            raise UserError(explain(f"export error: {option} is of --int8, which is not there", fix="add --int8"))
        if value is not None and not value >= (1 if name == "int8_samples" else 0):
            expected = "1 or more" if name == "int8_samples" else "0 or more"
            raise UserError(explain(f"export error: {option} is out of range", got=str(value), expected=expected))
    if args.int8 and args.format not in ("onnx", "all"):
        raise UserError(explain("export error: --int8 is of ONNX files", got=f"--format {args.format}",
                                fix="--format onnx"))  # fmt: skip


def _training_data(config: Any, module_data: Any) -> list[Any]:
    """The loaders of the training data, taught what the checkpoint holds.

    Raises:
        UserError: the config has none, or its data is not here.
    """
    if "data_loader" not in config:
        head = "export error: --int8 takes the ranges of values from training data, and the config has no data_loader"
        raise UserError(explain(head, fix="name a config that has one: -c CONFIG"))
    built = config.init_obj("data_loader", module_data)
    loaders = [*built.values()] if isinstance(built, dict) else [built]
    learned = learned_in(load_checkpoint(config.resume, with_shards=False))
    use_learned(learned, config, *loaders, may_learn=False)
    return loaders


def _samples(loaders: list[Any], model: Model, *, is_raw: bool) -> Iterator[Any]:
    """Inputs of the graph: as evaluation prepares them where they are raw, else as training has them."""
    for loader in loaders:
        if is_raw:
            yield from raw_batches(model, loader, None)
            continue
        with kept_rng(), torch.no_grad():
            for batch in loader:
                yield model.unpack(batch)[0]
