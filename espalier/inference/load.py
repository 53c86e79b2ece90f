"""A model out of a checkpoint: its weights, what its data has taught, and nothing of a trainer or of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.mean import average_in, mean_told
from espalier.config.build import build_value
from espalier.data.batch import call_with
from espalier.data.transformed import transforms_of
from espalier.device import prepare_device
from espalier.inference.meaning import Meaning, meaning_of
from espalier.inference.model import Model
from espalier.preprocessing.kinds import load_preprocessing
from espalier.training.criterion import combine
from espalier.training.learned import learned_in, use_learned
from espalier.training.restore import load_weights
from espalier.training.saved_state import check_weights


def load_run(config: Any, rooms: Mapping[str, Any], device: str | torch.device | None = None, *,
             is_raw: bool = False) -> Model:  # fmt: skip
    """The model of a run, with the weights of `config.resume`: their average, where validation in training used that.

    Args:
        config: as of `ConfigParser.from_run(..., evaluating=True)`.
        rooms: the modules in which `arch`, `loss`, `data_loader` and `trainer` are looked up.
        device: where it computes; None: as `n_gpu` says, as far as there are GPUs.
        is_raw: take the weights themselves.

    Raises:
        UserError: something cannot be built, or does not fit the checkpoint.
    """
    checkpoint = load_checkpoint(config.resume)
    check_weights(checkpoint, config.resume)
    learned = learned_in(checkpoint)
    use_learned(learned, config, None, may_learn=False)
    where = torch.device(device) if device is not None else prepare_device(min(1, config.get("n_gpu", 0)))[0]
    network = config.init_obj("arch", rooms["arch"])
    average = None if is_raw else average_in(checkpoint)
    load_weights(network, checkpoint["state_dict"] if average is None else average["state_dict"])
    network.to(where).eval()
    use = learned.get("use", {})
    section = section_for_use(config)
    arguments = config[section].get("args") or {}
    transforms, is_on_samples = transforms_of(
        _built(config, f"{section}.args", "transform", arguments, rooms["data_loader"])
    )
    trainer = _stand_in(config.trainer_class(rooms["trainer"]), config, network, where)
    epoch = checkpoint.get("epoch", 0)
    return Model(
        network,
        load_preprocessing(use.get("preprocessing")),
        Meaning("outputs") if config.get("loss") is None else _meaning(config, rooms, use),
        where,
        batch_size=arguments.get("batch_size") or 32,
        transform=transforms.get("eval"),
        is_on_samples=is_on_samples,
        collate_fn=_built(config, f"{section}.args", "collate_fn", arguments, rooms["data_loader"]),
        unpack=trainer.unpack,
        forward=_forward_of(trainer),
        output_path=(config["arch"] or {}).get("output"),
        precision=(config.get("trainer") or {}).get("precision") or "fp32",
        facts={"checkpoint": str(config.resume), "epoch": epoch, "mean": mean_told(checkpoint)},
    )


def section_for_use(config: Any) -> str:
    """The section that says how test data is loaded; of several sets, which have one preprocessing, the training's."""
    own = config.get("test_data_loader")
    return "test_data_loader" if isinstance(own, dict) and "type" in own else "data_loader"


def _built(config: Any, path: str, name: str, arguments: Mapping[str, Any], module: Any) -> Any:
    """An argument of the loader with each `{type, args}` in it built; None where it is not given."""
    return None if arguments.get(name) is None else build_value(config.tree, (*path.split("."), name), module)


def _meaning(config: Any, rooms: Mapping[str, Any], use: Mapping[str, Any]) -> Meaning:
    criterion = combine(config.init_ftn("loss", rooms["loss"]), config["loss"], config["arch"].get("output"))
    return meaning_of(criterion, target=use.get("target"), names=use.get("class_names", ()), scale=use.get("scale"))


def _stand_in(Trainer: Any, config: Any, network: Any, device: torch.device) -> Any:
    """What `unpack` and `forward` of a trainer are called on: one that was never begun."""
    trainer = Trainer.__new__(Trainer)
    vars(trainer).update(model=network, config=config, device=device)
    return trainer


def _forward_of(trainer: Any) -> Callable[[Any], Any]:
    own = getattr(trainer, "forward", None)
    return own if callable(own) else lambda inputs: call_with(trainer.model, inputs)
