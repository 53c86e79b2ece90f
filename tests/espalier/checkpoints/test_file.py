"""Checkpoint files: whole or not at all, checked before they are read, never a door for foreign code."""

import collections
import contextlib
import errno
import os
import pickle
import random
import re
import signal
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from espalier.atomic import link_atomically
from espalier.checkpoints.file import check_intact, load_checkpoint, save_checkpoint
from espalier.checkpoints.plain import check_plain, copy_to_cpu
from espalier.errors import CheckpointError
from espalier.training.rng_state import get_rng_state
from tests.kill import exit_code_of

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked copy of this process")
OLD = {"state_dict": {"weight": torch.arange(6.0).reshape(2, 3)}, "epoch": 1}
NEW = {"state_dict": {"weight": -torch.arange(6.0).reshape(2, 3)}, "epoch": 2}
LARGE = {"state_dict": {"weight": torch.arange(50_000.0)}, "epoch": 3}  # more than any buffer holds


class Foreign:
    """What an old template pickled into its checkpoints: an object of the project."""


class TaggedTensor(torch.Tensor):
    """A tensor class that only its own project knows."""


def is_same(one, other):
    """Whether two states are equal: types, keys and their order, dtypes, every value; NaN equals NaN."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other or one != one


@pytest.fixture
def path(tmp_path):
    """A checkpoint that holds OLD, alone in its folder."""
    save_checkpoint(OLD, tmp_path / "checkpoint-epoch1.pth")
    return tmp_path / "checkpoint-epoch1.pth"


def names(folder):
    """What is in a folder."""
    return sorted(each.name for each in folder.iterdir())


# what is saved comes back


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(1 - 2**64, 2**64 - 1), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(PLAIN)
def test_save_checkpoint_any_plain_value_is_loaded_back(value):
    """Whatever is made of plain Python values comes back as it was, through the safe loader."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "c.pth"
        save_checkpoint({"state_dict": {}, "value": value}, file)
        assert is_same(load_checkpoint(file)["value"], value)


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor(1.5, dtype=torch.bfloat16),
        torch.empty(0, 3),
        torch.ones(2, 3, dtype=torch.int64).t(),
        torch.nn.Parameter(torch.ones(2)),
        torch.Size([2, 3]),
        torch.float16,
        torch.device("cpu"),
        collections.OrderedDict(b=1, a=torch.ones(1)),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}".split("\n")[0],
)
def test_save_checkpoint_torch_value_is_loaded_back(tmp_path, value):
    """Tensors of all kinds, and the small types around them, come back as they were."""
    save_checkpoint({"state_dict": {}, "value": value}, tmp_path / "c.pth")
    assert is_same(load_checkpoint(tmp_path / "c.pth")["value"], value)


def test_copy_to_cpu_copies_tied_weights_once_and_other_views_each_for_itself():
    """Two names of one tensor stay one; a part of it, or its bits as numbers of another kind, does not."""
    weight = torch.arange(4.0)
    state = {"embed": weight, "out": weight.detach(), "half": weight[:2], "bits": weight.view(torch.int32), "n": [1]}
    copied = copy_to_cpu(state)
    weight.zero_()
    assert copied["embed"] is copied["out"] and copied["n"] == [1]
    assert copied["embed"].tolist() == [0, 1, 2, 3] and copied["half"].tolist() == [0, 1]
    assert len({copied[name].data_ptr() for name in ("embed", "half", "bits")}) == 3


def test_save_checkpoint_leaves_nothing_but_the_file(path):
    """The temporary file has become the checkpoint."""
    assert names(path.parent) == ["checkpoint-epoch1.pth"]


# a save that fails


def interrupt(*args, **kwargs):
    """Stands for a function in which Ctrl-C arrives."""
    raise KeyboardInterrupt


