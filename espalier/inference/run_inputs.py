"""How the inputs of a run are prepared: as its checkpoint says, or as its data loader, where only that knows it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, default_collate

from espalier.checkpoints.saved_shape import COUNT, NUMBERS, SWITCH, TEXT, TEXTS, Kind, check_shape, is_number
from espalier.config.build import build_value
from espalier.config.trust import find_function
from espalier.data.loaders import Endless
from espalier.data.named_loaders import each_of
from espalier.data.parts import Parts
from espalier.data.transformed import transforms_of
from espalier.data.use import AS_GIVEN, ONLY_DATASET, state_for_use
from espalier.errors import CheckpointError, ConfigError, explain
from espalier.inference.from_dataset import FromDataset, finished_after
from espalier.preprocessing.contract import SAY_HOW, Preprocessing
from espalier.preprocessing.kinds import load_preprocessing
from espalier.preprocessing.texts import Texts
from espalier.training.build_data import build_test_data, section_of_test
from espalier.training.learned import learned_in, use_learned

_SCALE = Kind("a number, or a list of numbers", lambda each: is_number(each) or NUMBERS.fits(each))
_USE = {"preprocessing?": {"kind": TEXT}, "class_names?": TEXTS, "by_loader?": TEXTS,
        "target?": {"is_whole": SWITCH, "ndim": COUNT}, "scale?": {"mean": _SCALE, "std": _SCALE}}  # fmt: skip
_OLD = "the checkpoint does not say it, as older ones do not"


@dataclass(frozen=True)
class Inputs:
    """What is done to inputs ahead of the network.

    Attributes:
        preprocessing: of what people have.
        transform: of an input of evaluation; None for none.
        is_on_samples: whether that is given `(input, target)`.
        collate_fn: of samples; None for that of the preprocessing.
        use: what is known of classes and targets, see `espalier.data.use.state_for_use`.
        why_loader: why the data loader itself was needed, so that no bundle can hold it; None where it was not.
    """

    preprocessing: Preprocessing
    transform: Callable[[Any], Any] | None
    is_on_samples: bool
    collate_fn: Callable[[list[Any]], Any] | None
    use: Mapping[str, Any]
    why_loader: str | None = None


def inputs_of(config: Any, section: str, module_data: Any, checkpoint: Mapping[str, Any]) -> Inputs:
    """How inputs are prepared for the model of a checkpoint, as in its evaluation.

    Where the checkpoint does not say all of it, the data loader of the config is built, and its dataset does it.

    Args:
        section: of the config, that says how test data is loaded.

    Raises:
        CheckpointError: it is nowhere to be had.
        ConfigError: something of it cannot be built.
    """
    use = learned_in(dict(checkpoint)).get("use")
    check_shape(use or {}, _USE, "what is known for use")
    of_training, of_test = (_arguments(config, each) for each in ("data_loader", section))
    if use is None or (why := _why_not_known(use, of_training)) is not None:
        return _of_loader(config, module_data, checkpoint, _OLD if use is None else str(why))
    built = {}
    for name in ("transform", "collate_fn"):
        is_for_loader = (
            name in use.get("by_loader", ()) or name not in of_training
        )  # else its class has another use of it
        built[name] = build_value(config.tree, (section, "args", name), module_data
                                  ) if is_for_loader and name in of_test else None  # fmt: skip
    transforms, is_on_samples = transforms_of(built["transform"])
    transform, collate_fn = transforms.get("eval"), built["collate_fn"]
    state = _sized_as(of_test, of_training, use["preprocessing"])
    preprocessing = _loaded(state, config, module_data, has_transform=transform is not None)
    return Inputs(preprocessing, transform, is_on_samples, getattr(collate_fn, "for_eval", collate_fn), use)


def _arguments(config: Any, section: str) -> dict[str, Any]:
    """What a section gives its loader, without what is null."""
    given = (config.get(section) or {}).get("args") or {}
    return {name: value for name, value in given.items() if value is not None}


def _why_not_known(use: Mapping[str, Any], of_training: Mapping[str, Any]) -> str | None:
    """Why the dataset itself is needed; None where what the checkpoint and the config say is all there is."""
    if "preprocessing" not in use:
        return _OLD
    if use["preprocessing"].get("kind") == ONLY_DATASET:
        return str(use["preprocessing"].get("why"))
    hidden = [name for name in use.get("by_loader", ()) if name not in of_training]
    return f"the loader has a {hidden[0]} of its own, which the config does not name" if hidden else None


def _sized_as(of_test: Mapping[str, Any], of_training: Mapping[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """How images are prepared where those of the test have another size than those of training."""
    before, now = (each["dataset"].get("args") or {} if isinstance(each.get("dataset"), dict) else {}
                   for each in (of_training, of_test))  # fmt: skip
    if state["kind"] != "image" or before.get("size") == now.get("size"):
        return state
    return {**state, "size": now.get("size"), "image_size": None}


def _loaded(state: Mapping[str, Any], config: Any, module_data: Any, *, has_transform: bool) -> Preprocessing:
    if has_transform and state["kind"] in ("array", "row", "window"):
        state = {**state, "is_ahead": True}  # data in memory is finished ahead of the transform
    if state["kind"] == "text" and callable(tokenizer := _tokenizer(config, module_data)):
        return Texts(state, tokenizer)
    return load_preprocessing(state, lambda name: find_function(name, _modules_named(config)))


def _tokenizer(config: Any, module_data: Any) -> Any:
    """The tokenizer that the config builds for its dataset; None where it builds none."""
    path: tuple[str, ...] = ("data_loader", "args", "dataset", "args", "tokenizer")
    value: Any = config.config
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return build_value(config.tree, path, module_data) if isinstance(value, Mapping) else None


def _modules_named(config: Any) -> set[str]:
    """The modules of whatever the data sections of a config on disk name by a dotted path."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, str):
            found.add(value.rpartition(".")[0])
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(each)

    for name in ("data_loader", "test_data_loader"):
        if name in config and not config.tree.is_from_checkpoint((name,)):
            look(config[name])
    return found - {""}


