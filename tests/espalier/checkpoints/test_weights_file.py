"""Files of weights: each form that is read, and what is told of one that is something else."""

import argparse
import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from espalier.checkpoints.safetensors_file import load_safetensors
from espalier.checkpoints.weights_file import load_weights_file
from espalier.errors import CheckpointError
from espalier.runs.source import choose_checkpoint

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
          "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U64": torch.uint64, "U32": torch.uint32,
          "U16": torch.uint16, "U8": torch.uint8, "BOOL": torch.bool, "C64": torch.complex64,
          "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}  # fmt: skip


def safetensors(header, data=b""):
    """A file of that format."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(begin, end, shape=(2,), dtype="F32"):
    """What its header says of a tensor."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def refusal(path):
    """What is told of a file, without its beginning."""
    with pytest.raises(CheckpointError) as error:
        load_weights_file(path)
    assert str(error.value).startswith(f"checkpoint error: {path} ")
    return str(error.value).removeprefix(f"checkpoint error: {path} ")


# safetensors


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("name", DTYPES)
def test_safetensors_of_each_type_are_read_bitwise(tmp_path, name, shape):
    """Between others, whatever the file is called; the header may be padded and have texts of its own."""
    bits = torch.arange(1, 1 + max(1, torch.Size(shape).numel()) * DTYPES[name].itemsize, dtype=torch.uint8)
    tensor = ((bits % 2).bool() if name == "BOOL" else bits.view(DTYPES[name]))[: torch.Size(shape).numel()]
    data = bytes(tensor.view(torch.uint8).tolist())
    header = {"__metadata__": {"format": "pt"}, "b": entry(1, 1 + len(data), shape, name), "a": entry(0, 1, (1,), "U8")}
    (tmp_path / "w.bin").write_bytes(safetensors(json.dumps(header).encode() + b"   ", b"\7" + data))
    weights, keys = load_weights_file(tmp_path / "w.bin")
    assert (list(weights), keys) == (["a", "b"], [])
    assert torch.equal(weights["a"], torch.tensor([7], dtype=torch.uint8))
    assert (weights["b"].dtype, weights["b"].shape) == (DTYPES[name], torch.Size(shape))
    assert bytes(weights["b"].reshape(-1).view(torch.uint8).tolist()) == data


