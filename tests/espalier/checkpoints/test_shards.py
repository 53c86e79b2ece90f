"""Checkpoints whose tensors are in shards: whole or not there, the same for any number of processes, never a door."""

import io
import json
import os
import pickle
import shutil
import signal
import threading
import traceback
import zipfile
import zlib
from collections import OrderedDict

import pytest
import torch
from torch import distributed as dist
from torch import nn

from espalier.checkpoints import shards
from espalier.checkpoints.file import check_intact, load_checkpoint, save_checkpoint
from espalier.checkpoints.folder import CheckpointFolder, newest_checkpoint, sweep_shards
from espalier.checkpoints.sharded_file import describe_shards, load_tensors, shards_in
from espalier.checkpoints.shards import begin_save, load_into, new_folder
from espalier.checkpoints.split_state import merge_tensors, split_tensors
from espalier.checkpoints.weights_file import load_weights_file
from espalier.errors import CheckpointError
from espalier.processes.collectives import is_main
from espalier.processes.group import processes_of_run

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the ranks are forked copies of this process")


def state_of(step):
    """A training state that tells its step in every tensor."""
    value = float(step)
    return {
        "epoch": step,
        "arch": "Net",
        "state_dict": OrderedDict({"layer.weight": torch.full((4, 3), value), "layer.bias": torch.full((4,), value)}),
        "optimizer": {
            "state": {0: {"step": torch.tensor(value), "exp_avg": torch.full((4, 3), -value)}},
            "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99), "params": [0, 1]}],
        },
        "ema": None,
        "rng": {"torch": torch.arange(5, dtype=torch.uint8)},
    }


def save(run, state, group=None, **options):
    """Save `state` as a trainer would, on every rank."""
    small, tensors = split_tensors(state)
    folder = new_folder(run, state["epoch"])
    begin_save(folder, tensors, group).result()
    if is_main():
        small["shards"] = describe_shards(folder)
        CheckpointFolder(run).save(small, **options)
    return folder


def is_same(one, other):
    """Whether two values are equal: types, keys and their order, dtypes, every bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and bits(one) == bits(other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        keys = [(type(key), key) for key in one], [(type(key), key) for key in other]
        return keys[0] == keys[1] and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other


def bits(tensor):
    """The bytes of a tensor."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist() if tensor.numel() else []


def on_ranks(folder, action, num_ranks=2):
    """Run `action(group)` in as many processes that know each other; their exit codes."""
    pids, done, end = [], os.pipe(), os.pipe()
    for rank in range(num_ranks):
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # ends a rank that waits for ever for another
            os.close(end[1])
            try:
                store = f"file://{folder / 'store'}"
                dist.init_process_group("gloo", init_method=store, rank=rank, world_size=num_ranks)
                action(processes_of_run().new_save_group())
                dist.barrier()
                os.write(done[1], b".")
                os.close(done[1])
                os.read(end[0], 1)  # gloo aborts where another rank is gone before its part of the barrier has ended
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        pids.append(pid)
    os.close(done[1])
    for _ in pids:
        os.read(done[0], 1)  # nothing, once all that have not come so far are gone
    for opened in (done[0], *reversed(end)):
        os.close(opened)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    (folder / "store").unlink()
    return codes


def make_model(seed):
    """A model whose sizes no number of ranks divides."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1))


def step_once(model):
    """Give an optimizer its state."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.linspace(-1, 1, 20).reshape(4, 5)).square().sum().backward()
    optimizer.step()
    return optimizer


def sharded(model):
    """The same model, spread over the ranks."""
    from torch.distributed.fsdp import fully_shard

    return fully_shard(model)


