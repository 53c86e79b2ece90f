"""Models as libraries have them, under the modes of a run: dict in, an output of their own and their own loss out."""

import argparse
import json
import os
import sys
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import test
from espalier.errors import ConfigError, TrainingError
from espalier.training.criterion import WeightedSum
from espalier.training.misfits import explain_misfits
from espalier.training.outputs import of_output
from parse_config import ConfigParser
from tests.base.test_inputs_and_outputs import Named, built, end_without_config
from tests.cases import cases
from tests.kill import config_for, differences, end_of, only_run
from tests.ranks import run_ranks
from trainer import Trainer

HERE, FORMS = __name__, "tests.base.test_inputs_and_outputs"
OWN = {"loss": {"type": "espalier.losses.OwnLoss"}}
MODES = {
    "accumulate and ema": {"accumulate": 2, "clip_grad_norm": 1.0},
    "swa": {"swa": {"start": "25%", "every": "2 steps"}, "ema_decay": None},
    "bf16": {"precision": "bf16"},
    "sharded, behind the loop": {"checkpoint": "sharded", "async_save": True},
    "recomputation": {"activation_checkpointing": ["layers"]},
    "channels last": {"channels_last": True},
}


def arch(kind):
    """A model that gives its output in a form."""
    return {"type": f"{FORMS}.Trunk", "args": {"kind": kind}, "output": "logits"}


