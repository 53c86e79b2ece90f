"""Each switch of the trainer changes what it says and nothing else, or is refused."""

import json

import pytest
import torch
from torch import nn

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint
from espalier.errors import ConfigError, TrainingError
from espalier.journal.journal import Journal
from model.loss import nll_loss
from tests.kill import Net, config_for, differences, end_of, make_loader, make_trainer, only_run
from tests.seams import Seams, batch_now, guard_of, look_late, num_unseen
from trainer import Trainer

STEPS = 8  # of an epoch: 38 samples in batches of 5


def trained(folder, kind=Trainer, **trainer):
    """A trainer after its run of two epochs."""
    done = make_trainer(
        config_for(folder, **{"epochs": 2, "save_every_steps": None, **trainer}), make_loader(), kind=kind
    )
    done.train()
    return done


def end(folder, **trainer):
    """How such a run ends."""
    trained(folder, **trainer)
    return end_of(only_run(folder))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """How it ends with every switch off."""
    return end(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("changes", [{"activation_checkpointing": ["layers.*"]}, {"sanity_valid_batches": 1},
                                     {"channels_last": True}, {"clip_grad_value": 1e6}], ids=str)  # fmt: skip
def test_option_that_changes_no_number_ends_in_the_same_bits(tmp_path, plain, changes):
    """What is computed twice, tried before or laid out otherwise gives the same weights and numbers."""
    assert differences(plain, end(tmp_path, **changes)) == []


def test_recomputed_modules_run_again_in_the_backward_pass(tmp_path):
    """Memory is saved by forgetting, and no name in the checkpoint tells of it."""
    calls = []

    class Counting(Seams, Trainer):
        def before_start(self):
            self.model.layers[0].register_forward_hook(lambda *call: calls.append(torch.is_grad_enabled()))

    trained(tmp_path, Counting, epochs=1, limit_valid_batches=1, activation_checkpointing=["layers"])
    assert calls.count(True) == 2 * STEPS
    names = load_checkpoint(only_run(tmp_path) / "last.pth")["state_dict"]
    assert list(names) == list(Net().state_dict())


def test_pattern_that_matches_no_module_is_refused(tmp_path):
    """Nothing is left out in silence."""
    with pytest.raises(
        ConfigError, match=r"activation_checkpointing\.0 matches no module of the model\n  got +\"layer1\""
    ):
        trained(tmp_path, activation_checkpointing=["layer1"])


def test_precision_bf16_computes_in_it_and_keeps_the_weights_as_they_are(tmp_path):
    """The outputs of layers are bfloat16; what is saved is not."""
    seen = set()

    class Watching(Seams, Trainer):
        def before_start(self):
            self.model.layers[0].register_forward_hook(lambda module, args, output: seen.add(output.dtype))

    trained(tmp_path, Watching, precision="bf16")
    assert seen == {torch.bfloat16}
    weights = load_checkpoint(only_run(tmp_path) / "last.pth")["state_dict"]
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}


def test_precision_in_a_loop_without_autocast_is_refused(tmp_path):
    """A loop of one's own that forgets `self.autocast` does not go on in fp32."""

    class Forgetting(Trainer):
        def _train_epoch(self, epoch):
            for _, (data, target) in self.batches(self.data_loader):
                self.update(nll_loss(self.model(data), target))

    with pytest.raises(ConfigError, match=r"trainer\.precision is not done .* that does not use self\.autocast"):
        trained(tmp_path, Forgetting, precision="bf16")


@pytest.mark.parametrize("changes", [{"accumulate": 2}, {"clip_grad_norm": 1.0}, {"clip_grad_value": 1.0},
                                     {"ema_decay": 0.9}, {"precision": "bf16"}], ids=str)  # fmt: skip
