"""A bundle gives the model that it was made of; one that is damaged or foreign is refused by a sentence."""

import hashlib
import io
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import UserError
from espalier.export.packed import write_packed
from espalier.inference.bundle import load_bundle
from espalier.inference.bundle_files import BundleError, BundleFiles, is_bundle
from tests.espalier.inference.small_bundle import ABOUT, BIAS, WEIGHT, small_files, small_graph

MEANING = ABOUT["meaning"]
ROWS = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle as a folder; not to be changed."""
    path = tmp_path_factory.mktemp("bundle") / "small"
    write_packed(path, small_files(), "Small")
    return path


@pytest.fixture(scope="module")
def packed(folder):
    """The same as a zip."""
    path = folder.with_suffix(".zip")
    write_packed(path, small_files(), "Small")
    return path


@pytest.fixture
def copy(folder, tmp_path):
    """A folder that may be changed."""
    return shutil.copytree(folder, tmp_path / "copy")


def made(tmp_path, **values):
    """A bundle with other values in `bundle.json`, and checksums that fit."""
    path = tmp_path / "made"
    write_packed(path, small_files(**values), "Small")
    return path


def refusal(path):
    """What is said of a bundle that cannot be loaded."""
    with pytest.raises(UserError) as caught:
        load_bundle(path)
    return str(caught.value)


def sums_mended(folder):
    """Let the checksums fit what is there: whoever makes a hostile bundle does so."""
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    pairs = [(hashlib.sha256((folder / name).read_bytes()).hexdigest(), name) for _, name in lines]
    (folder / "SHA256SUMS").write_text("".join(f"{each}  {name}\n" for each, name in pairs))


@pytest.mark.parametrize("form", ["folder", "packed"])
def test_bundle_predicts_as_its_graph(form, request):
    """Values, labels, probabilities and what is known beside; batches of any size."""
    model = load_bundle(request.getfixturevalue(form))
    found = model.predict(ROWS)
    expected = ROWS @ WEIGHT + BIAS
    np.testing.assert_allclose(found.outputs, expected, rtol=1e-6, atol=1e-6)
    assert found.labels == [("no", "yes")[each] for each in expected.argmax(axis=1)]
    assert model.class_names == ("no", "yes")
    assert model.facts["metrics"] == {"epoch": 3}
    assert (model.facts["name"], model.facts["epoch"]) == ("Small", 3)


def test_bundle_as_zip_has_the_bytes_of_the_folder(folder, packed):
    """Each file is in both, and reading the zip anew gives the same zip."""
    with zipfile.ZipFile(packed) as archive:
        inside = {name.removeprefix("Small/"): archive.read(name) for name in archive.namelist()}
    assert inside == {path.name: path.read_bytes() for path in folder.iterdir()}
    again = packed.with_name("again.zip")
    write_packed(again, {name: each for name, each in inside.items() if name != "SHA256SUMS"}, "Small")
    assert again.read_bytes() == packed.read_bytes()


def test_bundle_is_told_from_other_things(folder, packed, tmp_path):
    """A folder with `bundle.json`, and a zip that has one, intact or not."""
    torch_file = tmp_path / "some.pth"
    with zipfile.ZipFile(torch_file, "w") as archive:
        archive.writestr("some/data.pkl", b"")
    (tmp_path / "text.zip").write_text("no zip")
    found = {path.name: is_bundle(path) for path in (folder, packed, torch_file, tmp_path, tmp_path / "text.zip")}
    assert found == {"small": True, "small.zip": True, "some.pth": False, tmp_path.name: False, "text.zip": True}


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "metrics.json", "config.json"])
def test_bundle_with_a_damaged_file_is_refused(name, copy):
    """Whatever the byte; it is told which file."""
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    found, noted = hashlib.sha256(content).hexdigest(), (copy / "SHA256SUMS").read_text().split(f"  {name}")[0][-64:]
    assert refusal(copy) == (
        f"bundle error: {copy}: {name} is damaged: it has another checksum than in SHA256SUMS\n"
        f"  got       {found}\n  expected  {noted}\n  fix       download or copy it again"
    )


def test_bundle_whose_card_was_edited_is_loaded(copy):
    """The card is for people, who add to it."""
    (copy / "README.md").write_text("# Mine\n")
    assert load_bundle(copy).predict(ROWS).labels


@given(st.data())
def test_bundle_with_any_byte_changed_is_refused_or_the_same(folder, packed, data):
    """In a folder every byte counts but those of the card; of a zip some say nothing of its files."""
    files = small_files()
    content = bytearray(packed.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    changed = packed.with_name("changed.zip")
    changed.write_bytes(content)
    try:
        read = BundleFiles(changed)
        assert all(read.read(name) == files[name] for name in read.names)
        assert {*files} - {"README.md"} == {*read.names}
    except BundleError:
        pass
    sums = bytearray((folder / "SHA256SUMS").read_bytes())
    sums[data.draw(st.integers(0, len(sums) - 1))] ^= data.draw(st.integers(1, 255))
    damaged = folder.with_name("damaged")
    shutil.copytree(folder, damaged, dirs_exist_ok=True)
    (damaged / "SHA256SUMS").write_bytes(sums)
    with pytest.raises(BundleError):
        BundleFiles(damaged)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_bundle_that_is_cut_short_is_refused(share, packed, tmp_path):
    """A download that ended too soon."""
    path = tmp_path / "short.zip"
    content = packed.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    message = refusal(path)
    assert message.startswith(f"bundle error: {path} is no zip file, or cut short\n  got       ")
    assert message.endswith("\n  fix       download or copy it again")


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "Small/../../evil", "..\\evil", "C:/evil"])
def test_bundle_with_a_path_that_leads_out_is_refused(name, packed, tmp_path):
    """Nothing is unpacked of such a zip."""
    path = tmp_path / "out.zip"
    shutil.copy(packed, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"evil")
    assert refusal(path) == (
        f"bundle error: {path} holds a file that would be written outside of its folder\n"
        f"  got       {name}\n  fix       do not unpack it, and ask whoever made it"
    )


def test_bundle_of_a_newer_format_is_refused(tmp_path):
    """It is told what to do."""
    path = made(tmp_path, format=2)
    assert refusal(path) == (
        f"bundle error: {path}: it is of a newer format than this version of espalier reads\n"
        "  got       2\n  expected  at most 1\n  fix       update espalier, or make the bundle anew"
    )


@pytest.mark.parametrize("values", [
    {"format": None}, {"format": True}, {"format": "1"}, {"format": 0}, {"preprocessing": None}, {"preprocessing": {}},
    {"preprocessing": {"kind": "magic"}}, {"meaning": {}}, {"meaning": {"kind": "classes", "more": 1}},
    {"meaning": {**MEANING, "kind": 7}}, {"meaning": {**MEANING, "names": 3}}, {"meaning": {**MEANING, "more": 1}},
    {"batch_size": -1}, {"files": ["model.onnx"]}, {"files": {"onnx": "other.onnx"}},
    {"files": {"onnx": "../model.onnx"}}, {"files": {}}, {"files": {"safetensors": "model.safetensors"}},
    {"arguments": {"transform": 3}}, {"arguments": []}, {"section": None},
    {"outputs": "output"}, {"arguments": {"collate_fn": "no"}}, {"arguments": {"transform": {"eval": 3}}},
])  # fmt: skip
def test_bundle_that_says_something_odd_is_refused(values, tmp_path):
    """By a sentence, though its checksums fit."""
    message = refusal(made(tmp_path, **values))
    assert message.split(" error: ")[0] in ("bundle", "config", "checkpoint", "data")


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "torch.load", "torch.hub.load", "subprocess.run",
                                  "torchvision.io.read_file", "runpy.run_path"])  # fmt: skip
def test_bundle_that_names_code_is_refused(name, tmp_path):
    """A transform is built by the rules for what comes out of a checkpoint."""
    path = made(tmp_path, arguments={"transform": {"type": name, "args": {"command": f"touch {tmp_path}/evil"}}})
    assert "is a name out of a checkpoint that leads to foreign code" in refusal(path)
    assert not (tmp_path / "evil").exists()


def test_bundle_with_a_transform_of_torchvision_uses_it(tmp_path):
    """That of evaluation, ahead of the graph."""
    block = {"train": None, "eval": {"type": "torchvision.transforms.v2.ToDtype", "args": {"dtype": "torch.float32"}}}
    path = made(tmp_path, arguments={"transform": block})
    found = load_bundle(path).predict(ROWS.astype(np.float16))
    assert found.outputs.shape == (9, 2)


def test_bundle_that_is_not_there_is_told(tmp_path):
    """As for a checkpoint."""
    assert refusal(tmp_path / "none") == f"bundle error: there is no {tmp_path / 'none'}"
    assert refusal(tmp_path) == (
        f"bundle error: {tmp_path} is no bundle\n  expected  a folder with bundle.json\n"
        "  fix       a run is loaded by load_model of predict.py, in its project"
    )


def test_zip_bomb_is_refused(tmp_path, packed):
    """A zip that claims to hold far more than its size can."""
    content = packed.read_bytes()
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = archive.getinfo("Small/model.onnx")
    size = info.file_size.to_bytes(4, "little")
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"Small/model.onnx"))
    assert content[place + 24 : place + 28] == size
    path.write_bytes(content[: place + 24] + (2**31).to_bytes(4, "little") + content[place + 28 :])
    assert refusal(path).startswith(f"bundle error: {path} would take far more memory than its size says\n")


def test_link_that_leads_out_of_a_bundle_is_refused(copy, tmp_path):
    """A folder of a stranger does not read files of ours."""
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (copy / "metrics.json").unlink()
    (copy / "metrics.json").symlink_to(secret)
    sums_mended(copy)
    assert refusal(copy).startswith(f"bundle error: {copy}: metrics.json is a link that leads out of it\n")


def test_bundle_with_weights_in_another_file_is_refused(tmp_path):
    """Such a file has no checksum, and may be any of the machine."""
    import onnx
    from onnx.external_data_helper import convert_model_to_external_data

    model = onnx.load_from_string(small_graph())
    convert_model_to_external_data(model, location="weights", size_threshold=0)
    onnx.save(model, tmp_path / "model.onnx")
    files = {**small_files(), "model.onnx": (tmp_path / "model.onnx").read_bytes()}
    for path in (tmp_path / "folder", tmp_path / "packed.zip"):
        write_packed(path, files, "Small")
        assert refusal(path) == (
            f"bundle error: {path}: model.onnx keeps weights in another file, which has no checksum\n"
            "  expected  one file that holds all of it"
        )


def test_zip_with_a_file_that_is_no_graph_is_told(tmp_path):
    """By its name in the zip, not where it was unpacked."""
    path = tmp_path / "packed.zip"
    write_packed(path, {**small_files(), "model.onnx": b"no graph"}, "Small")
    head = f"checkpoint error: {path}/model.onnx is no ONNX file that onnxruntime can run\n"
    assert refusal(path).startswith(head)


def test_bundle_that_was_zipped_anew_is_loaded(folder, tmp_path):
    """By hand, compressed, with or without its folder, with what a desktop adds."""
    for place, root in enumerate(("", "other/")):
        path = tmp_path / f"{place}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            if root:
                archive.writestr(root, b"")
            for each in folder.iterdir():
                archive.write(each, root + each.name)
            archive.writestr("__MACOSX/._model.onnx", b"more")
        assert load_bundle(path).predict(ROWS).labels == load_bundle(folder).predict(ROWS).labels
