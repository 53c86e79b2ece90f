"""A graph as a file of `torch.export`, which PyTorch alone can run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

from espalier.export.graph import Graph
from espalier.export.program import cannot_export, quiet, trace
from espalier.export.sizes import Sizes
from espalier.inference.program_network import FACTS


def write_program(graph: Graph, example: Any, sizes: Sizes, path: Path, opset: int = 0, *,
                  is_strict: bool = False) -> Sizes:  # fmt: skip
    """Write a `.pt2` file; returns the dimensions that may change in it.

    Args:
        opset: does not matter.
        is_strict: see `trace`.

    Raises:
        UserError: PyTorch cannot export the network.
    """
    program = trace(graph, example, sizes, is_strict=is_strict)
    facts = {"inputs": graph.names, "outputs": graph.outputs, "meaning": graph.meaning.state_dict(),
             "has_preprocessing": graph.has_preprocessing}  # fmt: skip
    try:
        with quiet():
            held = io.BytesIO()  # a file would be written into its archive by its name
            torch.export.save(program.exported, held, extra_files={FACTS: json.dumps(facts)})
            path.write_bytes(held.getvalue())
    except Exception as error:  # of many kinds
        raise cannot_export(error, "written") from error
    return program.sizes
