"""Pictures of images with what a model says of them: PNG files, and one with many of them small."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from espalier.config.tree import COMMAND_LINE
from espalier.errors import ConfigError, Problem, UserError, explain
from espalier.evaluation.judged import CLASSES
from espalier.inference.model import Model
from espalier.inference.predictions import Prediction, Predictions
from espalier.inference.sources import Source

OVERVIEW = "overview.png"
_LEAST, _MOST = 256, 1024  # pixels of the longer side
_NUM_SMALL, _SMALL, _COLUMNS = 48, 256, 8  # of the overview: pictures, pixels of their width, pictures in a row
_LINE = 18  # pixels of a line of text
_LEAST_SHARE = 0.01  # of what is told beside the first class
_GREY = (110, 110, 110)
COLOURS = ((230, 80, 60), (80, 180, 90), (80, 120, 250), (240, 170, 40), (170, 90, 210), (40, 190, 200),
           (230, 100, 170), (150, 110, 70), (130, 190, 40), (90, 90, 90))  # fmt: skip


class Pictures:
    """Writes a picture for each image, `00012_name.png`: the image as the model was given it, before it is normalised.

    Args:
        folder: where to; it is made.
        model: whose preprocessing makes images of inputs.
    """

    def __init__(self, folder: Path, model: Model) -> None:
        self._folder, self._model = folder, model
        self._small: list[Any] = []

    def __enter__(self) -> Pictures:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_written(self._folder, error) from error
        return self

    def add(self, said: Predictions, names: Sequence[str], source: Source) -> None:
        """Draw what is said of some inputs of a source.

        Raises:
            UserError: they are no images, or a file cannot be written.
        """
        classes = said.names or [*said.meaning.names]
        for row, (place, prediction) in enumerate(zip(said.places.tolist(), said, strict=True)):
            image = self._image(source.inputs, place - source.start)
            if said.meaning.kind == CLASSES and np.ndim(prediction.value) == 2:
                picture = masked(image, np.asarray(prediction.value), classes)
            else:
                picture = drawn(image, prediction, classes)
            path = self._folder / f"{place:05d}_{_in_file_name(names[row])}.png"
            try:
                picture.save(path)
            except OSError as error:
                raise _not_written(path, error) from error
            if len(self._small) < _NUM_SMALL:
                picture.thumbnail((_SMALL, 2 * _SMALL))
                self._small.append(picture)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Write the overview, unless something went wrong."""
        if kind is None and self._small:
            try:
                _overview(self._small).save(self._folder / OVERVIEW)
            except OSError as fault:
                raise _not_written(self._folder / OVERVIEW, fault) from fault

    def _image(self, inputs: Any, place: int) -> np.ndarray:
        is_sequence = isinstance(inputs, Sequence)
        sample = self._model.preprocessing.encode([inputs[place]])[0] if is_sequence else None
        pixels = pixels_of(sample)
        if pixels is None:
            raise ConfigError(Problem("--draw", "needs a model of images", COMMAND_LINE,
                                      expected=f"inputs of this model: {self._model.preprocessing.takes}"))  # fmt: skip
        return pixels


def _not_written(path: Path, error: OSError) -> UserError:
    return UserError(explain(f"--draw: {path} could not be written: {error.strerror or error}"))


def pixels_of(sample: Any) -> np.ndarray | None:
    """An image uint8 `(H, W, 3)` of a sample `(C, H, W)` or `(H, W)`; None if it is none.

    Numbers that are not from 0 to 1 are stretched to black and white.
    """
    if isinstance(sample, Mapping):
        sample = next(iter(sample.values()), None)
    if isinstance(sample, (tuple, list)) and len(sample):
        sample = sample[0]
    if not isinstance(sample, torch.Tensor) or sample.dim() not in (2, 3) or not sample.numel():
        return None
    image = sample if sample.dim() == 3 else sample.unsqueeze(0)
    if len(image) not in (1, 3, 4):
        return None
    image = image[:3]
    if image.dtype != torch.uint8:
        values = image.float().nan_to_num()
        low, high = values.min(), values.max()
        if low < 0 or high > 1:
            values = (values - low) / (high - low).clamp(min=1e-12)
        image = (values * 255).round().to(torch.uint8)
    found: np.ndarray = image.expand(3, -1, -1).permute(1, 2, 0).numpy()
    return found


def drawn(image: np.ndarray, prediction: Prediction, classes: Sequence[str] = ()) -> Any:
    """A `PIL.Image` of an image with its boxes, and its label, labels or numbers in lines beneath."""
    picture, scale = _enlarged(image)
    value = prediction.value
    if isinstance(value, Mapping) and "boxes" in value:
        _draw_boxes(picture, scale, value, classes)
        number = len(value["boxes"])
        return _with_lines(picture, [(f"{number} found" if number else "nothing found", (0, 0, 0))])
    return _with_lines(picture, _lines_of(prediction))


