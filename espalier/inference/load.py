"""A model out of a checkpoint: its weights, what its data has taught, and nothing of a trainer or of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.mean import average_in, mean_told
from espalier.config.objects import signature_of
from espalier.data.batch import call_with
from espalier.device import device_of, prepare_device
from espalier.inference.meaning import Meaning, meaning_of
from espalier.inference.model import Model
from espalier.inference.run_inputs import inputs_of
from espalier.preprocessing.kinds import load_preprocessing
from espalier.rng import DEFAULT_SEED, kept_rng, make_repeatable, seed_everything
from espalier.training.criterion import combine
from espalier.training.lazy import fill_lazy_with
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
    where = device_of(device) if device is not None else prepare_device(min(1, config.get("n_gpu", 0)))[0]
    network = _network(config, rooms["arch"], checkpoint if is_raw else average_in(checkpoint) or checkpoint, where)
    section = section_for_use(config)
    inputs = inputs_of(config, section, rooms["data_loader"], checkpoint)
    trainer = _stand_in(config.trainer_class(rooms["trainer"]), config, network, where)
    settings, mean = config.get("trainer") or {}, mean_told(checkpoint)
    make_repeatable(bool(settings.get("deterministic")), settings.get("num_threads"))
    model = Model(
        network,
        inputs.preprocessing,
        Meaning("outputs") if config.get("loss") is None else _meaning(config, rooms, inputs.use),
        where,
        batch_size=_batch_size(config, section, rooms["data_loader"]),
        transform=inputs.transform,
        is_on_samples=inputs.is_on_samples,
        collate_fn=inputs.collate_fn,
        unpack=trainer.unpack,
        forward=_forward_of(trainer),
        output_path=(config["arch"] or {}).get("output"),
        precision=settings.get("precision") or "fp32",
        interpret=network.interpret if hasattr(network, "interpret") else None,
        is_channels_last=bool(settings.get("channels_last")),
        facts={
            "checkpoint": str(config.resume),
            "epoch": checkpoint.get("epoch", 0),
            "mean": mean,
            "weights": mean or ("raw" if is_raw or average_in(checkpoint) is None else "average"),  # as in test.json
            "why_loader": inputs.why_loader,
        },
    )
    return _of_no_data(model) if hasattr(network, "example_inputs") else model


def _of_no_data(model: Model) -> Model:
    """A model whose network takes no data, such as noise: nothing is done to its inputs, nor are its outputs judged."""
    with kept_rng():
        example = model.network.example_inputs(1)
    known = {"shape": [*example.shape[1:]], "dtype": str(example.dtype).removeprefix("torch.")
             } if isinstance(example, torch.Tensor) else {}  # fmt: skip
    return replace(model, preprocessing=load_preprocessing({"kind": "tensor", **known}), meaning=Meaning("outputs"),
                   transform=None, is_on_samples=False, collate_fn=None)  # fmt: skip


def _network(config: Any, module_arch: Any, source: Mapping[str, Any], device: torch.device) -> Any:
    """The network with the weights in a state. What it draws at random is as in training, and of no one else."""
    with kept_rng():
        seed_everything(config.get("seed", DEFAULT_SEED))
        network = config.init_obj("arch", module_arch)
    fill_lazy_with(network, source["state_dict"])
    load_weights(network, source["state_dict"])
    return network.to(device).eval()


def section_for_use(config: Any) -> str:
    """The section that says how test data is loaded; of several sets, which have one preprocessing, the training's."""
    own = config.get("test_data_loader")
    return "test_data_loader" if isinstance(own, dict) and "type" in own else "data_loader"


def _batch_size(config: Any, section: str, module_data: Any) -> int:
    """How many samples of an evaluation are looked at together, as the config or the class of the loader says."""
    given = (config[section].get("args") or {}).get("batch_size")
    if given is None and (signature := signature_of(config.find(f"{section}.type", module_data))) is not None:
        known = signature.parameters.get("batch_size")
        given = None if known is None else known.default
    return given if type(given) is int and given > 0 else 32


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
