"""What the code claims of a GPU, on one of them."""

import contextlib
import copy
import io
import itertools
import warnings

import pytest
import torch

from espalier.checkpoints.file import load_checkpoint
from espalier.data.batch import to_device
from espalier.training.accumulator import Precision
from espalier.training.faults import is_out_of_memory
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.trials.find_batch_size import find_batch_size
from tests.gpu import things
from tests.gpu.things import build, end_of, rows_of, run_ranks, runs_in
from tests.kill import differences
from tests.seams import compute_as, guard_of, sample_of

STEPS = 8  # of an epoch


# Precision and gradients


def test_fp16_that_overflows_lowers_the_scale_and_counts_only_steps_that_were_made(tmp_path, device):
    """The scale halves at each overflow; the optimizer counts as the run does, and no number is lost."""
    sections = {"loss": f"{things.HERE}.loud_loss", "optimizer": {"type": "Adam", "args": {"lr": 1e-4}}}
    if device == "cuda":
        sections["optimizer"]["args"]["fused"] = True
    options = {"precision": "fp16"} if device == "cuda" else {}
    trainer = build(tmp_path, device, sections=sections, clip_grad_norm=1e6, epochs=3, **options)
    if device == "cpu":  # where the config would not ask for it
        precision = Precision("bf16", torch.device("cpu"))
        precision.name = "fp16"
        compute_as(trainer, precision)
    trainer.train()
    state, rows = end_of(tmp_path)
    num_overflows = 3 * STEPS - trainer.step
    assert 0 < num_overflows < 3 * STEPS
    assert state["update"][""]["scaler"]["scale"] == 65536 * 0.5**num_overflows
    assert {int(each["step"]) for each in state["optimizer"]["state"].values()} == {trainer.step}
    assert all(row["grad_norm"] is not None and row["grad_norm"] < 1e6 for row in rows)


def test_bf16_computes_in_it_and_keeps_weights_in_32_bits(tmp_path, device):
    """And learns."""
    dtypes = set()
    trainer = build(tmp_path, device, precision="bf16", epochs=6)
    trainer.model.body[0].register_forward_hook(lambda module, inputs, output: dtypes.add(output.dtype))
    trainer.train()
    rows = rows_of(tmp_path)
    assert dtypes == {torch.bfloat16}
    assert {each.dtype for each in trainer.model.parameters()} == {torch.float32}
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_clipped_step_is_as_long_as_the_limit(tmp_path, device):
    """SGD with a rate of 1 moves the weights by the clipped gradient."""
    sections = {"optimizer": {"type": "SGD", "args": {"lr": 1.0}}}
    trainer = build(tmp_path, device, sections=sections, clip_grad_norm=0.01, max_steps=1, epochs=1)
    before = [each.detach().clone() for each in trainer.model.parameters()]
    trainer.train()
    moved = [now.detach() - each for now, each in zip(trainer.model.parameters(), before, strict=True)]
    assert float(torch.cat([each.flatten() for each in moved]).norm()) == pytest.approx(0.01, rel=1e-3)


def test_step_of_a_loss_that_is_nan_is_skipped(tmp_path, device):
    """One in each epoch; the weights stay finite."""
    trainer = build(tmp_path, device, on_nonfinite="skip", type=f"{things.HERE}.Skipping")
    trainer.train()
    assert (trainer.step, guard_of(trainer).skipped) == (2 * (STEPS - 1), 2)
    assert all(bool(torch.isfinite(each).all()) for each in trainer.model.state_dict().values())


# CUDA graphs


