"""What a config may not ask of several processes."""

import pytest

from espalier.config.check_keys import check_without_imports
from espalier.config.check_processes import check_devices, processes_asked
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError


def message(config):
    """All that is wrong with a config whose values come from nowhere; "" when nothing is."""
    return str(ConfigError(list(check_without_imports(ConfigTree(config), ()))))


def test_several_processes_and_a_divided_model_are_no_error(tiny_config):
    """With all that goes together."""
    fsdp = {"wrap": ["conv*"], "param_dtype": "bf16", "reduce_dtype": "fp32", "cpu_offload": False}
    tiny_config["trainer"].update(num_processes=2, strategy="fsdp", fsdp=fsdp, accumulate=2, checkpoint="sharded")
    assert message(tiny_config) == ""


def test_num_processes_beside_gpus_is_an_error(tiny_config):
    """There is a process for each GPU."""
    tiny_config["n_gpu"] = 1
    tiny_config["trainer"]["num_processes"] = 2
    assert message(tiny_config) == (
        "config error: trainer.num_processes is for runs without GPUs; n_gpu says how many there are of these\n"
        "  got       2\n"
        "  fix       remove it, or set n_gpu=0"
    )


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, (1, "n_gpu")),
        ({"n_gpu": 0, "trainer": {"num_processes": None}}, (1, "n_gpu")),
        ({"n_gpu": 4, "trainer": {}}, (4, "n_gpu")),
        ({"n_gpu": 2, "trainer": {"num_processes": 2}}, (2, "n_gpu")),
        ({"n_gpu": 0, "trainer": {"num_processes": 3}}, (3, "trainer.num_processes")),
        ({"n_gpu": 1, "trainer": {"num_processes": 3}}, (3, "trainer.num_processes")),
        ({"n_gpu": "4", "trainer": {"num_processes": True}}, (1, "n_gpu")),
        ({"n_gpu": 2, "trainer": [3]}, (2, "n_gpu")),
    ],
)
def test_processes_asked_are_those_of_one_key(values, found):
    """Also of a config that is wrong, since it is asked before that is told."""
    assert processes_asked(values) == found


def test_fsdp_without_the_strategy_is_an_error(tiny_config):
    """It would do nothing."""
    tiny_config["trainer"]["fsdp"] = {"wrap": ["conv*"]}
    assert message(tiny_config) == (
        "config error: trainer.fsdp has no effect without trainer.strategy\n"
        '  fix       write "strategy": "fsdp" under trainer'
    )


@pytest.mark.parametrize(
    ("name", "value", "got"),
    [("ema_decay", 0.9, "0.9"), ("watch", ["conv*"], '["conv*"]'), ("precision", "fp16", '"fp16"'),
     ("find_unused_parameters", True, "true")],
)  # fmt: skip
def test_what_needs_a_whole_model_is_refused_for_a_divided_one(tiny_config, name, value, got):
    """Rather than done by halves."""
    tiny_config["trainer"].update({"strategy": "fsdp", name: value})
    assert message(tiny_config) == (
        f"config error: trainer.{name} does not go with trainer.strategy fsdp\n"
        f"  got       {got}\n"
        '  fix       remove it, or write "strategy": "ddp"'
    )


def test_several_optimizers_are_refused_for_a_divided_model(tiny_config):
    """Each would have to know which parts are its own."""
    tiny_config["optimizer"] = {"conv1": tiny_config["optimizer"], "conv2": tiny_config["optimizer"]}
    tiny_config["trainer"]["strategy"] = "fsdp"
    assert message(tiny_config) == (
        'config error: trainer.strategy cannot be fsdp with several optimizers\n  got       "fsdp"\n'
        '  fix       write "strategy": "ddp"'
    )


def test_misspelt_and_ill_valued_options_of_fsdp_are_told(tiny_config):
    """As those of any section."""
    tiny_config["trainer"].update(strategy="fsdp", fsdp={"warp": [], "wrap": [1], "param_dtype": "fp8"})
    found = message(tiny_config)
    assert "trainer.fsdp.param_dtype has a value that does not fit" in found
    assert "trainer.fsdp.warp is not a key of the framework\n  got       []" in found
    assert (
        "trainer.fsdp.wrap has a value that does not fit\n  got       [1]\n  expected  a list, each item a text"
        in found
    )


@pytest.mark.parametrize(
    ("asked", "available", "is_refused"), [(0, 0, True), (2, 0, True), (0, 2, True), (2, 2, False)]
)
def test_batch_norm_over_processes_needs_gpus(tiny_config, asked, available, is_refused):
    """Of one process it has no effect; several on CPUs are refused before anything is built."""
    tiny_config["n_gpu"] = asked
    tiny_config["trainer"].update(sync_batchnorm=True, num_processes=None if asked else 2)
    found = [each.path for each in check_devices(ConfigTree(tiny_config), None, available)]
    assert ("trainer.sync_batchnorm" in found) == is_refused
    tiny_config["n_gpu"], tiny_config["trainer"]["num_processes"] = 0, 1
    assert list(check_devices(ConfigTree(tiny_config), None, available)) == []
