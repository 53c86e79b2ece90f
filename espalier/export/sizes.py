"""Which dimensions of an input may change: found out on real inputs, and tried on the network itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from espalier.export.graph import Graph
from espalier.inference.named_tensors import named_tensors, with_tensors

BATCH = "batch"
TRIED = (1, 2, 7)
_MORE = 32  # by so many rows and columns a larger image is tried; a network may halve them five times
_PRIMES = [each for each in range(5, 5000) if all(each % one for one in range(2, int(each**0.5) + 1))]
_IMAGE_WORDS = ("height", "width")


@dataclass
class Sizes:
    """What the dimensions of the inputs of a graph are called that may change.

    Attributes:
        of: for each input by name, the name of each such dimension.
        fixed: why others may not, by their names.
        least: how small they may be, where not all that the network takes will do.
    """

    of: dict[str, dict[int, str]]
    fixed: dict[str, str] = field(default_factory=dict)
    least: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Of the dimensions, the number of samples first."""
        return list(dict.fromkeys(name for each in self.of.values() for name in each.values()))

    def without(self, name: str, why: str) -> Sizes:
        """The same, one of them fixed."""
        kept = {one: {dim: each for dim, each in dims.items() if each != name} for one, dims in self.of.items()}
        return Sizes(kept, {**self.fixed, name: why}, {one: each for one, each in self.least.items() if one != name})


def sizes_of(graph: Graph, inputs: Sequence[Any]) -> Sizes:
    """The dimensions that may change: the samples, what differs between the inputs, and the size of images.

    Args:
        inputs: of the graph, such as some batches and some single samples.
    """
    shapes = [[tuple(each.shape) for each in named_tensors(one, "input").values()] for one in inputs]
    of: dict[str, dict[int, str]] = {name: {} for name in graph.names}
    called: dict[tuple[int, ...], str] = {}
    for place, name in enumerate(graph.names):
        for dim in range(len(shapes[0][place])):
            seen = tuple(each[place][dim] for each in shapes)
            if dim == 0:
                of[name][0] = BATCH
            elif len(set(seen)) > 1:
                of[name][dim] = called.setdefault(seen, _word(len(shapes[0][place]), dim, called.values()))
    return _with_images(graph, inputs[0], Sizes(of))


def _word(num_dims: int, dim: int, taken: Any) -> str:
    word = _IMAGE_WORDS[dim - 2] if num_dims == 4 and dim > 1 else "length"
    names = [word, *(f"{word}_{number}" for number in range(2, 99))]
    return next(each for each in names if each not in taken)


def _with_images(graph: Graph, example: Any, sizes: Sizes) -> Sizes:
    """Height and width too, where the network takes a larger image."""
    tensors = dict(zip(graph.names, named_tensors(example, "input").values(), strict=True))
    images = [name for name, each in tensors.items() if each.dim() == 4 and not {2, 3} & sizes.of[name].keys()]
    if len(images) != 1:
        return sizes
    (name,) = images
    of = {**sizes.of, name: {**sizes.of[name], 2: _IMAGE_WORDS[0], 3: _IMAGE_WORDS[1]}}
    found = Sizes(of, sizes.fixed)
    for word, size in zip(_IMAGE_WORDS, tensors[name].shape[2:], strict=True):
        try:
            graph.eager(resized(graph, found, example, {word: size + _MORE}))
        except Exception as error:  # a network may say it in any way
            found = found.without(word, f"fixed at {size}: {_first_line(error)}")
    return found


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error).strip() else ''}"


def resized(graph: Graph, sizes: Sizes, inputs: Any, new: Mapping[str, int]) -> Any:
    """An input of other size: what is cut off goes, what is added repeats what there is.

    Args:
        new: sizes by the names of dimensions.
    """

    def change(name: str, tensor: torch.Tensor) -> torch.Tensor:
        for dim, called in sizes.of[name].items():
            if called in new:
                tensor = tensor.index_select(dim, torch.arange(new[called]) % tensor.shape[dim])
        lengths = [new[called] for called in sizes.names if called.startswith("length") and called in new]
        is_lengths = name.rpartition(".")[2] == "lengths" and not tensor.is_floating_point()
        return tensor.clamp(max=min(lengths)) if is_lengths and lengths else tensor

    tensors = zip(graph.names, named_tensors(inputs, "input").values(), strict=True)
    return with_tensors(inputs, iter([change(name, each) for name, each in tensors]))


def trials(graph: Graph, sizes: Sizes, inputs: Sequence[Any]) -> Iterator[tuple[str, int, bool, Any]]:
    """Inputs of the sizes 1, 2, 7 and the largest for each dimension.

    Returns:
        Name, size, whether it is smaller than any of the data, and the input.
    """
    example = inputs[0]
    for name in sorted(sizes.names, key=lambda each: each == BATCH):  # what a length breaks is no matter of samples
        seen = seen_sizes(graph, sizes, inputs, name)
        for size in dict.fromkeys((*TRIED, max(seen), max(seen) + _MORE * (name in _IMAGE_WORDS))):
            is_small = name != BATCH and size < min(seen)
            yield name, size, is_small, resized(graph, sizes, example, {name: size})


def unusual(graph: Graph, sizes: Sizes, example: Any) -> Any:
    """The same input in sizes that nothing else has: PyTorch takes two sizes that are equal in a trace for one."""
    tensors = [*named_tensors(example, "input").values(), *graph.state_dict().values()]
    taken = {size for each in tensors if isinstance(each, torch.Tensor) for size in each.shape}
    new: dict[str, int] = {}
    for name in sizes.names:
        if name not in _IMAGE_WORDS:  # which a network may have to halve
            new[name] = next(each for each in _PRIMES if each not in taken)
            taken.add(new[name])
    return resized(graph, sizes, example, new)


def seen_sizes(graph: Graph, sizes: Sizes, inputs: Sequence[Any], name: str) -> list[int]:
    """How large a dimension is in each of some inputs."""
    place, dim = next((place, dim) for place, one in enumerate(graph.names)
                      for dim, called in sizes.of[one].items() if called == name)  # fmt: skip
    return [[*named_tensors(each, "input").values()][place].shape[dim] for each in inputs]
