"""The keys that the framework knows, and what each may hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from espalier.adapters import RANK
from espalier.config.key import REQUIRED, Key
from espalier.config.settings import TRAINER
from espalier.config.tree import COMMAND_LINE, ConfigTree, KeyPath, dotted
from espalier.errors import Problem, closest, shorten

_TYPED = Key((dict,))
TOP = {
    "name": Key((str,)),
    "n_gpu": Key((int,), 0, least=0, changes_run=False),
    "seed": Key((int,), None, least=0, most=2**63 - 1),
    "arch": _TYPED,
    "data_loader": _TYPED,
    "valid_data_loader": Key((dict,), None),
    "test_data_loader": Key((dict,), None, changes_run=False),
    "optimizer": Key((dict, list)),
    "lr_scheduler": Key((dict,), None),
    "loss": Key((str, dict, list)),
    "metrics": Key((list,)),
    "trainer": Key((dict,)),
    "writers": Key((list,), None, changes_run=False),
    "tune": Key((dict,), None, changes_run=False),
    "user": Key((dict,), None),
}
PROFILE = {"steps": Key((list,))}
SWA = {"start": Key((str,)), "every": Key((str,), None), "lr": Key((float,), None, above=0)}
FSDP = {
    "wrap": Key((list,), None, item_type=str, changes_run=False),
    "methods": Key((list,), None, item_type=str, changes_run=False),
    "param_dtype": Key((str,), None, choices=("fp32", "bf16")),
    "reduce_dtype": Key((str,), None, choices=("fp32", "bf16")),
    "cpu_offload": Key((bool,), False, changes_run=False),
}
NO_FP16 = ("cannot be fp16 on a CPU, which has few operations in it", None, '"fp16"', '"bf16" or "fp32"')
TENSORBOARD = {
    **{name: Key((bool,), name not in ("pr_curves", "graph")) for name in
       ("scalars", "learning_rate", "speed", "norms", "images", "worst", "confusion", "histograms", "text", "hparams",
        "pr_curves", "graph")},
    "embeddings": Key((bool, str), False, nonempty=True),
    "figures": Key((list,), None, item_type=str),
}  # fmt: skip
OUTPUT = Key((str,), None, nonempty=True)
SECTION = {"type": Key((str,)), "args": Key((dict,), None)}
INIT = {**SECTION, "match": Key((str,), "*", nonempty=True)}
INIT_FROM = {
    "path": Key((str,), nonempty=True),
    "rename": Key((dict,), None),
    "skip": Key((list,), None, item_type=str),
    "by": Key((str,), "name", choices=("name", "order")),
}
LORA = {"match": Key((list,), item_type=str), "rank": Key((int,), RANK, least=1), "alpha": Key((float,), None, above=0)}
SCHEDULER = {
    **SECTION,
    "interval": Key((str,), "epoch", choices=("epoch", "step")),
    "monitor": Key((str,), None, nonempty=True),
}
# Which parameters: patterns of their names, and how many dimensions they have.
WHICH = {"match": Key((str, list), None, nonempty=True, item_type=str), "ndim": Key((int,), None, least=0)}
LAYER_DECAY = {"rate": Key((float,), above=0, most=1), "layers": Key((list,), item_type=str)}
GROUP = {**WHICH, "lr_mult": Key((float,), None, above=0)}
OPTIMIZER = {**SECTION, "param_groups": Key((list,), None), "layer_decay": Key((dict,), None)}
MEMBER = {**OPTIMIZER, **WHICH}  # one of several optimizers over one model
ARCH = {
    **SECTION,
    "replace": Key((dict,), None),
    "lora": Key((dict,), None),
    "init": Key((dict, list), None),
    "init_from": Key((str, dict), None, nonempty=True),
    "freeze": Key((list,), None, item_type=str),
    "train": Key((list,), None, item_type=str),
    "unfreeze_at": Key((dict,), None),
    "output": OUTPUT,
}
FUNCTION = {**SECTION, "name": Key((str,), None, nonempty=True)}
ONE_LOSS = {**FUNCTION, "output": OUTPUT}
LOSS = {**ONE_LOSS, "weight": Key((float,), None)}
KEYS = {"arch": ARCH, "lr_scheduler": SCHEDULER, "optimizer": OPTIMIZER, "loss": ONE_LOSS, "metrics": FUNCTION}
BLOCK = {**SECTION, "partial": Key((bool,), None)}
# Arguments whose meaning is ours, whatever the loader's own annotations say.
LOADER_ARGS = {
    "batch_size": Key((int,), None, least=1),
    "num_workers": Key((int,), None, least=0, also=("auto",)),
    "validation_split": Key((float, int), None, least=0, below=1.0),
    "shuffle": Key((bool,), None),
    "drop_last": Key((bool,), None),
    "pin_memory": Key((bool,), None),
    "persistent_workers": Key((bool,), None),
    "prefetch_factor": Key((int,), None, least=1),
    "timeout": Key((float,), None, least=0),
    "seed": Key((int,), None, least=0, most=2**63 - 1),
    "split_seed": Key((int,), None, least=0, most=2**63 - 1),
}
# Arguments of a data loader that change how samples are loaded, not which.
HOW_TO_LOAD = ("num_workers", "pin_memory", "pin_memory_device", "prefetch_factor", "persistent_workers", "timeout")
LOADERS = ("data_loader", "valid_data_loader", "test_data_loader")
# May be several by name: of parts of the model, and of sets of data.
SEVERAL = ("optimizer", "lr_scheduler", "valid_data_loader", "test_data_loader")
# How many arguments the program passes by itself: the parameters, the optimizer, output and target.
PASSED = {"optimizer": 1, "lr_scheduler": 1, "loss": 2, "metrics": 2}


def sets_aside(arguments: Mapping[str, Any], default: Any = None) -> bool:
    """Whether a loader with these arguments sets validation data aside; `default` is that of `validation_split`."""
    split = arguments.get("split")
    if not isinstance(split, dict):
        return bool(arguments.get("validation_split", default))
    files = split.get("files")
    return any(split.get(key) for key in ("valid", "fold", "column")) or (isinstance(files, dict) and "valid" in files)


def key_of(path: KeyPath) -> Key | None:
    """The rule for what stands at `path`; None for sections, arguments of classes, and what is the user's own."""
    match [str(each) for each in path if not str(each).isdecimal()]:
        case [name]:
            return TOP.get(name)
        case ["user", *_]:
            return None
        case ["trainer", name]:
            return TRAINER.get(name)
        case ["trainer", "fsdp", name]:
            return FSDP.get(name)
        case ["trainer", "swa", name]:
            return SWA.get(name)
        case [section, "args", name] | [section, _, "args", name] if section in LOADERS:
            return LOADER_ARGS.get(name)
        case ["optimizer", *_, "match" | "ndim" | "lr_mult" as name]:
            return GROUP[name]
        case ["optimizer", *_, "layer_decay", name]:
            return LAYER_DECAY.get(name)
        case ["loss", name]:
            return LOSS.get(name)
        case [section, name] if section in KEYS and name in KEYS[section]:
            return KEYS[section][name]
        case [*_, "type" | "match" as name]:
            return INIT[name]
    return None


