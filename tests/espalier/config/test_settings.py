"""The `trainer` section of a config as one object: defaults, rules, and what is told of values that do not fit."""

import dataclasses
import typing

import pytest

from espalier.config.key import REQUIRED, Key
from espalier.config.settings import TRAINER, Settings
from espalier.errors import ConfigError


def test_settings_of_a_short_section_have_the_defaults_of_the_rest():
    """A null is a key left out."""
    settings = Settings.of({"epochs": 3, "keep_last": None, "monitor": None})
    assert settings.epochs == 3
    assert {name: getattr(settings, name) for name in TRAINER if name != "epochs"} == {
        name: key.default for name, key in TRAINER.items() if name != "epochs"
    }


def test_settings_keep_values_as_they_are_written():
    """A whole number for a number stays one."""
    settings = Settings.of({"epochs": 1, "clip_grad_norm": 1, "tensorboard": {"graph": True}, "compile": "default"})
    assert (settings.clip_grad_norm, type(settings.clip_grad_norm)) == (1, int)
    assert (settings.tensorboard, settings.compile) == ({"graph": True}, "default")


def test_settings_are_frozen():
    """What a run was started with is not changed in passing."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings.of({"epochs": 1}).epochs = 2


def test_settings_of_a_faulty_section_are_refused_with_all_faults():
    """One error names them in the order of their paths."""
    with pytest.raises(ConfigError) as caught:
        Settings.of({"save_period": 0, "watch": "conv", "unknown": 1, "verbosity": True})
    assert str(caught.value) == (
        "config error: trainer.epochs is missing\n"
        "  expected  a whole number of at least 1\n"
        "config error: trainer.save_period has a value that does not fit\n"
        "  got       0\n"
        "  expected  a whole number of at least 1\n"
        "config error: trainer.verbosity has a value that does not fit\n"
        "  got       true\n"
        "  expected  one of: 0, 1, 2\n"
        "config error: trainer.watch has a value that does not fit\n"
        '  got       "conv"\n'
        "  expected  a list, each item a text that is not empty\n"
        '  fix       write ["conv"]'
    )


def test_settings_changed_names_what_differs_from_its_default():
    """In the order in which it was asked for; a default that is written counts as not written."""
    settings = Settings.of({"epochs": 1, "accumulate": 2, "precision": "fp32", "max_steps": 7})
    assert [*settings.changed("max_steps", "precision", "accumulate", "profile")] == ["max_steps", "accumulate"]


def test_settings_without_keys_have_their_defaults():
    """The others stay, and so does the object it was asked of."""
    settings = Settings.of({"epochs": 1, "sanity_valid_batches": 2, "max_steps": 7})
    assert settings.without("max_steps", "sanity_valid_batches") == Settings.of({"epochs": 1})
    assert settings.max_steps == 7


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("epochs", Key((int,), REQUIRED, least=1)),
        ("num_processes", Key((int,), None, least=1, most=4096, changes_run=False)),
        ("save_every_minutes", Key((float,), None, least=0, changes_run=False)),
        ("strategy", Key((str,), "ddp", choices=("ddp", "fsdp"), changes_run=False)),
        ("verbosity", Key((int,), 2, choices=(0, 1, 2), changes_run=False)),
        ("watch", Key((list,), None, item_type=str, changes_run=False)),
        ("tensorboard", Key((bool, dict), True, changes_run=False)),
        ("fsdp", Key((dict,), None)),
        ("monitor", Key((str,), "off")),
    ],
)
def test_rule_of_a_setting_is_made_of_its_annotation(name, key):
    """The type gives kinds, items and choices."""
    assert TRAINER[name] == key


@pytest.mark.parametrize("name", TRAINER)
def test_default_of_a_setting_is_of_its_type(name):
    """None only where the type has it."""
    default = TRAINER[name].default
    takes_none = type(None) in typing.get_args(typing.get_type_hints(Settings)[name])
    assert default is REQUIRED or (takes_none if default is None else TRAINER[name].accepts(default))