@pytest.mark.parametrize("accumulate", [1, 2])
def test_reduce_overhead_gives_the_numbers_of_eager_with_tensorboard_on(tmp_path, device, accumulate):
    """Losses, averages, the kept sample, and gradients that wait for those of more batches."""
    found = {}
    for mode in (False, "reduce-overhead"):
        folder = tmp_path / str(mode)
        sections = {"arch": {"type": f"{things.HERE}.Net", "args": {"dropout": 0.0}}}
        trainer = build(folder, device, sections=sections, compile=mode, tensorboard=True, accumulate=accumulate,
                        log_step=2)  # fmt: skip
        trainer.train()
        found[mode] = sample_of(trainer)[1].cpu(), end_of(folder)
        assert list((folder / "saved" / "log").rglob("events*"))
    (sample, (state, rows)), (other_sample, (other, other_rows)) = found.values()
    torch.testing.assert_close(sample, other_sample, rtol=1e-3, atol=1e-3)
    for name, value in state["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], value, rtol=1e-3, atol=1e-3)
    assert [row["loss"] for row in other_rows] == pytest.approx([row["loss"] for row in rows], rel=1e-3)


# Bits


def _trained(rank, folder, device, options):
    build(folder, device, **options).train()


def test_deterministic_runs_are_equal_to_the_bit(tmp_path, device):
    """In processes of their own, since it holds for the rest of one."""
    options = {"deterministic": True, "epochs": 2, "channels_last": True}
    for name in ("one", "two"):
        run_ranks(1, _trained, tmp_path / name, device, options)
    assert differences(end_of(tmp_path / "one"), end_of(tmp_path / "two")) == []


def in_two_parts(folder, device, first, second, **options):
    """A run that ends at a step in mid-epoch and is gone on with."""
    build(folder, device, **{**options, **first}).train()
    build(folder, device, **{**options, **second}).train()
    return end_of(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"loader": {"num_workers": 2}},
        {"loader": {"num_workers": 2, "pin_memory": True}, "ema_decay": 0.9, "precision": "bf16"},
        {"channels_last": True, "sections": {"optimizer": {"type": "Adam", "args": {"lr": 0.01, "fused": True}}}},
        {"accumulate": 3, "clip_grad_norm": 0.1},
    ],
    ids=["workers", "pinned, averaged, bf16", "channels_last, fused", "accumulate"],
)
def test_resumed_run_ends_in_the_bits_of_one_that_was_not_stopped(tmp_path, device, options):
    """Dropout draws from the generator of the GPU, the samples from those of the workers."""
    torch.backends.cudnn.deterministic, before = True, torch.backends.cudnn.deterministic
    try:
        build(tmp_path / "one", device, **options).train()
        cut = 2 if "accumulate" in options else STEPS + 3
        resumed = in_two_parts(tmp_path / "two", device, {"max_steps": cut}, {}, **options)
    finally:
        torch.backends.cudnn.deterministic = before
    whole = end_of(tmp_path / "one")
    for state, _ in (whole, resumed):
        state["progress"].pop("is_cut", None), state["progress"].pop("is_told", None)
    assert differences(whole[0]["state_dict"], resumed[0]["state_dict"]) == []
    assert differences(whole[0]["optimizer"], resumed[0]["optimizer"]) == []
    assert differences(whole[0]["rng"], resumed[0]["rng"]) == []
    assert whole[1][-1] == resumed[1][-1]


def test_channels_last_may_be_switched_in_a_run_with_a_fused_optimizer(tmp_path, device):
    """Averages saved in one layout are read in the other."""
    sections = {"optimizer": {"type": "Adam", "args": {"lr": 0.01, "fused": True}},
                "arch": {"type": f"{things.HERE}.Net", "args": {"dropout": 0.0}}}  # fmt: skip
    build(tmp_path / "one", device, sections=sections, epochs=2).train()
    switched = in_two_parts(tmp_path / "two", device, {"epochs": 1}, {"epochs": 2, "channels_last": True},
                            sections=sections)  # fmt: skip
    for name, value in end_of(tmp_path / "one")[0]["state_dict"].items():
        torch.testing.assert_close(switched[0]["state_dict"][name], value, rtol=1e-3, atol=1e-3)


def test_generator_of_the_gpu_is_saved_and_put_back(device):
    """Along with those of the CPU."""
    torch.rand(2, device=device)
    state = copy.deepcopy(get_rng_state())
    first = torch.rand(4, device=device)
    set_rng_state(state)
    assert torch.equal(torch.rand(4, device=device), first)
    assert device == "cpu" or len(state["cuda"]) == torch.cuda.device_count()


# Waiting


class Watched(things.Trainer):
    """Notes what waits for the device in the steps of the second epoch, but the first."""

    found: tuple = ()

    def on_step_end(self):
        if self.step == STEPS + 2:
            self.found = self.caught.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
        if self.step == 2 * STEPS - 1:
            torch.ones(1, device=self.device).item()  # which it must see
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loader": {"num_workers": 2, "pin_memory": True}},
        {"clip_grad_norm": 1.0, "ema_decay": 0.9, "channels_last": True, "precision": "bf16"},
        {"sections": {"lr_scheduler": {"type": "OneCycleLR", "interval": "step",
                                       "args": {"max_lr": 0.01, "total_steps": 16}}}},
    ],
    ids=["plain", "pinned", "averaged", "schedule"],
)  # fmt: skip
def test_no_step_between_two_log_steps_waits_for_the_gpu(tmp_path, gpu, options):
    """Of all that waits in the window the only one is that of the test itself."""
    trainer = build(tmp_path, "cuda", type="tests.gpu.test_one_gpu.Watched", **options)
    with contextlib.ExitStack() as trainer.caught:
        trainer.train()
    waits = [str(each.message) for each in trainer.found if "synchronizing CUDA operation" in str(each.message)]
    assert len(waits) == 1, waits


def test_pinned_batches_are_those_that_are_not(tmp_path, device):
    """Copies that nobody waits for are of what the batch was."""
    for pin in (False, True):
        build(tmp_path / str(pin), device, loader={"num_workers": 2, "pin_memory": pin}).train()
    assert differences(rows_of(tmp_path / "False"), rows_of(tmp_path / "True")) == []


