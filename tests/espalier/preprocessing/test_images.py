"""Images in every form that people have them in, and what is no image."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pictures

from espalier.datasets import ImageFolder
from espalier.datasets.decode import decode_image
from espalier.errors import CheckpointError, DataError
from espalier.preprocessing.kinds import load_preprocessing
from tests.espalier.datasets.pictures import encoded, picture, write_folder

COLOUR = {"kind": "image", "size": None, "channels": 3, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1]}
GREY = {"kind": "image", "size": None, "channels": 1}


def one(value, state=COLOUR):
    """What becomes of one input."""
    (found,) = load_preprocessing(state).encode([value])
    return found


def test_dataset_and_preprocessing_do_the_same(tmp_path):
    """The image of a dataset, encoded and finished: of a file, and as what the dataset has in its checkpoint."""
    root = write_folder(tmp_path / "root", {"cat": 3, "dog": 2}, ".jpg", height=30, width=41)
    dataset = ImageFolder(str(root), size=16)
    dataset.use(dataset.fit(np.arange(5)))
    preprocessing = load_preprocessing(dataset.preprocessing)
    for place, image in enumerate(preprocessing.encode(dataset.paths)):
        assert torch.equal(image, dataset[place][0])
        assert torch.equal(preprocessing.module(image[None])[0], dataset.finish_input(dataset[place][0]))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("model", [1, 3])
def test_same_image_in_each_form_is_the_same(tmp_path, channels, model):
    """A path, bytes, an open file, a PIL image, arrays and tensors of each layout and type."""
    image = picture(4, channels=channels)
    array = np.asarray(image)  # (H, W) or (H, W, 3)
    content = encoded(image, "PNG")
    (tmp_path / "a.png").write_bytes(content)
    planes = torch.from_numpy(array.reshape(*array.shape[:2], -1).copy()).movedim(-1, 0)  # (C, H, W)
    forms = [str(tmp_path / "a.png"), tmp_path / "a.png", content, bytearray(content), memoryview(content),
             io.BytesIO(content), array, array[::-1][::-1], array.tolist(), array.astype(np.int64), array / 255,
             (array / 255).astype(np.float32), array.astype(np.uint16) * 256 + 7, torch.from_numpy(array.copy()),
             planes, planes.numpy(), planes.double() / 255]  # fmt: skip
    state = GREY if model == 1 else COLOUR
    expected = one(image, state)
    assert expected.dtype == torch.uint8
    assert expected.shape == (model, 16, 20)
    for form in forms:
        found = one(form, state)
        if channels == model or channels == 1:
            assert torch.equal(found, expected)
        else:  # grey of a PNG is one of its decoder, to the rounding
            assert (found.int() - expected.int()).abs().max() <= 1


def test_image_of_a_file_is_upright_and_without_transparency(tmp_path):
    """As EXIF says, in PIL images too; and an array of four channels loses the last."""
    exif = Pictures.Exif()
    exif[0x0112] = 6
    content = encoded(picture(1), "JPEG", exif=exif)
    assert torch.equal(one(content), decode_image(content))
    assert one(Pictures.open(io.BytesIO(content))).shape == (3, 20, 16)
    with_alpha = np.dstack([np.asarray(picture(1)), np.full((16, 20), 9, np.uint8)])
    assert torch.equal(one(with_alpha), one(picture(1)))


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: picture(), 1),
        (lambda: np.asarray(picture()), 1),
        (lambda: np.asarray(picture(channels=1)), 1),
        (lambda: torch.zeros(3, 16, 20, dtype=torch.uint8), 1),
        (lambda: np.zeros((5, 16, 20, 3), np.uint8), 5),
        (lambda: torch.zeros(5, 3, 16, 20, dtype=torch.uint8), 5),
        (lambda: np.zeros((5, 16, 20), np.uint8), 5),
        (lambda: [picture(), picture(1)], 2),
    ],
)
def test_image_by_itself_is_one(make, count):
    """And an array of several is several."""
    assert len(load_preprocessing(COLOUR).encode(make())) == count


ARRAYS = "arrays (H, W) or (H, W, C), or tensors (C, H, W), of uint8 or of floats from 0 to 1"
NO_IMAGE = "data error: the input is no image"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, f"{NO_IMAGE}\n  got       NoneType () of object\n  expected  a file, or {ARRAYS}"),
        (7, f"{NO_IMAGE}\n  got       int () of int64\n  expected  a file, or {ARRAYS}"),
        (np.zeros((0, 3)), f"{NO_IMAGE}\n  got       ndarray (0, 3) of float64\n  expected  a file, or {ARRAYS}"),
        (np.zeros((5, 6, 7)), f"{NO_IMAGE}\n  got       ndarray (5, 6, 7)\n  expected  a file, or {ARRAYS}"),
        (
            np.full((4, 4), 255.0),
            "data error: the values of an image are out of range\n  got       floats from 255 to 255\n"
            "  expected  floats from 0 to 1\n  fix       divide them by 255, or give uint8",
        ),
        (
            np.array([[0, 256]]),
            "data error: the values of an image are out of range\n  got       whole numbers from 0 to 256\n"
            "  expected  whole numbers from 0 to 255",
        ),
        (
            np.array([[0, np.nan]]),
            "data error: the values of an image are out of range\n  got       floats from nan to nan\n"
            "  expected  floats from 0 to 1\n  fix       divide them by 255, or give uint8",
        ),
        (b"", "data error: the image cannot be decoded\n  got       an empty file"),
        (
            "no\0path",
            'data error: the path of an image has a character that no path has\n  got       "no\\u0000path"',
        ),
        ("/not/a.png", "data error: the image /not/a.png cannot be read\n  got       No such file or directory"),
        ({"file": "a.png"}, "data error: the row has no 'path', which names the image\n  got       [\"file\"]\n"
                            "  expected  path"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_told(value, message):
    """In one sentence, with what was given and what is taken."""
    with pytest.raises(DataError) as caught:
        one(value)
    assert str(caught.value) == message


def test_narrow_image_does_not_fill_the_memory():
    """Its shorter side would be scaled to the size, and the longer one with it."""
    with pytest.raises(DataError) as caught:
        one(np.zeros((1, 60_000), np.uint8), {**COLOUR, "size": 224})
    assert str(caught.value) == (
        "data error: the image is too narrow to be scaled\n  got       1 x 60000 pixels\n"
        "  expected  a shorter side that can become 224 pixels"
    )


@given(content=st.binary(max_size=200), kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]),
       place=st.integers(0, 10**6), state=st.sampled_from([COLOUR, {**GREY, "size": 7}]))  # fmt: skip
def test_damaged_file_is_an_image_or_told(content, kind, place, state):
    """Nothing else comes of one, whatever was written into it."""
    whole = encoded(picture(2), kind)
    place %= len(whole)
    for damaged in (content, whole[:place] + content + whole[place + len(content) :], whole[:place]):
        try:
            found = one(damaged, state)
        except DataError as error:
            assert str(error).startswith("data error: the image")
        else:
            assert found.dtype == torch.uint8
            assert found.shape[0] == state["channels"]


@pytest.mark.parametrize(
    "state",
    [
        {"size": 0},
        {"size": [3]},
        {"size": "large"},
        {"channels": 4},
        {"mean": [0.1]},
        {"std": ["a", "b", "c"]},
        {"takes_files": "yes"},
        {"column": 3},
    ],
    ids=str,
)
def test_malformed_state_is_a_checkpoint_error(state):
    """It came out of a file."""
    with pytest.raises(CheckpointError, match="checkpoint error: how images are prepared: "):
        load_preprocessing({"kind": "image", **state})


def test_dataset_that_reads_files_in_its_own_way_takes_none():
    """Files would be read in another; arrays are as it gives them."""
    state = {**COLOUR, "takes_files": False}
    with pytest.raises(DataError) as caught:
        one("a.png", state)
    assert str(caught.value) == (
        "data error: the dataset of training reads files in a way of its own\n"
        f"  got       a file\n  expected  {ARRAYS}\n"
        "  fix       give the dataset a `preprocessing` that says how, as docs/inputs.md has it, and train again"
    )
    assert one(np.zeros((4, 5, 3), np.uint8), state).shape == (3, 4, 5)
