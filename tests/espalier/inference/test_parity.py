"""A law: predicting the files of the test data gives what its evaluation gives, bit for bit; for each kind of data."""

import numpy as np
import pytest
import torch

from tests.cases import cases
from tests.espalier.datasets.pictures import write_folder
from tests.espalier.inference.runs import HERE, Points, check_parity, config_of, evaluated, loaded, trained

SPLIT = {"valid": 0.2, "test": 0.4}
V2 = "torchvision.transforms.v2"
RESIZE = {"type": f"{V2}.Resize", "args": {"size": [9, 9]}}
FLIP = {"type": f"{V2}.RandomHorizontalFlip", "args": {}}
TO_FLOAT = {"type": f"{V2}.ToDtype", "args": {"dtype": "torch.float32", "scale": True}}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Images of one size in folders, and a table of them."""
    root = write_folder(tmp_path_factory.mktemp("pictures") / "root", {"cat": 9, "dog": 8, "emu": 8}, ".jpg")
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    lines = [f"{name.removesuffix('.jpg')},{name.partition('/')[0]},{place}" for place, name in enumerate(names)]
    (root.parent / "table.csv").write_text("file,animal,weight\n" + "\n".join(lines) + "\n")
    return root


def folder(root, args=None, **loader):
    """A loader of images in folders."""
    dataset = {"type": "espalier.datasets.ImageFolder", "args": {"root": str(root), **(args or {})}}
    return {"type": "BaseDataLoader", "args": {"dataset": dataset, "batch_size": 4, "split": SPLIT, **loader}}


IMAGES = {
    "plain": ({}, {}),
    "one at a time": ({}, {"batch_size": 1}),
    "square": ({"size": 10}, {"batch_size": 7}),
    "scaled": ({"size": [8, 11], "normalize": "imagenet"}, {"batch_size": 3}),
    "grey": ({"size": 10, "channels": 1, "normalize": {"mean": [0.3], "std": [0.2]}}, {}),
    "not normalised": ({"normalize": None}, {"cache": "memory"}),
    "transform": ({}, {"transform": {"train": FLIP, "eval": RESIZE}}),
    "floats": ({}, {"transform": TO_FLOAT, "cache": "memory"}),
    "of samples": ({}, {"transform": {"train": FLIP, "eval": RESIZE, "on": "sample"}}),
    "training transform": ({}, {"transform": {"train": FLIP}, "num_workers": 1}),
    "mixed": ({}, {"collate_fn": {"type": "espalier.data.mix.Mix", "args": {"num_classes": 3}}}),
}


@pytest.mark.parametrize("name", cases(IMAGES, "plain", "grey", "transform", "mixed"))
def test_images_in_files_are_prepared_as_in_evaluation(pictures, tmp_path, name):
    """By paths."""
    args, loader = IMAGES[name]
    config = config_of(tmp_path, folder(pictures, args, **loader),
                       arch={"type": f"{HERE}.Net", "args": {"channels": args.get("channels", 3)}})  # fmt: skip
    if name == "mixed":
        config["metrics"] = []
    paths = sorted(pictures.rglob("*.jpg"))
    run = trained(config)
    found = check_parity(run, lambda chosen: [paths[each] for each in chosen])
    assert found.names == ["cat", "dog", "emu"]