def test_what_comes_back_from_the_device_is_there_when_it_is_read(device):
    """Behind a queue of work; and a batch may be written over as soon as it has been sent."""
    large = torch.full((1024, 1024), 1.0 / 1024, device=device)
    for _ in range(50):
        large = large @ large * 1.0
    assert bool((to_device({"x": large}, torch.device("cpu"))["x"] == 1.0 / 1024).all())
    batch = torch.ones(1 << 20)
    sent = to_device(batch.pin_memory() if device == "cuda" else batch.clone(), torch.device(device))
    batch.zero_()
    assert float(sent.sum()) == 1 << 20


# Checkpoints


def test_checkpoints_behind_the_loop_are_those_in_the_loop(tmp_path, device):
    """Training goes on and writes over what is being saved; and none of them names a GPU."""
    for is_async in (False, True):
        sections = {"arch": {"type": f"{things.HERE}.Wide", "args": {"num_layers": 2}}}
        build(tmp_path / str(is_async), device, sections=sections, async_save=is_async, save_every_steps=1).train()
    (one,), (two,) = runs_in(tmp_path / "False"), runs_in(tmp_path / "True")
    for name in ("checkpoint-epoch1.pth", "checkpoint-epoch2.pth"):
        states = [torch.load(run / name, weights_only=True) for run in (one, two)]
        for state in states:
            del state["config"], state["progress"]["seconds"]
            tensors = [each for each in flat(state) if isinstance(each, torch.Tensor)]
            assert len(tensors) > 20 and {each.device.type for each in tensors} == {"cpu"}
        assert differences(*states) == []


def flat(value):
    """All values inside."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else None
    return [value] if items is None else list(itertools.chain.from_iterable(map(flat, items)))


def test_run_of_a_gpu_goes_on_where_there_is_none(tmp_path, device):
    """On the same samples, though not to the bit."""
    build(tmp_path, device, epochs=1).train()
    run_ranks(1, _trained, tmp_path, "cpu", {"epochs": 2}, env=lambda rank: {"CUDA_VISIBLE_DEVICES": ""})
    state, rows = end_of(tmp_path)
    assert (state["epoch"], state["progress"]["step"], len(rows)) == (2, 2 * STEPS, 2)


# Memory


def _fill_and_multiply(rank):
    blocks = []
    try:
        while True:
            blocks.append(torch.empty(1 << 28, dtype=torch.uint8, device="cuda"))
    except torch.OutOfMemoryError:
        pass
    while True:  # to the last megabytes
        try:
            blocks.append(torch.empty(1 << 21, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            break
    small = blocks[0][: 4 * 256].view(torch.float32).view(16, 16)
    try:
        torch.mm(small, small)  # the handle of cuBLAS and its workspace are made here
        torch.cuda.synchronize()
    except Exception as error:
        return type(error).__name__, str(error), is_out_of_memory(error)
    return None


def test_lack_of_memory_in_cublas_is_recognised(gpu):
    """Whatever it says; where it finds room all the same, nothing is to be said."""
    (found,) = run_ranks(1, _fill_and_multiply)
    assert found is None or found[2], found


def test_lack_of_memory_of_pytorch_is_recognised(device):
    """More than any device has."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, device=device)
    assert is_out_of_memory(caught.value)


def _find_batch_size(rank, folder, device):
    told = io.StringIO()
    if device == "cuda":
        torch.cuda.set_per_process_memory_fraction(min(1.0, 6e9 / torch.cuda.get_device_properties(0).total_memory))
    trainer = build(folder, device, loader={"batch_size": 8, "size": 2064}, arch="Greedy")
    with contextlib.redirect_stdout(told):
        return find_batch_size(trainer, things), told.getvalue()


def test_find_batch_size_ends_where_memory_does(tmp_path, device):
    """A size that does not fit is told, and a smaller one suggested."""
    ((is_found, told),) = run_ranks(1, _find_batch_size, tmp_path, device)
    assert is_found and "out of memory" in told
    assert "Add to the command: data_loader.args.batch_size=" in told


def test_state_of_a_run_on_a_gpu_is_on_it(tmp_path, device):
    """Weights, optimizer and averages; a checkpoint loads on the CPU."""
    trainer = build(tmp_path, device, ema_decay=0.9, epochs=1)
    trainer.train()
    assert trainer.device.type == device
    values = [each for each in flat(trainer.optimizer.state_dict()["state"]) if each.dim()]
    assert {each.device.type for each in [*trainer.model.parameters(), *values]} == {device}
    (run,) = runs_in(tmp_path)
    assert {each.device.type for each in load_checkpoint(run / "last.pth")["ema"]["state_dict"].values()} == {"cpu"}
