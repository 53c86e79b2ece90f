"""A config as a run sees it, whoever wrote its `ConfigParser`."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from espalier.config.tree import ConfigTree
from espalier.config.trust import deeds
from espalier.errors import ConfigError


class RunConfig:
    """What a trainer asks of a `ConfigParser`: ours, or the one that a project of the classic template has edited.

    Args:
        parser: with `config`, `resume`, `save_dir`, `log_dir` and `get_logger` at least.

    Attributes:
        overrides: what the command line set, by dotted path.
        snapshot: a copy of the config as it was at the start, of plain values.
        continues_run: whether to go on from `resume`, epoch and all.
        judge: says after each epoch or evaluation, of which it is given the `Point`, why the run is to stop; None where
            it goes on. None where nobody judges.
        is_classic: whether nobody has held the config against what the framework knows.
    """

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self.overrides: dict[str, Any] = getattr(parser, "overrides", {})
        resume = getattr(parser, "resume", None)
        self.resume = None if resume is None else Path(resume)
        self.continues_run: bool = getattr(parser, "continues_run", resume is not None)
        self.is_classic: bool = getattr(parser, "is_classic", True)
        # What was built is what is saved, and runs: changes of the config that come later are none of this run.
        self.judge = getattr(parser, "judge", None)
        self._values: Any = None if self.is_classic else copy.deepcopy(parser.config)
        if hasattr(parser, "snapshot"):
            self.snapshot: dict[str, Any] = parser.snapshot
        else:
            self.snapshot = json.loads(json.dumps(self.config, default=str))

    @property
    def facts(self) -> dict[str, Any]:
        """What the training data told the config, by name."""
        return {} if self.is_classic else dict(self._parser.tree.facts)

    def continue_from(self, checkpoint: Path) -> None:
        """Go on from a checkpoint of this run, epoch and all."""
        self.continues_run, self.resume = True, checkpoint

    def refuse_deeds(self) -> None:
        """Make sure that no checkpoint has a command run, or a tracker told, whether or not the config was checked.

        Raises:
            ConfigError: names each.
        """
        tree = getattr(self._parser, "tree", None)
        if isinstance(tree, ConfigTree) and (problems := [*deeds(tree)]):
            raise ConfigError(problems)

    def open_log(self) -> None:
        """Send log lines to the console and the log folder; a `ConfigParser` of the project's own has done so."""
        if hasattr(self._parser, "open_log"):
            self._parser.open_log()

    @property
    def config(self) -> dict[str, Any]:
        """The whole config."""
        values: dict[str, Any] = self._parser.config if self._values is None else self._values
        return values

    def get(self, name: str, default: Any = None) -> Any:
        """The section `name`, or `default` when there is none or it is null."""
        value = self.config.get(name)
        return default if value is None else value

    def __getitem__(self, name: str) -> Any:
        return self.config[name]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)  # save_dir and log_dir, which make the folders when first asked for
