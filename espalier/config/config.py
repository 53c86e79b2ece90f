"""One config: its values, what is known to be wrong with it, and the objects that its sections describe."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from espalier.config.build import build_function, build_object, build_schedule, find_in, one_or_several
from espalier.config.build_model import build_model
from espalier.config.check import TRAINER_TYPE, check, is_trainer
from espalier.config.check_keys import check_without_imports
from espalier.config.check_sources import is_surely_right
from espalier.config.doubts import doubts
from espalier.config.durations import Run
from espalier.config.facts import references, take_facts
from espalier.config.interpolation import with_references
from espalier.config.modify import lay_over
from espalier.config.objects import NameNotFound
from espalier.config.tree import ConfigTree, KeyPath
from espalier.config.trust import NotTrusted, find
from espalier.errors import ConfigError, Problem

_Own = TypeVar("_Own", bound="Config")


class Config:
    """Values with their origins, checked before something is built of them; indexing gives the plain dicts.

    Args:
        tree: the values, and where each was written; references in them are replaced.
        rooms: for each section, the name of the module in which its `type` is looked up.
        modification: values that replace those of `tree`, by key path (`"optimizer;args;lr"` or a tuple).

    Attributes:
        tree: as given.
        overrides: what `modification` set, by dotted path.
        snapshot: a copy of the values as they were at the start; checkpoints hold it. `${env:NAME}` stays in it as it
            was written: what the environment says may be a secret.
    """

    def __init__(
        self, tree: ConfigTree, rooms: Mapping[str, str], modification: Mapping[Any, Any] | None = None
    ) -> None:
        self.tree = tree
        self.overrides, self._problems = lay_over(tree, modification or {})
        self.snapshot = self.as_saved(tree.values)
        self._rooms = rooms
        self._checked: Any = None  # what the latest full check was of
        self._built: dict[str, Any] = {}  # sections as they were when something was built of them
        self._has_run = False

    # Values

    @property
    def config(self) -> dict[str, Any]:
        """The whole config."""
        return self.tree.values

    @property
    def _config(self) -> dict[str, Any]:
        return self.tree.values

    def __getitem__(self, name: str) -> Any:
        return self.tree.values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.tree.values[name] = value

    def __contains__(self, name: object) -> bool:
        return self.tree.values.get(name) is not None  # type: ignore[call-overload, no-any-return]

    def get(self, name: str, default: Any = None) -> Any:
        """The section `name`, or `default` when there is none or it is null."""
        value = self.tree.values.get(name)
        return default if value is None else value

    def update(self, values: Mapping[str, Any]) -> None:
        """Put `values` into the config, each in place of what is there under its name."""
        self.tree.values.update(values)

    def as_saved(self, values: dict[str, Any]) -> dict[str, Any]:
        """A copy of (part of) this config for a file, `${env:NAME}` and `${data.NAME}` in it as they were written."""
        return with_references(values, {**self.tree.from_environment, **references(self.tree)})

    def origin(self, path: str) -> str | None:
        """Where the value at the dotted `path` was written: file and line, or the command line."""
        return self.tree.origin(tuple(path.split(".")))

    def take_facts(self, fact: Callable[[str], Any], names: tuple[str, ...] = ()) -> None:
        """Put what the training data knows in place of each `${data.NAME}`, before the model is built.

        Raises:
            ConfigError: `fact`, which knows `names`, does not know one of them.
        """
        take_facts(self.tree, fact, names)

    # What is wrong with it

    @property
    def is_classic(self) -> bool:
        """Whether the command that made this config leaves out `check`, as those of the classic template do.

        Then keys that the framework does not know are only told of, and blocks inside arguments are passed on unbuilt.
        """
        return not self.tree.builds_blocks

    def keep_classic_rules(self) -> None:
        """Make it classic, see `is_classic`, until it is checked."""
        self.tree.builds_blocks = False

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Tell these with what `check` finds, or at the latest when something is built."""
        self._problems += problems

    @property
    def has_problems(self) -> bool:
        """Whether something is known to be wrong, check or not."""
        return bool(self._problems)

    def raise_problems(self) -> None:
        """Raise what is known to be wrong.

        Raises:
            ConfigError: something is.
        """
        if self._problems:
            raise ConfigError(self._problems)

    def check_keys(self) -> None:
        """The part of `check` that needs nothing imported: for a command, before it imports what is slow.

        Where more may be wrong than it can see, nothing is raised: `check` then tells all in one report.

        Raises:
            ConfigError: with every fault of the config.
        """
        problems = self._problems + self._not_known(check_without_imports(self.tree, self._rooms))
        if problems and is_surely_right(self.tree, self._rooms):
            raise ConfigError(problems)

    def check_with(
        self,
        rooms: Mapping[str, Any],
        trainers: Any = None,
        extra_log_names: tuple[str, ...] | None = None,
        *,
        further: Iterable[Problem] = (),
        is_for_others: bool = False,
    ) -> None:
        """Hold the config against what the framework knows and what the named classes take.

        Args:
            rooms: for each section to look at, the module in which its `type` is looked up.
            trainers: the module in which `trainer.type` is looked up; None: it is not looked at, and nothing is kept
                in mind of what was found.
            extra_log_names: what an epoch reports beside loss and metrics (see `BaseTrainer`); None if not known.
            further: what else is wrong.
            is_for_others: whether processes that are started then check it once more: they tell what is doubtful.

        Raises:
            ConfigError: with every fault that was found.
        """
        if self.is_classic and self._built:
            raise RuntimeError("config.check() comes first: something was built by the rules of the classic template")
        self.tree.builds_blocks = self.tree.is_checked = True
        state = self.as_saved(self.config), extra_log_names, tuple(rooms)
        if trainers is not None and self._checked == state and not self._problems:
            return
        found = check(self.tree, rooms, extra_log_names, trainers, tries_out=not is_for_others)
        if problems := self._problems + self._not_known((*found, *further)):
            raise ConfigError(problems)
        self._checked = state
        for doubt in doubts(self.config) if "optimizer" in rooms and not is_for_others else ():  # they are of training
            logging.getLogger("config").warning(doubt)

    def _not_known(self, problems: Iterable[Problem]) -> list[Problem]:
        known = {problem.path for problem in self._problems}
        return [each for each in problems if each.path not in known]

    # What it describes

    def init_obj(self, name: str, module: Any, *args: Any, **kwargs: Any) -> Any:
        """Build what the section `name` describes: `type(*args, **section args, **kwargs)`.

        Args:
            name: a section with `type` (a name in `module`, or a dotted path) and `args`. A list of such gives a list,
                several by name a dict. `"optimizer.generator"` is one of several.
            module: where to look the name up.

        Raises:
            ConfigError: the section is not there, its `type` cannot be found, or `kwargs` repeats its arguments.
        """
        return self._build_each(build_model if name == "arch" else build_object, name, module, args, kwargs)

    def init_schedule(self, name: str, module: Any, optimizer: Any, run: Run) -> Any:
        """Build the learning-rate schedule that the section `name` describes, and those nested in it.

        Args:
            name: `"lr_scheduler"`, or `"lr_scheduler.generator"` for one of several.
            module: where to look names up.
            optimizer: passed to each of them.
            run: how long the run is, for lengths such as "5%".

        Raises:
            ConfigError: as for `init_obj`; or a length needs to know more of the data.
        """
        return self._build_each(build_schedule, name, module, (optimizer, run), {})

    def init_ftn(self, name: str, module: Any, *args: Any, **kwargs: Any) -> Any:
        """Give the function that the section `name` describes, its arguments bound; of a class, an instance.

        Args:
            name: a section that is a name, or has `type` and `args` (and `name`, what to call it). A list gives a list.
            module: where to look the name up.

        Raises:
            ConfigError: as for `init_obj`.
        """
        return self._build_each(build_function, name, module, args, kwargs)

    def _build_each(self, build: Any, name: str, module: Any, args: Any, kwargs: Any) -> Any:
        section, _, part = name.partition(".")
        self._check_section(section)
        several = self.get(section)
        known = several if isinstance(several, dict) else range(len(several)) if isinstance(several, list) else ()
        keys = {str(key): key for key in known}
        if name not in self and part in keys:
            return build(self.tree, (section, keys[part]), module, *args, **kwargs)
        if name not in self:
            raise ConfigError(Problem(name, "is missing", fix=f'add a "{name}" section'))
        return one_or_several(build, self.tree, name, module, *args, **kwargs)

    def _check_section(self, name: str) -> None:
        """Before something is built of a section: what is known of it, unless all was checked or is classic."""
        self.raise_problems()
        if not self.is_classic and not self.tree.is_checked:
            found = check_without_imports(self.tree, [name]) if name in self._rooms else ()
            _refuse(each for each in found if each.path.startswith(f"{name}."))
        self._built[name] = self.as_saved({name: self.get(name)})

    def find(self, path: str, module: Any) -> Any:
        """The object that the text at the dotted `path` names (`"arch.init.0.type"`), in `module` or at a dotted path.

        Raises:
            ConfigError: it names nothing; or it came out of a checkpoint, and leads to code that such a name may not.
        """
        here: KeyPath = ()
        for key in path.split("."):
            here = (*here, int(key) if isinstance(self.tree.at(here), list) else key)
        return find_in(self.tree, here, self.tree.at(here), module)

    def trainer_class(self, module: Any) -> Any:
        """The class that `trainer.type` names, in `module` or as a dotted path; its `Trainer` without such a name.

        A name that stands for no trainer is for `check` to tell.
        """
        trainer = self.get("trainer")
        name = trainer.get("type") if isinstance(trainer, dict) else None
        if isinstance(name, str):
            with contextlib.suppress(NameNotFound, NotTrusted, ImportError):
                if is_trainer(found := find(self.tree, TRAINER_TYPE, name, module)):
                    return found
        return module.Trainer

    # A run of it

    def for_run(self: _Own) -> _Own:
        """This config for one run: checked, and as it is now; a second run gets a copy.

        Raises:
            ConfigError: it has faults, or was changed after something was built of it.
        """
        if self.is_classic:
            return self
        self.raise_problems()
        if not self.tree.is_checked:
            _refuse(check_without_imports(self.tree, self._rooms))
        what, fix = "was changed after it was built", "change it before, or build all of it again"
        _refuse(Problem(name, what, "Python", fix=fix) for name, built in self._built.items()
                if self.as_saved({name: self.get(name)}) != built)  # fmt: skip
        run = self._copy() if self._has_run else self
        self._has_run = True
        run.snapshot = run.as_saved(run.config)
        return run

    def _copy(self: _Own) -> _Own:
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other.tree = copy.copy(self.tree)
        other.tree.values = copy.deepcopy(self.config)
        return other


def _refuse(problems: Iterable[Problem]) -> None:
    """Raise what is wrong in a config of which single sections are used: a section may be missing then."""
    if found := [each for each in problems if not (each.what == "is missing" and "." not in each.path)]:
        raise ConfigError(found)
