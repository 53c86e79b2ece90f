"""Models with several inputs, and with outputs of their own: the same bits as one input and one tensor."""

import copy
import dataclasses
import json
import pathlib
from collections import OrderedDict, UserDict, namedtuple
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import test
import train
from base import BaseTrainer
from espalier.config.schema import key_of
from espalier.data.batch import to_device
from espalier.data.collate import Padded
from espalier.errors import ConfigError, TrainingError
from espalier.training.criterion import bring_along, combine
from espalier.training.outputs import part_of
from parse_config import ConfigParser
from tests.cases import cases
from tests.kill import Net, config_for, differences, end_of, only_run
from trainer import Trainer

HERE = __name__
Both = namedtuple("Both", "left right")


class Halves(Net):
    """Takes its input in two halves."""

    def forward(self, left, right):
        """As of the whole."""
        return self.layers(torch.cat([left, right], 1))


class Together(Net):
    """Takes its input as one thing of two parts."""

    def forward(self, both):
        """As of the whole."""
        left, right = both.values() if isinstance(both, dict) else both
        return self.layers(torch.cat([left, right], 1))


class Trunk(Net):
    """Gives more than one tensor, as its argument says."""

    def __init__(self, kind="named"):
        super().__init__()
        self.kind = kind

    def forward(self, inputs, labels=None):
        """Log-probabilities, and the loss where there are labels."""
        output = self.layers(inputs)
        loss = None if labels is None else F.nll_loss(output, labels)
        return OUTPUTS[self.kind](output, loss)


@dataclasses.dataclass
class Answer:
    """An output as a dataclass."""

    logits: torch.Tensor
    loss: torch.Tensor | None = None


class ModelOutput(OrderedDict):
    """An output as that of transformers: a dict without what is None."""


Named = namedtuple("Named", "logits loss")
OUTPUTS = {
    "named": Named,
    "dataclass": Answer,
    "dict": lambda output, loss: {"loss": loss, "logits": output},
    "model output": lambda output, loss: ModelOutput({"logits": output} if loss is None else
                                                     {"loss": loss, "logits": output}),
    "nested": lambda output, loss: {"heads": [None, {"logits": output}], "loss": loss},
    "tuple": lambda output, loss: (output, loss),
    "tensor": lambda output, loss: output,
}  # fmt: skip
PATHS = {"nested": "heads.1.logits", "tuple": "0"}

FORMS = {
    "tuple": (lambda x: (x[:, :8], x[:, 8:]), "Halves"),
    "dict": (lambda x: {"right": x[:, 8:], "left": x[:, :8]}, "Halves"),
    "mapping": (lambda x: UserDict(left=x[:, :8], right=x[:, 8:]), "Halves"),
    "list": (lambda x: [x[:, :8], x[:, 8:]], "Together"),
    "named": (lambda x: Both(x[:, :8], x[:, 8:]), "Together"),
    "alone": (lambda x: ({"left": x[:, :8], "right": x[:, 8:]},), "Together"),
}


class Formed(Trainer):
    """Gives the input in the form of the config."""

    def unpack(self, batch):
        """By the section "user"."""
        inputs, target = batch
        return FORMS[self.config["user"]["form"]][0](inputs), target


class WithLabels(Trainer):
    """Gives the model its labels by name."""

    def unpack(self, batch):
        """A dict, as of transformers."""
        inputs, target = batch
        return {"inputs": inputs, "labels": target}, target


def built(folder, **sections):
    """A run as train.py builds it."""
    config = config_for(folder, **{"epochs": 2, "ema_decay": 0.9, **sections.pop("trainer", {})})
    config["arch"], config["data_loader"] = {"type": f"{HERE}.Net"}, {"type": "tests.kill.make_loader"}
    config["test_data_loader"] = config["data_loader"]
    return train.build(ConfigParser({**config, **sections}))


def end_without_config(folder):
    """How a run ended, without what its config says of model and loss."""
    end = end_of(only_run(folder))
    for state in (end["last"], end["best"]):
        state.pop("arch", None)
    return end