def test_option_in_a_loop_that_steps_by_hand_is_refused_before_its_second_batch(tmp_path, changes):
    """Going round `self.update` stays allowed only where nothing is asked of it."""
    batches = []

    class ByHand(Trainer):
        def _train_epoch(self, epoch):
            for batch_idx, (data, target) in self.batches(self.data_loader):
                batches.append(batch_idx)
                nll_loss(self.model(data), target).backward()
                self.optimizer.step()

    (name,) = changes
    with pytest.raises(
        ConfigError, match=rf"trainer\.{name} is not done by a training loop that does not use self\.update"
    ):
        trained(tmp_path, ByHand, **changes)
    assert batches == [0]


def test_accumulate_makes_a_step_in_so_many_batches_and_one_of_the_rest(tmp_path):
    """Eight batches by three: two steps of three and one of two, each epoch."""
    seen = []

    class Counting(Trainer):
        def update(self, loss):
            seen.append("batch")
            super().update(loss)

        def on_step_end(self):
            seen.append("step")

    assert trained(tmp_path, Counting, accumulate=3).step == 6
    assert seen == (["batch"] * 3 + ["step"] + ["batch"] * 3 + ["step"] + ["batch"] * 2 + ["step"]) * 2


def test_clip_grad_norm_is_tracked(tmp_path):
    """The log has the norm before it was clipped, and may be monitored."""
    trained(tmp_path, clip_grad_norm=1e-3, monitor="min grad_norm")
    rows = [json.loads(line) for line in (only_run(tmp_path) / "metrics.jsonl").read_text().splitlines()]
    assert all(row["grad_norm"] > 1e-3 for row in rows)


def test_ema_is_validated_and_saved_beside_the_weights(tmp_path, plain):
    """Training goes as without it; validation sees the average, in which decay 0 is the weights themselves."""
    averaged = end(tmp_path / "a", ema_decay=0.99)
    assert differences(plain["last"]["state_dict"], averaged["last"]["state_dict"]) == []
    assert [row["val_loss"] for row in plain["rows"]] != [row["val_loss"] for row in averaged["rows"]]
    assert differences(averaged["last"]["ema"]["state_dict"], averaged["last"]["state_dict"]) != []
    assert averaged["last"]["ema"]["num_steps"] == 2 * STEPS
    assert differences(plain["rows"], end(tmp_path / "b", ema_decay=0.0)["rows"]) == []


def test_ema_left_in_place_by_a_fault_in_validation_is_taken_out(tmp_path):
    """crash.pth holds the weights of training, not their average."""

    class Failing(Trainer):
        def _valid_epoch(self, epoch):
            for _ in self.batches(self.valid_data_loader):
                raise RuntimeError("in validation")

    with pytest.raises(RuntimeError, match="in validation"):
        trained(tmp_path, Failing, ema_decay=0.99)
    state = load_checkpoint(only_run(tmp_path) / "crash.pth")
    assert differences(state["state_dict"], state["ema"]["state_dict"]) != []


@pytest.mark.parametrize(("most", "epochs", "rows"), [(3, 9, 1), (STEPS, 9, 1), (STEPS + 1, 9, 2), (99, 2, 2)])
def test_max_steps_ends_the_run_after_that_step(tmp_path, most, epochs, rows):
    """The epoch under way is validated and saved as the last; so is a whole one."""
    trainer = trained(tmp_path, max_steps=most, epochs=epochs)
    assert trainer.step == min(most, STEPS * epochs)
    assert load_checkpoint(only_run(tmp_path) / "last.pth")["progress"]["step"] == trainer.step
    written = [json.loads(line) for line in (only_run(tmp_path) / "metrics.jsonl").read_text().splitlines()]
    assert len(written) == rows
    assert "val_loss" in written[-1]
    again = make_trainer(config_for(tmp_path, epochs=epochs, max_steps=most), make_loader(), only_run(tmp_path))
    again.train()
    assert again.step == trainer.step


def test_limits_leave_the_rest_of_the_batches_out(tmp_path):
    """Three batches to train on and one to validate, in each epoch."""
    seen = []

    class Counting(Trainer):
        def track(self, loss, output, target, **options):
            seen.append((self.model.training, len(target)))
            super().track(loss, output, target, **options)

    assert trained(tmp_path, Counting, limit_train_batches=3, limit_valid_batches=1).step == 6
    assert seen == [(True, 5)] * 3 + [(False, 5)] + [(True, 5)] * 3 + [(False, 5)]


