"""A program of a stranger is opened only where it holds nothing but tensors, operators, and arithmetic of sizes."""

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
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)
    held = io.BytesIO()
    facts = json.dumps({"inputs": ["image"], "outputs": ["output"]})
    torch.export.save(exported, held, extra_files={"espalier.json": facts})
    return held.getvalue()


def changed(program, path, change):
    """The program with other parts, or more; `change` takes and gives them by name."""
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in change(parts).items():
            archive.writestr(name, content)
    return path


def of_model(edit):
    """A change of the description of the graph."""

    def change(parts):
        model = json.loads(parts["archive/models/model.json"])
        edit(model)
        return {**parts, "archive/models/model.json": json.dumps(model).encode()}

    return change


def of_weights(edit):
    """A change of what is said of the weights."""
    name = "archive/data/weights/model_weights_config.json"

    def change(parts):
        config = json.loads(parts[name])
        edit(config["config"])
        return {**parts, name: json.dumps(config).encode(), "archive/data/weights/weight_0": pickle.dumps(Hook())}

    return change


def first_node(model):
    """A node of the graph."""
    return model["graph_module"]["graph"]["nodes"][0]


def with_size(text):
    """A change of the first size that may change."""

    def edit(model):
        def walk(value):
            for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
                if isinstance(each, dict) and "expr_str" in each:
                    each["expr_str"] = text
                    return True
                if walk(each):
                    return True
            return False

        assert walk(model)

    return edit


ATTACKS = {
    "pickled input": lambda parts: {**parts, "archive/data/sample_inputs/model.pt": pickle.dumps(Hook())},
    "pickled weight": of_weights(lambda config: next(iter(config.values())).update(use_pickle=True)),
    "function of torch": of_model(lambda model: first_node(model).update(target="torch.load")),
    "operator of a file": of_model(lambda model: first_node(model).update(target="torch.ops.aten.from_file.default")),
    "guard": of_model(lambda model: model.update(guards_code=["__import__('os').system('true') == 0"])),
    "size": of_model(with_size("eval('1+1')")),
    "compiled code": lambda parts: {**parts, "archive/data/aotinductor/model/x.so": b"x"},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_program_that_would_run_something_is_refused(attack, program, tmp_path):
    """It is told so, and nothing of it is run."""
    path = changed(program, tmp_path / "model.pt2", ATTACKS[attack])
    with pytest.raises(CheckpointError) as error:
        ProgramNetwork(path)
    assert str(error.value).splitlines()[0] == (
        f"checkpoint error: {path} is no program that torch.export has written for us"
    )
    assert CALLED == []


def test_program_as_it_was_written_is_opened(program, tmp_path):
    """Repacked as the others are, it runs, in other sizes too."""
    network = ProgramNetwork(changed(program, tmp_path / "model.pt2", lambda parts: parts))
    assert network(torch.ones(5, 1, 12, 8)).shape == (5, 2)


@pytest.mark.parametrize("content", [b"", b"PK", b"no program", b"PK\x05\x06" + bytes(18)], ids=len)
def test_file_that_is_no_program(content, tmp_path):
    """It is told in a sentence."""
    path = tmp_path / "model.pt2"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is no program that torch.export has written for us"):
        ProgramNetwork(path)