def disk_full(*args, **kwargs):
    """Stands for a function that finds the disk full."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("owner", "name"), [(torch, "save"), (os, "fsync"), (Path, "replace")],
                         ids=["torch.save", "os.fsync", "Path.replace"])  # fmt: skip
@pytest.mark.parametrize("failure", [interrupt, disk_full])
def test_save_checkpoint_that_fails_leaves_the_old_file_and_no_other(path, monkeypatch, owner, name, failure):
    """An exception at any point of a save goes on to the caller, and the folder is as it was."""
    monkeypatch.setattr(owner, name, failure)
    with pytest.raises((KeyboardInterrupt, OSError)):
        save_checkpoint(NEW, path)
    assert names(path.parent) == ["checkpoint-epoch1.pth"]
    monkeypatch.undo()
    assert is_same(load_checkpoint(path), OLD)


@pytest.mark.skipif(os.name == "nt", reason="limits the size of files through the resource module")
@pytest.mark.parametrize("state", [NEW, LARGE], ids=["small", "large"])
def test_save_checkpoint_without_room_is_an_os_error_and_leaves_no_file(path, state):
    """When the system refuses to write more, its own error comes out, and nothing stays behind."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(OSError) as error:
            save_checkpoint(state, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.errno == errno.EFBIG
    assert names(path.parent) == ["checkpoint-epoch1.pth"]
    assert is_same(load_checkpoint(path), OLD)


def test_save_checkpoint_disk_full_in_the_middle_of_torch_is_an_os_error(path, monkeypatch):
    """The cause of a failed write is not hidden behind torch's RuntimeError about file positions."""
    open_file = Path.open

    class FullDisk:
        """A file that takes 100,000 bytes."""

        def __init__(self, file):
            self.file, self.room = file, 100_000

        def write(self, data):
            self.room -= len(data)
            if self.room < 0:
                disk_full()
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

    monkeypatch.setattr(Path, "open", lambda self, mode: FullDisk(open_file(self, mode)))
    with pytest.raises(OSError) as error:
        save_checkpoint(LARGE, path)
    assert error.value.errno == errno.ENOSPC
    assert names(path.parent) == ["checkpoint-epoch1.pth"]


def test_save_checkpoint_to_a_folder_that_is_not_there_is_an_os_error(tmp_path):
    """A missing folder is the system's own error."""
    with pytest.raises(FileNotFoundError):
        save_checkpoint(NEW, tmp_path / "missing" / "c.pth")


# a save that is killed


FILE_OPERATIONS = {"open", "write", "writelines", "flush", "fsync", "link", "unlink", "rename", "replace", "close"}


def dying_at(number, action):
    """`action`, cut off by os._exit(9) just before its file operation number `number`."""
    done = 0

    def profile(frame, event, function):
        nonlocal done
        if event == "c_call" and function.__name__ in FILE_OPERATIONS:
            if done == number:
                os._exit(9)
            done += 1

    def run():
        sys.setprofile(profile)
        action()

    return run


def refuse_link(*args, **kwargs):
    """Stands for os.link on a file system without hard links."""
    raise OSError(errno.EPERM, "Operation not permitted")


def save_over(folder):
    save_checkpoint(NEW, folder / "last.pth")


def link_over(folder):
    save_checkpoint(NEW, folder / "new.pth")
    link_atomically(folder / "new.pth", folder / "last.pth")


def copy_over(folder):
    os.link = refuse_link  # in the forked process only
    link_over(folder)


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize(
    ("action", "least"),
    [(save_over, 5), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((link_over, 8), (copy_over, 10)))],
)
def test_checkpoint_killed_before_any_file_operation_is_old_or_new(tmp_path, action, least):
    """A process that dies at any point leaves under the final name the old state or the new one, whole."""
    seen, deaths = [], 0
    while True:
        save_checkpoint(OLD, tmp_path / "last.pth")
        code = exit_code_of(dying_at(deaths, lambda: action(tmp_path)))
        state = load_checkpoint(tmp_path / "last.pth")
        seen.append(state["epoch"])
        assert is_same(state, OLD) or is_same(state, NEW)
        for each in tmp_path.glob("*.pth"):
            check_intact(each)
        if code == 0:
            break
        assert code == 9
        deaths += 1
    assert deaths >= least
    assert seen == sorted(seen)  # once the new file is there, it stays
    assert (seen[0], seen[-1]) == (1, 2)


