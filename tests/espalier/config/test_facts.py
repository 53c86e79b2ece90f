"""`${data.NAME}`: asked for where it can be known, checked ahead, put there once, and saved as it was written."""

import copy

import pytest
import torch

from espalier.config.config import Config
from espalier.config.json_text import parse_json
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError, DataError

ROOMS = {"arch": "model.model", "loss": "model.loss"}
VALUES = {
    "arch": {"type": "torch.nn.Linear", "args": {"in_features": 4, "out_features": "${data.num_classes}"}},
    "loss": {"type": "torch.nn.CrossEntropyLoss", "args": {"weight": "${data.class_weights}"}},
}


def config_of(**values):
    """A config with these sections."""
    return Config(ConfigTree(copy.deepcopy({**VALUES, **values})), ROOMS)


def test_facts_are_put_into_what_is_built_and_saved_as_they_were_written():
    """A list becomes a tensor where one is taken; a second file or run asks its own data again."""
    config = config_of()
    config.take_facts({"num_classes": 2, "class_weights": [0.5, 1.5]}.__getitem__)
    assert config.init_obj("arch", torch.nn).out_features == 2
    assert config.init_ftn("loss", torch.nn).weight.tolist() == [0.5, 1.5]
    assert config["arch"]["args"]["out_features"] == 2
    assert config.as_saved(config.config) == config.snapshot == VALUES
    assert config.tree.facts == {"num_classes": 2, "class_weights": [0.5, 1.5]}


def test_facts_through_another_reference_are_facts_too():
    """`${arch.args.out_features}` leads to what the data knows."""
    config = config_of(metrics=[{"type": "f", "args": {"classes": "${arch.args.out_features}"}}])
    config.take_facts({"num_classes": 2, "class_weights": []}.__getitem__)
    assert config["metrics"][0]["args"]["classes"] == 2


def test_facts_are_asked_for_once_each():
    """However often a config names them."""
    asked = []
    config = config_of(loss={"type": "f", "args": {"classes": "${data.num_classes}"}})
    config.take_facts(lambda name: asked.append(name) or 3)
    assert asked == ["num_classes"]


def test_data_that_cannot_be_used_is_told_with_where_it_is_named():
    """File, line and key of the innermost section; what the dataset itself has said stays."""
    dataset = '{"type": "espalier.datasets.Table", "args": {"path": "gone.csv", "target": "y"}}'
    loader = '{"type": "torch.utils.data.DataLoader", "args": {"dataset":\n' + dataset + "}}"
    tree = parse_json('{"loader": ' + loader + "}", "c.json")
    tree.is_checked = True
    with pytest.raises(DataError) as error:
        Config(tree, {}).init_obj("loader", torch.utils.data)
    assert (
        str(error.value) == "data error: there is no file gone.csv\n  from      c.json:2, loader.args.dataset.args.path"
    )


def test_section_called_data_keeps_its_meaning():
    """A project that has one refers to its own values."""
    config = config_of(data={"num_classes": 5, "class_weights": None})
    assert config["arch"]["args"]["out_features"] == 5


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("optimizer", {"type": "SGD", "args": {"lr": "${data.rate}"}}, """\
config error: optimizer.args.lr asks for what the data knows, in a place where that is not known
  got       "${data.rate}"
  fix       let it be the whole value of an argument in arch, loss, metrics"""),
        ("arch", {"type": "f", "args": {"name": "net-${data.num_classes}"}}, """\
config error: arch.args.name asks for what the data knows, in a place where that is not known
  got       "${data.num_classes}"
  fix       let it be the whole value of an argument in arch, loss, metrics"""),
    ],
)  # fmt: skip
def test_facts_where_they_cannot_be_known_are_refused(section, value, message):
    """Outside of what is built after the data, or within a longer text."""
    with pytest.raises(ConfigError) as error:
        config_of(**{section: value}).raise_problems()
    assert str(error.value) == message


def test_what_asks_for_facts_is_not_built_before_they_are_known():
    """A train.py of one's own is told what to call."""
    with pytest.raises(ConfigError) as error:
        config_of().init_obj("arch", torch.nn)
    assert (
        str(error.value)
        == """\
config error: arch.args.out_features asks for what the data knows, and no data was built before
  got       ${data.num_classes}
  fix       build the loader first: config.take_facts(data_loader.parts.fact)"""
    )


def test_facts_that_the_data_does_not_know_are_told_at_once():
    """All of them, each with its reason."""

    def fact(name):
        if name == "num_classes":
            raise DataError("data error: no targets\n  fix       give it some")
        raise KeyError(name)

    with pytest.raises(ConfigError) as error:
        config_of().take_facts(fact, ("class_weight", "mean"))
    assert (
        str(error.value)
        == """\
config error: arch.args.out_features cannot be told: no targets
  got       ${data.num_classes}
  fix       give it some
config error: loss.args.weight asks for what the data does not know
  got       ${data.class_weights}
  expected  one of: class_weight, mean
  closest   class_weight"""
    )


def test_facts_of_a_second_build_are_its_own_and_what_python_sets_stays():
    """Other data has other facts; a value put in their place is not written over, and is what is saved."""
    config = config_of()
    config.take_facts({"num_classes": 2, "class_weights": [1.0]}.__getitem__)
    config.take_facts({"num_classes": 3, "class_weights": [2.0]}.__getitem__)
    assert (config["arch"]["args"]["out_features"], config["loss"]["args"]["weight"]) == (3, [2.0])
    config["arch"]["args"]["out_features"] = 9
    config.take_facts({"num_classes": 4, "class_weights": [3.0]}.__getitem__)
    assert (config["arch"]["args"]["out_features"], config["loss"]["args"]["weight"]) == (9, [3.0])
    assert config.as_saved(config.config)["arch"]["args"]["out_features"] == 9
