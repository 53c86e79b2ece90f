"""The samples that the model is most wrong about, with pictures of those that are images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from espalier.evaluation.recorder import Kept
from espalier.evaluation.samples import SamplesSeen
from espalier.journal.pictures import captioned_grid, thumbnail

_MOST_NUMBERS = 8  # of one sample in a table


def worst_samples(losses: np.ndarray, number: int, kept: Kept, samples: SamplesSeen) -> list[dict[str, Any]]:
    """The samples with the largest loss, that first; one that is not finite before all.

    Args:
        losses: of each sample, `(N,)`.
        number: how many.
    """
    order = np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")[:number]
    target, prediction = kept.column("target"), kept.column("prediction")
    return [{"index": samples.indices[place], "name": samples.name(place), "loss": float(losses[place]),
             "target": _short(target, place), "prediction": _short(prediction, place), "place": int(place)}
            for place in order.tolist()]  # fmt: skip


def draw(worst: list[dict[str, Any]], samples: SamplesSeen, folder: Path, name: str) -> str | None:
    """Draw all in one picture, whose file name is returned, and each by itself under its `picture`; None: no images.

    Args:
        folder: is made where there is something to draw.
        name: of the picture, without its suffix; those of single samples begin with it.

    Raises:
        OSError: a file cannot be written.
    """
    from PIL import Image  # comes with torchvision and tensorboard

    class_names, images = samples.class_names, [samples.image(each["place"]) for each in worst]
    found = [image for image in images if image is not None]
    if not found or len(found) < len(worst):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for each, image in zip(worst, found, strict=True):
        each["picture"] = f"{name}-{each['index']}.png"
        thumbnail(image).save(folder / each["picture"])
    captions = [f"{_class(each['prediction'], class_names)} (is {_class(each['target'], class_names)})"
                for each in worst]  # fmt: skip
    Image.fromarray(captioned_grid(found, captions)).save(folder / f"{name}.png")
    return f"{name}.png"


def worst_lines(worst: list[dict[str, Any]], class_names: list[str]) -> list[str]:
    """A table, one sample a line."""
    rows = [(each["name"], f"{each['loss']:.4g}", *(_class(each[key], class_names) for key in ("target", "prediction")))
            for each in worst]  # fmt: skip
    table = [("sample", "loss", "target", "prediction"), *rows]
    widths = [max(len(row[index]) for row in table) for index in range(4)]
    return ["  " + "  ".join(f"{each:<{width}}" for each, width in zip(row, widths, strict=True)).rstrip()
            for row in table]  # fmt: skip


def _short(values: torch.Tensor | None, place: int) -> Any:
    """What a sample was said to be, or is, as JSON has it: a class, up to a few numbers; None of what is longer."""
    if values is None or values[place].numel() > _MOST_NUMBERS:
        return None
    return values[place].tolist() if values[place].dim() else values[place].item()


def _class(value: Any, names: list[str]) -> str:
    if value is None:
        return "-"
    if type(value) is int and 0 <= value < len(names):
        return names[value]
    return ", ".join(f"{each:.4g}" for each in value) if isinstance(value, list) else f"{value:.6g}"