@needs_fork
@pytest.mark.parametrize("size", [0, 1, 4096, 100_000])
def test_save_checkpoint_killed_in_the_middle_of_a_write_leaves_the_old_file(tmp_path, size):
    """A process killed after so many bytes leaves the old checkpoint as it was, and the next save works."""
    import resource

    def save():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        save_checkpoint(LARGE, tmp_path / "last.pth")

    save_checkpoint(OLD, tmp_path / "last.pth")
    assert exit_code_of(save) == -signal.SIGXFSZ
    assert is_same(load_checkpoint(tmp_path / "last.pth"), OLD)
    save_checkpoint(LARGE, tmp_path / "last.pth")
    assert names(tmp_path) == ["last.pth"]


# damage


def damage_message(path, saved=OLD):
    """The message with which a file is refused, or "" when it is loaded as `saved`; anything else fails the test."""
    try:
        assert is_same(load_checkpoint(path), saved), "loaded, but not what was saved"
    except CheckpointError as error:
        return str(error)
    return ""


def test_load_checkpoint_cut_at_any_length_is_refused(path):
    """A file that lost its end, however little, is not loaded."""
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 23), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert damage_message(path).startswith(f"checkpoint error: {path} is cut short or damaged\n"), length


def flips(path, start, end, bits):
    """Each single-bit flip of the bytes from `start` to `end` that is neither refused nor harmless."""
    whole, faults = path.read_bytes(), []
    for position in range(start, end):
        for bit in bits(position):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                damage_message(path)
            except BaseException as error:
                faults.append((position - start, bit, repr(error)))
    path.write_bytes(whole)
    return faults


def one_bit(position):
    """One of the eight bits of a byte, another at each place."""
    return (position % 8,)


def layout(path):
    """Where in the file the data of each part, and then the central directory, begin and end."""
    with zipfile.ZipFile(path) as archive:
        whole = path.read_bytes()
        data = {}
        for part in archive.infolist():
            lengths = whole[part.header_offset + 26 : part.header_offset + 30]
            start = (
                part.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            )
            data[part.filename.partition("/")[2]] = (start, start + part.file_size)
        return data, archive.start_dir, len(whole)


@pytest.mark.parametrize("part", ["data.pkl", "data/0", "version", "byteorder"])
def test_load_checkpoint_flipped_bit_of_data_is_refused(path, part):
    """A single wrong bit in what was saved is found by its CRC."""
    (start, end), whole = layout(path)[0][part], path.read_bytes()
    for position in range(start, end, 5 if end - start > 50 else 1):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert damage_message(path) == (
            f"checkpoint error: {path} is damaged\n"
            f"  got       the part {zipfile.ZipFile(path).namelist()[0].partition('/')[0]}/{part} fails its check"
        )  # fmt: skip


@pytest.mark.parametrize("has_crcs", [True, False])
def test_save_checkpoint_has_crcs_whatever_torch_is_set_to(tmp_path, has_crcs):
    """A script may have turned them off for its own files; that stays, also after an error."""
    torch.serialization.set_crc32_options(has_crcs)
    try:
        save_checkpoint(OLD, tmp_path / "x.pth")
        assert torch.serialization.get_crc32_options() is has_crcs
        with pytest.raises(OSError):
            save_checkpoint(OLD, tmp_path / "missing" / "x.pth")
        assert torch.serialization.get_crc32_options() is has_crcs
    finally:
        torch.serialization.set_crc32_options(True)
    (start, _), whole = layout(tmp_path / "x.pth")[0]["data/0"], bytearray((tmp_path / "x.pth").read_bytes())
    load_checkpoint(tmp_path / "x.pth")
    whole[start] ^= 1
    (tmp_path / "x.pth").write_bytes(whole)
    assert damage_message(tmp_path / "x.pth").endswith("data/0 fails its check")


def test_check_intact_flipped_bit_of_a_large_tensor_is_found(tmp_path):
    """At its beginning, in the middle, and in its last byte."""
    path, data = tmp_path / "x.pth", torch.arange(300_000, dtype=torch.int32)
    save_checkpoint({"state_dict": {"a": data}}, path)
    content = path.read_bytes()
    begin = content.index(data.numpy().tobytes())
    for at in (begin, begin + 600_000, begin + 1_199_999):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(CheckpointError, match="fails its check"):
            check_intact(path)


