"""What a reader has to know of a comparison, and what would tell more."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from espalier.report.bootstrap import MOST_BY_ITSELF
from espalier.report.compare import SEED, compare
from espalier.report.record import RunRecord
from espalier.report.sides import Side
from espalier.report.versus import Versus

_FEW_SEEDS = 3


def caveats(found: Versus) -> list[str]:
    """Sentences, each a reason to believe the findings less, or to read them in another way."""
    return [*_of_tests(found), *_of_seeds(found), *_of_runs(found), *_of_several(found), *found.untested]


def advice(found: Versus) -> list[str]:
    """What would say more, with the command."""
    lines = []
    if not found.over("samples") and found.mismatch is None:
        runs = " ".join(_folders(side) for side in found.sides)
        tests = [test for side in found.sides for run in side.runs for test in run.tests]
        flag = " --predictions out.npz" if any(_is_large(test) for test in tests) else ""
        lines.append("To compare them test sample by test sample, in what is a mean over samples: "
                     f"python test.py -r {runs}{flag}")  # fmt: skip
    if few := [side.name for side in found.sides if len(side.runs) < 2]:
        lines.append(f"To know what a seed alone makes: train {' and '.join(few)} with other seeds, three or more of "
                     "each side (python train.py -c CONFIG seed=2), and compare the folders.")  # fmt: skip
    return lines


def _folders(side: Side) -> str:
    """The runs as a shell takes them; all in a folder as one pattern."""
    parent = side.runs[0].folder.parent
    if len(side.runs) > 1 and {run.folder for run in side.runs} == {each for each in parent.iterdir() if each.is_dir()}:
        return f"{shlex.quote(str(parent))}/*"
    return " ".join(shlex.quote(str(run.folder)) for run in side.runs)


def _is_large(test: Mapping[str, Any]) -> bool:
    """Whether test.py measures each sample by itself only when it is asked."""
    number = test.get("num_samples")
    return isinstance(number, int) and number > MOST_BY_ITSELF


def _of_tests(found: Versus) -> Iterator[str]:
    tests, runs = found.tests, [run for side in found.sides for run in side.runs]
    if found.mismatch is not None:
        yield f"Not compared test sample by test sample: {found.mismatch}."
    elif tests is not None and "data" in tests.differs and not found.over("samples"):
        yield "The sections of the test data differ: whether the samples are the same is not known."
    if lacking := _no_means(found):
        yield f"No mean over samples, so not tested over them: {', '.join(lacking)}."
    if tests is None and all(run.tests for run in runs):
        yield "All runs were tested, but not on the same data."
    if tests is not None and "checkpoint" in tests.differs:
        names = [" and ".join(sorted({str(test.get("checkpoint")) for test in side})) for side in tests.of]
        yield f"Other checkpoints were tested of A ({names[0]}) than of B ({names[1]})."
    if tests is None and found.findings:
        names = sorted({run.monitor[1] for run in runs if run.monitor})
        by = f" by {' and '.join(names)}" if names else ""
        yield (f"The values are those of the epoch that was chosen{by}, on the data of that choice: too good, the more "
               "so the more epochs and settings were tried. Values of test data are not.")  # fmt: skip


def _no_means(found: Versus) -> list[str]:
    """The metrics of the tests that single samples have no values of."""
    if found.tests is None or not found.over("samples"):
        return []
    metrics = found.tests.of[0][0].get("metrics")
    told = {each.metric for each in found.over("samples")} | {line.split()[0] for line in found.untested}
    return [name for name in metrics if name not in told] if isinstance(metrics, Mapping) else []


def _of_seeds(found: Versus) -> Iterator[str]:
    first, second = found.sides
    if found.over("samples") and not found.over("seeds"):
        yield ("This speaks of these trained models. It does not say which training is better: with another seed the "
               "same training gives another model.")  # fmt: skip
    if not found.over("seeds"):
        return
    if found.is_paired:
        yield ("Both have the same seeds, which decide all that is drawn, such as the validation data: runs of one "
               "seed are compared as a pair.")  # fmt: skip
    elif shared := [seed for seed in first.seeds if seed in second.seeds]:
        yield (f"Both have seed {', '.join(shared)}, but not all the same: the runs are compared as if they had none "
               "in common. With the same seeds they would be compared as pairs.")  # fmt: skip
    if (few := min(len(first.runs), len(second.runs))) < _FEW_SEEDS:
        yield f"{few} runs of a side hardly tell what a seed makes: take three or more, better five."


def _of_runs(found: Versus) -> Iterator[str]:
    if {*compare([side.runs[0] for side in found.sides]).keys} <= {SEED}:
        yield "A and B differ in nothing but the seed: what is found is what a seed makes."
    for side, other in (found.sides, found.sides[::-1]):
        if side.left_out:
            names = ", ".join(run.id for run in side.left_out)
            yield f"{side.name}: {names} left out, as a later run has the same seed, which is no other result."
        for run in side.runs:
            if run.state != "finished":
                yield f"{side.name}: {run.id} is not finished ({run.state})."
        if any(begins_with(run, (*other.runs, *other.left_out)) for run in side.runs):
            yield (f"{side.name} began with weights of {other.name}, so it has been trained for longer: fair is "
                   f"{other.name} trained on for as long.")  # fmt: skip


def _of_several(found: Versus) -> Iterator[str]:
    number = max(len(found.over("samples")), len(found.over("seeds")))
    if number > 1:
        yield f"{number} metrics are tested at once: p by Holm's method is what counts."


def begins_with(run: RunRecord, others: Sequence[RunRecord]) -> bool:
    """Whether a run began with weights of one of the others: by `arch.init_from`, or `-c new -r checkpoint`."""
    arch = run.config.get("arch")
    source = arch.get("init_from") if isinstance(arch, Mapping) else None
    words = [source.get("path") if isinstance(source, Mapping) else source]
    entry = run.processes[0] if run.processes else {}
    try:
        command = shlex.split(str(entry.get("command", "")))
    except ValueError:  # a quote that is not closed
        command = []
    words += [after for word, after in pairwise(command) if word in ("-r", "--resume")]
    paths = [Path(str(entry.get("folder", "")), word).expanduser().resolve() for word in words if isinstance(word, str)]
    folders = [other.folder.resolve() for other in others]
    return any(path.is_relative_to(folder) for path in paths for folder in folders)
