"""From the section `arch` to a model, some of its modules replaced by others that the config names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from espalier.adapters import add_adapters, lora_of
from espalier.config.build import build_object, find_in
from espalier.config.objects import signature_of
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import ConfigError, Problem, closest, shorten, with_places
from espalier.patterns import parts_of

REPLACE: KeyPath = ("arch", "replace")
# As modules call the size of what they take, and of what they give.
INPUT_SIZES = ("in_features", "in_channels", "num_features", "normalized_shape", "num_channels", "input_size",
               "embed_dim")  # fmt: skip
_OUTPUT_SIZES = ("out_features", "out_channels")


def build_model(tree: ConfigTree, path: KeyPath, module: Any, *args: Any, **kwargs: Any) -> Any:
    """The model that the section at `path` names, with the modules in it that `replace` names, and `lora` adapters.

    Raises:
        ConfigError: as for `build_object`; or the model has no module of a name, or there is no size to take.
    """
    model = build_object(tree, path, module, *args, **kwargs)
    section = tree.at(path)
    names = (section.get("replace") or {}) if tree.builds_blocks and isinstance(section, dict) else {}
    for name in names:
        _replace(tree, model, name, module)
    if tree.builds_blocks and (lora := lora_of(section)) is not None:
        with with_places(lambda path: tree.origin(tuple(path.split(".")))):
            add_adapters(model, **lora)
    return model


def lacking_size(target: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """The argument for the size of the input, where `target` has such a one and it is not given."""
    signature = signature_of(target)
    taken = signature.parameters if signature else {}
    if not set(INPUT_SIZES).isdisjoint(arguments):
        return None
    return next((name for name in INPUT_SIZES if name in taken and taken[name].default is taken[name].empty), None)


def blocks_of(section: Any, path: KeyPath) -> list[tuple[KeyPath, Any]]:
    """What stands for a replaced module, one block or several in a row, with the place of each."""
    return [((*path, i), each) for i, each in enumerate(section)] if isinstance(section, list) else [(path, section)]


def _replace(tree: ConfigTree, model: Any, name: str, module: Any) -> None:
    path = (*REPLACE, name)
    modules = dict(model.named_modules())
    if not name or name not in modules:
        known = [each for each in modules if each]
        what, there = "names no module of the model", parts_of(known).replace(".*", "")
        expected = f"the name of a module, such as: {there}"
        inside = [each for each in known if name and each.endswith(f".{name}")]  # without what it is inside of
        near = inside[0] if inside else closest(name, known)
        fix = None if near is None else f'write "{near}"'
        raise ConfigError(Problem(dotted(path), what, tree.origin(path), shorten(name), expected, near, fix))
    old, section = modules[name], tree.at(path)
    built: list[Any] = []
    for here, block in blocks_of(section, path):
        target = find_in(tree, (*here, "type"), block["type"], module)
        lacking = lacking_size(target, block.get("args") or {})
        sizes = {} if lacking is None else {lacking: _input_size(tree, here, lacking, built, old, name)}
        built.append(build_object(tree, here, module, **sizes))
    parent, _, last = name.rpartition(".")
    setattr(modules[parent], last, _in_a_row(built) if isinstance(section, list) else built[0])


def _in_a_row(modules: list[Any]) -> Any:
    from torch import nn  # loaded by now

    return nn.Sequential(*modules)


def _input_size(tree: ConfigTree, path: KeyPath, lacking: str, before: list[Any], old: Any, name: str) -> Any:
    """What the modules before it in the row give, or else what the replaced module takes."""
    given = (_size_of(each, _OUTPUT_SIZES) for row in reversed(before) for each in reversed([*row.modules()]))
    names = (lacking, *INPUT_SIZES)  # its own name first, in all of a Sequential's layers from the first
    taken = (_size_of(each, names) for each in old.modules())
    size = next((each for each in (*given, *taken) if each is not None), None)
    if size is None:
        here = (*path, "args", lacking)
        what = f"is not given, and {name}, which is replaced, has no size to take for it"
        raise ConfigError(Problem(dotted(here), what, tree.origin(path), type(old).__name__,
                                  fix=f'write "{lacking}" under {dotted((*path, "args"))}'))  # fmt: skip
    return size[0] if isinstance(size, tuple) and len(size) == 1 else size


def _size_of(module: Any, names: tuple[str, ...]) -> Any:
    """The first of these attributes that is a size; a lazy module has none yet."""
    sizes = (getattr(module, name, None) for name in names)
    return next((each for each in sizes if isinstance(each, (int, tuple)) and each), None)
