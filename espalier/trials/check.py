"""What can be found out before a long run: a run in small, `train.py --check`, and the way to the others."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

from torch import nn

from espalier.data.batch import shape_of
from espalier.data.facts import class_names_of
from espalier.data.loaders import length_of
from espalier.data.named_loaders import NamedLoaders
from espalier.errors import TrainingError, UserError, counted, explain, megabytes, shorten
from espalier.journal.pictures import label_grid
from espalier.runs.find_run import save_root
from espalier.training.build_data import test_data_beside
from espalier.training.faults import peak_memory
from espalier.training.loading import of_section
from espalier.training.nonfinite import first_nonfinite_weight
from espalier.training.rehearsal import Rehearsal
from espalier.training.restore import unwrap
from espalier.training.unpacked import pair_from
from espalier.trials.data_check import DataCheck
from espalier.trials.depth import doubts_of_depth
from espalier.trials.few_batches import first_batch, is_number
from espalier.trials.find_batch_size import find_batch_size
from espalier.trials.find_lr import find_lr
from espalier.trials.overfit import overfit

TIMED = 5  # batches
_LOWER = "lower the learning rate, or look at the data and the loss"


def run_trial(trainer: Any, module_data: Any) -> None:
    """Do what the command line asks for in place of a run, and print what is seen; exit code 1 for bad news.

    Args:
        module_data: where the type of the data loader is looked up.
    """
    name, value = trainer.config.trial
    is_good = True
    if name == "check":
        print(*try_out(trainer, module_data), sep="\n")
    elif name == "overfit":
        is_good = overfit(trainer, value)
    elif name == "find_lr":
        is_good = find_lr(trainer)
    else:
        is_good = find_batch_size(trainer, module_data)
    if not is_good:
        raise SystemExit(1)


def try_out(trainer: Any, module_data: Any = None) -> list[str]:
    """Train and validate on a batch, save and load a checkpoint, take the time of a few more; what was seen, in lines.

    The run folder should be one that may go. A fault ends it as it would end training, only sooner.

    Args:
        module_data: where the type of the loader of the test data is looked up; None: that data is not looked at.
    """
    test, test_doubts = _test_data_of(trainer, module_data)
    data = DataCheck(trainer.data_loader, *named("validation", trainer.valid_data_loader), *named("test", test))
    with of_section(trainer.config, "data_loader"):
        inputs, target = pair_from(trainer, first_batch(trainer.data_loader))
    data.look_at_values(inputs, target)
    shapes: dict[str, str] = {}
    model = unwrap(trainer.model)

    def note(name: str, module: nn.Module, args: Any, output: Any) -> None:
        shapes.setdefault(name, shape_of(output))

    given: list[str] = []  # what the model was given, as the loop gives it

    def note_input(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given[:] = [*map(shape_of, args), *([shape_of(kwargs)] if kwargs else [])]

    hooks = [module.register_forward_hook(partial(note, name)) for name, module in model.named_modules()]
    hooks.append(model.register_forward_hook(note_input, with_kwargs=True))
    rehearsal = trainer.rehearse()
    rehearsal.mean_check.is_thorough = True
    with data.told_with_errors():
        log, _ = _epoch_of(trainer, rehearsal, 1)
        for hook in hooks:
            hook.remove()
        rehearsal.check_monitor(log)
        refuse_nonfinite(log, "one batch")
    if faults := rehearsal.mean_check.faults:
        raise TrainingError("\n".join(f"training error: {fault}" for fault in faults))
    lines = [*table(model, shapes)]
    if rehearsal.sample is not None:
        _, output, seen = rehearsal.sample
        told = " and ".join(given) or shape_of(inputs)
        lines.append(f"Batch: input {told}, output {shape_of(output)}, target {shape_of(seen)}.")
    lines.append("Log: " + ", ".join(f"{name} {float(value):.4g}" for name, value in log.items() if is_number(value)))

    began = time.perf_counter()
    size = rehearsal.save_and_load()
    seconds = time.perf_counter() - began
    lines.append(f"Checkpoint: {megabytes(size)}, written and read back in {seconds:.2f} s.")

    with data.told_with_errors():
        log, times = _epoch_of(trainer, rehearsal, TIMED)
        refuse_nonfinite(log, f"{TIMED} batches")
        if (weight := first_nonfinite_weight(model)) is not None:
            raise TrainingError(explain(f"training error: {weight} is not finite after {TIMED} batches", fix=_LOWER))
    lines += [f"{what}: {_estimate(loader, count, seconds)}" for what, loader, count, seconds in times]
    _, output, seen = rehearsal.sample or (None, None, target)
    data.look(seen, output, trainer.criterion)
    for what, _, count, seconds in times:
        if what == "Training":
            data.time_loading(TIMED, seconds / max(1, count))
    lines += data.facts
    lines += _picture_of(trainer, inputs, target)
    lines.append(f"Memory: {megabytes(peak_memory(trainer.device))} at most, on {trainer.device}.")
    doubts = [*rehearsal.mean_check.doubts, *test_doubts, *data.doubts, *_idle_adapters(model, shapes),
              *doubts_of_depth(rehearsal.config, model, list(shapes))]  # fmt: skip
    lines += [f"But {doubt}" for doubt in doubts]
    return [*lines, f"{'All else' if doubts else 'Everything'} works. No run was left behind."]


def _idle_adapters(model: nn.Module, shapes: dict[str, str]) -> list[str]:
    """Adapters of layers whose weights the model reads past the layers themselves."""
    names = [name.removesuffix(".lora_a") for name, _ in model.named_modules()
             if name.endswith(".lora_a") and name not in shapes]  # fmt: skip
    what = f"adapters did not run, so they learn nothing: {shorten(names)}. Leave them out of arch.lora.match."
    return [what] if names else []


def named(purpose: str, loader: Any) -> list[tuple[str, Any]]:
    """The loaders of the data for one purpose, each with what it is called."""
    if isinstance(loader, NamedLoaders):
        return [(f"{purpose} ({name})", each) for name, each in loader.items()]
    return [] if loader is None else [(purpose, loader)]


def _test_data_of(trainer: Any, module_data: Any) -> tuple[Any, list[str]]:
    """What test.py will evaluate on beside the parts of the training data; or why it cannot."""
    if module_data is None:
        return None, []
    try:
        return test_data_beside(trainer.config, module_data, trainer.data_loader), []
    except UserError as error:
        return None, [f"the test data cannot be read, as test.py will have to: {error}"]


def _picture_of(trainer: Any, inputs: Any, target: Any) -> list[str]:
    """With the extra "plots", draw a batch of images as the model sees it, with its labels; says where."""
    if find_spec("matplotlib") is None:  # the extra for pictures
        return []
    dataset = getattr(getattr(trainer.data_loader, "parts", None), "dataset", None)
    if (grid := label_grid(inputs, target, class_names_of(dataset))) is None:
        return []
    from PIL import Image  # comes with torchvision

    path = save_root(trainer.config["trainer"]) / f"check-{trainer.config['name']}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid).save(path)
    except OSError as error:
        return [f"The picture could not be written: {error}"]
    return [f"A batch of images, as the model sees them, is drawn in {path}."]


def refuse_nonfinite(log: dict[str, Any], data: str) -> None:
    """Do not let a NaN or infinity in the log of a few batches pass.

    Raises:
        TrainingError: there is one; names it.
    """
    for name, value in log.items():
        if is_number(value) and not math.isfinite(float(value)):
            fix = _LOWER if name.removeprefix("val_") == "loss" else f"look at what {name} does with so little data"
            raise TrainingError(explain(f"training error: {name} is {float(value)} after {data}", fix=fix))


def _epoch_of(
    trainer: Any, rehearsal: Rehearsal, num_batches: int
) -> tuple[dict[str, Any], list[tuple[str, Any, int, float]]]:
    """The log of an epoch of so many batches; for each loop what it was for, the loader, the number of batches, and
    the seconds."""
    times: list[tuple[str, Any, int, float]] = []
    batches = trainer.batches

    def timed(loader: Any) -> Iterator[tuple[int, Any]]:
        began, count, what = time.perf_counter(), 0, "Validation"
        for count, each in enumerate(batches(loader), 1):
            what = "Training" if rehearsal.is_training else what
            yield each
        if isinstance(loader, NamedLoaders):
            return  # each of them was timed
        times.append((what, loader, count, time.perf_counter() - began))

    trainer.batches = timed
    try:
        return rehearsal.epoch(num_batches), times
    finally:
        del trainer.batches


def _estimate(loader: Any, count: int, seconds: float) -> str:
    each, total = seconds / max(1, count), length_of(loader)
    whole = "" if total is None else f": about {each * total:.1f} s for the {counted(total, 'batch')} of an epoch"
    return f"{1000 * each:.1f} ms a batch{whole}."


def table(model: nn.Module, shapes: dict[str, str]) -> Iterator[str]:
    """The parts of the model that ran, in their order, with the shape of what they gave and their parameters.

    A list of modules does not run, and has a row for each in it. Of tied weights the first row has the number, and
    what stands in none of the rows of a whole has one before it.
    """
    modules, depth = dict(model.named_modules()), _depth_of(model)
    owners: dict[nn.Parameter, str] = {}
    yield f"{'module':<24} {'type':<20} {'output':<24} {'parameters':>12}"
    for name, shape in shapes.items():
        if sum(name.startswith(f"{other}.") for other in shapes) >= depth:
            continue
        owned = [(owners.setdefault(each, name), each.numel()) for each in modules[name].parameters()]
        inside = [(owner, size) for owner, size in owned if f"{owner}.".startswith(f"{name}.") or not name]
        rest = sum(size for owner, size in inside if owner == name)
        if rest and any(owner != name for owner, _ in inside):
            yield f"{'(in none of these)':<24} {'':<20} {'':<24} {rest:>12,}"
        count = sum(size for _, size in inside)
        yield f"{name or '(all of it)':<24} {type(modules[name]).__name__:<20} {shape:<24} {count:>12,}"


def _depth_of(model: nn.Module) -> int:
    """How deep the first modules lie that stand side by side: inside a wrapper further than else."""
    depth, inside = 1, [*model.children()]
    while len(inside) == 1 and (children := [*inside[0].children()]):
        depth, inside = depth + 1, children
    return depth
