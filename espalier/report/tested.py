"""Evaluations of a run by `test.py`: what each is called, and which of them stands for the run in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from espalier.checkpoints.run_folder import BEST_NAME
from espalier.config.schema import HOW_TO_LOAD
from espalier.config.tree import dotted
from espalier.config.view import leaves
from espalier.errors import counted
from espalier.report.compare import short_names, shown
from espalier.report.privacy import public
from espalier.report.record import RunRecord

_MOST_IN_TITLE = 4  # of what differs
# In the section of a loader: what test.py sets by itself, and what changes no value.
_NOT_DATA = {"training", "shuffle", "validation_split", "drop_last", "batch_size", *HOW_TO_LOAD}


def titles(tests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each evaluation by its checkpoint, its views and limit, and what differs from others of that checkpoint."""
    found = []
    for test in tests:
        others = [_facts(each) for each in tests if each.get("checkpoint") == test.get("checkpoint")]
        own = _facts(test)
        keys = [key for key in own if any(each.get(key) != own[key] for each in others)]
        differs = [f"{name}={shown(own[key])}" for key, name in zip(keys, short_names(keys), strict=True)]
        found.append(public(", ".join([str(test.get("checkpoint")), *_asked(test), *differs[:_MOST_IN_TITLE]])))
    alike, seen = Counter(found), Counter[str]()
    for place, title in enumerate(found):
        seen[title] += 1
        found[place] = title if alike[title] == 1 else f"{title} ({seen[title]})"
    return found


def _asked(test: Mapping[str, Any]) -> list[str]:
    tta, limit = test.get("tta"), test.get("limit_valid_batches")
    views = [f"views {' and '.join(map(str, tta))}"] if isinstance(tta, list) and tta else []
    return [*views, *([f"limited to {counted(limit, 'batch')}"] if isinstance(limit, int) else [])]


def _facts(test: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: test[name] for name in ("epoch", "step", "weights", "section") if test.get(name) is not None}
    return {**facts, **{f"data.{dotted(path)}": value for path, value in _which(test.get("data")).items() if path}}


def compared_test(run: RunRecord) -> Mapping[str, Any]:
    """The evaluation of a run that is like those of other runs; empty where there is none.

    That is of all its own test data, without views; of the best epoch and of averaged weights, where there are such;
    of several the latest.
    """
    plain = [
        test
        for test in run.tests
        if not test.get("tta") and test.get("limit_valid_batches") is None and _is_of_own_data(run.config, test)
    ]
    ranked = enumerate(plain)
    best = max(ranked, key=lambda one: (one[1].get("checkpoint") == BEST_NAME, one[1].get("weights") != "raw", one[0]),
               default=None)  # fmt: skip
    return {} if best is None else best[1]


def _is_of_own_data(config: Mapping[str, Any], test: Mapping[str, Any]) -> bool:
    """Whether it is of what the config of the run says; where either is not known, it is taken for that."""
    section, data = test.get("section"), test.get("data")
    own = config.get(section) if isinstance(section, str) else None
    return own is None or data is None or _which(own) == _which(data)


def _which(data: Any) -> dict[Any, Any]:
    return {path: value for path, value in leaves(data).items() if not path or path[-1] not in _NOT_DATA}
