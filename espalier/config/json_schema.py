"""A JSON Schema of the config, made from the tables of the check and the classes in the rooms, for editors."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from espalier.config.arguments import annotations_of, json_types
from espalier.config.durations import FORM, takes_length
from espalier.config.key import REQUIRED, Key
from espalier.config.meanings import meaning_of
from espalier.config.objects import signature_of
from espalier.config.schema import (
    GROUP,
    KEYS,
    LAYER_DECAY,
    LOADER_ARGS,
    LOADERS,
    LOSS,
    MEMBER,
    PASSED,
    PROFILE,
    SECTION,
    SEVERAL,
    SWA,
    TENSORBOARD,
    TOP,
)
from espalier.config.settings import TRAINER
from espalier.config.space import RANGES
from espalier.config.tune import KEYS_OF_STRATEGY, PRUNERS, SAMPLERS, TUNE

_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", dict: "object", list: "array"}


def json_schema(rooms: Mapping[str, Any]) -> dict[str, Any]:
    """The schema: known keys everywhere, names completed from the rooms, arguments from signatures and annotations.

    Args:
        rooms: for each section, the module in which its `type` is looked up.
    """
    properties = {name: _of_key(key) for name, key in TOP.items()}
    trainer = {name: _of_key(key) for name, key in TRAINER.items()}
    board, profile, swa = (_described(_section(keys), ("trainer", name)) for name, keys in
                           (("tensorboard", TENSORBOARD), ("profile", PROFILE), ("swa", SWA)))  # fmt: skip
    trainer["tensorboard"] = _or_reference({"anyOf": [{"type": ["boolean", "null"]}, board]})
    trainer["profile"] = _or_reference(_or_null(profile, TRAINER["profile"]))
    trainer["swa"] = _or_reference(_or_null(swa, TRAINER["swa"]))
    properties["trainer"] = _described({**_section(TRAINER), "properties": trainer}, ("trainer",))
    for name, room in rooms.items():
        properties[name] = _or_reference(_or_null(_of_room(name, room), TOP[name]))
    for name in SEVERAL:
        one, room = _of_room(name, rooms[name]), rooms[name]
        several = {"type": "object", "additionalProperties": one}
        either = {"if": {"required": ["type"]}, "then": one, "else": {"anyOf": [one, several]}}
        properties[name] = _or_reference(_or_null(either, TOP[name]))
    members = {"type": "array", "items": _of_room("optimizer", rooms["optimizer"], MEMBER)}
    properties["optimizer"] = {"anyOf": [properties["optimizer"], members]}
    properties["metrics"] = _or_reference({"type": "array", "items": _of_room("metrics", rooms["metrics"])})
    writers = {"type": "array", "items": _of_room("writers", rooms["writers"])}
    properties["writers"] = _or_reference(_or_null(writers, TOP["writers"]))
    loss = _of_room("loss", rooms["loss"])
    weighted = _of_room("loss", rooms["loss"], LOSS)
    properties["loss"] = {"anyOf": [loss, {"type": "array", "items": weighted}]}
    properties["tune"] = _or_reference(_or_null(_tune(), TOP["tune"]))
    properties["extends"] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    whole = _described({"properties": properties}, ())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Config of this project",
        "type": "object",
        "properties": {**whole["properties"], "$schema": {"type": "string"}},
        "additionalProperties": False,
    }


def _tune() -> dict[str, Any]:
    """The section of studies: ranges by their kind, inside a choice too, and the names that Optuna has."""
    section = _section(TUNE)
    ranges = [{**_section(keys), "required": [name for name, key in keys.items() if key.default is REQUIRED]}
              for keys in RANGES.values()]  # fmt: skip
    for name, each in zip(RANGES, ranges, strict=True):
        each["properties"]["type"] = {"const": name}
    space = {"type": "object", "minProperties": 1, "additionalProperties": {"anyOf": ranges}}
    values = {"type": "array", "minItems": 1, "uniqueItems": True}
    grid = {"type": ["object", "null"], "additionalProperties": _or_reference(values)}
    # of NNI, or the name of a file
    others = {"type": "object", "additionalProperties": {"type": "object", "required": ["_type", "_value"]}}
    section["properties"].update(space={"anyOf": [space, others, {"type": ["string", "null"], "minLength": 1}]},
                                 grid=_or_reference(grid))  # fmt: skip
    for name, known in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        kind: dict[str, Any] = {"anyOf": [{"enum": list(known)}, {"type": "string"}]}  # a later Optuna may have more
        whole = {**_section(KEYS_OF_STRATEGY), "required": ["type"]}
        whole["properties"]["type"] = kind
        section["properties"][name] = _or_reference({"anyOf": [kind, whole, {"type": "null"}]})
    return _described(section, ("tune",))


def _of_key(key: Key) -> dict[str, Any]:
    kinds = [_TYPES[kind] for kind in key.kinds]
    found: dict[str, Any] = {"type": kinds if key.default is REQUIRED else [*kinds, "null"]}
    if key.pattern is not None:
        found["pattern"] = f"^{key.pattern}$"
    if key.choices:
        found = {"enum": list(key.choices) if key.default is REQUIRED else [*key.choices, None]}
    for bound, name in ((key.least, "minimum"), (key.most, "maximum"), (key.above, "exclusiveMinimum")):
        if bound is not None:
            found[name] = bound
    if key.below is not None and int not in key.kinds:
        found["exclusiveMaximum"] = key.below
    if key.item_type is not None:
        found["items"] = {"type": _TYPES[key.item_type], "minLength": 1}
    if key.nonempty:
        found["minLength"] = 1
    found = {"anyOf": [found, {"enum": list(key.also)}]} if key.also else found
    return _or_reference(found)


def _or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """Any value may also be a reference such as `${trainer.epochs}`."""
    return {"anyOf": [schema, {"type": "string", "pattern": r"\$\{"}]}


def _or_null(schema: dict[str, Any], key: Key) -> dict[str, Any]:
    return schema if key.default is REQUIRED else {"anyOf": [schema, {"type": "null"}]}


def _section(keys: Mapping[str, Key]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: _of_key(key) for name, key in keys.items()},
            "additionalProperties": False}  # fmt: skip


def _described(section: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The section at a path, each of its keys with what it is for."""
    properties = section["properties"]
    properties.update({name: {**each, "description": meaning_of(path, name).text} for name, each in properties.items()})
    return section


