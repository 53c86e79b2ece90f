"""What the code claims of several GPUs, by NCCL; rehearsed by Gloo."""

import os

import pytest
import torch
from torch import distributed as dist

from espalier.checkpoints.file import load_checkpoint
from espalier.errors import ConfigError
from espalier.json_file import write_json
from espalier.processes import collectives
from espalier.processes.collectives import device_index, process_group
from tests.gpu import things
from tests.gpu.things import config_for, rows_of, run_ranks, runs_in, together
from tests.kill import differences

two_gpus = pytest.mark.two_gpus
SGD = {"optimizer": {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9}}}  # which does not enlarge what is rounded
NET = {"arch": {"type": f"{things.HERE}.Net", "args": {"dropout": 0.0}}, **SGD}


def synchronised(device):
    """What lets two processes compute as one: batch norm over both, which only GPUs have; on the CPU there is none."""
    norm = {"norm": "BatchNorm2d" if device == "cuda" else "Identity"}
    arch = {"type": f"{things.HERE}.Net", "args": {"dropout": 0.0, **norm}}
    return {"sections": {**NET, "arch": arch}, "sync_batchnorm": device == "cuda"}


CLOSE = {"rtol": 1e-3, "atol": 1e-3}


def assert_same_weights(one, other):
    """But for rounding."""
    assert one[0]["state_dict"].keys() == other[0]["state_dict"].keys()
    for name, value in one[0]["state_dict"].items():
        torch.testing.assert_close(other[0]["state_dict"][name], value, **CLOSE)


@two_gpus
@pytest.mark.parametrize("sync_batchnorm", [False, True])
def test_model_that_is_called_twice_before_its_backward_pass(tmp_path, device, sync_batchnorm):
    """With batch norm, whose statistics change in between; synchronised they are those of one process."""
    options = {"type": f"{things.HERE}.TwoForwards", **(synchronised(device) if sync_batchnorm else {"sections": NET})}
    end, told = together(tmp_path / "two", device, 2, **options)
    assert end[0]["progress"]["step"] == 16
    assert [each[0] for each in told] == (["cuda:0", "cuda:1"] if device == "cuda" else ["cpu", "cpu"])
    if sync_batchnorm:
        assert_same_weights(together(tmp_path / "one", device, 1, **options)[0], end)


@two_gpus
def test_padding_is_not_in_the_statistics_of_all_processes(tmp_path, device):
    """Eight batches of eight leave one sample, of which one process has none."""
    options = {**synchronised(device), "loader": {"size": 81}}
    one, two = (together(tmp_path / str(num), device, num, **options)[0] for num in (1, 2))
    assert one[0]["progress"]["step"] == 18
    assert_same_weights(one, two)


@two_gpus
@pytest.mark.parametrize(
    "options",
    [
        {"fsdp": {"cpu_offload": True, "wrap": ["body"]}},
        {"channels_last": True},
        {"type": f"{things.HERE}.Features", "fsdp": {"methods": ["features"], "wrap": ["body.*"]}},
        {"fsdp": {"wrap": ["body"]}, "clip_grad_norm": 0.1, "accumulate": 2, "checkpoint": "sharded"},
    ],
    ids=["cpu_offload", "channels_last", "methods", "sharded"],
)
def test_divided_model_trains_as_a_whole_one(tmp_path, device, options):
    """On the GPUs, also where its weights lie in the memory of the CPU meanwhile; and goes on from its checkpoint."""
    alone = {name: value for name, value in options.items() if name not in ("fsdp", "checkpoint")}
    one, _ = together(tmp_path / "one", device, 1, **synchronised(device), **alone)
    two, told = together(tmp_path / "two", device, 2, **synchronised(device), strategy="fsdp", **options)
    assert [each[0] for each in told] == (["cuda:0", "cuda:1"] if device == "cuda" else ["cpu", "cpu"])
    is_kept_away = (options.get("fsdp") or {}).get("cpu_offload")
    assert {each[2].split(":")[0] for each in told} == {"cpu" if is_kept_away else device}
    assert_same_weights(one, two)
    more, _ = together(tmp_path / "two", device, 2, **synchronised(device), strategy="fsdp", epochs=3,
                       **options)  # fmt: skip
    assert (more[0]["epoch"], len(more[1])) == (3, 3)