def test_sanity_validation_finds_a_fault_before_the_first_step(tmp_path):
    """What would fail after an epoch of hours fails at once."""

    class Failing(Trainer):
        def _valid_epoch(self, epoch):
            raise RuntimeError(f"after {self.step} steps")

    with pytest.raises(RuntimeError, match="after 0 steps"):
        trained(tmp_path, Failing, sanity_valid_batches=2)


def test_deterministic_names_an_operation_that_is_not(tmp_path):
    """An operation without a deterministic form ends the run, by its name."""

    class Drawing(Trainer):
        def _train_epoch(self, epoch):
            torch.empty(3).put_(torch.tensor([0, 0]), torch.ones(2))
            return super()._train_epoch(epoch)

    try:
        with pytest.raises(RuntimeError, match="put_ does not have a deterministic implementation"):
            trained(tmp_path, Drawing, deterministic=True)
    finally:
        torch.use_deterministic_algorithms(False)


def test_methods_to_be_filled_are_called_in_their_order(tmp_path):
    """After each step, after each epoch before it is judged, and at the end."""
    calls = []

    class Filled(Trainer):
        def on_step_end(self):
            calls.append(self.step)

        def on_epoch_end(self, log):
            log["steps"] = len(calls)
            calls.append(f"epoch {log['epoch']}")

        def on_train_end(self):
            calls.append("end")

    trained(tmp_path, Filled)
    assert calls == [*range(1, STEPS + 1), "epoch 1", *range(STEPS + 1, 2 * STEPS + 1), "epoch 2", "end"]
    row = json.loads((only_run(tmp_path) / "metrics.jsonl").read_text().splitlines()[0])
    assert row["steps"] == STEPS


