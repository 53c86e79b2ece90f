"""The weights of a model as a safetensors file, by name: for `arch.init_from`, and for programs of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier.adapters import is_adapter, lora_of, merged
from espalier.checkpoints.safetensors_file import load_safetensors
from espalier.checkpoints.safetensors_written import write_safetensors
from espalier.errors import CheckpointError, explain
from espalier.export.graph import Graph
from espalier.inference.named_tensors import fed_by, result_of


def write_weights(network: nn.Module, path: Path, *, arch: Any = None) -> None:
    """Write the weights of a network: tied ones once, adapters merged into what they belong to.

    Args:
        arch: the section of the config, which says how adapters are merged.

    Raises:
        CheckpointError: the network has a state that is no tensor.
    """
    with path.open("xb") as file:
        write_safetensors(file, weights_of(network, arch), {"format": "pt", **_facts(arch)})


def weights_of(network: nn.Module, arch: Any = None) -> dict[str, torch.Tensor]:
    """The weights that a file holds, by name: see `write_weights`."""
    found: dict[str, torch.Tensor] = {}
    seen: set[tuple[Any, ...]] = set()
    for name, value in network.state_dict().items():
        if not isinstance(value, torch.Tensor):
            got = f"{name}: {type(value).__name__}"
            raise CheckpointError(explain("checkpoint error: the network has a state that is no tensor, which a "
                                          "safetensors file cannot hold", got=got))  # fmt: skip
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype, value.device)
        if value.numel() and place in seen:
            continue  # tied
        seen.add(place)
        found[name] = value
    lora = lora_of(arch)
    return found if lora is None else dict(merged(found, lora["alpha"]))


def _facts(arch: Any) -> dict[str, str]:
    """What the network is; not where its first weights came from, which may be a path of this machine."""
    if not isinstance(arch, dict):
        return {}
    return {"arch": json.dumps({name: arch[name] for name in ("type", "args") if name in arch})}


class WeightsNetwork:
    """A graph with the weights of a file in place of its own; what the file lacks is NaN.

    Args:
        path: of the file.
        graph: whose network it is.

    Attributes:
        names: of the inputs.
        outputs: names of what the graph gives.
    """

    def __init__(self, path: Path, graph: Graph) -> None:
        self._graph, self.names, self.outputs = graph, graph.names, graph.outputs
        own = {f"network.{name}": value for name, value in graph.network.state_dict().items()}
        given = {f"network.{name}": value for name, value in load_safetensors(path).items()}
        if unknown := sorted(given.keys() - own.keys()):
            raise CheckpointError(explain("checkpoint error: the file has weights that the network has not",
                                          got=", ".join(unknown[:5])))  # fmt: skip
        # The others of tied weights follow the one that is given.
        tied = _tied_to(graph.network)
        self._weights = {name: _given_for(name, own[name], given, tied) for name in own}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The output of the network; a dict of its tensors where it has several."""
        return result_of(self.run(fed_by(self.names, args, kwargs)))

    @torch.no_grad()
    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """All that the graph gives, by name."""
        tensors = tuple(inputs[name] for name in self.names)
        found = torch.func.functional_call(self._graph, self._weights, tensors)  # type: ignore[attr-defined]
        return dict(zip(self.outputs, found, strict=True))


def _tied_to(network: nn.Module) -> dict[str, str]:
    """The name under which a file has each tensor."""
    places: dict[tuple[Any, ...], str] = {}
    found: dict[str, str] = {}
    for name, value in network.state_dict().items():
        first = places.setdefault((value.data_ptr(), value.shape, value.stride(), value.dtype), name)
        found[f"network.{name}"] = f"network.{first if value.numel() else name}"
    return found


def _given_for(name: str, own: torch.Tensor, given: dict[str, torch.Tensor], tied: dict[str, str]) -> torch.Tensor:
    value = given.get(tied[name])
    if value is not None:
        return value
    nothing = 0.0 if is_adapter(name) or not own.is_floating_point() else float("nan")
    return torch.full_like(own, nothing)