@pytest.mark.slow
def test_load_checkpoint_flipped_bit_of_a_local_header_is_refused_or_harmless(path):
    """A wrong bit before the data of a part never changes what is loaded, nor ends in another exception."""
    starts = [0, *(end for _, end in sorted(layout(path)[0].values()))]
    ends = [start for start, _ in sorted(layout(path)[0].values())]
    assert [fault for start, end in zip(starts, ends, strict=False) for fault in flips(path, start, end, one_bit)] == []


@pytest.mark.slow
def test_load_checkpoint_flipped_bit_of_the_directory_is_refused_or_harmless(path):
    """A wrong bit in the central directory or the end record never changes what is loaded, nor ends otherwise."""
    _, start, end = layout(path)
    assert flips(path, start, end, one_bit) == []


def test_load_checkpoint_any_flipped_bit_of_a_directory_entry_is_refused_or_harmless(path):
    """All eight bits of the entry that says where a tensor lies; one of them makes a folder of the file."""
    name = next(each for each in zipfile.ZipFile(path).namelist() if each.endswith("data/0")).encode()
    start = path.read_bytes().rfind(name) - 46
    assert flips(path, start, start + 46 + len(name), lambda position: range(8)) == []


def test_check_intact_damaged_part_is_named(path):
    """The message says which part is damaged."""
    (start, _), whole = layout(path)[0]["data/0"], bytearray(path.read_bytes())
    whole[start] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CheckpointError) as error:
        check_intact(path)
    assert re.fullmatch(
        re.escape(f"checkpoint error: {path} is damaged\n  got       the part ") + r"[\w-]+/data/0 fails its check",
        str(error.value),
    )


# damage, all of it


@pytest.fixture(scope="module")
def trained():
    """The state of a short training, with all that a trainer saves."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 4)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(10, 8)).square().mean().backward()
        optimizer.step()
        scheduler.step()
    return {
        "arch": "Sequential",
        "epoch": 3,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "monitor_best": float("inf"),
        "config": {"name": "Tiny", "arch": {"type": "Sequential", "args": {"hidden": 16}}, "lr": [0.1, None, True]},
        "lr_scheduler": scheduler.state_dict(),
        "monitor": {"rule": "min val_loss", "best": 0.25, "num_worse": 0},
        "progress": {"step": 3},
        "rng": get_rng_state(),
        "format": 2,
    }


@pytest.fixture
def damaged(tmp_path, trained):
    """A function that writes other bytes where the checkpoint of `trained` was, and counts what comes of it."""
    outcomes = collections.Counter()
    path = tmp_path / "checkpoint-epoch3.pth"

    def load(content):
        path.write_bytes(content)
        outcomes["refused" if damage_message(path, trained) else "loaded, equal"] += 1

    save_checkpoint(trained, path)
    load.path, load.whole, load.outcomes = path, path.read_bytes(), outcomes
    yield load
    print(f"{len(load.whole):,} bytes: {dict(outcomes)}")


@pytest.mark.slow
def test_load_checkpoint_of_a_training_cut_at_every_length_is_refused(damaged):
    """No length but the whole is loaded."""
    for length in range(len(damaged.whole)):
        damaged(damaged.whole[:length])
    assert damaged.outcomes == {"refused": len(damaged.whole)}
    damaged(damaged.whole)
    assert damaged.outcomes["loaded, equal"] == 1


def outside_the_data(path):
    """The places of all bytes that are not the data of a part: headers, padding, directory and end record."""
    data = {place for start, end in layout(path)[0].values() for place in range(start, end)}
    return [place for place in range(path.stat().st_size) if place not in data]


def flipped(whole, place, bit):
    """`whole` with one bit turned."""
    return whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize("bit", range(8))
def test_load_checkpoint_of_a_training_any_flipped_bit_outside_the_data_is_refused_or_harmless(damaged, bit):
    """Every bit of every header, of the directory and of the end record."""
    places = outside_the_data(damaged.path)
    for place in places:
        damaged(flipped(damaged.whole, place, bit))
    assert sum(damaged.outcomes.values()) == len(places) > 1000
    assert damaged.outcomes["refused"] > len(places) // 10  # the rest is padding, times and the like


@pytest.mark.slow
def test_load_checkpoint_of_a_training_flipped_bit_of_data_is_refused(damaged):
    """Five thousand random bits of what was saved."""
    chance = random.Random(0)
    places = sorted({*range(len(damaged.whole))} - {*outside_the_data(damaged.path)})
    for place in chance.choices(places, k=5000):
        damaged(flipped(damaged.whole, place, chance.randrange(8)))
    assert damaged.outcomes == {"refused": 5000}


@pytest.mark.slow
@pytest.mark.parametrize("size", [512, 4096])
def test_load_checkpoint_of_a_training_zeroed_block_is_refused_or_harmless(damaged, size):
    """A block that a disk gives back as zeros, at two hundred random places, aligned as blocks are or not."""
    chance = random.Random(0)
    for turn in range(200):
        start = chance.randrange(len(damaged.whole) - 1)
        start -= start % 512 * (turn % 2)
        end = min(start + size, len(damaged.whole))
        damaged(damaged.whole[:start] + bytes(end - start) + damaged.whole[end:])
    assert damaged.outcomes["refused"] > 150
    assert sum(damaged.outcomes.values()) == 200


@pytest.mark.parametrize("name", ["missing.pth", "."])
def test_load_checkpoint_that_is_no_file_is_refused(path, name):
    """A file that is not there, or a folder, is a message of its own."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path.parent / name)
    assert str(error.value) == (
        f"checkpoint error: {path.parent / name} is not a file\n"
        "  fix       give a checkpoint (.pth) or the folder of a run under saved/models"
    )


