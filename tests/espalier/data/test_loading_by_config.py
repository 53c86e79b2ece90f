"""Samplers, collate functions and mixtures as a config names them, checked and built."""

import copy

import pytest

from espalier.data.collate import Padded
from espalier.errors import ConfigError
from parse_config import ConfigParser

TEXTS = ["a b c", "a", "b b", "c a a b b", "a c", "b", "c c c", "a b"] * 3
SAMPLER = {
    "type": "espalier.data.samplers.LengthBuckets",
    "args": {"window": 2, "of": {"type": "espalier.data.samplers.Subset", "args": {"fraction": 0.5, "stratify": True}}},
}


@pytest.fixture
def config(tiny_config, tmp_path):
    """Loads the texts of two files, mixed two to one, in batches of similar length."""
    for name in ("one", "other"):
        rows = [f"{text},{'xy'[index % 2]}" for index, text in enumerate(TEXTS)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
    parts = [{"dataset": {"type": "espalier.datasets.Text", "args": {"path": str(tmp_path / f"{name}.csv"),
              "target": "label"}}, "weight": weight} for name, weight in (("one", 2), ("other", 1))]  # fmt: skip
    dataset = {"type": "espalier.datasets.MixedDatasets", "args": {"mix": parts}}
    arguments = {"dataset": dataset, "batch_size": 4, "split": {"valid": 0.25, "stratify": True},
                 "collate_fn": {"type": "espalier.data.collate.Pad", "args": {"lengths": True}}}  # fmt: skip
    config = {**copy.deepcopy(tiny_config), "data_loader": {"type": "base.BaseDataLoader", "args": arguments}}
    config["arch"] = {"type": "torch.nn.Embedding", "args": {"num_embeddings": "${data.vocab_size}",
                      "embedding_dim": "${data.num_classes}", "padding_idx": "${data.padding_idx}"}}  # fmt: skip
    return config


def loader_of(config, rooms):
    """The loader that a config describes, which has been checked."""
    parser = ConfigParser(config)
    parser.check()
    return parser, parser.init_obj("data_loader", rooms)


@pytest.mark.parametrize("sampler", [None, SAMPLER])
def test_a_config_names_sampler_collate_function_and_mixture(config, sampler):
    """A dataset that is mixed says what its parts know; half of the training part is a subset."""
    config["data_loader"]["args"].update({"sampler": sampler, "shuffle": True} if sampler else {"shuffle": True})
    parser, loader = loader_of(config, None)
    parser.take_facts(loader.parts.fact, loader.parts.fact_names)
    assert parser["arch"]["args"] == {"num_embeddings": 5, "embedding_dim": 2, "padding_idx": 0}
    batches, validation = list(loader), list(loader.split_validation())
    assert all(isinstance(inputs, Padded) for inputs, _ in (*batches, *validation))
    assert sum(len(labels) for _, labels in batches) == (18 if sampler else 36)
    assert sum(len(labels) for _, labels in validation) == 12


def test_a_sampler_that_is_misspelt_is_told_before_data_is_loaded(config):
    """So is an argument that it does not have."""
    config["data_loader"]["args"]["sampler"] = {"type": "espalier.data.samplers.ClassBalanced", "args": {"column": "a"}}
    with pytest.raises(ConfigError, match=r"data_loader\.args\.sampler\.args\.column is not an argument of"):
        loader_of(config, None)
