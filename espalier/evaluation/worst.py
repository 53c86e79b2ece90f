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
_WIDTH = 60  # of a text on a terminal, characters


def worst_samples(losses: np.ndarray, number: int, kept: Kept, samples: SamplesSeen) -> list[dict[str, Any]]:
    """The samples with the largest loss, that first; one that is not finite before all.

    A sample whose targets are all ignored has no loss, and is left out.

    Args:
        losses: of each sample, `(N,)`.
        number: how many.
    """
    order = np.argsort(-np.nan_to_num(losses, nan=np.inf, posinf=np.inf), kind="stable")
    target, prediction = (samples.in_units(kept.column(name)) for name in ("target", "prediction"))
    if target is not None and not target.is_floating_point():
        order = order[(target >= 0).reshape(len(target), -1).any(dim=1).numpy()[order]]
    names = samples.class_names
    return [{"index": samples.indices[place], "name": samples.name(place), "text": samples.text(place),
             "loss": float(losses[place]), **_told("target", target, place, names),
             **_told("prediction", prediction, place, names), "place": int(place)}
            for place in order[:number].tolist()]  # fmt: skip


def draw(worst: list[dict[str, Any]], samples: SamplesSeen, folder: Path, name: str) -> str | None:
    """Draw all in one picture, whose file name is returned, and each by itself under its `picture`; None: no images.

    Args:
        folder: is made where there is something to draw.
        name: of the picture, without its suffix; those of single samples begin with it.

    Raises:
        OSError: a file cannot be written.
    """
    from PIL import Image  # comes with torchvision and tensorboard

    images = [samples.image(each["place"]) for each in worst]
    found = [image for image in images if image is not None]
    if not found or len(found) < len(worst):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for each, image in zip(worst, found, strict=True):
        each["picture"] = f"{name}-{each['index']}.png"
        thumbnail(image).save(folder / each["picture"])
    captions = [f"{_shown(each, 'prediction')} (is {_shown(each, 'target')})" for each in worst]
    Image.fromarray(captioned_grid(found, captions)).save(folder / f"{name}.png")
    return f"{name}.png"


def worst_lines(worst: list[dict[str, Any]]) -> list[str]:
    """A table, one sample a line; a text is cut."""
    rows = [(each["name"], f"{each['loss']:.4g}", _shown(each, "target"), _shown(each, "prediction"),
             _cut(each["text"] or "", _WIDTH)) for each in worst]  # fmt: skip
    table = [("sample", "loss", "target", "prediction", "text" if any(row[-1] for row in rows) else ""), *rows]
    widths = [max(len(row[index]) for row in table) for index in range(5)]
    return ["  " + "  ".join(f"{each:<{width}}" for each, width in zip(row, widths, strict=True)).rstrip()
            for row in table]  # fmt: skip


def _told(key: str, values: torch.Tensor | None, place: int, names: list[str]) -> dict[str, Any]:
    """What a sample was said to be, or is: a class, with its name; up to a few numbers; None of what is longer."""
    if values is None or values[place].numel() > _MOST_NUMBERS:
        return {key: None}
    value: Any = values[place].tolist()  # a number, or a list of them
    is_class = isinstance(value, int) and 0 <= value < len(names)
    return {key: value, f"{key}_class": names[value]} if is_class else {key: value}


def _shown(each: dict[str, Any], key: str) -> str:
    if (value := each[key]) is None:
        return "-"
    if f"{key}_class" in each:
        return str(each[f"{key}_class"])
    return ", ".join(f"{one:.4g}" for one in value) if isinstance(value, list) else f"{value:.6g}"


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 3]}..."
