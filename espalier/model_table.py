"""How large a model is: as two numbers, and part by part."""

from __future__ import annotations

from collections.abc import Container

from torch import nn


def count_parameters(module: nn.Module, leave_out: Container[nn.Parameter] = ()) -> tuple[int, int]:
    """How many parameters a module has, and how many of them are trainable."""
    parameters = [each for each in module.parameters() if each not in leave_out]
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def model_table(model: nn.Module) -> str:
    """The parts of a model with their parameters, as a table."""
    counted: set[nn.Parameter] = set()  # tied weights count in the first part that has them
    rows = []
    for name, part in model.named_children():
        rows.append((name, type(part).__name__, *count_parameters(part, counted)))
        counted.update(part.parameters())
    if (own := count_parameters(model, counted))[0]:
        rows.append(("(its own)", "", *own))
    rows.append(("total", type(model).__name__, *count_parameters(model)))
    lines = [f"{'part':<16} {'type':<20} {'parameters':>12} {'trainable':>12}"]
    lines += [f"{name:<16} {kind:<20} {total:>12,} {trainable:>12,}" for name, kind, total, trainable in rows]
    return "\n".join(lines)