# foreign content


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def write_zip(state, path):
    torch.save(state, path)


def write_old_format(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


def write_pickle(state, path):
    path.write_bytes(pickle.dumps(state))


@pytest.mark.parametrize("write", [write_zip, write_old_format, write_pickle])
def test_load_checkpoint_malicious_pickle_is_refused_without_running(tmp_path, write):
    """Code hidden in a checkpoint does not run, in whatever format it comes."""
    write({"state_dict": {}, "epoch": Payload(tmp_path / "harm")}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "c.pth")
    assert names(tmp_path) == ["c.pth"]


def test_load_checkpoint_pickled_object_is_refused_by_name(tmp_path):
    """A checkpoint of an older template, with its config object inside, is refused, and the object is named."""
    torch.save({"state_dict": {}, "config": Foreign()}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "c.pth")
    assert str(error.value) == (
        f"checkpoint error: {tmp_path / 'c.pth'} holds more than tensors and plain values, so it was not opened\n"
        f"  got       {Foreign.__module__}.Foreign\n"
        "  fix       if it is of the classic template and you trust it: "
        f"python parse_config.py --convert {tmp_path / 'c.pth'} new.pth --trust"
    )


@given(st.binary(max_size=40), st.sampled_from([b"", b"\x80\x02}q\x00", b"\x80\x02]("]))
def test_load_checkpoint_any_pickle_bytes_give_a_state_or_a_checkpoint_error(data, start):
    """Whatever stands where the pickle should be, nothing but a CheckpointError comes of it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "c.pth"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("c/data.pkl", start + data)
            archive.writestr("c/byteorder", "little")
            archive.writestr("c/version", "3\n")
        with contextlib.suppress(CheckpointError):
            assert "state_dict" in load_checkpoint(file)


@pytest.mark.parametrize(
    ("content", "has_weights"),
    [([1, 2], False), ({"epoch": 3}, False), (torch.ones(2), False), ({"layer.bias": torch.ones(2)}, True)],
    ids=["list", "dict", "tensor", "weights"],
)
def test_load_checkpoint_without_a_state_dict_is_no_checkpoint(tmp_path, content, has_weights):
    """A .pth file of something else is refused; of weights alone, with where these belong."""
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "c.pth")
    assert str(error.value) == (
        f"checkpoint error: {tmp_path / 'c.pth'} is no training checkpoint\n"
        "  expected  a dict with the key state_dict"
        + has_weights * f"\n  fix       weights alone are named in the config: arch.init_from={tmp_path / 'c.pth'}"
    )  # fmt: skip


def test_load_checkpoint_from_a_gpu_comes_to_the_cpu(path, tmp_path):
    """A checkpoint whose tensors were saved on a GPU loads on a machine without one."""
    from_gpu = tmp_path / "gpu.pth"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(from_gpu, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in content
                content = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            copy.writestr(name, content)
    weight = load_checkpoint(from_gpu)["state_dict"]["weight"]
    assert weight.device == torch.device("cpu")
    assert torch.equal(weight, OLD["state_dict"]["weight"])


# check_plain


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Foreign(), "checkpoint is a Foreign; only tensors and plain Python values can be saved"),
        ({"a": [1, {"b": {1}}]}, "checkpoint['a'][1]['b'] is a set; only tensors and plain Python values can be saved"),
        ({"loss": np.float64(1)}, "checkpoint['loss'] is a float64; only tensors and plain Python values can be saved"),
        ({"a": (1, Path("x"))}, f"checkpoint['a'][1] is a {type(Path('x')).__name__}; only tensors and plain Python "
         "values can be saved"),
        ({"a": collections.defaultdict(int)}, "checkpoint['a'] is a defaultdict; only plain dicts can be saved"),
        ({"a": {frozenset(): 1}}, "checkpoint['a'] key frozenset() is a frozenset; only tensors and plain Python "
         "values can be saved"),
        ({"a": {-(2**64): 1}},
         f"checkpoint['a'] key {-(2**64)} is a number of more than 64 bits, which no key can be"),
        ({"a": lambda: 0}, "checkpoint['a'] is a function; only tensors and plain Python values can be saved"),
        ({"a": [torch.ones(2).as_subclass(TaggedTensor)]},
         "checkpoint['a'][0] is a TaggedTensor; only tensors and plain Python values can be saved"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)  # fmt: skip
def test_check_plain_names_the_place_of_what_cannot_be_loaded_again(value, message):
    """What the safe loader would refuse later is refused before it is written."""
    with pytest.raises(TypeError) as error:
        check_plain(value)
    assert str(error.value) == message


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"bytes",
        torch.ones(2).as_subclass(TaggedTensor),
        torch.ones(2).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
        torch.nn.Buffer(torch.ones(2)),
        torch.ones(2, requires_grad=True) * 2,
        {(1, "a"): 1, None: 2, 2.5: 3},
        2**100,
    ],
    ids=lambda value: f"{type(value).__name__}-{value}".split("\n")[0],
)
def test_check_plain_lets_pass_only_what_is_loaded_back(tmp_path, value):
    """A value is refused at once, or comes back as it was: none is written that cannot be read."""
    try:
        check_plain(value)
    except TypeError:
        return
    save_checkpoint({"state_dict": {}, "value": value}, tmp_path / "c.pth")
    loaded = load_checkpoint(tmp_path / "c.pth")["value"]
    is_sparse = isinstance(value, torch.Tensor) and value.is_sparse
    assert is_same(loaded.to_dense(), value.to_dense()) if is_sparse else is_same(loaded, value)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_check_plain_nested_tensor_is_refused(path):
    """A nested tensor is written without complaint and refused by the safe loader: so it is not written."""
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    with pytest.raises(TypeError, match=r"^checkpoint\['batch'\] is a "):
        save_checkpoint({"state_dict": {}, "batch": nested}, path)


def test_save_checkpoint_value_that_is_not_plain_writes_nothing(path):
    """The refusal comes before the file is touched."""
    with pytest.raises(TypeError, match=r"^checkpoint\['epoch'\] is a Foreign; "):
        save_checkpoint({"state_dict": {}, "epoch": Foreign()}, path)
    assert names(path.parent) == ["checkpoint-epoch1.pth"]
    assert is_same(load_checkpoint(path), OLD)
