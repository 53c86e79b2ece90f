"""Laws of export: each format gives what its model gives, in every size that both take, or leaves no file."""

import subprocess
import sys

import pytest
import torch

from espalier.data.batch import call_with
from espalier.errors import UserError
from espalier.export import write
from espalier.export.sizes import resized
from espalier.export.subject import subject_with
from espalier.inference.bundle_files import MODELS
from espalier.inference.named_tensors import named_tensors
from tests.cases import cases
from tests.espalier.export.networks import KINDS, model_of

GRAPHS = [(kind, form) for form in ("onnx", "torch_export") for kind in KINDS]
WEIGHTS = [(kind, "safetensors") for kind in KINDS]
UNROLLED = [("recurrent", "torch_export")]  # whose length PyTorch fixes
# each a kind and a format
ALL = [each for each in (*GRAPHS, *WEIGHTS) if each not in UNROLLED]


def exported(kind, form, folder, **options):
    """What `export` gives for one of the networks, and what was exported."""
    model, inputs, _ = model_of(kind)
    subject = subject_with(model, inputs)
    return write.export(subject, form, folder / MODELS[form], **options), subject


@pytest.mark.parametrize("case", cases(ALL, ("table", "onnx"), ("two", "torch_export"), *WEIGHTS))
def test_file_gives_what_the_model_gives_in_every_size(case, tmp_path):
    """Of 1, 2, 7 and more samples, and likewise in each dimension that may change; nothing else is left beside it."""
    kind, form = case
    found, subject = exported(kind, form, tmp_path)
    assert [*tmp_path.iterdir()] == [found.path]
    assert found.comparison.fits
    assert found.comparison.num_samples == sum(len(next(iter(named_tensors(each, "x").values())))
                                               for each in subject.examples)  # fmt: skip
    free = model_of(kind)[2]
    assert list(dict.fromkeys(name for each in found.inputs.values() for name in each["dims"]
                              if isinstance(name, str))) == free  # fmt: skip
    network = write.NETWORKS[form](found.path, subject.graph)
    for name in free:
        for size in (1, 2, 7, 12):
            if size < found.least.get(name, 1) or (kind == "per pixel" and name != "batch" and size < 2):
                continue
            inputs = resized(subject.graph, subject.sizes, subject.example, {name: size})
            expected, given = subject.graph.eager(inputs), call_with(network, inputs)
            for one, other in zip(named_tensors(expected).values(), named_tensors(given).values(), strict=True):
                assert one.shape == other.shape
                torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", cases(ALL, ("two", "torch_export")))
def test_file_says_nothing_of_the_machine_that_made_it(case, tmp_path, root):
    """Neither where its code stands, nor where it was written."""
    kind, form = case
    found, _ = exported(kind, form, tmp_path)
    held = found.path.read_bytes()
    assert str(root).encode() not in held
    assert tmp_path.name.encode() not in held
    assert b"networks.py" not in held


@pytest.mark.parametrize("case", cases(ALL, ("two", "torch_export"), *WEIGHTS))
def test_file_with_another_weight_is_refused(case, tmp_path, monkeypatch):
    """One weight is changed while the file is written: what is off is told, and no file is left."""
    kind, form = case
    model, inputs, _ = model_of(kind)
    subject = subject_with(model, inputs)
    weight = next(each for name, each in model.network.named_parameters() if name.endswith("weight") and each.dim() > 1)

    def spoilt(function):
        def call(*args, **options):
            with torch.no_grad():
                weight.add_(0.01)
                try:
                    return function(*args, **options)
                finally:
                    weight.sub_(0.01)

        return call

    monkeypatch.setattr(write, "write_weights", spoilt(write.write_weights))
    monkeypatch.setattr(write, "_WRITERS", {name: tuple(map(spoilt, each)) for name, each in write._WRITERS.items()})
    with pytest.raises(UserError) as error:
        write.export(subject, form, tmp_path / MODELS[form])
    head, got, fix = str(error.value).splitlines()
    assert head == ("export error: the file gives something else than the model, and was not left at "
                    f"{tmp_path / MODELS[form]}")  # fmt: skip
    assert "are off by more than 0.0001 + 0.0001 * |x|; at worst output" in got
    assert fix == "  fix       --atol and --rtol allow more, where so much does not matter"
    assert not any(tmp_path.iterdir())


