"""Every key of the config has a meaning and an example, and the example is one that the check takes."""

import json

import pytest

from espalier.config.help_keys import TABLES
from espalier.config.meanings import meaning_of
from parse_config import ConfigParser

KEYS = [(section, name) for section, keys in TABLES.items() for name in keys]
OF_SEARCH = {"num_trials", "sampler", "pruner", "seed", "storage"}  # that need a space

# What some keys mean nothing without.
COMPANIONS = {"fsdp": ("trainer", {"strategy": "fsdp"}), "unfreeze_at": ("arch", {"freeze": ["*"]}),
              "num_processes": (None, {"n_gpu": 0})}  # fmt: skip


def config_with(section, name, root):
    """config.json with the example of a key, and around it those of the sections that it stands in."""
    config = ConfigParser.from_file(root / "config.json").config
    value = json.loads(meaning_of(section, name).example)
    for depth in range(len(section), 0, -1):
        above = json.loads(meaning_of(section[: depth - 1], section[depth - 1]).example)
        above = config[section[0]] if depth == 1 and section[0] in ("trainer", "data_loader") else above
        if section[:depth] == ("tune",) and ({name, *section} & OF_SEARCH or name == "space"):
            above = {"space": json.loads(meaning_of(("tune",), "space").example)}
        above = above[0] if isinstance(above, list) else above
        value = {**(above if isinstance(above, dict) else {}), (*section, name)[depth]: value}
        value = [value] if section[:depth][-1] in ("param_groups", "metrics", "writers", "loss") else value
    config[(*section, name)[0]] = value
    for key, (other, needed) in COMPANIONS.items():
        if key in (*section, name):
            config.update(needed) if other is None else config[other].update(needed)
    return config


@pytest.mark.parametrize(("section", "name"), KEYS, ids=[".".join((*section, name)) for section, name in KEYS])
def test_key_has_a_meaning_and_an_example_that_the_check_takes(root, section, name):
    """One clause without an end; an example that is no default, and that keeps the rules of its key and of others."""
    key, (text, example) = TABLES[section][name], meaning_of(section, name)
    assert text and text == text.strip() and not text.endswith(".") and "\n" not in text
    assert key.accepts(json.loads(example))
    if name != "extends":
        ConfigParser(config_with(section, name, root)).check_keys()