@two_gpus
def test_tied_weights_of_a_divided_model_stay_one(tmp_path, device):
    """In one wrapped module; apart they are refused in words."""
    sections = {"arch": {"type": f"{things.HERE}.Tied"}, **SGD}
    one, _ = together(tmp_path / "one", device, 1, sections=sections)
    two, _ = together(tmp_path / "two", device, 2, sections=sections, strategy="fsdp")
    assert_same_weights(one, two)
    assert torch.equal(two[0]["state_dict"]["first.weight"], two[0]["state_dict"]["second.weight"])
    with pytest.raises(AssertionError, match="brings tied weights together apart from each other: second.weight and"):
        together(tmp_path / "apart", device, 2, sections=sections, strategy="fsdp", fsdp={"wrap": ["first"]})


@two_gpus
def test_divided_model_is_never_whole_on_a_gpu_at_the_start(tmp_path, device):
    """It takes half of its bytes, and one layer more; a whole one takes all."""
    sections = {"arch": {"type": f"{things.HERE}.Wide"}}
    size = sum(each.numel() * 4 for each in things.Wide().parameters())  # 35 MB
    options = {"sections": sections, "epochs": 1}
    (_, divided), (_, whole) = (
        together(tmp_path / name, device, 2, strategy=name, fsdp=fsdp, **options)
        for name, fsdp in (("fsdp", {"wrap": ["layers.*"]}), ("ddp", None))
    )
    if device == "cuda":
        assert all(each[1] < 0.75 * size for each in divided), divided
        assert all(each[1] >= size for each in whole), whole


def _same_device(rank, device):
    with process_group(2 if device == "cuda" else 0):
        where = torch.device(device, device_index()) if device == "cuda" else torch.device("cpu")
        value = torch.ones(3, device=where) * (1 + rank)
        dist.all_reduce(value)
        return str(where), value.tolist()


@two_gpus
def test_process_that_sees_one_gpu_takes_it(device):
    """Each another one, under the number 0."""
    found = run_ranks(2, _same_device, device, env=lambda rank: {"CUDA_VISIBLE_DEVICES": rank})
    assert found == [("cuda:0" if device == "cuda" else "cpu", [3.0] * 3)] * 2


def _refused(rank):
    try:
        with process_group(2):
            return None
    except ConfigError as error:
        return str(error)


def test_two_processes_with_one_gpu_are_refused(gpu):
    """By all of them, before NCCL has begun."""
    first, second = run_ranks(2, _refused, env=lambda rank: {"CUDA_VISIBLE_DEVICES": 0})
    assert first == second
    assert first.startswith("config error: n_gpu needs a GPU for each process\n  got       ranks 0 and 1 on ")


@two_gpus
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [("Failing", 1, "ValueError: a bug"), ("Exploding", 2, "training error: the loss is nan"), ("Terminated", 143, "")],
)
def test_what_happens_to_one_rank_ends_all(tmp_path, run, device, kind, code, words, strategy):
    """Nobody waits for ever, the reason is told, and a run that was stopped goes on to the bit."""
    config = config_for(tmp_path, device, 2, sections=NET, type=f"{things.HERE}.{kind}", strategy=strategy)
    write_json(config, tmp_path / "config.json")
    ended = run("train.py", "-c", str(tmp_path / "config.json"))
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    if kind != "Terminated":
        assert "on rank 1" in ended.stderr or "Rank 1 of 2 failed" in ended.stderr
        return
    (stopped,) = runs_in(tmp_path)
    assert load_checkpoint(stopped / "last.pth")["epoch"] == 1
    again = run("train.py", "-r", str(stopped), "trainer.type=Trainer")
    assert again.returncode == 0, again.stderr
    whole = {**config, "trainer": {**config["trainer"], "type": None, "save_dir": str(tmp_path / "whole" / "saved")}}
    write_json(whole, tmp_path / "config.json")
    assert run("train.py", "-c", str(tmp_path / "config.json")).returncode == 0
    assert differences(rows_of(tmp_path), rows_of(tmp_path / "whole")) == []


def test_ranks_of_these_tests_are_processes_of_a_run():
    """Or they would prove nothing."""
    assert collectives.world_size() == 1 and "RANK" not in os.environ