@pytest.mark.slow
def test_compile_gives_the_same_loss_and_names_that_tell_nothing_of_it(tmp_path):
    """A compiled run agrees to rounding, and its checkpoint loads into a plain model."""

    class Dry(Seams, Trainer):  # compiled dropout draws its own numbers
        def before_start(self):
            self.model.layers[3].p = 0.0

    trained(tmp_path / "plain", Dry)
    trained(tmp_path / "compiled", Dry, compile=True)
    plain, compiled = (end_of(only_run(tmp_path / name)) for name in ("plain", "compiled"))
    for row, other in zip(plain["rows"], compiled["rows"], strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert list(compiled["last"]["state_dict"]) == list(Net().state_dict())


def test_channels_last_lays_out_images_and_convolutions(tmp_path):
    """Both the weights and the batches have their channels last in memory."""

    class Images(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 3), nn.LogSoftmax(1))

        def forward(self, inputs):
            seen.append(inputs.is_contiguous(memory_format=torch.channels_last))
            return self.layers(inputs)

    seen = []
    data = torch.utils.data.TensorDataset(torch.randn(20, 2, 4, 4), torch.arange(20) % 3)
    trainer = make_trainer(
        config_for(tmp_path, epochs=1, channels_last=True, save_every_steps=None), make_loader(dataset=data)
    )
    trainer.model = Images()
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
    trainer.lr_scheduler = None
    trainer.train()
    assert set(seen) == {True}
    assert trainer.model.layers[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_precision_fp16_on_a_cpu_is_refused_with_the_reason(tmp_path):
    """It is for GPUs; the message has what a CPU can do."""
    with pytest.raises(ConfigError) as caught:
        trained(tmp_path, precision="fp16")
    assert str(caught.value).splitlines() == [
        "config error: trainer.precision cannot be fp16 on a CPU, which has few operations in it",
        '  got       "fp16"',
        '  expected  "bf16" or "fp32"',
    ]


def test_unpack_says_what_is_input_and_what_is_target(tmp_path):
    """Batches of any kind need one method of a subclass, for training and validation."""

    class Dicts(torch.utils.data.Dataset):
        def __len__(self):
            return 25

        def __getitem__(self, index):
            return {"signal": torch.ones(16) * index, "more": {"label": index % 3}}

    class OfDicts(Trainer):
        def unpack(self, batch):
            return batch["signal"], batch["more"]["label"]

    trainer = make_trainer(config_for(tmp_path, epochs=1), make_loader(dataset=Dicts()), kind=OfDicts)
    trainer.train()
    assert trainer.train_metrics.count("loss") == 20
    assert trainer.valid_metrics.count("loss") == 5


def test_crash_in_the_middle_of_a_window_forgets_what_was_gathered(tmp_path):
    """Half a backward pass cannot be told from a whole one: crash.pth holds neither gradients nor their count."""

    class Failing(Trainer):
        def track(self, *args, **options):
            if batch_now(self) == 4:
                raise RuntimeError("in the second window")
            super().track(*args, **options)

    with pytest.raises(RuntimeError, match="in the second window"):
        trained(tmp_path, Failing, accumulate=3)
    state = load_checkpoint(only_run(tmp_path) / "crash.pth")
    assert state["gradients"] == {}
    assert state["update"][""]["num_batches"] == 0


def rows_of(folder):
    return [json.loads(line) for line in (only_run(folder) / "metrics.jsonl").read_text().splitlines()]


def test_evaluation_amid_an_epoch_reports_and_changes_nothing_of_the_training(tmp_path, plain):
    """A row for each, the weights and generators as without; the best of all of them is kept as the best."""
    changed = end(tmp_path, eval_every_steps=3)
    assert differences(plain["last"]["state_dict"], changed["last"]["state_dict"]) == []
    assert differences(plain["last"]["rng"], changed["last"]["rng"]) == []
    rows = rows_of(tmp_path)
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 3), (1, 6), (1, 8), (2, 9), (2, 12), (2, 15), (2, 16)]
    assert sorted(rows[0]) == ["epoch", "step", "val_accuracy", "val_loss"]
    best = min(rows, key=lambda row: row["val_loss"])
    assert changed["best"]["monitor_best"] == best["val_loss"]
    assert changed["best"]["progress"]["step"] == best["step"]
    assert changed["last"]["monitor"]["bad_epochs"] in (0, 1, 2)  # of epochs, not of seven evaluations


def test_evaluation_leaves_modules_in_the_mode_they_had(tmp_path):
    """Also one that was set apart from the rest."""
    modes = []

    class Partly(Trainer):
        def _train_epoch(self, epoch):
            self.model.layers[3].eval()
            return super()._train_epoch(epoch)

        def update(self, loss):
            modes.append((self.model.training, self.model.layers[3].training))
            super().update(loss)

        def _valid_epoch(self, epoch):
            modes.append("evaluated")
            return super()._valid_epoch(epoch)

    trained(tmp_path, Partly, epochs=1, eval_every_steps=4)
    assert modes.index("evaluated") == 4 and set(modes[:4]) == set(modes[5:9]) == {(True, True)}


@pytest.mark.parametrize("name", ["eval_every_steps", "sanity_valid_batches"])
def test_evaluation_without_validation_data_is_refused(tmp_path, name):
    """Before a folder is made."""
    trainer = make_trainer(config_for(tmp_path, **{name: 1}), make_loader(validation_split=0.0))
    with pytest.raises(ConfigError, match=rf"trainer\.{name} has nothing to evaluate"):
        trainer.train()
    assert not (tmp_path / "saved").exists()


