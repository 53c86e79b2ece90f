"""What projects from the first generation of the classic template (2019) need; without such a project, delete it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_TRAINER = {"loss": "criterion", "metrics": "metric_ftns", "metric_fns": "metric_ftns"}


def parsed(kind: Any, arguments: Any, options: Any, **keywords: Any) -> Any:
    """`ConfigParser(parser, options)`: the config that a command line asks for.

    Args:
        kind: the class `ConfigParser`.
        arguments: an `argparse.ArgumentParser`, or what it parsed.
        keywords: `timestamp` and others of that time, which have no meaning any more.
    """
    return kind.from_args(arguments, options)


def attribute_of_config(config: Any, name: str) -> Any:
    """`config.initialize(name, module, ...)`, which is called `init_obj` now.

    Raises:
        AttributeError: any other name.
    """
    if name == "initialize":
        return config.init_obj
    raise AttributeError(f"ConfigParser has no attribute {name!r}")


def attribute_of_trainer(trainer: Any, name: str) -> Any:
    """`trainer.loss` and `trainer.metrics`.

    Raises:
        AttributeError: any other name.
    """
    if name in _OF_TRAINER:
        return getattr(trainer, _OF_TRAINER[name])
    raise AttributeError(f"{type(trainer).__name__} has no attribute {name!r}")


def unfolded(log: Mapping[str, Any], metric_ftns: list[Any]) -> dict[str, Any]:
    """The log of an epoch with the lists `metrics` and `val_metrics` given out to the names of the metrics."""
    named: dict[str, Any] = {}
    for key, value in log.items():
        if key in ("metrics", "val_metrics") and hasattr(value, "__len__") and len(value) == len(metric_ftns):
            prefix = key.removesuffix("metrics")
            named |= {f"{prefix}{each.__name__}": item for each, item in zip(metric_ftns, value, strict=True)}
        else:
            named[key] = value
    return named
