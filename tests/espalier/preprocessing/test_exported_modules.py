"""What is arithmetic of a preprocessing gives the same bits in ONNX Runtime and in a program of torch.export."""

import io

import numpy as np
import pytest
import torch

from espalier.preprocessing.row_inputs import RowInputs
from espalier.preprocessing.windows import Scaled

NUMBERS = [{"name": "a", "has_gaps": True, "fill": 0.1, "center": 1 / 3, "scale": 0.7},
           {"name": "b", "has_gaps": False, "fill": -2.0, "center": 1e9, "scale": 1e-3}]  # fmt: skip
CATEGORIES = [{"name": "c", "has_gaps": True, "categories": ["x", "y", "z"]},
              {"name": "d", "has_gaps": False, "categories": ["7"]}]  # fmt: skip
MIXED = [CATEGORIES[0], NUMBERS[0], CATEGORIES[1], NUMBERS[1]]
MODULES = {
    "numbers": RowInputs(NUMBERS, has_indicators=False, is_indexed=False),
    "numbers_and_gaps": RowInputs(NUMBERS, has_indicators=True, is_indexed=False),
    "categories": RowInputs(CATEGORIES, has_indicators=True, is_indexed=False),
    "mixed": RowInputs(MIXED, has_indicators=True, is_indexed=False),
    "mixed_indexed": RowInputs(MIXED, has_indicators=True, is_indexed=True),
    "numbers_indexed": RowInputs(NUMBERS, has_indicators=True, is_indexed=True),
    "categories_indexed": RowInputs(CATEGORIES, has_indicators=True, is_indexed=True),
    "windows": Scaled([0.1, -3.0], [0.3, 7e5]),
}  # fmt: skip


def rows(size, columns):
    """Random cells with gaps."""
    rng = np.random.default_rng(size)
    numbers, codes = rng.normal(1e9, 1e9, (size, 2)), rng.integers(-1, 4, (size, 2))
    numbers[rng.random((size, 2)) < 0.3] = np.nan
    parts = {"numbers": torch.tensor(numbers), "categories": torch.tensor(codes)}
    return {name: each for name, each in parts.items() if name in columns}


def example(name, size):
    """What the module takes, of a batch of this size."""
    if name == "windows":
        return torch.tensor(np.random.default_rng(size).normal(0, 1e6, (size, 5, 2)))
    kinds = {"numbers": ("numbers",), "categories": ("categories",)}
    return rows(size, kinds.get(name.split("_")[0], ("numbers", "categories")))


def flat(found):
    """The bytes of tensors."""
    parts = [*found.values()] if isinstance(found, dict) else [found]
    return [(each.dtype, tuple(each.shape), each.numpy().tobytes()) for each in parts]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_module_gives_the_same_bits_when_it_is_exported(tmp_path, name):
    """For batches of 1, 2 and 7."""
    import onnxruntime

    module, given, batch = MODULES[name], example(name, 3), torch.export.Dim("batch")
    dims = ({part: {0: batch} for part in given} if isinstance(given, dict) else {0: batch},)
    program = torch.export.export(module, (given,), dynamic_shapes=dims)
    content = io.BytesIO()
    torch.export.save(program, content)
    content.seek(0)
    again = torch.export.load(content).module()
    torch.onnx.export(module.eval(), (given, {}), tmp_path / "m.onnx", dynamo=True, dynamic_shapes=dims,
                      external_data=False, verbose=False)  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    for size in (1, 2, 7):
        given = example(name, size)
        expected = flat(module(given))
        assert flat(again(given)) == expected
        parts = [*given.values()] if isinstance(given, dict) else [given]
        inputs = {each.name: part.numpy() for each, part in zip(session.get_inputs(), parts, strict=True)}
        found = [torch.from_numpy(each) for each in session.run(None, inputs)]
        assert flat(dict(enumerate(found))) == expected
