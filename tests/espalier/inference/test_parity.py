"""A law: predicting the files of the test data gives what its evaluation gives, bit for bit; for each kind of data."""

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_pil_image

from tests.cases import cases
from tests.espalier.datasets.pictures import write_folder
from tests.espalier.inference.runs import HERE, Points, check_parity, config_of, evaluated, loaded, trained, vision_data

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
    "mixed": ({}, {"collate_fn": {"type": "espalier.data.mix.Mix", "args": {"mixup": 1.0, "num_classes": 3}}}),
}


@pytest.mark.parametrize("name", cases(IMAGES, "plain", "transform"))
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


def table(root, **args):
    """A loader of images that a table names."""
    given = {"path": str(root.parent / "table.csv"), "image": "file", "root": str(root), "suffix": ".jpg", "size": 10}
    dataset = {"type": "espalier.datasets.ImageTable", "args": {**given, **args}}
    return {"type": "BaseDataLoader", "args": {"dataset": dataset, "batch_size": 4, "split": SPLIT}}


@pytest.mark.parametrize("kind", cases(["rows", "paths", "bytes", "arrays", "tensors", "PIL images"], "rows", "bytes"))
def test_images_of_a_table_are_prepared_as_in_evaluation(pictures, tmp_path, kind):
    """In whatever form they are given."""
    from espalier.datasets.decode import load_image

    config = config_of(tmp_path, table(pictures, target="weight", task="regression"),
                       arch={"type": f"{HERE}.Net", "args": {"num_classes": 1}}, metrics=[],
                       loss={"type": "torch.nn.MSELoss"})  # fmt: skip
    paths = sorted(pictures.rglob("*.jpg"))
    names = [path.relative_to(pictures).as_posix().removesuffix(".jpg") for path in paths]
    forms = {"rows": lambda place: {"file": str(pictures / names[place])},
             "paths": lambda place: str(paths[place]),
             "bytes": lambda place: paths[place].read_bytes(),
             "arrays": lambda place: load_image(paths[place]).movedim(0, -1).numpy(),
             "tensors": lambda place: load_image(paths[place]),
             "PIL images": lambda place: to_pil_image(load_image(paths[place]))}  # fmt: skip
    check_parity(trained(config), lambda chosen: [forms[kind](each) for each in chosen])


def test_data_set_of_torchvision_is_prepared_as_in_evaluation(tmp_path):
    """By its images."""
    from torchvision.datasets import FakeData

    dataset = {"type": "espalier.datasets.Torchvision",
               "args": {"name": "FakeData", "root": str(tmp_path), "size": 9,
                        "args": {"size": 30, "image_size": [3, 12, 14], "num_classes": 3}}}  # fmt: skip
    data = {"type": "BaseDataLoader", "args": {"dataset": dataset, "batch_size": 4, "split": SPLIT}}
    images = FakeData(30, (3, 12, 14), 3)
    check_parity(trained(config_of(tmp_path, data)), lambda chosen: [images[each][0] for each in chosen])


def test_digits_are_prepared_as_in_evaluation(tiny_config, tmp_path):
    """The normalisation of data in memory stands in its loader, and goes with the checkpoint: by arrays and files."""
    tiny_config["trainer"]["epochs"] = 1
    run = trained(tiny_config)
    expected, loader = evaluated(run)
    images = loader.parts.dataset.inputs[:100]  # (100, 1, 28, 28)
    for place, image in enumerate(images[:5]):
        to_pil_image(image).save(tmp_path / f"{place}.png")
    model = loaded(run)
    assert torch.equal(torch.as_tensor(model.predict(images).outputs), expected[:100])
    assert torch.equal(torch.as_tensor(model.predict(images[:, 0].numpy().tolist()).outputs), expected[:100])
    files = model.predict([tmp_path / f"{place}.png" for place in range(5)])
    torch.testing.assert_close(torch.as_tensor(files.outputs), expected[:5])  # a batch of another size: other sums


ARRAYS = {
    "floats": (lambda rng: rng.normal(size=(60, 4)), {"normalize": "fit"}, {}),
    "bytes": (lambda rng: rng.integers(0, 256, (60, 3, 8, 9)).astype(np.uint8), {"normalize": "fit"}, {}),
    "channels last": (lambda rng: rng.normal(size=(60, 8, 9, 3)), {"normalize": "fit", "layout": "NHWC"}, {}),
    "no channel": (lambda rng: rng.integers(0, 999, (60, 8, 9)).astype(np.uint16), {"layout": "NHW"}, {}),
    "transform": (lambda rng: rng.normal(size=(60, 3, 12, 12)).astype(np.float32), {"normalize": "fit"},
                  {"transform": {"eval": RESIZE}}),
    "cached": (lambda rng: rng.normal(size=(60, 4)).astype(">f4"), {"normalize": "fit"}, {"cache": "memory"}),
}  # fmt: skip


