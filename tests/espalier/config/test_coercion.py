"""What JSON has no word for is made by the annotation of what takes it, or refused by the check."""

import enum
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from espalier.config.arguments import check_call
from espalier.config.build import build_function, build_object
from espalier.config.objects import find_object
from espalier.config.tree import ConfigTree
from espalier.training.criterion import WeightedSum, bring_along

HERE = __name__


class Mode(enum.Enum):
    """A member goes by its name or its value."""

    FAST = "quick"
    SLOW = "slow"


class Taking:
    """Keeps what it is given."""

    def __init__(
        self,
        weight: torch.Tensor | None = None,
        either: float | torch.Tensor = 1.0,
        steps: int | list[float] | torch.Tensor | None = None,
        dtype: torch.dtype | dict[str, torch.dtype] | None = None,
        device: torch.device | None = None,
        layout: torch.memory_format = torch.contiguous_format,
        mode: Mode | None = None,
        speed: str | Mode | int = "",
        pair: tuple[int, int] | int = 0,
        grid: tuple[tuple[int, int], ...] = (),
        items: list[int] = (),
        folder: Path | None = None,
        text: str | Path = "",
        name: str = "",
        plain: Any = None,
        default=Mode.SLOW,
        out_dtype=None,
    ):
        self.got = locals()


@pytest.mark.parametrize(
    ("name", "value", "made"),
    [
        ("weight", [1, 3], torch.tensor([1.0, 3.0])),
        ("weight", [[1, 2], [3, 4]], torch.tensor([[1.0, 2.0], [3.0, 4.0]])),
        ("weight", 2, torch.tensor(2.0)),
        ("weight", [True, False], torch.tensor([True, False])),
        ("weight", None, None),
        ("either", 2, 2),
        ("either", [2, 3], torch.tensor([2.0, 3.0])),
        ("steps", [0.5], [0.5]),
        ("dtype", "torch.float16", torch.float16),
        ("dtype", "bfloat16", torch.bfloat16),
        ("dtype", {"a": "torch.int64"}, {"a": torch.int64}),
        ("device", "cpu", torch.device("cpu")),
        ("layout", "torch.channels_last", torch.channels_last),
        ("mode", "FAST", Mode.FAST),
        ("mode", "quick", Mode.FAST),
        ("mode", f"{HERE}.Mode.FAST", Mode.FAST),
        ("speed", "FAST", Mode.FAST),
        ("speed", f"{HERE}.Mode.FAST", Mode.FAST),
        ("speed", "quick", "quick"),
        ("speed", "a.b", "a.b"),
        ("pair", [1, 2], (1, 2)),
        ("pair", 3, 3),
        ("grid", [[1, 2], [3, 4]], ((1, 2), (3, 4))),
        ("items", [1, 2], [1, 2]),
        ("folder", "a/b", Path("a/b")),
        ("text", "a/b", "a/b"),
        ("name", "torch.float32", "torch.float32"),
        ("plain", "torch.float32", "torch.float32"),
        ("plain", [1, 2], [1, 2]),
        ("default", "FAST", Mode.FAST),
        ("out_dtype", "torch.float64", torch.float64),
    ],
)
def test_value_becomes_what_the_annotation_says(name, value, made):
    """Also inside containers and unions; a text stays one where a text is taken. The check passes all of these."""
    tree = ConfigTree({"user": {"type": f"{HERE}.Taking", "args": {name: value}}})
    assert list(check_call(tree, ("user", "args"), Taking, {name: value}, 0)) == []
    got = build_object(tree, ("user",), nn).got[name]
    assert type(got) is type(made)
    if isinstance(made, torch.Tensor):
        assert got.dtype == made.dtype and torch.equal(got, made)
    else:
        assert got == made


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("weight", "balanced", "a list of numbers or null"),
        ("weight", [1, [2]], "a list of numbers or null"),
        ("dtype", "torch.float33", 'a torch.dtype, such as "torch.float32" or a section or null'),
        ("dtype", "torch.nn.ReLU", 'a torch.dtype, such as "torch.float32" or a section or null'),
        ("layout", 3, 'a torch.memory_format, such as "torch.channels_last"'),
        ("mode", "FAS", 'one of: ["FAST", "SLOW"] or null'),
        ("grid", [[1, 2, 3]], "a list, each item a list of 2: a whole number, a whole number"),
    ],
)
def test_value_that_is_none_is_told_by_the_check(name, value, expected):
    """With what may stand there."""
    tree = ConfigTree({"user": {"type": f"{HERE}.Taking", "args": {name: value}}})
    (problem,) = check_call(tree, ("user", "args"), Taking, {name: value}, 0)
    assert problem.expected == expected


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("torch.nn.CrossEntropyLoss", {"weight": [1, 3], "label_smoothing": 0.1}),
        ("torch.nn.BCEWithLogitsLoss", {"pos_weight": [3]}),
        ("torchvision.transforms.v2.ToDtype", {"dtype": "torch.float32", "scale": True}),
        ("torchvision.transforms.v2.Resize",
         {"size": [4, 4], "interpolation": "torchvision.transforms.InterpolationMode.BILINEAR"}),
        ("torchvision.transforms.RandomAffine", {"degrees": [-5, 5], "interpolation": "BILINEAR"}),
        ("torch.nn.Conv2d", {"in_channels": 1, "out_channels": 2, "kernel_size": [3, 3], "dtype": "torch.float64"}),
    ],
)  # fmt: skip
def test_what_the_field_writes_passes_the_check_and_is_built(kind, args):
    """Weights of classes, dtypes and modes of torchvision."""
    tree = ConfigTree({"user": {"type": kind, "args": args}})
    assert list(check_call(tree, ("user", "args"), find_object(kind, nn), args, 0)) == []
    assert build_object(tree, ("user",), nn) is not None


