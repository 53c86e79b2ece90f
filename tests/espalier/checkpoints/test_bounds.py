"""Files made to fill the memory or to never end are refused before they are loaded; what torch.save writes is not."""

import io
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict

import pytest
import torch
from torch import nn

from espalier.checkpoints.bounds import load_bounded
from espalier.checkpoints.file import check_intact, load_checkpoint, save_checkpoint
from espalier.checkpoints.folder import newest_checkpoint
from espalier.checkpoints.pickle_bounds import check_pickle
from espalier.checkpoints.weights_file import load_weights_file
from espalier.classic.checkpoint import convert
from espalier.errors import CheckpointError

# Pickles written by hand: what no pickler would write.

ORDERED, COUNTER, SIZE = b"ccollections\nOrderedDict\n", b"ccollections\nCounter\n", b"ctorch\nSize\n"
BYTEARRAY, ENCODE = b"c__builtin__\nbytearray\n", b"c_codecs\nencode\n"
STORAGE, REBUILD = b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n"


def number(value):
    """A whole number."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def text(value):
    """A text."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def put(index):
    """Keep what was made last."""
    return b"r" + struct.pack("<I", index)


def get(index):
    """Bring it up again."""
    return b"j" + struct.pack("<I", index)


def dicts(*items):
    """A dict of names and values that are pickled already."""
    return b"}(" + b"".join(items) + b"u"


def written(body):
    """A whole pickle."""
    return b"\x80\x02" + body + b"."


def tensor(size=(1,), stride=(1,), numel=1):
    """A tensor on the record `data/0`, of any size."""
    place = b"(" + text("storage") + STORAGE + text("0") + text("cpu") + number(numel) + b"tQ"
    sizes = (b"(" + b"".join(map(number, each)) + b"t" for each in (size, stride))
    return REBUILD + b"(" + place + number(0) + b"".join(sizes) + b"\x89" + ORDERED + b")RtR"