@pytest.mark.parametrize("name", cases(ARRAYS, "no channel", "transform"))
def test_arrays_are_prepared_as_in_evaluation(tmp_path, name):
    """As they stand in the file."""
    make, args, loader = ARRAYS[name]
    values = make(np.random.default_rng(0))
    np.savez(tmp_path / "data.npz", x=values, y=np.arange(60) % 3)
    dataset = {"type": "espalier.datasets.Arrays",
               "args": {"inputs": "x", "targets": "y", "path": str(tmp_path / "data.npz"), **args}}  # fmt: skip
    data = {"type": "BaseDataLoader", "args": {"dataset": dataset, "batch_size": 7, "split": SPLIT, **loader}}
    channels = 1 if name == "no channel" else 3
    arch = {"type": f"{HERE}.Flat"} if values.ndim == 2 else {"type": f"{HERE}.Net", "args": {"channels": channels}}
    check_parity(trained(config_of(tmp_path, data, arch=arch)), lambda chosen: values[chosen])


OWN = {
    "points": ("Points", "Flat", lambda points: points),
    "lists of numbers": ("Points", "Flat", lambda points: points.double().tolist()),
    "tensors": ("tensors", "Flat", lambda points: points.numpy()),
    "subset": ("subset", "Flat", lambda points: points[5:50]),
    "by name": ("NamedPoints", "TwoInputs", lambda points: [{"left": each, "right": each[:2]} for each in points]),
    "by place": ("PairsOfPoints", "TwoInputs", lambda points: [(each, each[:2]) for each in points]),
    "records": ("RecordsOfPoints", "Flat", lambda points: [{"point": each} for each in points]),
    "finished": ("FinishedPoints", "Flat", lambda points: points),
    "learned": ("LearnedPoints", "Flat", lambda points: points.tolist()),
}

TRAINERS = {"by place": "PairsTrainer", "records": "RecordsTrainer"}


@pytest.mark.parametrize("name", cases(OWN, "by name", "records", "finished"))
def test_datasets_of_users_are_prepared_as_in_evaluation(tmp_path, name):
    """By what the dataset gives, or by the function that it names."""
    kind, arch, make = OWN[name]
    data = {"type": "BaseDataLoader",
            "args": {"dataset": {"type": f"{HERE}.{kind}", "args": {}}, "batch_size": 8, "split": SPLIT}}  # fmt: skip
    given = make(Points().points)
    section = {name: {"type": f"{HERE}.{kind}"} for name, kind in TRAINERS.items()}.get(name, {})
    run = trained(config_of(tmp_path, data, arch={"type": f"{HERE}.{arch}"}, trainer=section))
    check_parity(run, lambda chosen: [given[each] for each in chosen])


@pytest.mark.parametrize("kind", ["HiddenTransform", "HiddenCollate", "PlainLoader"])
def test_what_a_loader_does_by_itself_is_done_in_prediction(tmp_path, kind):
    """A transform or a collate function in its code, which no config names."""
    data = {"type": f"{HERE}.{kind}", "args": {"batch_size": 8}}
    run = trained(config_of(tmp_path, data, arch={"type": f"{HERE}.Flat"}))
    check_parity(run, lambda chosen: [Points(20).points[each] for each in chosen])


@pytest.mark.parametrize("as_pictures", cases([False, True], False))
def test_classic_loader_of_torchvision_is_used_as_it_is(pictures, tmp_path, as_pictures):
    """The transform of its data set, which only that has: that of the test, not of training."""
    from PIL import Image

    data = {"type": f"{HERE}.ClassicLoader",
            "args": {"data_dir": str(pictures), "batch_size": 5, "validation_split": 0.2}}  # fmt: skip
    paths = sorted(pictures.rglob("*.jpg"))
    given = [Image.open(each) for each in paths] if as_pictures else paths
    run = trained(config_of(tmp_path, data))
    check_parity(run, lambda chosen: [given[each] for each in chosen])