def test_watch_shows_what_modules_give_and_what_gradient_comes_back(tmp_path, plain, monkeypatch):
    """At log steps alone; the first values are those of the batch itself, and training is as without."""
    shown, seen = [], []
    monkeypatch.setattr(Journal, "_tell_of_batch", lambda self, step, values: shown.append((step, values)))

    class Seeing(Trainer):
        def _train_epoch(self, epoch):
            self.model.layers[0].register_forward_hook(lambda module, args, output: seen.append(output.detach()))
            return super()._train_epoch(epoch)

    trained(tmp_path, Seeing, watch=["layers.0", "layers.5"], log_step=4)
    assert [step for step, _ in shown] == [1, 5, 9, 13]
    values = shown[0][1]
    expected = [f"layers.{i}/{what}" for i in (0, 5) for what in
                ("activation_mean", "activation_std", "activation_zeros", "gradient_mean", "gradient_std")]  # fmt: skip
    assert sorted(values) == sorted(expected)
    assert values["layers.0/activation_mean"] == pytest.approx(float(seen[0].mean()), rel=1e-6)
    assert values["layers.0/activation_std"] == pytest.approx(float(seen[0].std(correction=0)), rel=1e-6)
    # The mean over a batch of 5 of the negative log-probability of one in 3 classes: each has 5 gradients of -1/5.
    assert values["layers.5/gradient_mean"] == pytest.approx(-1 / 15, rel=1e-6)
    assert differences(plain["last"]["state_dict"], end_of(only_run(tmp_path))["last"]["state_dict"]) == []


def test_watch_of_no_module_is_refused_before_a_folder_is_made(tmp_path):
    """The pattern is named."""
    with pytest.raises(ConfigError, match=r"trainer\.watch\.0 matches no module"):
        trained(tmp_path, watch=["conv*"])
    assert not (tmp_path / "saved").exists()


def test_profile_records_those_steps_and_changes_nothing(tmp_path, plain, caplog):
    """A trace with the steps' operations, and a table of the most expensive ones."""
    caplog.set_level("INFO")
    ended = end(tmp_path, profile={"steps": [3, 5]})
    assert differences(plain, ended) == []
    (trace,) = (tmp_path / "saved").rglob("*.pt.trace.json")
    events = json.loads(trace.read_text())["traceEvents"]
    steps = [each for each in events if str(each.get("name", "")).startswith("Optimizer.step#")]
    assert trace.name == "steps-3-5.pt.trace.json" and len(steps) == 3
    (text,) = [record.getMessage() for record in caplog.records if record.name == "profile"]
    assert text.startswith("The 10 most expensive operations of steps 3 to 5:") and "aten::" in text


def test_profile_of_steps_that_are_never_made_says_so(tmp_path, caplog):
    """Nothing is left out in silence."""
    trained(tmp_path, epochs=1, profile={"steps": [100, 120]})
    assert "Nothing was profiled: none of the steps 100 to 120 was made here." in caplog.text


def test_frozen_parameters_are_not_told_as_trainable(tmp_path, caplog):
    """The lines at the start count what is trained in the first epoch."""
    caplog.set_level("INFO")
    config = config_for(tmp_path, epochs=1, verbosity=1)
    config["arch"]["freeze"] = ["layers.0"]
    make_trainer(config, make_loader()).train()
    assert "Model Net with 179 parameters, 43 of them trainable." in caplog.text


def test_evaluation_at_the_last_step_of_a_run_is_that_of_its_epoch(tmp_path):
    """Where `max_steps` ends an epoch early, nothing is validated twice."""
    trained(tmp_path, max_steps=6, eval_every_steps=3)
    assert [(row["step"], "loss" in row) for row in rows_of(tmp_path)] == [(3, False), (6, True)]