@pytest.mark.parametrize("kind", ["dataclass", pytest.param("model output", marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", cases(MODES, "accumulate and ema", "bf16", "recomputation"))
def test_mode_changes_nothing_in_a_model_of_others_but_what_it_does_in_a_plain_one(
    tmp_path, generators_restored, mode, kind
):
    """The same bits as of one input and one tensor, under each mode."""
    built(tmp_path / "one", trainer=MODES[mode]).train()
    trainer = {"type": f"{FORMS}.WithLabels", **MODES[mode]}
    built(tmp_path / "own", arch=arch(kind), **OWN, trainer=trainer).train()
    ends = [end_without_config(tmp_path / name) for name in ("one", "own")]
    assert differences(*(end["last"]["state_dict"] for end in ends)) == []
    assert differences(*(end["rows"] for end in ends)) == []


@pytest.mark.parametrize("kind", ["dataclass", pytest.param("model output", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "strategy",
    [{"strategy": "ddp"}, pytest.param({"strategy": "fsdp", "fsdp": {"wrap": ["layers"]}}, marks=pytest.mark.slow)],
    ids=["ddp", "fsdp"],
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked from this one")
def test_two_processes_train_a_model_of_others_as_a_plain_one(tmp_path, generators_restored, strategy, kind):
    """Gradients reach the weights through whatever the model gives."""
    for name, more in (("one", {}), ("own", {"arch": arch(kind), **OWN, "type": f"{FORMS}.WithLabels"})):
        more["data_loader"] = {"type": "tests.kill.make_loader", "args": {"batch_size": 8}}
        kept = {"num_processes": 2, "ema_decay": None, **strategy}
        kept.update({"type": more.pop("type")} if "type" in more else {})
        (tmp_path / name).mkdir()
        run_ranks(2, lambda rank, name=name, more=more, kept=kept: built(
            tmp_path / name, **more, trainer=dict(kept)).train())  # fmt: skip
    ends = [end_of(only_run(tmp_path / name))["last"]["state_dict"] for name in ("one", "own")]
    assert differences(*ends) == []


class Auxiliary(nn.Module):
    """Gives a second output in training alone, as Inception does."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.aux = nn.Linear(16, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, inputs):
        """Scores; in training both."""
        hidden = self.body(inputs).relu()
        return Named(self.head(hidden), self.aux(hidden)) if self.training else self.head(hidden)


CE = {"type": "torch.nn.CrossEntropyLoss", "name": "main"}
WITH_AUX = [CE, {"type": "torch.nn.functional.cross_entropy", "output": "loss", "weight": 0.4, "name": "aux"}]


def test_loss_of_an_output_of_training_alone_is_left_out_in_evaluation(tmp_path, generators_restored):
    """It trains; validation and test.py have the other loss, and no number for this one."""
    built(tmp_path, arch={"type": f"{HERE}.Auxiliary", "output": "logits"}, loss=WITH_AUX).train()
    run = only_run(tmp_path)
    for row in end_of(run)["rows"]:
        assert "val_aux" not in row
        assert row["loss"] == pytest.approx(row["main"] + 0.4 * row["aux"], abs=1e-6)
        assert row["val_loss"] == row["val_main"]
    test.main(ConfigParser.from_run(run / "model_best.pth"))
    assert json.loads((run / "test.json").read_text())["evaluations"][-1]["metrics"].keys() == {
        "loss", "main", "accuracy"}  # fmt: skip


def test_loss_of_an_output_that_training_lacks_is_an_error():
    """And so is a sum of which evaluation has no part."""
    loss = of_output(F.cross_entropy, "aux", "loss.output")
    loss.__name__ = "aux"
    weighted, scores, target = WeightedSum([loss], [1.0]), torch.zeros(2, 3), torch.tensor([0, 1])
    for is_training in (True, False):
        with torch.set_grad_enabled(is_training), pytest.raises(TrainingError, match='has no part "aux"'):
            weighted(scores, target)


class Detector(nn.Module):
    """Losses in training, boxes in evaluation."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 3)

    def forward(self, images, targets=None):
        """As those of torchvision."""
        output = self.layer(images)
        if not self.training:
            return [{"boxes": each} for each in output]
        torch._assert(targets is not None, "targets should not be none when in training mode")
        return {"a": F.cross_entropy(output, targets), "b": output.square().mean()}


class DetectionTrainer(Trainer):
    """That of docs/training.md."""

    def _train_epoch(self, epoch):
        self.model.train()
        for _, batch in self.batches(self.data_loader):
            images, targets = self.unpack(batch)
            with self.autocast():
                loss = sum(self.forward((images, targets)).values())
            self.update(loss)
            self.track(loss, None, targets)
        return {**self.train_metrics.result(), **{f"val_{key}": each for key, each in self._valid_epoch(epoch).items()}}

    @torch.no_grad()
    def _valid_epoch(self, epoch):
        self.model.eval()
        for _, batch in self.batches(self.valid_data_loader):
            images, targets = self.unpack(batch)
            self.track(None, self.forward(images), targets)
        return self.valid_metrics.result()


def hits(output, target):
    """A metric of boxes."""
    return (torch.stack([each["boxes"] for each in output]).argmax(1) == target).double().mean()


class Spread:
    """A metric of boxes that sees the whole epoch."""

    __name__ = "spread"

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget all."""
        self.boxes = torch.zeros(0)

    def update(self, output, target):
        """See a batch."""
        self.boxes = torch.cat([self.boxes, *(each["boxes"] for each in output)])

    def compute(self):
        """Of what was seen."""
        return self.boxes.max() - self.boxes.min()


@pytest.mark.parametrize("metric", ["hits", "Spread"])
def test_detector_has_a_loss_in_training_and_metrics_in_evaluation(tmp_path, generators_restored, metric):
    """Nothing stands in the log for what there is not; test.py counts the samples."""
    name = metric.lower()
    trainer = {"type": f"{HERE}.DetectionTrainer", "monitor": f"max val_{name}"}
    sections = {"arch": {"type": f"{HERE}.Detector"}, "metrics": [{"type": f"{HERE}.{metric}", "name": name}]}
    built(tmp_path, **sections, trainer=trainer).train()
    run = only_run(tmp_path)
    for row in end_of(run)["rows"]:
        assert {"loss", name, "val_loss", f"val_{name}"} & row.keys() == {"loss", f"val_{name}"}
    test.main(ConfigParser.from_run(run / "model_best.pth"))
    found = json.loads((run / "test.json").read_text())["evaluations"][-1]
    assert (found["num_samples"] > 0, [*found["metrics"]]) == (True, [name])


class Apart(Trainer):
    """Counts loss and metrics one after the other."""

    def track(self, loss, output, target, *, n=None):
        """In a pass for training and for evaluation."""
        super().track(None, output, target, n=n)
        super().track(loss, None, target, n=n)


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_loss_and_metrics_may_be_counted_apart_in_training_too(tmp_path, generators_restored, policy):
    """The run is that of a trainer that counts them together."""
    for name, kind in (("together", {}), ("apart", {"type": f"{HERE}.Apart"})):
        built(tmp_path / name, trainer={"on_nonfinite": policy, **kind}).train()
    ends = [end_without_config(tmp_path / name) for name in ("together", "apart")]
    assert differences(*(end["last"]["state_dict"] for end in ends)) == []
    for rows in zip(*(end["rows"] for end in ends), strict=True):
        one, other = ({name: each for name, each in row.items() if "seconds" not in name} for row in rows)
        assert one == other and "loss" in one


def test_detector_with_the_loop_of_others_is_told_which_it_needs(tmp_path, generators_restored):
    """In place of an assertion inside of the model; and in evaluation of a loss that takes no boxes."""
    with pytest.raises(TrainingError) as error:
        built(tmp_path, arch={"type": f"{HERE}.Detector"}).train()
    head, got, fix = str(error.value).split("\n")
    assert head == "training error: the model Detector needs its targets in training, and computes its losses"
    assert got == "  got       a tensor (5, 16) of float32"
    assert "DetectionTrainer in docs/training.md" in fix
    with pytest.raises(TrainingError, match="write a _valid_epoch that counts metrics alone"):
        model = Detector().eval()
        with explain_misfits(model, F.nll_loss):
            F.nll_loss(model(torch.zeros(2, 16)), torch.tensor([0, 1]))


def test_images_too_small_for_the_model_are_told():
    """In place of a traceback."""
    model = nn.Sequential(nn.Conv2d(1, 1, 5))
    with (
        pytest.raises(TrainingError, match="the input is too small for the model Sequential"),
        explain_misfits(model, F.nll_loss),
    ):
        model(torch.zeros(1, 1, 3, 3))


def test_lone_checkpoint_of_foreign_code_is_evaluated_with_a_config_that_says_the_same(tmp_path, generators_restored):
    """That is what the error says to do; another section vouches for nothing."""
    trainer = {"type": f"{FORMS}.WithLabels"}
    built(tmp_path, arch=arch("dataclass"), **OWN, trainer=trainer).train()
    run = only_run(tmp_path)
    lone = tmp_path / "lone.pth"
    lone.write_bytes((run / "model_best.pth").read_bytes())
    command = ["-r", str(lone)]
    with pytest.raises(ConfigError, match="and give that with -c"):
        evaluate(command)
    config = json.loads((run / "config.json").read_text())
    (tmp_path / "same.json").write_text(json.dumps(config))
    evaluate([*command, "-c", str(tmp_path / "same.json")])
    config["arch"]["args"]["kind"] = "dict"
    (tmp_path / "other.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="arch.type is a name out of a checkpoint"):
        evaluate([*command, "-c", str(tmp_path / "other.json")])


def evaluate(arguments):
    """As test.py does."""
    parser = argparse.ArgumentParser()
    for flags in (("-r", "--resume"), ("-c", "--config"), ("-d", "--device")):
        parser.add_argument(*flags)
    with mock.patch.object(sys, "argv", ["test.py", *arguments]):
        test.main(ConfigParser.from_args(parser, evaluating=True, strict=True))


@pytest.mark.slow
def test_config_of_transformers_takes_what_it_sets_itself(tmp_path):
    """`num_labels` is no argument by its signature; a name that it has not is refused."""
    transformers = pytest.importorskip("transformers")
    kind = {"type": "transformers.BertConfig", "args": {"num_labels": 4, "hidden_size": 24}}
    bert = {"type": "transformers.BertForSequenceClassification", "args": {"config": kind}}
    config = ConfigParser({**config_for(tmp_path), "arch": bert})
    config.check(sections=("arch",))
    assert config.init_obj("arch", transformers).config.num_labels == 4
    kind["args"]["num_label"] = kind["args"].pop("num_labels")
    config = ConfigParser({**config_for(tmp_path), "arch": bert})
    with pytest.raises(ConfigError, match=r"num_label is not an argument of transformers\.BertConfig"):
        config.check(sections=("arch",))