def formed(folder, form, **trainer):
    """A run whose input comes in a form."""
    sections = {"arch": {"type": f"{HERE}.{FORMS[form][1]}"}, "user": {"form": form}}
    return built(folder, **sections, trainer={"type": f"{HERE}.Formed", **trainer})


@pytest.mark.parametrize("form", cases(FORMS, "tuple", "mapping"))
def test_run_with_several_inputs_ends_in_the_bits_of_one_with_a_single_input(tmp_path, generators_restored, form):
    """A tuple by position, a dict by name, anything else as one argument."""
    built(tmp_path / "one").train()
    formed(tmp_path / "several", form).train()
    assert differences(*(end_without_config(tmp_path / name) for name in ("one", "several"))) == []


@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_run_with_several_inputs_is_resumed_to_its_bits(tmp_path, generators_restored, form):
    """Stopped in the middle of an epoch, too."""
    formed(tmp_path / "whole", form).train()
    formed(tmp_path / "cut", form, max_steps=11).train()
    run = only_run(tmp_path / "cut")
    train.build(ConfigParser.from_run(run, {"trainer.max_steps": None})).train()
    ends = [end_without_config(tmp_path / name)["last"]["state_dict"] for name in ("whole", "cut")]
    assert differences(*ends) == []


@pytest.mark.parametrize(
    "one",
    [torch.zeros(2), [torch.zeros(2)], Padded(torch.zeros(2), torch.ones(2), torch.ones(2)), None, "text",
     pack_sequence([torch.zeros(3), torch.zeros(2)])],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_forward_gives_whatever_is_no_tuple_and_no_dict_as_one_argument(one):
    """On the device, too, as `batches` gives it."""
    trainer = SimpleNamespace(model=lambda *args, **kwargs: (args, kwargs))
    assert BaseTrainer.forward(trainer, one) == ((one,), {})
    moved = to_device(one, torch.device("cpu"))
    assert isinstance(moved, PackedSequence) or type(moved) is type(one)
    assert len(BaseTrainer.forward(trainer, moved)[0]) == 1


@pytest.mark.parametrize("kind", cases(OUTPUTS, "model output", "tuple"))
def test_run_whose_model_gives_several_things_ends_in_the_bits_of_one_that_gives_a_tensor(
    tmp_path, generators_restored, kind
):
    """`arch.output` goes to loss and metrics, in training, validation and test.py."""
    built(tmp_path / "one").train()
    arch = {"type": f"{HERE}.Trunk", "args": {"kind": kind}, "output": PATHS.get(kind, "logits")}
    built(tmp_path / "several", arch=arch).train()
    assert differences(*(end_without_config(tmp_path / name) for name in ("one", "several"))) == []
    evaluated(tmp_path)


def evaluated(folder, **overrides):
    """What test.py finds of the runs "one" and "several", which is the same."""
    found = []
    for name in ("one", "several"):
        run = only_run(folder / name)
        test.main(ConfigParser.from_run(run / "model_best.pth"))
        found.append(json.loads((run / "test.json").read_text())["evaluations"][-1]["metrics"])
    assert found[0] == found[1]


LOSSES = {
    "own": {"type": "espalier.losses.OwnLoss"},
    "own by name": "espalier.losses.OwnLoss",
    "own in a sum": [{"type": "espalier.losses.OwnLoss"}],
    "module of a part": {"type": "torch.nn.NLLLoss", "output": "logits"},
    "function of all": {"type": f"{HERE}.of_all", "output": "*"},
}


def of_all(output, target):
    """A loss that takes all that the model gives."""
    return F.nll_loss(output.logits, target)


@pytest.mark.parametrize("name", cases(LOSSES, "own in a sum", "module of a part"))
def test_run_with_the_loss_of_the_model_ends_in_the_bits_of_one_with_that_loss(tmp_path, generators_restored, name):
    """The metrics take `arch.output`, the loss what it says itself."""
    sections = {"loss": LOSSES[name], "arch": {"type": f"{HERE}.Trunk", "output": "logits"}}
    built(tmp_path / "one").train()
    built(tmp_path / "several", **sections, trainer={"type": f"{HERE}.WithLabels", "accumulate": 1}).train()
    ends = [end_without_config(tmp_path / each) for each in ("one", "several")]
    for row in ends[1]["rows"]:  # a sum names its parts
        row.pop("OwnLoss", None), row.pop("val_OwnLoss", None)
    assert differences(*(end["last"]["state_dict"] for end in ends)) == []
    assert differences(*(end["rows"] for end in ends)) == []
    evaluated(tmp_path) if name != "own in a sum" else None


OUTPUT = ModelOutput(logits=torch.zeros(2, 3), hidden=(torch.zeros(2), torch.ones(2)))


@pytest.mark.parametrize(
    ("path", "key", "rest"),
    [
        ("logit", "arch.output", '  closest   logits\n  fix       write "output": "logits" in place of "logit"'),
        ("hidden.2", "arch.output", None),
        ("loss", "loss.output",
         '  fix       let unpack give the model its labels by name, as in {**inputs, "labels": labels}'),
        ("attentions", "loss.output", "  expected  one of: logits, hidden"),
    ],
)  # fmt: skip
def test_part_that_the_output_has_not_is_told_with_what_it_has(path, key, rest):
    """The path, where it is written, the output, and its parts."""
    with pytest.raises(TrainingError) as error:
        part_of(OUTPUT, path, key)
    head, got, *lines = str(error.value).split("\n")
    assert head == f'training error: the output of the model has no part "{path}", which {key} asks for'
    assert got == f"  got       {HERE}.ModelOutput of {{logits: (2, 3), hidden: [(2,), (2,)]}}"
    assert rest is None or rest in "\n".join(lines)


@pytest.mark.parametrize(
    ("path", "mended"), [("logits.log", "logits.logp"), ("logit.logp", "logits.logp"), ("log.log", "logits.log")]
)
def test_misspelt_part_of_a_path_is_mended_alone(path, mended):
    """Other parts may begin like it."""
    with pytest.raises(TrainingError) as error:
        part_of({"logits": {"logp": torch.zeros(2)}}, path)
    assert str(error.value).endswith(f'write "output": "{mended}" in place of "{path}"')


def test_loss_of_a_part_takes_no_tensor_in_its_place():
    """Where a model gives a tensor in evaluation alone, the loss of a further output has nothing to take."""
    with pytest.raises(TrainingError, match='has no part "aux", which loss.output asks for'):
        part_of(torch.zeros(2), "aux", "loss.output")
    assert part_of(OUTPUT["logits"], "aux") is OUTPUT["logits"]


def test_loss_of_a_part_has_what_the_loss_has():
    """Its tensors move, its name and its state are there."""
    module = nn.CrossEntropyLoss(weight=torch.ones(3))
    module.__name__ = "ce"
    weighted = combine([module, F.cross_entropy], [{"output": "logits", "weight": 2}, {"weight": 1}], "hidden.0")
    assert weighted.losses[0] is module
    function = weighted.losses[1]
    assert (function.__name__, copy.deepcopy(function).path) == ("cross_entropy", "hidden.0")
    bring_along(weighted, torch.device("cpu"))
    output = {"logits": torch.eye(3)[:2], "hidden": [torch.eye(3)[1:]]}
    target = torch.tensor([0, 1])
    expected = 2 * F.cross_entropy(torch.eye(3)[:2], target) + F.cross_entropy(torch.eye(3)[1:], target)
    assert weighted(output, target) == expected


@pytest.mark.parametrize("section", ["arch", "loss"])
def test_output_that_is_no_text_is_refused(section):
    """Early, as the other keys."""
    config = {"arch": {"type": "MnistModel"}, "loss": {"type": "nll_loss"}}
    config[section]["output"] = 1
    with pytest.raises(ConfigError, match=f"{section}.output has a value that does not fit"):
        ConfigParser({**config_for(pathlib.Path()), **config}).check(sections=("arch", "loss"))
    assert key_of((section, "output")) is not None