@pytest.mark.parametrize("form", cases(["arrays", "files", "PIL images", "larger"], "files"))
def test_data_in_memory_of_torchvision_takes_images_of_its_size(tmp_path, form):
    """Which others are brought to."""
    run = trained(config_of(tmp_path, {"type": f"{HERE}.VisionLoader", "args": {"batch_size": 8}},
                            arch={"type": f"{HERE}.Net", "args": {"channels": 1}}))  # fmt: skip
    arrays = vision_data(20).data.numpy()
    pictures = [to_pil_image(each) for each in arrays]
    if form == "larger":
        model = loaded(run)
        assert len(model.predict([pictures[0].resize((30, 40)).convert("RGB")])) == 1
        return
    for place, each in enumerate(pictures):
        each.save(tmp_path / f"{place}.png")
    given = {"arrays": arrays, "PIL images": pictures,
             "files": [tmp_path / f"{place}.png" for place in range(20)]}[form]  # fmt: skip
    check_parity(run, lambda chosen: [given[each] for each in chosen])


def test_loader_without_a_dataset_takes_what_it_gives(tmp_path):
    """Nothing more is known of it."""
    run = trained(config_of(tmp_path, {"type": f"{HERE}.OwnLoop", "args": {"batch_size": 5}},
                            arch={"type": f"{HERE}.Flat"}))  # fmt: skip
    model = loaded(run)
    assert model.preprocessing.state == {"kind": "tensor"}
    assert model.predict(Points(20).points).values.shape == (20,)


def test_subclass_that_changes_images_is_asked_itself(pictures, tmp_path):
    """Nobody else knows what it does: files are refused, and images as it gives them are taken."""
    data = folder(pictures, {"size": 10})
    data["args"]["dataset"]["type"] = f"{HERE}.Brighter"
    run = trained(config_of(tmp_path, data))
    dataset = evaluated(run)[1].parts.dataset
    check_parity(run, lambda chosen: [dataset[each][0] for each in chosen])
    assert len(loaded(run).predict([pictures / "cat" / "0.jpg"], skips_faults=True).faults) == 1


def of_their_own(root, train=None, test=None, size=9):
    """A config of images with test data of their own, each loader with what is given."""
    config = config_of("", folder(root, {"size": 9}, split={"valid": 0.2}, **(train or {})))
    dataset = {"type": "espalier.datasets.ImageFolder", "args": {"root": str(root), "size": size}}
    config["test_data_loader"] = {"type": "BaseDataLoader",
                                  "args": {"dataset": dataset, "batch_size": 6, **(test or {})}}  # fmt: skip
    return config


PAIRS = {
    "neither": ({}, {}),
    "only in training": ({"transform": {"train": FLIP}}, {}),
    "only in the test": ({}, {"transform": RESIZE}),
    "in both": ({"transform": {"train": FLIP, "eval": TO_FLOAT}}, {"transform": {"eval": RESIZE}}),
    "training alone has one for evaluation": ({"transform": TO_FLOAT}, {}),
    "larger images": ({}, {}, 12),
}


@pytest.mark.parametrize("name", cases(PAIRS, "only in the test", "only in training"))
def test_test_data_of_its_own_says_how_it_is_transformed(pictures, tmp_path, name):
    """As test.py takes it from there."""
    config = of_their_own(pictures, *PAIRS[name])
    config["trainer"]["save_dir"] = str(tmp_path)
    paths = sorted(pictures.rglob("*.jpg"))
    check_parity(trained({**config, "arch": {"type": f"{HERE}.Net"}}), lambda chosen: [paths[each] for each in chosen])


def test_rows_of_hugging_face_are_prepared_as_in_evaluation(tmp_path):
    """A row, or its input alone: numbers, and images."""
    datasets = pytest.importorskip("datasets")
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 256, (60, 3, 8, 9)).astype(np.uint8))
    rows = {"x": generator.normal(size=(60, 4)).tolist(), "y": [each % 3 for each in range(60)],
            "image": [to_pil_image(each) for each in images]}  # fmt: skip
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).save_to_disk(tmp_path / "data")
    for column, arch in (("x", "Flat"), ("image", "Net")):
        dataset = {"type": "espalier.datasets.HuggingFace",
                   "args": {"path": str(tmp_path / "data"), "input": column, "target": "y"}}  # fmt: skip
        data = {"type": "BaseDataLoader", "args": {"dataset": dataset, "batch_size": 8, "split": SPLIT}}
        run = trained(config_of(tmp_path / column, data, arch={"type": f"{HERE}.{arch}"}))
        check_parity(run, lambda chosen, name=column: [{name: rows[name][each]} for each in chosen])
        check_parity(run, lambda chosen, name=column: [rows[name][each] for each in chosen])
