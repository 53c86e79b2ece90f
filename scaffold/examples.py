"""The examples that a project can start from, and where each of their files goes in it."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from scaffold.errors import ProjectError
from scaffold.version import TEMPLATE


@dataclass(frozen=True)
class Example:
    """What is special about an example as a project.

    Attributes:
        keeps: files of the template's own rooms that it uses: they stay, what the example adds goes below.
        made: the file that its scripts make last, without which it cannot train; empty: it needs none.
        scripts: its files that make data, in their order.
        trainer: the class in its trainer.py.
        needs: packages beside those that every project needs.
        has_digits: whether it uses `data/digits`.
        is_evaluated: whether its trainer has a `_valid_epoch`, which test.py needs; and a monitor, which tune.py needs.
    """

    keeps: tuple[str, ...] = ()
    made: str = ""
    scripts: tuple[str, ...] = ("make_data.py",)
    trainer: str = ""
    needs: tuple[str, ...] = ()
    has_digits: bool = False
    is_evaluated: bool = True


METRIC = ("model/metric.py",)
EXAMPLES = {
    "custom_dataset": Example(keeps=METRIC),
    "detection": Example(),
    "gan": Example(("data_loader/data_loaders.py",), trainer="GanTrainer",
                   has_digits=True, is_evaluated=False),
    "imbalanced": Example(METRIC, "data/payments.csv", trainer="CurveTrainer"),
    "pointclouds": Example(METRIC, trainer="CloudTrainer"),
    "segmentation": Example(trainer="SegmentationTrainer", needs=("torchmetrics>=1.4",)),
    "shards": Example(METRIC, "data/shards/shard-019.npz", has_digits=True),
    "tabular": Example(),
    "text": Example(METRIC, "data/news.csv"),
    "timeseries": Example(made="data/demand.csv"),
    "transfer_learning": Example(METRIC, "data/transfer/letters.pth", ("make_data.py", "make_weights.py"),
                                 has_digits=True),
}  # fmt: skip
ROOM_OF = {
    "model.py": "model/model.py",
    "loss.py": "model/loss.py",
    "metric.py": "model/metric.py",
    "data.py": "data_loader/data_loaders.py",
    "make_data.py": "data_loader/make_data.py",
    "config.json": "config.json",
    "test_model.py": "tests/test_model.py",
}


def check_example(name: str) -> None:
    """Raise a ProjectError unless there is such an example."""
    if name in EXAMPLES and (TEMPLATE / "examples" / name).is_dir():
        return
    near = difflib.get_close_matches(name, EXAMPLES, 1, 0.4)
    raise ProjectError(
        "there is no such example",
        got=name,
        expected=f"one of: {', '.join(EXAMPLES)}",
        **({"closest": near[0]} if near else {}),
        fix="choose one of these: docs/gallery.md shows them; or leave --example out",
    )


def places_of(name: str) -> dict[str, str]:
    """Where each file of an example goes in a project, by its path there; README.md goes into the project's own."""
    files = sorted(path.name for path in (TEMPLATE / "examples" / name).iterdir() if path.is_file())
    return {file: _place(file, EXAMPLES[name]) for file in files if file != "README.md"}


def _place(file: str, example: Example) -> str:
    if file == "trainer.py":
        return f"trainer/{_in_snake_case(example.trainer)}.py"
    folders = {".json": "configs/", ".csv": "data/"}  # any other file is a command, in the project's own folder
    return ROOM_OF.get(file) or folders.get(file[file.rindex(".") :], "") + file


def _in_snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