def whole(value):
    """A state with every tensor whole."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    return value.full_tensor() if hasattr(value, "full_tensor") else value


# The state without its tensors


def test_split_tensors_and_merge_tensors_give_the_same_state():
    """Containers, keys and their types, tensors and plain values are what they were."""
    state = state_of(1)
    state["ema"] = [{"0": torch.ones(1), 0: torch.zeros(1)}, (torch.ones(2), None, "tensor")]
    small, tensors = split_tensors(state)
    assert is_same(merge_tensors(small, tensors), state)


def test_split_tensors_leaves_small_parts():
    """Only the weights, what the optimizer keeps of them and their averages are moved."""
    small, tensors = split_tensors(state_of(1))
    assert list(tensors) == [
        "state_dict/layer.weight",
        "state_dict/layer.bias",
        "optimizer/state/0/step",
        "optimizer/state/0/exp_avg",
    ]
    assert torch.equal(small["rng"]["torch"], torch.arange(5, dtype=torch.uint8))


def test_split_tensors_names_are_those_of_one_place():
    """Dots, slashes, numbers and texts of numbers in keys give different names."""
    ones = torch.ones(1)
    part = {"a": {"b": ones, "b/c": ones}, "a/b": ones, "a.b": ones, 0: ones, "0": ones, True: {"c": ones}, -1: [ones]}
    _, tensors = split_tensors({"state_dict": part})
    assert list(tensors) == [
        "state_dict/a/b",
        "state_dict/a/'b/c'",
        "state_dict/'a/b'",
        "state_dict/a.b",
        "state_dict/0",
        "state_dict/'0'",
        "state_dict/<True>/c",
        "state_dict/-1/0",
    ]


def test_merge_tensors_without_a_tensor_names_it():
    """A state with a gap is not returned."""
    small, tensors = split_tensors(state_of(1))
    del tensors["optimizer/state/0/exp_avg"]
    with pytest.raises(CheckpointError) as error:
        merge_tensors(small, tensors)
    assert str(error.value) == ("checkpoint error: the tensor optimizer/state/0/exp_avg was not read from the shards")


# Writing and reading alone


TENSORS = {
    "bfloat16": torch.randn(5).bfloat16(),
    "float8": torch.randn(5).to(torch.float8_e4m3fn),
    "float64": torch.randn(3, dtype=torch.float64),
    "complex": torch.randn(3, dtype=torch.complex64),
    "int": torch.arange(7),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(float("nan")),
    "empty": torch.empty(0, 3),
    "transposed": torch.randn(4, 6).t()[::2],
    "expanded": torch.randn(3, 1).expand(3, 5),
    "view": torch.arange(1000.0)[10:12],
    "parameter": torch.nn.Parameter(torch.randn(2)),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_save_of_any_tensor_loads_the_same(tmp_path, kind):
    """Every bit, the shape and the dtype."""
    state = {"epoch": 1, "state_dict": {"tensor": TENSORS[kind].detach()}}
    save(tmp_path, {**state, "state_dict": {"tensor": TENSORS[kind]}})
    assert is_same(load_checkpoint(tmp_path / "last.pth"), state)


def test_save_loads_the_same_state(tmp_path):
    """With its containers, keys and plain values, under every name of the checkpoint."""
    save(tmp_path, state_of(3), is_epoch_file=True, is_best=True)
    for name in ("last.pth", "model_best.pth", "checkpoint-epoch3.pth"):
        assert is_same(load_checkpoint(tmp_path / name), state_of(3))


def test_load_into_reads_in_place(tmp_path):
    """The tensors of a model are filled where they are."""
    save(tmp_path, state_of(3))
    small = load_checkpoint(tmp_path / "last.pth", with_shards=False)
    _, tensors = split_tensors(state_of(0))
    load_into(*shards_in(small, tmp_path / "last.pth"), tensors)
    assert is_same(merge_tensors(small, tensors), state_of(3))


def test_load_into_of_other_tensors_names_them(tmp_path):
    """What is not in the shards, or of another shape there, is told before anything is read."""
    folder = save(tmp_path, state_of(3))
    tensors = {"state_dict/layer.bias": torch.zeros(5), "state_dict/other": torch.zeros(5)}
    with pytest.raises(CheckpointError) as error:
        load_into(folder, describe_shards(folder)["files"], tensors)
    assert str(error.value) == (
        f"checkpoint error: {folder} does not hold the tensors of this run\n"
        '  missing   ["state_dict/other"]\n'
        '  shape     ["state_dict/layer.bias"]'
    )
    assert torch.equal(tensors["state_dict/layer.bias"], torch.zeros(5))


def test_load_weights_file_of_shards_gives_the_weights(tmp_path):
    """A run can start from the weights of a sharded checkpoint."""
    save(tmp_path, state_of(3))
    assert is_same(dict(load_weights_file(tmp_path / "last.pth").weights), dict(state_of(3)["state_dict"]))


def test_load_checkpoint_through_a_link_finds_the_shards(tmp_path):
    """They are beside the file, not beside a link to it in another folder."""
    (tmp_path / "run").mkdir()
    save(tmp_path / "run", state_of(3))
    (tmp_path / "mine.pth").symlink_to(tmp_path / "run" / "last.pth")
    assert is_same(load_checkpoint(tmp_path / "mine.pth"), state_of(3))


def test_shards_can_be_read_by_torch_alone(tmp_path):
    """They are in the format of torch.distributed.checkpoint, for other tools."""
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    folder = save(tmp_path, state_of(3))
    dcp_to_torch_save(folder, tmp_path / "other.pt")
    assert is_same(torch.load(tmp_path / "other.pt"), dict(split_tensors(state_of(3))[1]))


def test_begin_save_writes_the_values_of_its_call(tmp_path, monkeypatch):
    """Training may change the tensors while they are written."""
    from torch.distributed.checkpoint import state_dict_saver

    may_write, write = threading.Event(), state_dict_saver.save
    monkeypatch.setattr(state_dict_saver, "save", lambda *args, **names: may_write.wait(20) and write(*args, **names))
    tensors = {"weight": torch.ones(3), "scalar": torch.tensor(1.0)}
    future = begin_save(tmp_path / "shards-1-a", tensors)
    for tensor in tensors.values():
        tensor.zero_()
    may_write.set()
    future.result()
    loaded = load_tensors(tmp_path / "shards-1-a", describe_shards(tmp_path / "shards-1-a")["files"])
    assert is_same(loaded, {"weight": torch.ones(3), "scalar": torch.tensor(1.0)})


# Several processes


@needs_fork
def test_shards_of_two_ranks_read_by_one_are_the_full_state(tmp_path):
    """Each rank writes its own part of a sharded model; without them, one process reads the whole."""

    def write(group):
        model = sharded(make_model(seed=1))
        optimizer = step_once(model)
        state = {"epoch": 1, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}
        full = whole(state)
        if is_main():
            torch.save(full, tmp_path / "full.pt")
        save(tmp_path, state, group)

    assert on_ranks(tmp_path, write) == [0, 0]
    state = load_checkpoint(tmp_path / "last.pth")
    assert is_same({**state, "state_dict": dict(state["state_dict"])}, torch.load(tmp_path / "full.pt"))
    model = make_model(seed=2)
    model.load_state_dict(state["state_dict"])
    step_once(model).load_state_dict(state["optimizer"])
    assert len(list(tmp_path.glob("shards-*/*.distcp"))) == 2


@pytest.mark.slow
@needs_fork
def test_shards_of_one_process_are_read_by_two_ranks(tmp_path):
    """Each of them reads its part of a model that was whole when it was saved."""
    model = make_model(seed=1)
    optimizer = step_once(model)
    saved = {"epoch": 1, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}
    save(tmp_path, saved)

    def read(group):
        model = sharded(make_model(seed=2))
        optimizer = step_once(model)
        _, tensors = split_tensors({"state_dict": model.state_dict(), "optimizer": optimizer.state_dict()})
        small = load_checkpoint(tmp_path / "last.pth", with_shards=False)
        load_into(*shards_in(small, tmp_path / "last.pth"), tensors, group)
        state = merge_tensors(small, tensors)
        model.load_state_dict(state["state_dict"])
        optimizer.load_state_dict(state["optimizer"])
        assert is_same(whole(model.state_dict()), dict(saved["state_dict"]))
        assert is_same(whole(optimizer.state_dict()), saved["optimizer"])

    assert on_ranks(tmp_path, read) == [0, 0]


@needs_fork
def test_shards_that_one_rank_cannot_write_fail_on_all(tmp_path):
    """Both are told what the disk said, and nothing is left."""

    def write(group):
        if not is_main():
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        model = sharded(nn.Linear(100, 101))
        folder = new_folder(tmp_path, 1)
        with pytest.raises(OSError):
            begin_save(folder, split_tensors({"state_dict": model.state_dict()})[1], group).result()
        dist.barrier()
        assert not folder.exists()

    assert on_ranks(tmp_path, write) == [0, 0]


@needs_fork
def test_shards_that_are_damaged_are_refused_on_all_ranks(tmp_path):
    """Though each rank checks some of the files only."""
    folder = save(tmp_path, state_of(1))
    files = describe_shards(folder)["files"]
    flip_bit(folder / "__0_0.distcp")

    def read(group):
        _, tensors = split_tensors(state_of(0))
        with pytest.raises(CheckpointError, match="__0_0.distcp is damaged"):
            load_into(folder, files, tensors, group)

    assert on_ranks(tmp_path, read) == [0, 0]


# Kills, damage, foreign code


@needs_fork
@pytest.mark.parametrize("moment", ["while shards are written", "between shards and checkpoint"])
def test_save_killed_before_its_checkpoint_leaves_the_one_before(tmp_path, moment):
    """What it has written is removed when the run goes on."""
    old = save(tmp_path, state_of(1))
    pid = os.fork()
    if pid == 0:
        if moment == "while shards are written":
            shards.replace_text = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
        else:
            CheckpointFolder.save = lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL)
        save(tmp_path, state_of(2))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert is_same(load_checkpoint(newest_checkpoint(tmp_path)[0]), state_of(1))
    assert len(list(tmp_path.glob("shards-*"))) == 2
    CheckpointFolder(tmp_path).sweep()
    assert list(tmp_path.glob("shards-*")) == [old]


def flip_bit(path):
    """Damage a file without changing its size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGES = {
    "a flipped bit": (
        lambda folder: flip_bit(folder / "__0_0.distcp"),
        "{folder}/__0_0.distcp is damaged\n  got       CRC {found:08x}\n  expected  CRC {crc:08x}",
    ),
    "a missing file": (lambda folder: (folder / "__0_0.distcp").unlink(), "{folder}/__0_0.distcp is missing"),
    "a cut .metadata": (
        lambda folder: (folder / ".metadata").write_bytes(b"cut"),
        "{folder}/.metadata is cut short or damaged\n  got       3 bytes\n  expected  {size} bytes",
    ),
    "no folder": (
        shutil.rmtree,
        "{folder} is missing, which holds the tensors\n"
        "  fix       keep the folder beside the checkpoint; to copy the one, copy both",
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("read", [load_checkpoint, check_intact, load_weights_file])
def test_damaged_shards_are_refused(tmp_path, kind, read):
    """Nothing is loaded; the message names the file."""
    folder = save(tmp_path, state_of(1))
    files = describe_shards(folder)["files"]
    damage, message = DAMAGES[kind]
    damage(folder)
    shard = folder / "__0_0.distcp"
    message = message.format(folder=folder, size=files[".metadata"][0], crc=files["__0_0.distcp"][1],
                             found=zlib.crc32(shard.read_bytes()) if shard.exists() else 0)  # fmt: skip
    with pytest.raises(CheckpointError) as error:
        read(tmp_path / "last.pth")
    assert str(error.value) == f"checkpoint error: {message}"


def test_newest_checkpoint_passes_over_damaged_shards(tmp_path):
    """The checkpoint before is taken, and the reader is told why."""
    save(tmp_path, state_of(1), is_epoch_file=True)
    folder = save(tmp_path, state_of(2), is_epoch_file=True)
    (folder / "__0_0.distcp").unlink()
    path, skipped = newest_checkpoint(tmp_path)
    assert path == tmp_path / "checkpoint-epoch1.pth"
    assert skipped == [f"{folder}/__0_0.distcp is missing"] * 2


class Payload:
    """A pickle that makes a file when it is opened."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("reader", ["load_checkpoint", "load_into"])
def test_hostile_metadata_is_never_opened(tmp_path, reader):
    """Even where the checkpoint vouches for it: torch would run what is in it."""
    folder = save(tmp_path, state_of(1))
    (folder / ".metadata").write_bytes(pickle.dumps(Payload(f"touch {tmp_path / 'ran'}")))
    files = describe_shards(folder)["files"]
    if reader == "load_checkpoint":
        small, tensors = split_tensors(state_of(1))
        save_checkpoint({**small, "shards": describe_shards(folder)}, tmp_path / "last.pth")
        state = load_checkpoint(tmp_path / "last.pth")
    else:
        small, tensors = split_tensors(state_of(0))
        load_into(folder, files, tensors)
        state = merge_tensors({**small, "epoch": 1}, tensors)
    assert is_same(state, state_of(1))
    assert not (tmp_path / "ran").exists()


def test_hostile_shard_is_refused(tmp_path):
    """A tensor that is none does not run either."""
    folder = save(tmp_path, {"epoch": 1, "state_dict": {"w": torch.ones(2)}})
    torch.save(Payload(f"touch {tmp_path / 'ran'}"), folder / "__0_0.distcp")
    size = (folder / "__0_0.distcp").stat().st_size
    index = {"state_dict/w": {"dtype": "float32", "size": [2], "pieces": [["__0_0.distcp", 0, size, [0], [2]]]}}
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="__0_0.distcp cannot be read"):
        load_tensors(folder, describe_shards(folder)["files"])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_into(folder, describe_shards(folder)["files"], {"state_dict/w": torch.zeros(2)})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pieces": [["../secret", 0, 1000, [0], [2]]]}, "no file of these shards: ../secret"),
        ({"pieces": [["/etc/passwd", 0, 1000, [0], [2]]]}, "no file of these shards: /etc/passwd"),
        ({"pieces": [["__0_0.distcp", 0, 10**9, [0], [2]]]}, "no such bytes: 1000000000 from 0 of __0_0.distcp"),
        ({"pieces": [["__0_0.distcp", 0, 7, [0], [2]]]}, "no such bytes: 7 from 0 of __0_0.distcp"),
        ({"pieces": [["__0_0.distcp", -1, 100, [0], [2]]]}, "no sizes: [-1, 100]"),
        ({"pieces": [["__0_0.distcp", 0, 100, [1], [2]]]}, "a piece outside of its tensor of size [2]"),
        ({"pieces": []}, "pieces that do not cover their tensor of size [2]"),
        ({"dtype": "load"}, "no dtype: load"),
        ({"size": None}, "'NoneType' object is not iterable"),
        ({"size": [1] * 100}, f"no sizes: {json.dumps([1] * 100)[:77]}..."),
        ({"size": [10**4000] * 60}, f"no sizes: [1{'0' * 75}..."),
        (
            {"size": [4], "pieces": [["__0_0.distcp", 0, 100, [at], [2]] for at in (0, 2)]},
            "bytes of two pieces: 0 of __0_0.distcp",
        ),
        (
            {"size": [4], "pieces": [["__0_0.distcp", 99 * at, 100, [2 * at], [2]] for at in (0, 1)]},
            "bytes of two pieces: 99 of __0_0.distcp",
        ),
    ],
)
def test_index_that_names_other_things_is_refused(tmp_path, change, reason):
    """No file outside of the folder, no bytes that are not there, no tensor with gaps."""
    folder = save(tmp_path, {"epoch": 1, "state_dict": {"w": torch.ones(2)}})
    files = describe_shards(folder)["files"]
    entry = {"dtype": "float32", "size": [2], "pieces": [["__0_0.distcp", 0, 100, [0], [2]]]}
    (folder / "index.json").write_text(json.dumps({"w": {**entry, **change}}))
    files["index.json"] = [(folder / "index.json").stat().st_size, zlib.crc32((folder / "index.json").read_bytes())]
    with pytest.raises(CheckpointError) as error:
        load_tensors(folder, files)
    assert str(error.value) == f"checkpoint error: {folder}/index.json is no index of shards\n  got       {reason}"


@pytest.mark.parametrize("reader", ["load_tensors", "load_into"])
def test_shard_that_stands_for_more_than_its_bytes_is_refused(tmp_path, reader):
    """A compressed one, which torch would write out into the memory."""
    folder = save(tmp_path, {"epoch": 1, "state_dict": {"w": torch.ones(2)}})
    plain = io.BytesIO()
    torch.save(torch.zeros(100_000), plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(folder / "__0_0.distcp", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    size = (folder / "__0_0.distcp").stat().st_size
    index = {"w": {"dtype": "float32", "size": [2], "pieces": [["__0_0.distcp", 0, size, [0], [2]]]}}
    (folder / "index.json").write_text(json.dumps(index))
    files = describe_shards(folder)["files"]
    with pytest.raises(CheckpointError) as error:
        load_tensors(folder, files) if reader == "load_tensors" else load_into(folder, files, {"w": torch.zeros(2)})
    told = f"{folder}/__0_0.distcp cannot be read\n  got       the part archive/data.pkl is compressed"
    assert str(error.value).startswith(f"checkpoint error: {told}")


@pytest.mark.parametrize(
    "said",
    [
        {"folder": "../shards-1-a", "files": {}},
        {"folder": "/tmp", "files": {}},
        {"folder": "shards-1-a", "files": {"../a": [1, 1]}},
        {"folder": "shards-1-a", "files": {"index.json": "ab"}},
        {"folder": "shards-1-a"},
    ],
)
def test_checkpoint_that_names_other_files_is_refused(tmp_path, said):
    """It may name only the files of shards, in a folder beside it."""
    path = tmp_path / "last.pth"
    save_checkpoint({"epoch": 1, "state_dict": {}, "shards": said}, path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert str(error.value) == (
        f"checkpoint error: {path} names no shards that we wrote\n"
        f"  got       {json.dumps(said)}\n"
        "  expected  a folder beside it, and size and CRC of the files in it"
    )


# Which shards stay


def test_save_removes_the_shards_that_no_checkpoint_names(tmp_path):
    """Those of the best epoch stay, and those of the newest."""
    best = save(tmp_path, state_of(1), is_best=True)
    save(tmp_path, state_of(2))
    newest = save(tmp_path, state_of(3))
    assert {*tmp_path.glob("shards-*")} == {best, newest}
    assert is_same(load_checkpoint(tmp_path / "model_best.pth"), state_of(1))


def test_sweep_shards_with_a_damaged_checkpoint_removes_nothing(tmp_path):
    """It may have named any of them."""
    folder = save(tmp_path, state_of(1))
    (tmp_path / "last.pth").write_bytes(b"torn")
    sweep_shards(tmp_path)
    assert folder.is_dir()


def test_sweep_shards_leaves_what_is_not_ours(tmp_path):
    """A folder of a name that we do not give, and one that is somewhere else."""
    (tmp_path / "shards-of-mine").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "shards-1-a").symlink_to(tmp_path / "elsewhere")
    sweep_shards(tmp_path)
    assert len(list(tmp_path.glob("shards-*"))) == 2