def masked(image: np.ndarray, mask: np.ndarray, classes: Sequence[str]) -> Any:
    """A `PIL.Image` of an image with each class but the first in a colour over it, and the classes beneath."""
    from PIL import Image

    if image.shape[:2] != mask.shape:
        image = np.asarray(Image.fromarray(image).resize((mask.shape[1], mask.shape[0])))
    found = [each for each in np.unique(mask).tolist() if each > 0]
    mixed = image.astype(np.float32)
    for each in found:
        mixed[mask == each] = 0.45 * mixed[mask == each] + 0.55 * np.array(_colour(each), dtype=np.float32)
    picture, _ = _enlarged(mixed.round().astype(np.uint8))
    by_size = sorted(found, key=lambda each: -int((mask == each).sum()))
    lines = [(f"{_name(each, classes)}: {(mask == each).mean():.1%}", _colour(each)) for each in by_size[:8]]
    return _with_lines(picture, lines or [(f"{_name(0, classes)} alone", (0, 0, 0))])


def _enlarged(image: np.ndarray) -> tuple[Any, float]:
    """A picture that a person can see, and how many times as large it is."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    longer = max(picture.size)
    scale = float(max(1, round(_LEAST / longer))) if longer < _MOST else _MOST / longer
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS), scale


def _draw_boxes(picture: Any, scale: float, value: Mapping[str, Any], classes: Sequence[str]) -> None:
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    labels, scores = value.get("labels"), value.get("scores")
    for number, corners in enumerate(np.asarray(value["boxes"], dtype=np.float64).reshape(-1, 4).tolist()):
        if not np.isfinite(corners).all():
            continue
        label = None if labels is None else labels[number]
        colour = _colour_of(label)
        x1, y1, x2, y2 = (scale * each for each in corners)
        left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
        draw.rectangle([left, top, right, bottom], outline=colour, width=2)
        words = [
            "" if label is None else _name(label, classes),
            "" if scores is None else f"{float(scores[number]):.2f}",
        ]
        if text := " ".join(each for each in words if each):
            at = max(0, min(left, picture.width - draw.textlength(text, _font(12)) - 2)), max(0, top - 15)
            draw.rectangle(draw.textbbox(at, text, _font(12)), fill=colour)
            draw.text(at, text, (255, 255, 255), _font(12))


def _lines_of(prediction: Prediction) -> list[tuple[str, tuple[int, int, int]]]:
    shares = sorted((prediction.probabilities or {}).items(), key=lambda each: -each[1])
    if isinstance(prediction.label, list):
        chosen = [(f"{name}: {share:.1%}", (0, 0, 0)) for name, share in shares if name in prediction.label]
        return chosen[:8] or [("no label", (0, 0, 0))]
    if prediction.label is not None:
        first = (f"{prediction.label}: {prediction.probability:.1%}", (0, 0, 0))
        others = [(name, share) for name, share in shares if name != prediction.label and share >= _LEAST_SHARE]
        return [first, *((f"{name}: {share:.1%}", _GREY) for name, share in others[:2])]
    array = np.asarray(prediction.value)
    few = array.ravel()[:6].tolist() if array.dtype.kind in "biuf" else []
    return [(", ".join(f"{each:.4g}" for each in few) + (", ..." if array.size > len(few) else ""), (0, 0, 0))]


def _with_lines(picture: Any, lines: Sequence[tuple[str, tuple[int, int, int]]]) -> Any:
    """The picture above lines of text, each cut to its width."""
    from PIL import Image, ImageDraw

    whole = Image.new("RGB", (max(picture.width, 96), picture.height + _LINE * len(lines) + 4), (255, 255, 255))
    whole.paste(picture, (0, 0))
    draw, font = ImageDraw.Draw(whole), _font(14)
    for number, (text, colour) in enumerate(lines):
        while len(text) > 1 and draw.textlength(text, font) > whole.width - 6:
            text = f"{text.removesuffix('…')[:-1]}…"
        draw.text((4, picture.height + 2 + number * _LINE), text, colour, font)
    return whole


def _overview(pictures: Sequence[Any]) -> Any:
    """All of them in rows."""
    from PIL import Image

    width, height = (max(each.size[side] for each in pictures) + 6 for side in (0, 1))
    columns = min(_COLUMNS, len(pictures))
    whole = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height), (255, 255, 255))
    for number, each in enumerate(pictures):
        whole.paste(each, (number % columns * width + 3, number // columns * height + 3))
    return whole


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _colour(number: int) -> tuple[int, int, int]:
    return COLOURS[(number - 1) % len(COLOURS)]


def _colour_of(label: Any) -> tuple[int, int, int]:
    """The same for the same label."""
    number = sum(str(label).encode()) if isinstance(label, str) or label is None else int(label) + 1
    return _colour(number)


def _name(label: Any, classes: Sequence[str]) -> str:
    is_known = not isinstance(label, str) and 0 <= int(label) < len(classes)
    return classes[int(label)] if is_known else str(label)


def _in_file_name(name: str) -> str:
    """What of a name may stand in that of a file: the last part of a path, without its ending."""
    return re.sub(r"[^\w.\-]+", "_", PurePath(name).stem, flags=re.ASCII)[-80:] or "input"