def _of_loader(config: Any, module_data: Any, checkpoint: Mapping[str, Any], why: str) -> Inputs:
    """As the data loader that test.py would build prepares inputs."""
    try:
        built = _loader(config, module_data, checkpoint)
    except Exception as error:  # of the user's own code, too
        lines = str(error).splitlines() or [""]
        what = "checkpoint error: how inputs are prepared is known to the data loader alone, which cannot be built"
        raise CheckpointError(explain(what, got=f"{type(error).__name__}: {lines[0]}", why=why,
                                      fix=f"bring the data to where the config names it; or {SAY_HOW}"
                                      )) from error  # fmt: skip
    loader: Any = built.loader if isinstance(built, Endless) else built
    parts = vars(loader).get("parts") if hasattr(loader, "__dict__") else None
    parts = parts if isinstance(parts, Parts) else None
    if parts is None and not isinstance(loader, DataLoader):
        return Inputs(load_preprocessing(AS_GIVEN), None, False, None, {"preprocessing": AS_GIVEN}, why)
    dataset = loader.dataset if parts is None else parts.dataset
    use = state_for_use(dataset, loader)
    transform = None if parts is None else parts.eval_transform
    is_on_samples = parts is not None and parts.is_on_samples
    collate_fn = getattr(loader.collate_fn, "for_eval", loader.collate_fn)
    state = use["preprocessing"]
    if state["kind"] == ONLY_DATASET:
        preprocessing: Preprocessing = FromDataset(dataset, state)
        transform = finished_after(transform, dataset, is_on_samples=is_on_samples)
    else:
        preprocessing = _loaded(state, config, module_data, has_transform=transform is not None)
    is_plain = collate_fn is default_collate or "collate_fn" not in use.get("by_loader", ())
    return Inputs(preprocessing, transform, is_on_samples, None if is_plain else collate_fn, use, why)


def _loader(config: Any, module_data: Any, checkpoint: Mapping[str, Any]) -> Any:
    """The loader of the test data; where there is none apart, that of training. The config stays as it was."""
    before = {name: copy.deepcopy(config[name]) for name in ("data_loader", "test_data_loader") if name in config}
    try:
        return _built_for_test(config, module_data, checkpoint)
    finally:
        config.config.update(before)  # else what is built next would have no training part


def _built_for_test(config: Any, module_data: Any, checkpoint: Mapping[str, Any]) -> Any:
    try:
        section = section_of_test(config, module_data)
    except ConfigError:
        section = "data_loader"
        loader = config.init_obj(section, module_data)
        use_learned(learned_in(dict(checkpoint)), config, loader, may_learn=False)
    else:
        loader = build_test_data(config, section, module_data, dict(checkpoint))
    first: Any = each_of(loader)[0]
    return first
