"""A graph as a file of `torch.export`, which PyTorch alone can run."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from espalier.export.program import Program, cannot_export, quiet
from espalier.inference.program_network import FACTS


def write_program(program: Program, path: Path) -> None:
    """Write a `.pt2` file.

    Raises:
        UserError: PyTorch cannot write it.
    """
    graph = program.graph
    facts = {"inputs": graph.names, "outputs": graph.outputs, "meaning": graph.meaning.state_dict(),
             "has_preprocessing": graph.has_preprocessing}  # fmt: skip
    try:
        with quiet():
            torch.export.save(program.exported, str(path), extra_files={FACTS: json.dumps(facts)})
    except Exception as error:  # of many kinds
        raise cannot_export(error, "written") from error