def archive(path, body, compression=zipfile.ZIP_STORED, names=("data/0",)):
    """A checkpoint with that pickle."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", written(body))
        file.writestr("a/version", "3\n")
        for name in names:
            file.writestr(f"a/{name}", struct.pack("<f", 1))
    return path


LISTS = b"](" + b"](" + number(1) + b"e" + put(0) + b"".join(
    b"](" + get(level) * 2 + b"e" + put(level + 1) for level in range(45)
) + b"e"  # fmt: skip
TUPLES = b"](" + number(1) + b"\x85" + put(0) + b"".join(get(level) * 2 + b"\x86" + put(level + 1)
                                                        for level in range(45)) + b"e"  # fmt: skip
COPIES = b"](" + b"(" + number(1) * 10_000 + b"t" + put(0) + (SIZE + get(0) + b"\x85R") * 1000 + b"e"
STATES = b"](" + dicts(*(text(str(i)) + number(1) for i in range(5000))) + put(0) \
    + (ORDERED + b")R" + get(0) + b"b") * 5000 + b"e"  # fmt: skip
TEXTS = b"](" + text("a" * 100_000) + put(0) + (ENCODE + get(0) + text("latin1") + b"\x86R") * 1000 + b"e"
ITSELF = b"]" + put(0) + get(0) + b"a"
DEEP = b"](" * 5000 + b"e" * 5000
DEEP_TUPLE = b"}" + b")" + b"\x85" * 100_000 + number(1) + b"s"

HOSTILE = {
    "lists doubled 45 times": (LISTS,
                               "146 values stand for 211,106,232,532,953, since they are shared again and again"),
    "tuples doubled 45 times": (TUPLES, "tuples are nested in each other again and again"),
    "tuples nested 100,000 levels": (DEEP_TUPLE, "tuples are nested in each other again and again"),
    "a list that holds itself": (ITSELF, "a list holds itself"),
    "lists nested 5,000 levels": (DEEP, "values are nested more than 220 levels deep"),
    "a tuple copied": (COPIES, "it copies 10,001,000 values, of which it holds fewer than 14,043"),
    "a dict copied": (STATES, "it copies 50,000,000 values, of which it holds fewer than 53,934"),
    "a text copied": (TEXTS, "it copies 100,008,000 values, of which it holds fewer than 111,042"),
    "a text referred to": (b"](" + text("a" * 100_000) + put(0) + get(0) * 100_000 + b"e",
                           "100,010 values stand for 100,101,011, since they are shared again and again"),
    "keys that look alike": (dicts(*(number(k * (2**61 - 1) << 8) + number(1) for k in range(1, 5))),
                             "numbers of more than 64 bits are keys"),
    "a tensor of one number and any size": (tensor((10**12,), (0,)), "4 bytes stand for tensors of 4,000,000,000,000"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("door", "name"),
    [
        pytest.param(door, name, marks=pytest.mark.slow if name == "a text referred to" and door != "weights" else [])
        for door in ("checkpoint", "weights", "intact", "folder", "convert")
        for name in HOSTILE
    ],
)
def test_checkpoint_that_stands_for_more_than_it_holds_is_refused(tmp_path, name, door):
    """On every way by which a checkpoint is read, whatever part of it is so."""
    body, told = HOSTILE[name]
    path = archive(tmp_path / "last.pth", dicts(text("state_dict"), b"}", text("config"), dicts(text("a"), body),
                                                text("shards"), b"N"))  # fmt: skip
    doors = {
        "checkpoint": lambda: load_checkpoint(path),
        "weights": lambda: load_weights_file(path),
        "intact": lambda: check_intact(path),  # for it says that it might have shards
        "folder": lambda: newest_checkpoint(tmp_path),
        "convert": lambda: convert(path, tmp_path / "new.pth", is_trusted=True),
    }
    with pytest.raises(CheckpointError) as error:
        doors[door]()
    what = f"{path} is not read: it would take more memory or time than its size accounts for"
    if door == "folder":
        expected = f"checkpoint error: {tmp_path} has no checkpoint that can be read\n  got       {what}: {told}"
        assert " ".join(str(error.value).split()) == " ".join(expected.split())
    else:
        assert str(error.value) == f"checkpoint error: {what}\n  got       {told}"


@pytest.mark.parametrize("old_format", [False, True])
def test_name_that_asks_for_memory_is_refused(tmp_path, old_format):
    """A bytearray may be as long as one says."""
    body = BYTEARRAY + number(10**12) + b"\x85R"
    path = archive(tmp_path / "a.pth", body)
    if old_format:
        path.write_bytes(b"".join(map(written, (number(torch.serialization.MAGIC_NUMBER), number(1001), b"}", body))))
    with pytest.raises(CheckpointError) as error:
        load_weights_file(path)
    assert str(error.value).startswith(
        f"checkpoint error: {path} holds more than tensors and plain values, so it was not opened\n"
        "  got       builtins.bytearray\n"
    )


# The archive


def refusal(path):
    """Why a file is not read."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    head, _, told = str(error.value).partition("\n  got       ")
    assert head == (f"checkpoint error: {path} is not read: it would take more memory or time than its size accounts "
                    "for")  # fmt: skip
    return told


GOOD = dicts(text("state_dict"), dicts(text("w"), tensor()))


def test_archive_of_a_small_checkpoint_is_read(tmp_path):
    """What the tests below change is in order."""
    assert load_checkpoint(archive(tmp_path / "a.pth", GOOD))["state_dict"]["w"].tolist() == [1]


def test_archive_with_a_compressed_part_is_refused(tmp_path):
    """A thousandth of the bytes would be enough."""
    path = archive(tmp_path / "a.pth", GOOD, zipfile.ZIP_DEFLATED)
    assert refusal(path).startswith("the part a/data.pkl is compressed: ")


def test_archive_with_a_record_of_many_names_is_refused(tmp_path):
    """Torch finds `data/A` for `data/a`, and so one record under thousands of names."""
    path = archive(tmp_path / "a.pth", GOOD, names=("data/0", "data/abc"))
    assert refusal(path) == "no record of a tensor: a/data/abc"


