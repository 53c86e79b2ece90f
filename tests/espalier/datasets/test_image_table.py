"""Tables of images: classes, several labels and numbers, by the training rows alone; and what is wrong with a table."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as F

from base import BaseDataLoader
from espalier.datasets import ImageTable
from espalier.errors import ConfigError, DataError
from tests.espalier.datasets.pictures import picture

ROWS = [("b", "dog", "wet,brown", 1.5), ("a", "cat", "", -2), ("d", "dog", "brown", 0), ("c", "emu", "wet, tall", 4)]


def write_table(folder, rows=ROWS, head="path,label,tags,weight"):
    """Four pictures and the table of them."""
    for seed, name in enumerate("abcd"):
        picture(seed).save(folder / f"{name}.png")
    lines = [",".join(f'"{each}"' if "," in str(each) else str(each) for each in row) for row in rows]
    (folder / "all.csv").write_text("\n".join([head, *lines, ""]))
    return {"path": str(folder / "all.csv"), "suffix": ".png"}


def fitted(args, indices=range(4), **more):
    """A dataset that is fitted on these rows."""
    dataset = ImageTable(**{**args, **more})
    dataset.use(dataset.fit(np.array(indices)))
    return dataset


def test_classes_are_in_the_order_of_the_table(tmp_path):
    """A sample is the image of its row and the number of its class."""
    dataset = fitted(write_table(tmp_path))
    assert torch.equal(dataset[0][0], F.pil_to_tensor(picture(1)))
    assert [dataset[index][1] for index in range(4)] == [1, 0, 1, 2]
    assert (dataset.num_classes, dataset.class_names) == (3, ["cat", "dog", "emu"])
    assert dataset.column("weight").tolist() == [1.5, -2, 0, 4]


def test_several_labels_are_zeros_and_ones(tmp_path, caplog):
    """None at all is a row of zeros; a label that no training row has is left out, and said."""
    dataset = fitted(write_table(tmp_path), [0, 1, 2], target="tags", task="multilabel")
    assert dataset.class_names == ["brown", "wet"]
    assert dataset[0][1].dtype == torch.float32
    assert [dataset[index][1].tolist() for index in range(4)] == [[1, 1], [0, 0], [1, 0], [0, 1]]
    assert caplog.messages == [
        f"Labels of {tmp_path / 'all.csv'} that no training sample has are left out: 'tall' (1 time)."
    ]


@pytest.mark.parametrize("last", ["", "7", "tall", "0.5"])
def test_labels_that_are_numbers_keep_their_names_whatever_stands_in_other_rows(last, tmp_path):
    """A gap, or a text: neither turns 7 into 7.0, nor 007 into 7."""
    rows = [("b", "1", "7", 0), ("a", "0", "007", 0), ("d", "1", "7", 0), ("c", "cat", last, 0)]
    args = write_table(tmp_path, rows)
    assert fitted(args, [0, 1, 2], target="tags", task="multilabel").class_names == ["007", "7"]
    assert fitted(args, [0, 1, 2]).class_names == ["0", "1"]


@pytest.mark.parametrize(("target", "expected"), [("weight", [1.5]), (["weight", "weight"], [1.5, 1.5])])
def test_numbers_are_a_column_each(target, expected, tmp_path):
    """What a `Linear` gives: never `(N,)`, which would broadcast."""
    dataset = fitted(write_table(tmp_path), target=target, task="regression")
    assert dataset[0][1].tolist() == expected
    assert dataset[0][1].dtype == torch.float32
    assert dataset.facts == ("mean", "std", "in_channels", "image_size")


@given(others=st.lists(st.sampled_from(["cat", "dog", "yak"]), min_size=2, max_size=2))
def test_fit_depends_on_the_given_rows_alone(tmp_path_factory, others):
    """Labels of other rows, and their images, may be anything."""
    folder = tmp_path_factory.mktemp("table")
    rows = [*ROWS[:2], ("d", others[0], "", 0), ("c", others[1], "", 0)]
    args = write_table(folder, rows)
    (folder / "d.png").write_bytes(b"no image")
    assert ImageTable(**args).fit(np.array([1, 0])) == ImageTable(**write_table(folder)).fit(np.array([0, 1]))


def test_sample_of_a_class_that_does_not_train_is_refused(tmp_path):
    """Only when it is asked for."""
    dataset = fitted(write_table(tmp_path), [0, 1, 2])
    assert dataset[0][1] == 1
    with pytest.raises(DataError, match="^data error: class 'emu' of .* is not in the training part"):
        dataset[3]


def test_loader_stratifies_and_fits(tmp_path):
    """By the labels as they stand in the table."""
    rows = [(name, label, "", 0) for label in ("cat", "dog") for name in "abcd"]
    loader = BaseDataLoader(ImageTable(**write_table(tmp_path, rows)), 6, split={"valid": 2, "stratify": True}, seed=0)
    images, targets = next(iter(loader))
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    assert sorted(targets.tolist()) == [0, 0, 0, 1, 1, 1]


def test_sample_before_fitting_is_refused(tmp_path):
    """Whatever the normalisation: classes are not known."""
    with pytest.raises(DataError, match="ImageTable gives no sample before it is fitted"):
        ImageTable(**write_table(tmp_path), normalize=None)[0]


def test_images_that_are_not_there_are_counted(tmp_path):
    """Before any training."""
    args = write_table(tmp_path, [*ROWS, ("e", "cat", "", 0), ("f", "cat", "", 0)])
    with pytest.raises(DataError) as error:
        ImageTable(**args)
    assert str(error.value) == (
        f"data error: images of {args['path']} are not there\n"
        f"  got       2 of 6, the first is {tmp_path / 'e.png'} in row 5\n"
        "  fix       root is the folder that paths start from, suffix what is added to each"
    )


def test_faults_of_columns_are_explained(tmp_path):
    """A column that is not there, gaps, and a target that is no number."""
    args = write_table(tmp_path, [*ROWS, ("a", "", "", "heavy")])
    with pytest.raises(DataError, match="has no column 'labels'.*\n(.*\n)*  closest   label"):
        ImageTable(**args, target="labels")
    with pytest.raises(DataError, match="the target 'label' of .* has gaps"):
        ImageTable(**args)
    with pytest.raises(DataError) as error:
        ImageTable(**args, target="weight", task="regression")
    assert str(error.value) == (
        f"data error: the target 'weight' of {args['path']} holds no numbers alone\n"
        '  got       "heavy" in row 5\n  fix       mend these rows, or take them out of the file'
    )
    args = write_table(tmp_path, [*ROWS, ("", "cat", "", 0)])
    with pytest.raises(DataError, match="the paths 'path' of .* have gaps\n  got       no value in 1 of 5 rows"):
        ImageTable(**args)


@pytest.mark.parametrize("args", [{"task": "multi"}, {"target": ["label", "tags"]}], ids=str)
def test_argument_out_of_range_is_a_config_error(args, tmp_path):
    """Named as it stands in a config."""
    with pytest.raises(ConfigError) as error:
        ImageTable(**write_table(tmp_path), **args)
    assert [each.path for each in error.value.problems] == [f"data_loader.args.dataset.args.{next(iter(args))}"]
