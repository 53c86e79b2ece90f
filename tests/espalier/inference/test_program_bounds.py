"""A file of `torch.export` out of a bundle has a graph and nothing that PyTorch would run as code."""

import io
import json
import pickle
import zipfile

import pytest
import torch

from espalier.inference.program_bounds import check_program


class Touch:
    """What leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A program with weights, a constant, free sizes, conditions on them and named parts."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(4, 3)
            self.register_buffer("shift", torch.ones(4), persistent=False)

        def forward(self, x, lengths):
            mask = torch.arange(x.shape[1])[None] < lengths[:, None]
            return self.inner((x + self.shift) * mask[..., None]).sum(1).reshape(x.shape[0], -1)

    path = tmp_path_factory.mktemp("program") / "model.pt2"
    sizes = ({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}, {0: torch.export.Dim.AUTO})
    example = torch.randn(2, 5, 4), torch.tensor([5, 3])
    torch.export.save(torch.export.export(Net().eval(), example, dynamic_shapes=sizes, strict=False), path)
    return path


def changed(program, path, change):
    """A copy with other parts: `change` gives the content of a part by its name and content; None leaves it out."""
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = change(name.partition("/")[2], source.read(name))
            if content is not None:
                target.writestr(name, content)
    return path


def with_graph(program, path, change):
    """A copy with another graph, in which `change` changes what it is given."""

    def change_part(name, content):
        if not name.startswith("models/"):
            return content
        graph = json.loads(content)
        change(graph)
        return json.dumps(graph).encode()

    return changed(program, path, change_part)


def first_node(graph):
    """A node of the graph."""
    return graph["graph_module"]["graph"]["nodes"][0]


def test_program_that_was_exported_is_let_through(program):
    """Also with conditions on its sizes."""
    with zipfile.ZipFile(program) as archive:
        graph = json.loads(archive.read(next(name for name in archive.namelist() if "/models/" in name)))
    assert graph["guards_code"]
    check_program(program)


def set_target(graph, name):
    first_node(graph)["target"] = name


CODE = "__import__('os').system('true')"
HOSTILE = {
    "operator of the system": lambda graph: set_target(graph, "torch.hub.load"),
    "operator that reads a file": lambda graph: set_target(graph, "torch.ops.aten.from_file.default"),
    "operator of higher order": lambda graph: set_target(graph, "torch.ops.higher_order.wrap"),
    "operator that is no name": lambda graph: set_target(graph, CODE),
    "size that is code": lambda graph: graph.update(more={"expr_str": CODE}),
    "size in a text": lambda graph: graph.update(more={"expr_str": f'Min("{CODE}")'}),
    "size of a class": lambda graph: graph.update(more={"expr_str": "Symbol('s1').__class__"}),
    "condition that is code": lambda graph: graph["guards_code"].append(f"{CODE} == 0"),
    "condition of a class": lambda graph: graph["guards_code"].append("L['x'].__class__ == 0"),
    "name that is code": lambda graph: first_node(graph).update(name=f"x={CODE}"),
    "argument that is code": lambda graph: graph["graph_module"]["module_call_graph"][0]["signature"].update(
        forward_arg_names=[f"x={CODE}", "lengths"]
    ),
    "class in a structure": lambda graph: graph["graph_module"]["module_call_graph"][0]["signature"].update(
        in_spec='[1, {"type": "__enum__", "context": "null", "children_spec": []}]'
    ),
    "key that is code": lambda graph: graph["graph_module"]["graph"]["tensor_values"].update({CODE: {}}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_program_with_code_in_its_graph_is_refused(name, program, tmp_path):
    """Wherever PyTorch would run it."""
    with pytest.raises(ValueError, match="^its graph calls|^it has a|^it names"):
        check_program(with_graph(program, tmp_path / "model.pt2", HOSTILE[name]))


def test_program_with_a_pickle_is_refused(program, tmp_path):
    """In place of the example inputs, or of a weight; nothing of it was run."""
    evil = tmp_path / "evil"
    buffer = io.BytesIO()
    torch.save(Touch(evil), buffer)

    def examples(name, content):
        return buffer.getvalue() if name.startswith("data/sample_inputs/") else content

    with pytest.raises(pickle.UnpicklingError):
        check_program(changed(program, tmp_path / "one.pt2", examples))

    def weights(name, content):
        return content.replace(b'"use_pickle": false', b'"use_pickle": true') if name.endswith(".json") else content

    with pytest.raises(ValueError, match="^it holds '.*' in a form that only code can read$"):
        check_program(changed(program, tmp_path / "two.pt2", weights))
    assert not evil.exists()


@pytest.mark.parametrize("part", ["data/aotinductor/model.so", "data/constants/custom_obj_0", "code/model.py", ""])
def test_program_with_another_part_is_refused(part, program, tmp_path):
    """Libraries and objects are none of a graph."""
    path = changed(program, tmp_path / "model.pt2", lambda name, content: content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"model/{part}", b"evil")
    with pytest.raises(ValueError, match="^it holds '.*', which is no part of a graph$"):
        check_program(path)


def test_program_with_a_part_twice_is_refused(program, tmp_path):
    """PyTorch would read the one, and the check the other."""
    path = changed(program, tmp_path / "model.pt2", lambda name, content: content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(archive.namelist()[0].upper(), b"evil")
    with pytest.raises(ValueError, match="^it holds a file twice$"):
        check_program(path)
