"""What was learned from the training data: told to the config and to other loaders, saved, and never learned again."""

from __future__ import annotations

import logging
from typing import Any

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.saved_shape import NAMED, TEXT, check_shape
from espalier.data.named_loaders import each_of
from espalier.data.parts import Parts
from espalier.data.use import AS_GIVEN, state_for_use
from espalier.errors import DataError, explain
from espalier.training.loading import of_section

_STATE = {"fitted": NAMED, "facts": NAMED, "division?": TEXT, "use?": NAMED}

logger = logging.getLogger("resume")


def learn(config: Any, data_loader: Any, *others: Any) -> None:
    """Learn from the training data, once: for its own loader, for `others`, and for each `${data.NAME}` of the config.

    A run that goes on takes over what its checkpoint holds.

    Args:
        others: loaders of other data, such as a `valid_data_loader` section; None for one that is not there.

    Raises:
        ConfigError: the config asks for what the data does not know.
    """
    parts, saved = _parts_of(data_loader), dict[str, Any]()
    learns = parts is not None and parts.learns
    if config.continues_run and config.resume is not None and (config.tree.from_data or learns):
        saved = learned_in(load_checkpoint(config.resume, with_shards=False))
    with of_section(config, "data_loader"):
        use_learned(saved, config, data_loader)
    with of_section(config, "valid_data_loader"):
        teach(data_loader, *others)


def teach(data_loader: Any, *others: Any) -> None:
    """Give loaders of other data, such as of `valid_data_loader`, what was learned from the training data.

    Raises:
        DataError: that was nothing, and they need it; or it does not suit their data.
    """
    parts = _parts_of(data_loader)
    for other in (_parts_of(each) for loader in others for each in each_of(loader)):
        if other is not None and other is not parts and other.learns:
            if parts is None or not parts.learns:
                raise _nothing_learned(other, "the training data has nothing to teach it")
            other.load_fitted(parts.fitted)


def use_learned(saved: dict[str, Any], config: Any, loader: Any, *others: Any, may_learn: bool = True) -> None:
    """Give loaders and the config what a checkpoint holds.

    Args:
        may_learn: whether what it does not hold is learned from `loader`, the training data.

    Raises:
        ConfigError: the config asks for what the data does not know.
        DataError: there is something to learn, and nothing to learn it from.
    """
    parts, facts = _parts_of(loader), saved.get("facts", {})
    for each in filter(None, map(_parts_of, (loader, *others))):
        if each.learns and saved.get("fitted"):
            each.load_fitted(saved["fitted"])
        elif each.learns and not may_learn and not each.has_nothing_to_learn:
            raise _nothing_learned(each, "the checkpoint holds nothing that was learned")
    if not config.tree.from_data:
        return
    known = parts if may_learn and parts is not None else None
    if known is not None:
        _ = known.fitted  # an error in it is one of the dataset, not of the config

    def fact(name: str) -> Any:
        return facts[name] if name in facts or known is None else known.fact(name)

    config.take_facts(fact, tuple(facts) if known is None else (*facts, *known.fact_names))


def _nothing_learned(parts: Parts, why: str) -> DataError:
    what = f"data error: {type(parts.dataset).__name__} learns from training samples, and {why}"
    return DataError(explain(what, fix="give it to data_loader, too, or call its `use` where it is made"))


def fill_caches(*loaders: Any) -> None:
    """Fill the caches of loaders that have one."""
    for loader in loaders:
        if _parts_of(loader) is not None:
            loader.fill_cache()


def has_test_part(loader: Any) -> bool:
    """Whether a loader has set samples aside for a test."""
    parts = _parts_of(loader)
    return parts is not None and parts.indices is not None and len(parts.indices["test"]) > 0


def learned_in(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds of it; empty where its data had nothing to tell.

    Raises:
        CheckpointError: it is malformed.
    """
    saved: dict[str, Any] = checkpoint.get("data", {})
    if saved:
        check_shape(saved, _STATE, "what was learned from the data")
    return saved


def state_of_learned(data_loader: Any, facts: dict[str, Any]) -> dict[str, Any]:
    """The part of a checkpoint for it: `{"data": {"fitted", "facts", "division", "use"}}`, or nothing."""
    parts = _parts_of(data_loader)
    fitted = parts.fitted if parts is not None and parts.learns else {}
    division = None if parts is None else parts.division
    use = {} if data_loader is None else _use_of(data_loader, parts)
    state = {"fitted": fitted, "facts": facts, **({} if division is None else {"division": division}),
             **({"use": use} if use else {})}  # fmt: skip
    return {"data": state} if fitted or facts or division or use else {}


def _use_of(data_loader: Any, parts: Parts | None) -> dict[str, Any]:
    """What those need to know who use the model: `data.use` of a checkpoint."""
    dataset = getattr(data_loader, "dataset", None) if parts is None else parts.dataset
    return {"preprocessing": AS_GIVEN} if dataset is None else state_for_use(dataset, data_loader)


def restore_outline(state: dict[str, Any], data_loader: Any) -> None:
    """Let the training data know again what its first batch was made of, as far as a checkpoint says it."""
    parts, known = _parts_of(data_loader), learned_in(state).get("use", {}).get("preprocessing", {})
    if parts is not None and (found := {name: known[name] for name in ("like", "dtype", "items") if name in known}):
        parts.outline = {"items": [found, None]}


def is_divided_otherwise(checkpoint: dict[str, Any], loader: Any) -> bool:
    """Whether a checkpoint was trained on another part of the data than the training part of `loader`."""
    before, parts = learned_in(checkpoint).get("division"), _parts_of(loader)
    return before is not None and parts is not None and parts.division not in (None, before)


def tell_differences(checkpoint: dict[str, Any], loader: Any, *, is_new_run: bool) -> None:
    """Log where the weights of a checkpoint do not go with the training data: other samples, or other values learned.

    Args:
        is_new_run: whether only the weights are taken over, and the data has taught its own values.
    """
    if not is_new_run and is_divided_otherwise(checkpoint, loader):
        logger.warning("The training part has other samples than in the checkpoint, so those that validate or test now "
                       "may have been trained on.")  # fmt: skip
    before, now = (each.get("data", {}).get("fitted", {}) for each in (checkpoint, state_of_learned(loader, {})))
    if is_new_run and (others := sorted(name for name in before if before[name] != now.get(name, before[name]))):
        logger.warning("The data has taught other values than in the checkpoint (%s), which its weights were trained "
                       "with.", ", ".join(others))  # fmt: skip


def _parts_of(loader: Any) -> Parts | None:
    """The parts of a loader's dataset; None for a loader that is not ours."""
    found = getattr(loader, "parts", None)
    return found if isinstance(found, Parts) else None
