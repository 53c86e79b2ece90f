"""What each thing that a run writes costs: python -m benchmarks.writes configs/mnist.json trainer.epochs=4

Trains the config in a folder that is removed afterwards, on one thread, and prints a table: CPU time of all threads and
child processes, so that other work on the machine does not count, and bytes. It has what is on by default, metrics.csv,
and the switches of TensorBoard that are off by default, which do not count in the sums.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from time import process_time
from typing import Any

import torch

import espalier.journal.norms as norms
import espalier.journal.tensorboard as board
import espalier.training.outcome as outcome
import espalier.training.run as run_module
import espalier.training.start as start
from espalier.config.overrides import parse_override
from espalier.config.tree import dotted
from espalier.journal.embeddings import Embedded
from espalier.journal.logging_setup import _FileHandler
from espalier.journal.metrics_file import MetricsFile
from espalier.journal.outcomes import Outcomes
from espalier.journal.seen import Seen
from espalier.journal.speed import Speed
from espalier.journal.tags import switch_of
from espalier.journal.writer import TensorboardWriter
from espalier.journal.writers.csv_tables import Csv
from espalier.journal.writers.rows import BatchesFile
from espalier.training.checkpointer import Checkpointer
from parse_config import ConfigParser
from train import build

CURVES, PICTURES, ABOUT, BEGIN = "scalars, learning_rate", "images", "text, hparams", "opening the file of events"
OFF = ("pr_curves", "graph", "embeddings")
TENSORBOARD = (CURVES, "speed", "norms", PICTURES, "worst", "confusion", "histograms", ABOUT, BEGIN, *OFF)
# What is timed, and what it belongs to: a name, or a function of the arguments.
TIMED: list[tuple[Any, str, str | Callable[..., str]]] = [
    (board.Board, "curves", CURVES), (board.Board, "epoch", CURVES), (TensorboardWriter, "_write_points", CURVES),
    (TensorboardWriter, "flush", CURVES), (TensorboardWriter, "close", CURVES), (TensorboardWriter, "_open", BEGIN),
    (Speed, "mark", "speed"), (Speed, "take", "speed"), (norms, "_norm", "norms"), (norms.Norms, "take", "norms"),
    (Outcomes, "add", PICTURES), (Outcomes, "finish", PICTURES),
    (board.Board, "images", lambda *args, name="predictions": "worst" if name == "worst" else PICTURES),
    (Seen, "_keep_worst", "worst"), (Seen, "_add_classes", "confusion"), (Seen, "_look", "confusion"),
    (Embedded, "add", "embeddings"), (board, "confusion_picture", "confusion"),
    (board.Board, "picture", lambda _, name, *args: {"predictions": PICTURES}.get(name, name)),
    (board.Board, "histograms", "histograms"), (board.Board, "about", ABOUT), (board.Board, "model", ABOUT),
    (outcome, "end_about", ABOUT), (board.Board, "graph", "graph"), (Seen, "curves", "pr_curves"),
    (board.Board, "seen", "pr_curves"), (Seen, "embedded", "embeddings"), (board, "write_embeddings", "embeddings"),
    (MetricsFile, "write", "metrics.jsonl"), (run_module, "record", "run.json"), (outcome, "record_end", "run.json"),
    (outcome, "_write_page", "report.html"), (_FileHandler, "emit", "info.log"), (Checkpointer, "save", "checkpoint"),
    (start, "write_config", "config.json"), (Csv, "values", "metrics.csv"),
    (Csv, "begin", "metrics.csv"), (BatchesFile, "values", "batches.csv"), (BatchesFile, "sync", "batches.csv"),
]  # fmt: skip


class Clock:
    """CPU time by what it went into; what is timed inside of something else is taken from that."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = self._own = 0.0
        for _ in range(1000):
            self.within("nothing")
            self.without()
        self._own = self.spent.pop("nothing") / 1000

    def within(self, label: str) -> None:
        self._turn()
        self._open.append(label)

    def without(self) -> None:
        self._turn()
        self.spent[self._open.pop()] -= self._own  # what looking at the time takes

    def _turn(self) -> None:
        now = cpu_time()
        if self._open:
            self.spent[self._open[-1]] += now - self._since
        self._since = now


