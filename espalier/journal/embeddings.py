"""What the last layer of a model sees of samples, for TensorBoard's PROJECTOR: a file of points, labels, thumbnails."""

from __future__ import annotations

import io
import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from espalier.atomic import write_atomically
from espalier.errors import ConfigError, Problem, shorten
from espalier.journal.thinned import Thinned
from espalier.patterns import meant_by, parts_of

_MOST_SAMPLES, _MOST_VALUES = 1000, 512_000  # values of all of them together
_PATH = "trainer.tensorboard.embeddings"
_FOLDER, _CONFIG_NAME, _FEATURES_NAME = "embeddings", "projector_config.pbtxt", "features.tsv"
_TILE = 32  # pixels of a thumbnail
logger = logging.getLogger("tensorboard")


class Features:
    """The input of a module in the latest forward pass without gradients.

    Args:
        name: of the module; True for the last linear layer.

    Raises:
        ConfigError: there is no such module.
    """

    def __init__(self, model: nn.Module, name: str | bool) -> None:
        modules = {each: module for each, module in model.named_modules() if each}
        linear = [each for each, module in modules.items() if isinstance(module, nn.Linear)]
        if name is True and not linear:
            what, fix = "finds no linear layer in the model", 'name the module whose input is shown: "conv2"'
            raise ConfigError(Problem(_PATH, what, expected=f"one of: {parts_of([*modules])}", fix=fix))
        if isinstance(name, str) and name not in modules:
            expected, meant = f"one of: {parts_of([*modules])}", meant_by(name, [*modules])
            raise ConfigError(Problem(_PATH, "is no module of the model", None, shorten(name), expected, *meant))
        self.name = name if isinstance(name, str) else linear[-1]
        self._module, self._latest = modules[self.name], None  # type: nn.Module, torch.Tensor | None
        self._module.register_forward_pre_hook(self._see)

    def _see(self, module: nn.Module, args: Any) -> None:
        if not torch.is_grad_enabled() and args and isinstance(args[0], torch.Tensor):
            self._latest = args[0]

    def take(self) -> torch.Tensor | None:
        """A vector for each sample `(B, F)`: of maps `(B, C, H, W)` and sequences `(B, T, F)` the mean over places."""
        value, self._latest = self._latest, None
        if value is None or value.dim() < 2:
            return None
        is_linear = isinstance(self._module, nn.Linear)
        places = range(1, value.dim() - 1) if is_linear else range(2, value.dim())
        return value.float().mean(dim=[*places]) if places else value.float()


class Embedded:
    """Collects the features of samples of validation, with what is shown beside them.

    Args:
        features: where they come from.
    """

    def __init__(self, features: Features) -> None:
        self._features = features
        self._samples: Thinned | None = None

    def add(self, inputs: Any, output: torch.Tensor, target: Any) -> None:
        """A batch; one whose samples are not those of the features is passed over."""
        features = self._features.take()
        if features is None or len(features) != len(output):
            return
        if self._samples is None:
            self._samples = Thinned(max(1, min(_MOST_SAMPLES, _MOST_VALUES // features.shape[1])))
        own = self._samples.choose(len(output))
        parts = {"features": features[own]}
        if isinstance(target, torch.Tensor) and target.shape == (len(output),):
            parts["target"] = target[own]
        if output.dim() == 2 and output.shape[1] > 1:
            parts["predicted"] = output[own].argmax(dim=1)
        if isinstance(inputs, torch.Tensor) and inputs.dim() == 4 and inputs.shape[1] in (1, 3) and len(inputs[own]):
            parts["images"] = functional.adaptive_avg_pool2d(inputs[own].float(), (_TILE, _TILE))
        self._samples.add(**parts)

    def take(self) -> dict[str, torch.Tensor]:
        """What was collected, as `write_embeddings` takes it; empty where there was nothing."""
        return {} if self._samples is None else self._samples.take()


def write_embeddings(folder: Path, step: int, parts: Mapping[str, torch.Tensor]) -> None:
    """Add the points of an epoch to those that PROJECTOR offers; the latest comes first.

    Args:
        folder: of the events.
        parts: `features` `(N, F)`; `target`, `predicted` `(N,)` and `images` `(N, C, H, W)` where there are any.
    """
    here = folder / _FOLDER / f"{step:08d}"
    try:
        here.mkdir(parents=True, exist_ok=True)
        np.savetxt(here / _FEATURES_NAME, parts["features"].numpy(), fmt="%.4g", delimiter="\t")
        if columns := [name for name in ("target", "predicted") if name in parts]:
            rows = zip(*(parts[name].tolist() for name in columns), strict=True)
            head = ["\t".join(columns)] if len(columns) > 1 else []  # TensorBoard takes no head for one column
            lines = [*head, *("\t".join(map(str, row)) for row in rows)]
            (here / "labels.tsv").write_text("\n".join(lines) + "\n", encoding="ascii")
        if "images" in parts:
            (here / "thumbnails.png").write_bytes(_sprite(parts["images"]))
        _write_config(folder)
    except OSError as error:
        logger.info("No embeddings in TensorBoard: %s could not be written: %s.", here, error.strerror or error)


def drop_embeddings(folder: Path, first: int) -> None:
    """Remove the points of steps from `first` on, which the run makes anew."""
    undone = [each for each in (folder / _FOLDER).glob("*") if each.name.isdecimal() and int(each.name) >= first]
    for each in undone:
        shutil.rmtree(each, ignore_errors=True)
    if undone:
        _write_config(folder)


def _write_config(folder: Path) -> None:
    """List what is there, whoever wrote it: TensorBoard has no other way to know."""
    entries = []
    for each in sorted((folder / _FOLDER).glob(f"*/{_FEATURES_NAME}"), reverse=True):
        here = f"{_FOLDER}/{each.parent.name}"
        lines = [f'tensor_name: "step {int(each.parent.name)}"', f'tensor_path: "{here}/{_FEATURES_NAME}"']
        if (each.parent / "labels.tsv").exists():
            lines.append(f'metadata_path: "{here}/labels.tsv"')
        if (each.parent / "thumbnails.png").exists():
            lines.append(f'sprite {{ image_path: "{here}/thumbnails.png" '
                         f"single_image_dim: {_TILE} single_image_dim: {_TILE} }}")  # fmt: skip
        entries.append("embeddings {\n  " + "\n  ".join(lines) + "\n}\n")
    write_atomically(folder / _CONFIG_NAME, lambda file: file.write("".join(entries).encode("ascii")))


def _sprite(images: torch.Tensor) -> bytes:
    """Thumbnails as one square picture, row by row."""
    from PIL import Image  # comes with torchvision and tensorboard

    side = math.ceil(math.sqrt(len(images)))
    low, high = images.amin(), images.amax()
    pixels = ((images - low) / (high - low).clamp(min=1e-12) * 255).to(torch.uint8)
    pixels = pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)  # (N, tile, tile, 3)
    canvas = np.zeros((side * side, _TILE, _TILE, 3), dtype=np.uint8)
    canvas[: len(pixels)] = pixels.numpy()
    canvas = canvas.reshape(side, side, _TILE, _TILE, 3).swapaxes(1, 2).reshape(side * _TILE, side * _TILE, 3)
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, "PNG", compress_level=1)
    return file.getvalue()
