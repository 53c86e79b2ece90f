"""A network in a file of `torch.export` is opened as it was written, and else refused by a sentence."""

import io
import json
import pickle
import zipfile

import pytest
import torch
from torch import nn

from espalier.errors import CheckpointError
from espalier.inference.program_network import ProgramNetwork

CALLED = []


class Hook:
    """Does something when it is unpickled."""

    def __reduce__(self):
        return CALLED.append, (1,)


@pytest.fixture(scope="module")
def program():
    """A program with sizes that may change, as bytes."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, stride=2, padding=1)
            self.register_buffer("scale", torch.ones(2, 1, 1))

        def forward(self, x):
            return ((self.conv(x) * self.scale).mean((2, 3)),)

    free = {0: torch.export.Dim.AUTO(min=1), 2: torch.export.Dim.AUTO(min=1)}
    exported = torch.export.export(Network().eval(), (torch.ones(3, 1, 9, 8),), dynamic_shapes=(free,))
    held = io.BytesIO()
    facts = json.dumps({"inputs": ["image"], "outputs": ["output"]})
    torch.export.save(exported, held, extra_files={"espalier.json": facts})
    return held.getvalue()


def test_program_that_would_run_something_is_refused(program, tmp_path):
    """Nothing of it is run; what else is refused, `test_program_bounds.py` has."""
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(io.BytesIO(program)) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            is_input = name.endswith("sample_inputs/model.pt")
            target.writestr(name, pickle.dumps(Hook(), protocol=2) if is_input else source.read(name))
    with pytest.raises(CheckpointError) as error:
        ProgramNetwork(path)
    assert str(error.value).splitlines()[0] == (
        f"checkpoint error: {path} is no program that torch.export has written for us"
    )
    assert CALLED == []


def test_program_as_it_was_written_is_opened(program, tmp_path, caplog):
    """It runs, in other sizes too, whatever the file is called, and PyTorch has nothing to warn of."""
    path = tmp_path / "model.out"
    path.write_bytes(program)
    network = ProgramNetwork(path)
    assert network(torch.ones(5, 1, 12, 8)).shape == (5, 2)
    assert caplog.records == []


@pytest.mark.parametrize("content", [b"", b"PK", b"no program", b"PK\x05\x06" + bytes(18)], ids=len)
def test_file_that_is_no_program(content, tmp_path):
    """It is told in a sentence."""
    path = tmp_path / "model.pt2"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is no program that torch.export has written for us"):
        ProgramNetwork(path)
