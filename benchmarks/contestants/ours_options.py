"""Espalier with what users switch on, by four keys of the config."""

from benchmarks.contestants import ours

CHOICES = (
    "as ours, with precision bf16, accumulate 2, clip_grad_norm 1 and ema_decay 0.999; Adam is not fused, as by hand"
)


def prepare(task):
    options = {"precision": "bf16", "accumulate": 2, "clip_grad_norm": 1.0, "ema_decay": 0.999}
    return ours.prepare(task, fused=False, **options)