def changed(path, signature, offset, value):
    """The file with a number in its list of parts changed: in the entry of data/0, or at the end."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"a/data/0") - 46 if signature == b"PK\1\2" else data.rindex(signature)
    assert data[at : at + 4] == signature
    struct.pack_into("<I", data, at + offset, value)
    path.write_bytes(data)


def test_archive_whose_parts_lie_over_each_other_is_refused(tmp_path):
    """Each byte belongs to one part."""
    path = archive(tmp_path / "a.pth", GOOD)
    changed(path, b"PK\1\2", 42, 0)
    assert refusal(path) in ("the part a/data/0 lies over another one", "the part a/data.pkl lies over another one")


def test_archive_with_a_part_longer_than_the_file_is_refused(tmp_path):
    """The sizes are added up before anything is read."""
    path = archive(tmp_path / "a.pth", GOOD)
    changed(path, b"PK\1\2", 20, 10**9)
    changed(path, b"PK\1\2", 24, 10**9)
    assert refusal(path) == "a part is longer than the file"


def test_archive_that_two_readers_take_for_two_is_refused(tmp_path):
    """What Python has looked at must be what torch reads: no second list of parts, no text behind the end."""
    path = archive(tmp_path / "a.pth", GOOD)
    whole = path.read_bytes()
    path.write_bytes(b"\0" * 64 + whole)  # Python takes bytes in front of an archive into account
    told = "its list of parts is not where torch looks for it"
    assert refusal(path) == told
    path.write_bytes(whole[:-2] + b"\3\0abc")
    assert refusal(path) == told


def test_archive_of_more_than_4_gb_is_read(tmp_path):
    """Then the list of parts stands where a longer record says."""
    path = archive(tmp_path / "a.pth", GOOD)
    data = path.read_bytes()
    at = data.rindex(b"PK\5\6")
    number_of, size, start = struct.unpack_from("<HII", data, at + 10)
    long = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, number_of, number_of, size, start)
    where = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    short = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(data[:at] + long + where + short)
    assert load_checkpoint(path)["state_dict"]["w"].tolist() == [1]


# What is in order

REAL = {
    "weights": nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict(),
    "parameter": nn.Parameter(torch.ones(2)),
    "buffer": nn.Buffer(torch.ones(2)),
    "counter": Counter({3: 1, 5: 1}),
    "ordered": OrderedDict(a=1),
    "size, dtype, device": [torch.Size([1, 2]), torch.float32, torch.bfloat16, torch.device("cpu")],
    "dtypes": [torch.ones(2).to(each) for each in (torch.uint16, torch.float8_e4m3fn, torch.complex64, torch.bool)],
    "complex": 1 + 2j,
    "sparse": torch.eye(3).to_sparse(),
    "numbers": [2**400, -1, 0.5, None, True, {2**40: 1, -(2**60): 2, 2.5: 3, (1, 2): 4}],
    "shared": [[1, 2, (3, 4)]] * 100,
    "views": [torch.arange(10.0)[2:5], torch.ones(1).expand(1000)],
    "a long text": "a" * 1_000_000,
    "200 levels": None,
}  # fmt: skip
for _ in range(200):
    REAL["200 levels"] = [REAL["200 levels"]]


@pytest.mark.parametrize("name", REAL)
def test_what_torch_save_writes_is_loaded(name):
    """All kinds of values of which a training state is made."""
    file = io.BytesIO()
    torch.save(REAL[name], file)
    assert repr(load_bounded(file)) == repr(REAL[name])


def test_state_of_a_large_model_is_loaded():
    """Hundreds of tensors and an optimizer's averages of them, of which the settings are shared."""
    weights = {f"layers.{i}.weight": torch.ones(1) for i in range(200)}
    averages = {i: {"step": torch.ones(()), "exp_avg": torch.ones(1)} for i in range(200)}
    betas = (0.9, 0.999)
    groups = [{"betas": betas, "params": [i]} for i in range(200)]
    file = io.BytesIO()
    torch.save({"state_dict": weights, "optimizer": {"state": averages, "param_groups": groups}}, file)
    assert load_bounded(file)["optimizer"]["param_groups"] == groups


def test_save_checkpoint_of_what_would_not_be_loaded_writes_nothing(tmp_path):
    """A trainer's own state that holds itself is told when it is saved."""
    circle = []
    circle.append(circle)
    with pytest.raises(TypeError) as error:
        save_checkpoint({"state_dict": {}, "own": circle}, tmp_path / "a.pth")
    assert str(error.value) == "checkpoint: a list holds itself"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", [b"", b"\x80\x02u.", b"\x80\x02R.", b"\x80\x02te.", b"\x80\x02h\x01.", b"\xff"])
def test_pickle_that_is_none_is_an_error(data):
    """Steps without the values that they need, as damage leaves them."""
    with pytest.raises((ValueError, IndexError, KeyError)):
        check_pickle(data + b"x")