def weighted(output, target, weight: torch.Tensor | None = None):
    """A loss of the user's."""
    return (weight * (output - target)).mean()


def test_tensors_of_losses_come_to_the_device():
    """Of modules, bound functions, and those in a sum."""
    tree = ConfigTree({"loss": [{"type": f"{HERE}.weighted", "args": {"weight": [1, 2]}},
                                {"type": "CrossEntropyLoss", "args": {"weight": [1, 2]}}]})  # fmt: skip
    losses = [build_function(tree, ("loss", index), nn) for index in range(2)]
    bring_along(WeightedSum(losses, [1.0, 1.0]), torch.device("meta"))
    assert losses[0].keywords["weight"].device.type == losses[1].weight.device.type == "meta"


def test_factory_takes_by_position_what_the_config_has_left_open():
    """As `norm_layer(64)` does of a GroupNorm whose number of groups is bound."""
    tree = ConfigTree({"arch": {"type": "Sequential", "args": {"x": {
        "type": "GroupNorm", "args": {"num_groups": 8}, "partial": True}}}})  # fmt: skip
    from espalier.config.build import _build_blocks

    factory = pickle.loads(pickle.dumps(_build_blocks(tree, ("arch", "args", "x"), nn)))
    assert (factory(64).num_groups, factory(64).num_channels, factory(num_channels=16, eps=1.0).eps) == (8, 64, 1.0)
    with pytest.raises(TypeError):
        factory(1, 2, 3, 4, 5, 6)
    tree.values["arch"]["args"]["x"]["args"] = {"eps": 0.1}
    assert _build_blocks(tree, ("arch", "args", "x"), nn).func is nn.GroupNorm


def by_position(a, /, b=1):
    """Takes `a` by its place alone."""


def test_argument_that_is_taken_by_position_alone_is_told():
    """A config names its arguments."""
    (problem,) = check_call(ConfigTree({}), ("user", "args"), by_position, {}, 0)
    assert problem.what == (
        f"is taken by position alone, and {HERE}.by_position needs it: a config gives arguments by name"
    )
    assert list(check_call(ConfigTree({}), ("user", "args"), by_position, {"b": 2}, 1)) == []
