"""A network in a file of `torch.export`, which needs PyTorch alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from espalier.errors import CheckpointError, explain
from espalier.inference.named_tensors import fed_by, result_of
from espalier.inference.program_bounds import check_program

FACTS = "espalier.json"  # the file within that says what inputs and outputs are called


class ProgramNetwork:
    """Is called with tensors as the network that was exported, and gives what that gives; always in evaluation.

    Args:
        path: of the file.
        device: where it computes.

    Attributes:
        names: of the inputs.
        outputs: names of what the graph gives, those beside the output too.

    Raises:
        CheckpointError: the file cannot be read, or holds what no export here writes: see `program_bounds`.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        more = {FACTS: ""}
        try:
            check_program(Path(path))
            with Path(path).open("rb") as file:  # by its name PyTorch opens .pt2 alone without a warning
                program = torch.export.load(file, extra_files=more)
            facts = json.loads(more[FACTS])
        except Exception as error:  # the file may hold anything
            head = f"checkpoint error: {path} is no program that torch.export has written for us"
            raise CheckpointError(explain(head, got=(str(error) or repr(error)).splitlines()[0][:300])) from error
        self.device = torch.device(device)
        if self.device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, self.device)
        self._module = program.module()
        self.names: list[str] = facts["inputs"]
        self.outputs: list[str] = facts["outputs"]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The output of the network; a dict of its tensors where it has several."""
        return result_of(self.run(fed_by(self.names, args, kwargs)))

    @torch.no_grad()
    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """All that the graph gives, by name."""
        found = self._module(*(inputs[name].to(self.device) for name in self.names))
        return dict(zip(self.outputs, found, strict=True))
