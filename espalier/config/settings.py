"""The `trainer` section of a config: each key with its type, its default and its rule, and the values of a run."""

import dataclasses
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

from espalier.config.durations import TIME_FORM
from espalier.config.key import REQUIRED, Key
from espalier.errors import ConfigError, Problem

# Of torch.compile; a version of PyTorch may lack some.
COMPILE_MODES = (
    False, True, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs", "lite",
)  # fmt: skip
_HOW = Key(changes_run=False)
_COUNT = Key(least=1)
_HOW_COUNT = Key(least=1, changes_run=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the `trainer` section says, with the defaults of what it leaves out; see `meanings.py` for each key.

    The one place of types, defaults and rules: the check of a config, its JSON schema and overrides on the command
    line read them from `TRAINER`, which is made of this class. Make one with `Settings.of`, which checks the values.
    """

    epochs: Annotated[int, _COUNT]
    num_processes: Annotated[int | None, Key(least=1, most=4096, changes_run=False)] = None
    max_restarts: Annotated[int, Key(least=0, changes_run=False)] = 0
    strategy: Annotated[Literal["ddp", "fsdp"], _HOW] = "ddp"
    fsdp: dict[str, Any] | None = None
    find_unused_parameters: Annotated[bool, _HOW] = False
    sync_batchnorm: bool = False
    scale_lr: Annotated[int | None, _COUNT] = None
    checkpoint: Annotated[Literal["whole", "sharded"], _HOW] = "whole"
    save_dir: Annotated[str, Key(nonempty=True, changes_run=False)] = "saved/"
    save_period: Annotated[int, _HOW_COUNT] = 1
    save_every_steps: Annotated[int | None, _HOW_COUNT] = None
    save_every_minutes: Annotated[float | None, Key(least=0, changes_run=False)] = None
    keep_last: Annotated[int | None, _HOW_COUNT] = None
    keep_best: Annotated[int | None, _HOW_COUNT] = None
    async_save: Annotated[bool | None, _HOW] = None
    on_save_error: Annotated[Literal["continue", "stop"], _HOW] = "continue"
    auto_resume: Annotated[bool, _HOW] = False
    max_time: Annotated[str | None, Key(pattern=TIME_FORM, changes_run=False)] = None
    slurm_requeue: Annotated[bool, _HOW] = False
    on_end_command: Annotated[str | None, Key(nonempty=True, changes_run=False)] = None
    report: Annotated[bool, _HOW] = True
    on_nonfinite: Annotated[Literal["stop", "skip", "rollback"], _HOW] = "stop"
    nonfinite_limit: Annotated[int, _HOW_COUNT] = 3
    verbosity: Annotated[Literal[0, 1, 2], _HOW] = 2
    monitor: str = "off"
    early_stop: Annotated[int, Key(least=0)] = 0
    len_epoch: Annotated[int | None, _COUNT] = None
    type: str | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    accumulate: Annotated[int, _COUNT] = 1
    clip_grad_norm: Annotated[float | None, Key(above=0)] = None
    clip_grad_value: Annotated[float | None, Key(above=0)] = None
    ema_decay: Annotated[float | None, Key(least=0, below=1)] = None
    swa: dict[str, Any] | None = None
    deterministic: Annotated[bool, _HOW] = False
    num_threads: Annotated[int | None, _HOW_COUNT] = None
    compile: Annotated[bool | str, Key(choices=COMPILE_MODES, changes_run=False)] = False
    channels_last: Annotated[bool, _HOW] = False
    activation_checkpointing: Annotated[list[str] | None, _HOW] = None
    max_steps: Annotated[int | None, _COUNT] = None
    eval_every_steps: Annotated[int | None, _COUNT] = None
    evaluate_first: bool = False
    limit_train_batches: Annotated[int | None, _COUNT] = None
    limit_valid_batches: Annotated[int | None, _COUNT] = None
    sanity_valid_batches: Annotated[int, Key(least=0, changes_run=False)] = 0
    log_step: Annotated[int | None, _HOW_COUNT] = None
    tensorboard: Annotated[bool | dict[str, Any], _HOW] = True
    watch: Annotated[list[str] | None, _HOW] = None
    profile: Annotated[dict[str, Any] | None, _HOW] = None

    @classmethod
    def of(cls, trainer: Mapping[str, Any]) -> "Settings":
        """The settings of a `trainer` section. Null stands for the default; keys that are not known are left out.

        Raises:
            ConfigError: names each key that is missing or has a value that does not fit.
        """
        given = {name: trainer[name] for name in TRAINER if trainer.get(name) is not None}
        found = [TRAINER[name].misfit(f"trainer.{name}", value) for name, value in given.items()]
        found += [Problem(f"trainer.{name}", "is missing", expected=key.expected())
                  for name, key in TRAINER.items() if key.default is REQUIRED and name not in given]  # fmt: skip
        if problems := [each for each in found if each is not None]:
            raise ConfigError(problems)
        return cls(**given)

    def changed(self, *names: str) -> Iterator[str]:
        """Those of these keys that have another value than their default."""
        return (name for name in names if vars(self)[name] != TRAINER[name].default)

    def without(self, *names: str) -> "Settings":
        """The same with the defaults of these keys."""
        return dataclasses.replace(self, **{name: TRAINER[name].default for name in names})


def _key_of(field: "dataclasses.Field[Any]") -> Key:
    """The rule of a field: `Key` in its annotation, with kinds, items and choices by the type that is annotated."""
    hint, key = field.type, Key()
    if get_origin(hint) is Annotated:
        hint, key = get_args(hint)
    types = [each for each in (get_args(hint) if isinstance(hint, UnionType) else (hint,)) if each is not NoneType]
    choices = [choice for each in types if get_origin(each) is Literal for choice in get_args(each)]
    kinds = tuple(dict.fromkeys(map(type, choices))) or tuple(get_origin(each) or each for each in types)
    return dataclasses.replace(
        key,
        kinds=kinds,
        default=REQUIRED if field.default is dataclasses.MISSING else field.default,
        choices=key.choices or tuple(choices),
        item_type=next((get_args(each)[0] for each in types if get_origin(each) is list), None),
    )


TRAINER = {field.name: _key_of(field) for field in dataclasses.fields(Settings)}