class Scenes(torch.utils.data.Dataset):
    """Seven images of three channels, each with as many boxes as its number plus one."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return torch.full((3, 4, 4), float(index)), {"boxes": torch.ones(index + 1, 4)}


def as_they_are(samples):
    """The collate function of detection models."""
    return tuple(zip(*samples, strict=True))


@pytest.mark.parametrize(("accumulate", "step"), [(1, 16 + 9), (2, (4 * 16 + 3 * 9) / 7)])
def test_batch_of_images_with_boxes_counts_its_images(tmp_path, accumulate, step):
    """The loss of an epoch and the gradient of a step are means over images, 4 and 3 of them, not channels or boxes."""

    class Detecting(Trainer):
        def __init__(self, model, criterion, metric_ftns, *args, **kwargs):
            super().__init__(model, criterion, [], *args, **kwargs)

        def _train_epoch(self, epoch):
            for _, batch in self.batches(self.data_loader):
                images, targets = self.unpack(batch)
                self.update(self.model.layers[0].bias[0] * len(images) ** 2)
                self.track(torch.stack(images).mean(), images, targets)
            return self.train_metrics.result()

    config = config_for(tmp_path, epochs=1, accumulate=accumulate, monitor="off", save_every_steps=None)
    del config["lr_scheduler"]
    config["optimizer"]["args"] = {"lr": 1.0}
    trainer = make_trainer(config, BaseDataLoader(Scenes(), 4, collate_fn=as_they_are), kind=Detecting)
    before = trainer.model.layers[0].bias[0].item()
    trainer.train()
    assert json.loads((only_run(tmp_path) / "metrics.jsonl").read_text())["loss"] == pytest.approx(3.0)
    assert before - trainer.model.layers[0].bias[0].item() == pytest.approx(step, rel=1e-5)


@pytest.mark.parametrize("bad_batch", [None, 9])
def test_losses_of_a_loop_that_never_tracks_are_looked_at_and_not_kept(tmp_path, monkeypatch, bad_batch):
    """As on a GPU, where losses wait for a look: at each log step, and at the end of a pass."""
    waiting = []

    class Plain(Trainer):
        def _train_epoch(self, epoch):
            for batch_idx, (data, target) in self.batches(self.data_loader):
                loss = self.criterion(self.model(data), target)
                is_bad = bad_batch is not None and 8 * (epoch - 1) + batch_idx == bad_batch
                self.update(loss * float("nan") if is_bad else loss)
                waiting.append(num_unseen(guard_of(self)))
            return {}

    config = config_for(tmp_path, epochs=3, log_step=3, save_every_steps=None, monitor="off")
    trainer = make_trainer(config, make_loader(), kind=Plain)
    look_late(guard_of(trainer))
    if bad_batch is None:
        trainer.train()
        assert waiting == [1, 1, 2, 3, 1, 2, 3, 1] * 3
    else:
        with pytest.raises(TrainingError, match=r"the loss is nan in step 10\n  from      batch 1 of epoch 2"):
            trainer.train()
        assert len(waiting) == 8 + 4


def test_loss_on_a_gpu_behind_the_last_log_step_is_named_at_the_end_of_the_pass(tmp_path):
    """It need not wait for the mean of the epoch, which knows no batch."""

    class Last(Trainer):
        def update(self, loss):
            super().update(loss * float("nan") if self.step == 7 else loss)

        def _valid_epoch(self, epoch):
            raise AssertionError("validates weights that are spoilt")

    trainer = make_trainer(config_for(tmp_path, log_step=3), make_loader(), kind=Last)
    look_late(guard_of(trainer))  # losses are kept, as on a GPU
    with pytest.raises(TrainingError, match=r"the loss is nan in step 8\n  from      batch 7 of epoch 1, samples"):
        trainer.train()


def test_opening_line_counts_optimizer_steps(tmp_path, caplog):
    """Limits and accumulation are taken into account: 6 batches in windows of 4 are 2 steps."""
    trained(tmp_path, epochs=1, limit_train_batches=6, accumulate=4, verbosity=1)
    assert "2 steps per epoch, 38 training samples." in caplog.messages


class Lost(Trainer):
    """Reports a loss in its second epoch that is no number, though every batch had one."""

    def _train_epoch(self, epoch):
        log = super()._train_epoch(epoch)
        return {**log, "loss": float("nan")} if epoch == 2 else log


def test_mean_loss_that_is_no_number_names_its_epoch(tmp_path):
    """The epoch that has just ended, not the one before."""
    trainer = make_trainer(config_for(tmp_path), make_loader(), kind=Lost)
    with pytest.raises(TrainingError, match="the mean loss of epoch 2 is nan in step 16\n  from      end of epoch 2\n"):
        trainer.train()