DAMAGED = {
    "no JSON": (safetensors(b'{"a": ', b""), "Expecting value: line 1 column 7 (char 6)"),
    "another type": (safetensors({"a": entry(0, 8, dtype="F4")}, bytes(8)), 'a is of a type that is not known: "F4"'),
    "another size": (safetensors({"a": entry(0, 8, (3,))}, bytes(8)), "a has 8 bytes, and another shape: [3]"),
    "bytes of two": (safetensors({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
                     "the bytes of b begin at 4 and not at 8, where the one before ends"),
    "bytes of none": (safetensors({"a": entry(0, 8)}, bytes(9)), "its tensors have 8 bytes, and the file 9 for them"),
    "a gap": (safetensors({"a": entry(4, 12)}, bytes(12)),
              "the bytes of a begin at 4 and not at 0, where the one before ends"),
    "backwards": (safetensors({"a": entry(0, -8)}, bytes(8)),
                  'a has no shape or place: {"dtype": "F32", "shape": [2], "data_offsets": [0, -8]}'),
    "no number": (safetensors({"a": entry(0, 8, (2.0,))}, bytes(8)),
                  'a has no shape or place: {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}'),
    "any size of nothing": (safetensors({"a": entry(0, 0, (0,) * 65)}),
                            f"a has 0 bytes, and another shape: {json.dumps([0] * 65)[:77]}..."),
    "no entry": (safetensors({"a": None}), "'NoneType' object is not subscriptable"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_safetensors_whose_header_does_not_hold_are_refused(tmp_path, name):
    """Each byte of it belongs to one tensor, of a size that its shape says."""
    content, reason = DAMAGED[name]
    (tmp_path / "w.safetensors").write_bytes(content)
    assert refusal(tmp_path / "w.safetensors") == f"is a damaged safetensors file\n  got       {reason}"


def test_safetensors_cut_at_any_length_are_refused(tmp_path):
    """Within the header, or within the tensors."""
    path, whole = tmp_path / "w.safetensors", safetensors({"a": entry(0, 4000, (1000,))}, bytes(4000))
    for length in range(9, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is cut short\n"):
            load_safetensors(path)
    assert refusal(path) == (
        f"is cut short\n  got       {length:,} bytes\n  expected  {len(whole):,} bytes, as its header says\n"
        "  fix       download or copy it again"
    )


# What stands around the weights

WEIGHTS = {"a.weight": torch.ones(2), "a.bias": torch.zeros(1)}


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (WEIGHTS, []),
        *(({key: WEIGHTS, "epoch": 3}, [key])
          for key in ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")),
        ({"model_ema": WEIGHTS, "model": WEIGHTS, "optimizer": {"state": {}}}, ["model", "model_ema"]),
        ({"model": {}, "state_dict": None, "model_ema": WEIGHTS}, ["model_ema"]),
    ],
    ids=str,
)  # fmt: skip
def test_weights_are_found_under_each_known_key(tmp_path, content, keys):
    """The first of them is taken, and the others are told."""
    torch.save(content, tmp_path / "w.pth")
    found = load_weights_file(tmp_path / "w.pth")
    assert (found.keys, list(found.weights)) == (keys, list(WEIGHTS))
    assert all(torch.equal(found.weights[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize(
    ("content", "got", "part"),
    [
        ([1], "list", None),
        (torch.ones(2), "a tensor (2,)", None),
        ({}, "an empty dict", None),
        ({"state_dict": {}}, "under state_dict an empty dict", None),
        ({"epoch": 3, "teacher": WEIGHTS}, "a dict with epoch (int), teacher (2 tensors)", '["teacher"]'),
        ({"net": {"a": torch.ones(1)}}, "a dict with net (1 tensor)", '["net"]'),
        ({"model": {"net": WEIGHTS, "size": "s"}}, "under model a dict with net (2 tensors), size (str)",
         '["model"]["net"]'),
        ({"model": {**WEIGHTS, "step": 1}}, "under model a dict with a.weight (a tensor (2,)), a.bias (a tensor (1,)), "
                                            "step (int)", None),
        ({str(number): {} for number in range(9)}, "a dict with 0 (an empty dict), 1 (an empty dict), 2 (an empty "
                                                   "dict), 3 (an empty dict), 4 (an empty dict) and 4 more", None),
    ],
    ids=str,
)  # fmt: skip
def test_file_without_weights_by_name_says_what_it_has(tmp_path, content, got, part):
    """And how to take them out, where they stand under a key of another name."""
    torch.save(content, tmp_path / "w.pth")
    inner = part and part.rsplit('"', 2)[1]
    inside = f'torch.load("{tmp_path / "w.pth"}"){part}'
    fix = f'\n  fix       torch.save({inside}, "weights.pth") writes those of {inner} alone'
    assert refusal(tmp_path / "w.pth") == (
        f"holds no weights by name\n  got       {got}\n  expected  tensors by their names, alone or under one of: "
        f"state_dict, model_state_dict, model, state_dict_ema, model_ema{fix if part else ''}"
    )


@pytest.mark.parametrize("header", [{}, {"__metadata__": {"format": "pt"}}])
def test_safetensors_without_weights_are_refused(tmp_path, header):
    """As other files are."""
    (tmp_path / "w.safetensors").write_bytes(safetensors(header))
    assert refusal(tmp_path / "w.safetensors").startswith("holds no weights by name\n  got       an empty dict\n")


# Files of another kind


def written(write, *values, **named):
    """The bytes that a function writes."""
    file = io.BytesIO()
    write(file, *values, **named)
    return file.getvalue()


def zipped(*names):
    """A zip archive of small files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


SAVED = written(lambda file: torch.save(WEIGHTS, file))
OLD = written(lambda file: torch.save(WEIGHTS, file, _use_new_zipfile_serialization=False))
AGAIN, GIVE = "download or copy it again", "give a file of weights: .pth, .pt, .bin or .safetensors"
PAGE = "download the file itself: from GitHub the raw file, from Hugging Face with /resolve/ in place of /blob/"
KINDS = {
    "empty": (b"", "is empty", None, AGAIN),
    "cut short": (SAVED[:-30], "is cut short", f"{len(SAVED) - 30:,} bytes, without the end of a zip file", AGAIN),
    "text": (b"notes\nof a day", "is a text file", '"notes"', GIVE),
    "one letter": (b"n", "is a text file", '"n"', GIVE),
    "text cut in a letter": ("ä".encode() * 300, "is a text file", '"' + "\\u00e4" * 12 + "\\u00...", GIVE),
    "page": (b"\n<!DOCTYPE html>\n<html>", "is a page of HTML or XML: its download failed", '"<!DOCTYPE html>"', PAGE),
    "refusal of a store": (b"<?xml?><Error>AccessDenied</Error>", "is a page of HTML or XML: its download failed",
                           '"<?xml?><Error>AccessDenied</Error>"', PAGE),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
                "is a pointer of git-lfs, and not the file itself", None, "in its repository: git lfs pull"),
    "npz": (written(np.savez, a=np.ones(2), b=np.ones(1)), "holds arrays of NumPy (.npz)", '["a.npy", "b.npy"]',
            'torch.save({name: torch.from_numpy(each) for name, each in numpy.load("PATH").items()}, "weights.pth")'),
    "npy": (written(np.save, np.ones(2)), "is an array of NumPy (.npy), which has no names", None,
            "save tensors by their names with torch.save"),
    "gzip": (gzip.compress(SAVED), "is compressed (gzip)", None, "unpack it with gunzip, and name what comes out"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(8), "is an HDF5 file, as Keras writes them", None,
             "take the file for PyTorch: .pth or .safetensors"),
    "zip": (zipped("run/last.pth", "run/config.json"), "is a zip archive that torch.save did not write",
            '["run/last.pth", "run/config.json"]', "unpack it, and name the file of weights in it"),
    "TorchScript": (written(lambda file: torch.jit.save(torch.jit.script(nn.Linear(1, 1)), file)),
                    "is TorchScript, which is code", None,
                    'take its weights out: torch.save(torch.jit.load("PATH").state_dict(), "weights.pth")'),
    "old form cut short": (OLD[:-4], "is cut short or damaged", "unexpected EOF, expected 4 more bytes. The file might "
                                                               "be corrupted.", None),
    "picture": (b"\xff\xd8\xff\xe0" + bytes(range(200)), "is no file of torch.save, or damaged",
                "at position 0, opcode b'\\xff' unknown", None),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_file_of_another_kind_is_called_what_it_is(tmp_path, name):
    """None of them is said to hold things that are dangerous."""
    content, what, got, fix = KINDS[name]
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    rows = [f"  got       {got}"] if got else []
    rows += [f"  fix       {fix.replace('PATH', str(path))}"] if fix else []
    assert refusal(path) == "\n".join([what, *rows])


def test_file_with_an_object_in_it_says_how_to_take_its_weights_out(tmp_path):
    """As those of models that were saved whole, or with the arguments of their script."""
    torch.save({"model": WEIGHTS, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    assert refusal(tmp_path / "w.pth") == (
        "holds more than tensors and plain values, so it was not opened\n  got       argparse.Namespace\n"
        f'  fix       if you trust it: loaded = torch.load("{tmp_path / "w.pth"}", weights_only=False), '
        "and torch.save the weights in it alone"
    )


def test_safetensors_given_as_a_checkpoint_are_sent_to_the_config(tmp_path):
    """`-r` takes runs."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors({"a": entry(0, 8)}, bytes(8)))
    with pytest.raises(CheckpointError) as error:
        choose_checkpoint(path)
    assert str(error.value) == (
        f"checkpoint error: {path} is a safetensors file, which has weights and nothing else of a run\n"
        f"  fix       name it in the config: arch.init_from={path}"
    )


def test_file_that_is_not_there_is_refused(tmp_path):
    """A name that is mistyped, a folder, one of files."""
    fix = "  fix       name a file in it: .pth, .pt, .bin or .safetensors"
    assert refusal(tmp_path / "w.pth") == f"is not a file\n  fix       {GIVE}"
    assert refusal(tmp_path) == f"is a folder\n{fix}"
    for name in ("b.pth", "a.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    assert refusal(tmp_path) == f'is a folder\n  got       in it: ["a.safetensors", "b.pth"]\n{fix}'


@pytest.mark.parametrize("read", [load_weights_file, "-r"], ids=["init_from", "-r"])
@pytest.mark.parametrize(
    ("address", "how"), [("https://x.org/a/w.pth", "curl -LO https://x.org/a/w.pth"), ("s3://x/w.pth", "s3://x/w.pth")]
)
def test_address_is_refused_with_what_to_do(read, address, how):
    """Nothing is fetched from it, by none of the ways to name weights."""
    with pytest.raises(CheckpointError) as error:
        choose_checkpoint(Path(address)) if read == "-r" else read(address)
    assert str(error.value) == (
        f"checkpoint error: {address} is an address, and addresses are not fetched\n"
        f"  fix       download it ({how}), and name the file: w.pth"
    )