def cpu_time() -> float:
    """Seconds of processor time of this process and of the children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime


def watch(clock: Clock) -> None:
    """Let the clock see all of TIMED."""

    def timed(function: Callable[..., Any], label: str | Callable[..., str]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            clock.within(label if isinstance(label, str) else label(*args, **kwargs))
            try:
                return function(*args, **kwargs)
            finally:
                clock.without()

        return call

    for owner, name, label in TIMED:
        setattr(owner, name, timed(getattr(owner, name), label))


def sizes(run: Path, log: Path) -> Counter[str]:
    """Bytes of each thing in the folders of a run."""
    found: Counter[str] = Counter()
    for path in run.iterdir():
        found["checkpoint" if path.suffix == ".pth" else path.name] += path.stat().st_size
    found["info.log"] = (log / "info.log").stat().st_size
    found["embeddings"] = sum(each.stat().st_size for each in log.glob("embeddings/*/*"))
    for label, size in sizes_of_events(log):
        found[label] += size
    return found


def sizes_of_events(log: Path) -> Iterator[tuple[str, int]]:
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    for path in log.glob("*tfevents*"):
        for raw in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(raw)
            rest = len(raw) + 16  # with length and checksums
            for value in event.summary.value:
                kind, rest = (
                    value.metadata.plugin_data.plugin_name or value.WhichOneof("value"),
                    rest - value.ByteSize(),
                )
                yield (label := label_of(value.tag, kind)), value.ByteSize()
            yield label if event.summary.value else "graph" if event.graph_def else BEGIN, rest


def label_of(tag: str, kind: str) -> str:
    """To which row a value of TensorBoard belongs."""
    switch = switch_of(tag)
    by_kind = {"text": ABOUT, "hparams": ABOUT, "pr_curves": "pr_curves", "histo": "histograms", "image": tag,
               "custom_scalars": CURVES}  # fmt: skip
    label = by_kind.get(kind, CURVES if switch in ("scalars", "learning_rate") else switch)
    return PICTURES if label == "predictions" else label


def measured(config: str, overrides: Sequence[str]) -> list[tuple[str, float, int, float]]:
    """For each thing: what, seconds of CPU, bytes, share of the run's seconds; then the sums."""
    torch.set_num_threads(1)
    clock = Clock()
    began = cpu_time()
    for name in ("torch.utils.tensorboard", "tensorboard.plugins.hparams.summary_v2", "PIL.ImageDraw", "PIL.ImageFont"):
        importlib.import_module(name)  # once in a process, however long it runs
    imported = cpu_time() - began
    watch(clock)
    switches = dict.fromkeys(OFF, True)
    with tempfile.TemporaryDirectory() as folder:
        more = {"trainer.save_dir": folder, "trainer.tensorboard": switches, "writers": ["tensorboard", "csv"]}
        given = {dotted(path): value for path, value in map(parse_override, overrides)}
        trainer = build(ConfigParser.from_file(config, {**more, **given}))
        began = cpu_time()
        trainer.train()
        whole = cpu_time() - began
        found = sizes(trainer.checkpoint_dir, Path(trainer.config.log_dir))
    spent = clock.spent
    whole -= sum(spent[name] for name in OFF)
    rows = [(name, spent[name], found[name], spent[name] / whole) for name in dict.fromkeys([*spent, *found])]
    on = [row for row in rows if row[0] in TENSORBOARD and row[0] not in OFF]
    total = [("all of TensorBoard that is on", *(sum(row[at] for row in on) for at in (1, 2, 3)))]
    rows.sort(key=lambda row: TENSORBOARD.index(row[0]) if row[0] in TENSORBOARD else len(TENSORBOARD))
    return [*rows, *total, ("import of TensorBoard and Pillow", imported, 0, imported / whole),
            ("the run", whole, 0, 1.0)]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    options = parser.parse_args()
    sys.argv = sys.argv[:1]
    table = measured(options.config, options.overrides)
    print("\n| what | CPU, ms | bytes | share of the run |\n|---|---:|---:|---:|")
    for name, seconds, size, share in table:
        print(f"| {name} | {seconds * 1e3:,.1f} | {size:,} | {share:.2%} |")