def test_tolerance_allows_what_it_says(tmp_path, monkeypatch):
    """A bias off by 0.01 passes with atol 0.02, and not with 0.005."""
    model, inputs, _ = model_of("table")
    subject = subject_with(model, inputs)

    def spoilt(network, path, *, arch):
        with torch.no_grad():
            network.head.bias.add_(0.01)
            whole(network, path, arch=arch)
            network.head.bias.sub_(0.01)

    whole = write.write_weights
    monkeypatch.setattr(write, "write_weights", spoilt)
    with pytest.raises(UserError, match="off by more than 0.005"):
        write.export(subject, "safetensors", tmp_path / "one.safetensors", atol=0.005, rtol=0)
    found = write.export(subject, "safetensors", tmp_path / "one.safetensors", atol=0.02, rtol=0)
    assert found.comparison.largest_absolute == pytest.approx(0.01, rel=1e-3)


@pytest.mark.slow
def test_length_that_pytorch_fixes_is_refused_where_the_data_has_others(tmp_path):
    """A recurrent network as a program: PyTorch writes its loop out, for one length."""
    with pytest.raises(UserError) as error:
        exported("recurrent", "torch_export", tmp_path)
    assert str(error.value).splitlines()[0] == (
        "export error: torch_export fixes the length of inputs, of which the data has several")  # fmt: skip
    assert str(error.value).splitlines()[2] == "  fix       take --format onnx"


@pytest.mark.slow
def test_program_needs_torch_alone(tmp_path):
    """A process that sees neither this repository nor other packages of ours runs it, with one sample and with nine."""
    found, _ = exported("two", "torch_export", tmp_path)
    code = (
        "import sys, torch\n"
        f"module = torch.export.load({str(found.path)!r}).module()\n"
        "print([tuple(module(torch.ones(n, 4), torch.ones(n, 4))[0].shape) for n in (1, 9)])\n"
        "assert not any(name.startswith('espalier') for name in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout == "[(1, 4), (9, 4)]\n", result.stderr


def test_weights_are_those_of_the_package(tmp_path):
    """The file is read by the package that owns the format: tied weights stand in it once, under their first name."""
    safetensors = pytest.importorskip("safetensors")
    found, subject = exported("two", "safetensors", tmp_path)
    with safetensors.safe_open(found.path, "pt") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        assert file.metadata() == {"format": "pt"}
    own = subject.model.network.state_dict()
    assert held.keys() == own.keys() - {"right.weight"}
    assert all(torch.equal(each, own[name]) for name, each in held.items())


def test_format_that_is_not_known(tmp_path):
    """The nearest is named."""
    model, inputs, _ = model_of("two")
    with pytest.raises(UserError) as error:
        write.export(subject_with(model, inputs), "safetensor", tmp_path / "x")
    assert str(error.value).splitlines() == [
        "export error: --format is not known",
        "  got       safetensor",
        "  expected  one of: onnx, torch_export, safetensors",
        "  closest   safetensors",
    ]


def test_network_that_does_not_take_its_data():
    """It is asked for examples."""
    model, inputs, _ = model_of("two")
    with pytest.raises(UserError) as error:
        subject_with(model, [tuple(each[:, :2] for each in inputs[0])])
    lines = str(error.value).splitlines()
    assert lines[0] == "export error: the network does not take what the data gives"
    assert lines[1].startswith("  got       RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert lines[2] == ("  fix       give it a method example_inputs(self, num), which returns what forward takes, "
                        "for so many samples")  # fmt: skip
