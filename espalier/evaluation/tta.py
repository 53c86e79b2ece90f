"""Test-time augmentation: the mean of what a model says of an image and of changed copies of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from espalier.config.tree import COMMAND_LINE
from espalier.data.named_loaders import each_of
from espalier.errors import ConfigError, Problem, TrainingError, explain
from espalier.evaluation.judged import CLASSES, NUMBERS, Judge, has_probabilities
from espalier.evaluation.request import CROPS, FLIPS
from espalier.rng import kept_rng, seed_sample
from espalier.training.outputs import kind_of, part_of

_CROP = 7 / 8  # of height and width; what is cut out is scaled to the size of the image

Images = torch.Tensor  # (B, C, H, W)


@dataclass(frozen=True)
class View:
    """One way to look at a batch of images.

    Attributes:
        change: gives the changed copy.
        undo: brings an output that is an image, too, back to the place of the original; None where there is no way.
    """

    change: Callable[[Images], Images]
    undo: Callable[[torch.Tensor], torch.Tensor] | None


class MeanOfViews(nn.Module):
    """Gives the mean of what `model` gives for the images and for each view of them, in the form of its output.

    - Scores or log-probabilities of classes: the probabilities (softmax) are averaged, and their logarithm given, which
      CrossEntropyLoss and NLLLoss take alike.
    - Scores of labels (with BCEWithLogitsLoss, say): the probabilities (sigmoid) are averaged, and their logit given.
    - Probabilities and numbers: their mean.

    Args:
        model: takes images `(B, C, H, W)` as its one argument.
        views: beside the images as they are.
        mean: of outputs `(V, B, ...)` over the views.
        output: what part of the model's output that is: `arch.output`; None for all of it.
    """

    def __init__(
        self,
        model: nn.Module,
        views: Sequence[View],
        mean: Callable[[torch.Tensor], torch.Tensor],
        output: str | None = None,
    ) -> None:
        super().__init__()
        self.model, self.views, self.mean, self.output = model, list(views), mean, output

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The mean for one batch of images.

        Raises:
            ConfigError: the input is not one tensor of images, or the output has no mean.
        """
        images = _images(args, kwargs)
        outputs = [self._output(images)]
        for view in self.views:
            output = self._output(view.change(images))
            if output.dim() == 4:  # an image, too
                if view.undo is None:
                    what = "gives an output for each pixel, which such a view has elsewhere"
                    raise ConfigError(Problem("--tta", what, COMMAND_LINE, fix="take hflip and vflip"))
                output = view.undo(output)
            outputs.append(output)
        return self.mean(torch.stack(outputs).float())

    def _output(self, images: Images) -> torch.Tensor:
        output = self.model(images)
        output = output if self.output is None else part_of(output, self.output)
        if not isinstance(output, torch.Tensor):
            raise ConfigError(Problem("--tta", "takes the mean of tensors alone", COMMAND_LINE, kind_of(output)))
        return output


def look_in_several_ways(trainer: Any, loader: Any, config: Any, asked: Sequence[str]) -> int:
    """Let the model of a trainer give the mean of several views; returns of how many, the plain one included.

    Looks at the first batch, to know what is averaged.

    Args:
        asked: names of views, or of blocks of the config: `user.<name>` or `user.<name>:<number of views>`.

    Raises:
        ConfigError: there is no such view, or outputs and targets are of a kind that has no mean.
    """
    output_path = (config["arch"] or {}).get("output")
    views = [view for name in asked for view in _views(name, config)]
    with torch.no_grad(), kept_rng():
        inputs, target = trainer.unpack(_first_batch(loader, trainer))
        trainer.model.eval()
        output = trainer.forward(inputs)
    output = output if output_path is None else part_of(output, output_path)
    mean = mean_for(trainer.criterion, output, target)
    trainer.model = MeanOfViews(trainer.model, views, mean, output_path)
    return 1 + len(views)