def identity_of_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config makes its run another one than that of a different config; a default counts as not written."""
    shape = _changing_run(config, TOP)
    if isinstance(shape.get("trainer"), Mapping):
        shape["trainer"] = trainer = _changing_run(shape["trainer"], TRAINER)
        if isinstance(trainer.get("fsdp"), Mapping):
            trainer["fsdp"] = _changing_run(trainer["fsdp"], FSDP)
    for name in {*LOADERS} & shape.keys():
        shape[name] = _which_samples(shape[name])
    return shape


def _which_samples(section: Any) -> Any:
    """A loader, or several by name or in a list, without what changes nothing but how they load."""
    if isinstance(section, list):
        return [_which_samples(each) for each in section]
    if not isinstance(section, dict):
        return section
    if isinstance(section.get("args"), dict):
        return {**section, "args": {key: value for key, value in section["args"].items() if key not in HOW_TO_LOAD}}
    return section if "type" in section else {name: _which_samples(each) for name, each in section.items()}


def _changing_run(section: Mapping[str, Any], known: Mapping[str, Key]) -> dict[str, Any]:
    return {name: value for name, value in section.items()
            if name not in known or (known[name].changes_run and value not in (None, known[name].default))}  # fmt: skip


def names_in(name: str, section: Any) -> list[str]:
    """The names under which a section has several; none for one, or for a list."""
    return [str(path[1]) for path, _ in entries_of(name, section) if len(path) > 1 and not isinstance(path[1], int)]


def entries_of(name: str, section: Any) -> list[tuple[KeyPath, Any]]:
    """What a section names, one or several: items of a list; those of `SEVERAL` by name."""
    if isinstance(section, list):
        return [((name, index), entry) for index, entry in enumerate(section)]
    may_be_several = name in SEVERAL and isinstance(section, dict) and section and "type" not in section
    if may_be_several and all(isinstance(entry, dict) and "type" in entry for entry in section.values()):
        return [((name, key), entry) for key, entry in section.items()]
    return [] if section is None else [((name,), section)]


def check_section(tree: ConfigTree, path: KeyPath, known: Mapping[str, Key]) -> Iterator[Problem]:
    """Unknown, missing and ill-valued keys of the section at `path`."""
    section = tree.at(path)
    for name, value in section.items():
        here = (*path, name)
        origin, got = tree.origin(here), shorten(value)
        if name not in known and name != "$schema":
            near = closest(name, known)
            fix = f'write "{near}"' if near else 'keys of your own belong in a "user" section'
            if origin == COMMAND_LINE and not path and (ways := paths_of_key(tree.values, name)):
                typed = value if isinstance(value, str) else got
                fix = f"write {' or '.join(f'{dotted(way)}={typed}' for way in ways)}"
            expected = f"one of: {', '.join(known)}"
            yield Problem(dotted(here), "is not a key of the framework", origin, got, expected, near, fix)
        elif name in known and (problem := known[name].misfit(dotted(here), value, origin)) is not None:
            yield problem
    for name, rule in known.items():
        if rule.default is REQUIRED and section.get(name) is None:
            origin = tree.origin(path) if path else None
            yield Problem(dotted((*path, name)), "is missing", origin, expected=rule.expected())


def paths_of_key(values: Mapping[str, Any], name: str) -> list[KeyPath]:
    """The places in the sections of a config where a key of this name stands, or may stand under `trainer`."""
    found: list[KeyPath] = [("trainer", name)] if name in TRAINER else []

    def seek(section: Mapping[str, Any], path: KeyPath) -> None:
        for key, value in section.items():
            if key == name and path and (*path, key) not in found:
                found.append((*path, key))
            if isinstance(value, Mapping):
                seek(value, (*path, key))

    seek(values, ())
    return found
