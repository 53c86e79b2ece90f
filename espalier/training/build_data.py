"""The loaders of a run, and of a test: sections of their own, parts of a split, or what `training` says."""

from __future__ import annotations

from typing import Any

from espalier.config.objects import signature_of
from espalier.config.schema import entries_of
from espalier.config.tree import dotted
from espalier.data.loaders import validation_of
from espalier.data.named_loaders import as_one, each_of
from espalier.errors import ConfigError, DataError, Problem, explain
from espalier.training.learned import has_test_part, is_divided_otherwise, learn, learned_in, teach, use_learned
from espalier.training.loading import of_section

SECTION = "test_data_loader"
_ARGUMENTS = {"training": False, "shuffle": False, "validation_split": 0.0, "drop_last": False}


def build_data(config: Any, module_data: Any) -> tuple[Any, Any]:
    """Build the loaders of the training and the validation data; nothing is learned but from the training part.

    The validation data is that of `valid_data_loader`, one or several by name, or was split off; None for none.

    Raises:
        ConfigError: the config asks for what the data does not know.
    """
    data_loader = config.init_obj("data_loader", module_data)
    if "valid_data_loader" in config:
        valid_data_loader = as_one(config.init_obj("valid_data_loader", module_data))
    else:
        valid_data_loader = validation_of(data_loader)
    learn(config, data_loader, valid_data_loader)
    return data_loader, valid_data_loader


def section_of_test(config: Any, module_data: Any) -> str:
    """The section that describes the test data: its own, or data_loader, asked for its test part or the other data.

    Its arguments are set so that no sample is left out.

    Raises:
        ConfigError: there is none.
    """
    if SECTION in config:
        for path, entry in entries_of(SECTION, config[SECTION]):
            _keep_last(config, dotted(path), entry.get("args") or {})
        return SECTION
    section = config["data_loader"]
    taken = _parameters_of(config, module_data)
    arguments = section.setdefault("args", {})
    if "split" in taken and isinstance(arguments.get("split"), dict):
        _keep_last(config, "data_loader", arguments)
        return "data_loader"  # which has a test part, or says that it has none
    if "training" not in taken:
        what = f"cannot be asked for test data: {section['type']} takes no `training`"
        fix = 'write a "test_data_loader" section, or give data_loader a split with a test part'
        raise ConfigError(Problem("data_loader", what, config.origin("data_loader"), fix=fix))
    for name, value in _ARGUMENTS.items():
        if config.overrides.get(f"data_loader.args.{name}", value) != value:
            raise ConfigError(Problem(f"data_loader.args.{name}", "is set by test.py", "command line",
                                      fix='for other data write a "test_data_loader" section'))  # fmt: skip
        if name in taken:
            arguments[name] = value
    return "data_loader"


def _keep_last(config: Any, path: str, arguments: dict[str, Any]) -> None:
    if "drop_last" in arguments and f"{path}.args.drop_last" not in config.overrides:
        arguments["drop_last"] = False


def test_data_beside(config: Any, module_data: Any, data_loader: Any) -> Any:
    """Build the loader, or several, of test data that is no part of what `data_loader` has; None for none.

    Raises:
        UserError: it cannot be built.
    """
    if SECTION in config:
        loader = as_one(config.init_obj(SECTION, module_data))
        with of_section(config, SECTION):
            teach(data_loader, loader)
        return loader
    if "training" in _parameters_of(config, module_data) and not has_test_part(data_loader):
        loader = _other_data(config, module_data)
    else:
        return None
    teach(data_loader, loader)
    return loader


def _other_data(config: Any, module_data: Any) -> Any:
    """The loader of the section data_loader, asked for the test data, as test.py will ask."""
    section, taken = config["data_loader"], _parameters_of(config, module_data)
    given = section.get("args") or {}
    section["args"] = {**given, **{name: value for name, value in _ARGUMENTS.items() if name in taken}}
    try:
        return as_one(config.init_obj("data_loader", module_data))
    finally:
        section["args"] = given


def _parameters_of(config: Any, module_data: Any) -> Any:
    """What the type of the section data_loader takes; empty where that cannot be known."""
    signature = signature_of(config.find("data_loader.type", module_data))
    return {} if signature is None else signature.parameters


def build_test_data(config: Any, section: str, module_data: Any, checkpoint: dict[str, Any]) -> Any:
    """Build the loader, or several, of a section; nothing is learned from this data, the checkpoint says it all.

    Raises:
        ConfigError: a split has no test part.
        DataError: the split is not that of the run.
    """
    built = config.init_obj(section, module_data)
    has_parts = section != SECTION and isinstance((config[section].get("args") or {}).get("split"), dict)
    loader = built if has_parts else as_one(built)
    with of_section(config, section):
        use_learned(learned_in(checkpoint), config, *each_of(loader), may_learn=False)
    if not has_parts:
        return loader
    if (part := loader.split_test()) is None:
        path, fix = "data_loader.args.split", 'give it one, as in "test": 0.1, or write a "test_data_loader" section'
        raise ConfigError(Problem(path, "has no test part", config.origin(path), fix=fix))
    if is_divided_otherwise(checkpoint, loader):
        what = "data error: the split is another than in training: its test part may have samples that were trained on"
        why = "the data, or what says how it is divided (`split`, `seed`), has changed since"
        fix = 'bring that back, or name test data of their own in a "test_data_loader" section'
        raise DataError(explain(what, got=why, fix=fix))
    return part