def _of_room(name: str, room: Any, known: Mapping[str, Key] | None = None) -> dict[str, Any]:
    """A section that names something in `room`: for each name its arguments; a dotted path takes any."""
    targets = choices_of(name, room)
    kinds = {"anyOf": [{"enum": sorted(targets)}, {"type": "string", "pattern": r"\.|\$\{"}]}
    section = _section(known or KEYS.get(name, SECTION))
    if name == "optimizer":
        groups = {**_described(_section(GROUP), (name, "param_groups")), "additionalProperties": True}
        decay = _described(_section(LAYER_DECAY), (name, "layer_decay"))
        section["properties"]["param_groups"] = _or_reference({"type": ["array", "null"], "items": groups})
        section["properties"]["layer_decay"] = _or_reference({"anyOf": [decay, {"type": "null"}]})
    section["properties"].update(type=kinds, args=_or_reference({"type": ["object", "null"]}))
    _described(section, (name,))
    section["allOf"] = [
        {
            "if": {"properties": {"type": {"const": each}}, "required": ["type"]},
            "then": {"properties": {"args": _arguments(name, target)}},
        }
        for each, target in targets.items()
    ]
    return {"anyOf": [section, kinds]} if name in ("loss", "metrics", "writers") else section


def choices_of(section: str, room: Any) -> dict[str, Any]:
    """What the `type` of a section may name in its room, without a dotted path."""
    return {name: target for name, target in vars(room).items() if _is_choice(name, target, room, section)}


def _is_choice(name: str, target: Any, room: Any, section: str) -> bool:
    if name.startswith("_") or not callable(target) or inspect.ismodule(target):
        return False
    if section == "writers":
        return name in room.__all__  # a room of names for what is elsewhere
    is_own = getattr(target, "__module__", "").startswith(room.__name__)
    needs_class = section not in ("loss", "metrics")
    return is_own and (inspect.isclass(target) or not needs_class)


def _arguments(section: str, target: Any) -> dict[str, Any]:
    signature = signature_of(target)
    if signature is None:
        return {"type": ["object", "null"]}
    hints = annotations_of(target)
    is_instance_made = inspect.isclass(target) and section in ("loss", "metrics")
    parameters = list(signature.parameters.values())[0 if is_instance_made else PASSED.get(section, 0) :]
    if section == "lr_scheduler" and "optimizer" in signature.parameters:  # passed by name
        parameters = [p for p in signature.parameters.values() if p.name != "optimizer"]
    properties = {
        p.name: _argument(section, p.name, hints.get(p.name, typing.Any))
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    arguments = {"type": ["object", "null"], "properties": properties, "additionalProperties": takes_any}
    return _or_reference(arguments)


def _argument(section: str, name: str, hint: Any) -> dict[str, Any]:
    if section in LOADERS and name in LOADER_ARGS:
        return {**_of_key(LOADER_ARGS[name]), "description": meaning_of((section, "args"), name).text}
    types = json_types(hint)
    if types is None:
        return {}
    schema = _or_reference({"type": sorted({*types, "object"})})  # or a {type, args} block
    if section == "lr_scheduler" and takes_length(name, hint):
        schema["anyOf"].append({"type": "string", "pattern": f"^(?:{FORM})$"})
    return schema
