"""The sentences a run says: first what it is about to do, a line an epoch, last where the results are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier.checkpoints.run_folder import BEST_NAME, CRASH_NAME, LAST_NAME, PAGE_NAME
from espalier.errors import counted, python_command, shorten
from espalier.journal.pace import in_words
from espalier.masking import masked_setting
from espalier.model_table import count_parameters

_SHOWN_RATES = 4
_OF_ARCH = ("replace", "lora", "init", "init_from", "freeze", "train", "unfreeze_at")


def opening_lines(
    config: Any,
    model: nn.Module,
    device: torch.device,
    processes: str,
    steps: int | None,
    samples: Any,
    seed: int | None,
) -> list[str]:
    """What is about to run, a fact a line.

    Args:
        processes: how many, in words.
        seed: None where nobody has seeded the random numbers.
    """
    total, trainable = count_parameters(model)
    changed = ", ".join(masked_setting(f"{path}={shorten(value)}") for path, value in config.overrides.items())
    lines = [
        f"Run {config.save_dir}, started from {config.resume}." if config.resume else f"Run {config.save_dir}.",
        f"Config {config['name']}" + (f", with {changed} from the command line." if changed else "."),
        "The random numbers were not seeded." if seed is None else f"Seed {seed}.",
        f"Device {device}, world size {processes}, precision {config['trainer'].get('precision') or 'fp32'}.",
        f"Model {type(model).__name__} with {counted(total, 'parameter')}, {trainable:,} of them trainable.",
    ]
    if config.facts:
        lines.append(f"Told by the data: {', '.join(f'{k} {shorten(v)}' for k, v in config.facts.items())}.")
    return [*lines, f"{_count(steps, 'step')} per epoch, {_count(samples, 'training sample')}.".capitalize()]


def epoch_line(
    log: Mapping[str, Any],
    epochs: int,
    learning_rates: list[float],
    seconds: float,
    left: float | None = None,
    *,
    is_best: bool,
) -> str:
    """The numbers of one epoch, in the order of the log.

    Args:
        left: seconds until the end of the run, which are told from a minute on.
    """
    values = "  ".join(f"{name} {_number(value)}" for name, value in log.items() if name != "epoch")
    rates = "" if "lr" in log else f"  lr {_rates(learning_rates)}"  # it tells its own
    best = "  best so far" if is_best else ""
    rest = f"  {in_words(left)} left" if left is not None and round(left) >= 60 else ""
    return f"Epoch {log['epoch']}/{epochs}  {values}{rates}  {seconds:.1f} s{rest}{best}"


def evaluation_line(log: Mapping[str, Any], step: int, is_best: bool) -> str:
    """The numbers of an evaluation in the middle of an epoch."""
    values = "  ".join(f"{name} {_number(value)}" for name, value in log.items() if name != "epoch")
    return f"Step {step}  {values}{'  best so far' if is_best else ''}"


def classic_lines(config: Any, loader: Any) -> list[str]:
    """Where the result of a run differs from what the classic template made of the same project."""
    trainer, lines = config["trainer"], []
    is_watched = trainer.get("monitor", "off") != "off"
    if is_watched and (trainer.get("early_stop") or 0) > 0:
        lines.append("The run ends after exactly trainer.early_stop epochs without a better one, not one later, and an "
                     "equal value is not better.")  # fmt: skip
    if is_watched and (trainer.get("save_period") or 1) > 1:
        lines.append("model_best.pth is the best of all epochs, not only of those that trainer.save_period saves.")
    # A loader of the project's own may split in its own way.
    has_our_split = getattr(getattr(loader, "_split_sampler", None), "__module__", "") == "base.base_data_loader"
    if has_our_split and loader.valid_sampler is not None and getattr(loader, "split_seed", 0) is None:
        lines.append("The validation split follows the seed; split_seed=0 for BaseDataLoader gives the classic one.")
        if not loader.shuffle:
            lines.append("Samples are not shuffled, as the config says; the classic template shuffled them in a split.")
    return [f"Not as in the classic template: {line}" for line in lines]


def left_to_project(arch: Mapping[str, Any] | None) -> str | None:
    """What of `arch` the framework does not do for a config of a classic `train.py`; None where nothing was asked."""
    names = [f"arch.{name}" for name in _OF_ARCH if (arch or {}).get(name)]
    if not names:
        return None
    return (
        f"Left to the project: {', '.join(names)}, since the config is read by the rules of the classic template. For "
        "the framework to do it: ConfigParser.from_args(..., strict=True), and train.build."
    )


def advice_when_done(epochs: int | None, max_steps: int | None) -> str:
    """What to raise so that a finished run goes on: of epochs and steps, those that are given are all done."""
    done = [counted(epochs, "epoch")] if epochs is not None else []
    done += [counted(max_steps, "step")] if max_steps is not None else []
    raised = [f"trainer.epochs={2 * epochs}"] if epochs is not None else []
    raised += [f"trainer.max_steps={2 * max_steps}"] if max_steps is not None else []
    is_one = len(done) == 1 and 1 in (epochs, max_steps)
    what = f"{'The' if is_one else 'All'} {' and '.join(done)} of this run {'is' if is_one else 'are'} done"
    return f"{what}; to go on, raise them: {' '.join(raised)}."


def closing_lines(
    folder: Path, epochs_done: int, seconds: float, cut_at: int | None = None, *, can_evaluate: bool = True
) -> list[str]:
    """Where the results are, and the command to go on with.

    Args:
        cut_at: the step at which `max_steps` ended the run within an epoch.
        can_evaluate: whether trainer and data are what `test.py` needs.
    """
    saved = _checkpoints_in(folder)
    until = f"epoch {epochs_done}" if cut_at is None else f"step {cut_at}, within epoch {epochs_done + 1},"
    lines = [f"Trained to {until} in {seconds:.1f} s. Results are in {folder}."]
    if (folder / PAGE_NAME).exists():
        lines.append(f"To look at them: {folder / PAGE_NAME}")
    if saved and can_evaluate and Path("test.py").exists():  # a project of old may have no such command
        usual = [name for name in (BEST_NAME, LAST_NAME) if name in saved]
        checkpoint = shlex.quote(str(folder / (usual[0] if usual else max(saved))))
        lines.append(f"To evaluate: {python_command()} test.py -r {checkpoint}")
    return lines


def going_on(folder: Path) -> str:
    """How to continue a run that ended early."""
    again = f"{python_command()} train.py -r {shlex.quote(str(folder))}"
    if not _checkpoints_in(folder):
        return f"Nothing was saved yet; to begin again: {again}"
    return f"To go on from the last checkpoint: {again}"


def _checkpoints_in(folder: Path) -> list[str]:
    """Their names; a project may have a form of its own, without those that we write."""
    return [path.name for path in folder.glob("*.pth") if not path.name.startswith(".") and path.name != CRASH_NAME]


def _count(number: int | None, noun: str) -> str:
    return f"unknown number of {noun}s" if number is None else counted(number, noun)


def _rates(rates: list[float]) -> str:
    """The learning rates of all groups; of many, from which to which."""
    if len(rates) > _SHOWN_RATES:
        return f"{_number(min(rates))} to {_number(max(rates))}"
    return "/".join(map(_number, rates))


def _number(value: Any) -> str:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    return f"{value:.4g}" if isinstance(value, float) else str(value)