def mean_for(criterion: Any, output: Any, target: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """How such outputs are averaged over views.

    Raises:
        ConfigError: they are of a kind that has no mean.
    """
    judged = Judge(criterion)(output, target)
    if judged is None:
        what = "needs outputs that have a mean: scores of classes or labels, or numbers"
        got = f"{kind_of(output)}, and as target {kind_of(target)}"
        raise ConfigError(Problem("--tta", what, COMMAND_LINE, got, fix="leave it out"))
    if judged.kind == NUMBERS or has_probabilities(criterion):
        return mean_of_numbers
    if judged.kind == CLASSES and judged.probabilities is not None and judged.probabilities.shape == output.shape:
        return mean_of_numbers if _are_shares(output) else mean_of_classes
    return mean_of_labels


def mean_of_numbers(outputs: torch.Tensor) -> torch.Tensor:
    """The mean of `(V, ...)`."""
    return outputs.mean(dim=0)


def mean_of_classes(outputs: torch.Tensor) -> torch.Tensor:
    """Log of the mean probability; scores or log-probabilities `(V, B, K, ...)`."""
    return outputs.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(outputs))


def mean_of_labels(outputs: torch.Tensor) -> torch.Tensor:
    """Logit of the mean probability; scores `(V, B, ...)`."""
    return F.logsigmoid(outputs).logsumexp(dim=0) - F.logsigmoid(-outputs).logsumexp(dim=0)


def _are_shares(output: torch.Tensor) -> bool:
    """Whether they are probabilities of classes already."""
    sums = output.float().sum(dim=1)
    return bool((output >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)


def _images(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Images:
    if len(args) == 1 and not kwargs and isinstance(args[0], torch.Tensor) and args[0].dim() == 4:
        return args[0]
    got = ", ".join(map(kind_of, (*args, *kwargs.values())))
    what = "needs a model whose input is one tensor of images (B, C, H, W)"
    raise ConfigError(Problem("--tta", what, COMMAND_LINE, got, fix="leave it out"))


def _first_batch(loader: Any, trainer: Any) -> Any:
    for _, batch in trainer.batches(each_of(loader)[0]):
        return batch
    raise AssertionError("batches refuses a loader without batches")


def _views(name: str, config: Any) -> list[View]:
    """The views of one name."""
    if name in FLIPS:
        return [_flip(FLIPS[name])]
    if name == CROPS:
        return [View(_crop(*place), None) for place in ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5))]
    path, _, number = name.partition(":")
    import torchvision.transforms.v2 as module  # slow to import

    transform = config.init_obj(path, module)
    return [View(_transformed(transform, index), None) for index in range(int(number or 1))]


def _flip(dim: int) -> View:
    def flip(values: torch.Tensor) -> torch.Tensor:
        return values.flip(dim)

    return View(flip, flip)


def _crop(down: float, right: float) -> Callable[[Images], Images]:
    def crop(images: Images) -> Images:
        height, width = images.shape[2:]
        rows, columns = round(height * _CROP), round(width * _CROP)
        top, left = round((height - rows) * down), round((width - columns) * right)
        part = images[:, :, top : top + rows, left : left + columns]
        return F.interpolate(part.float(), size=(height, width), mode="bilinear").to(images.dtype)

    return crop


def _transformed(transform: Callable[[Any], Any], index: int) -> Callable[[Images], Images]:
    """Each image by itself, with random numbers that depend on its place in the data and on the view."""
    done = 0

    def change(images: Images) -> Images:
        nonlocal done
        changed = []
        with kept_rng():
            for image in images:
                seed_sample(index + 1, done)
                changed.append(transform(image))
                done += 1
        if {each.shape for each in changed} != {images.shape[1:]}:
            head = "training error: the transform of --tta changes the size of an image"
            raise TrainingError(explain(head, got=f"{tuple(changed[0].shape)} of {tuple(images.shape[1:])}"))
        return torch.stack(changed)

    return change
