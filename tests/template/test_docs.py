"""What docs/config.md says holds."""

import importlib
import re

import pytest

from engine.criterion import combine
from engine.param_groups import build_optimizers
from parse_config import ROOMS, ConfigParser
from trainer import Trainer
from utils.errors import ConfigError


def blocks(root, language):
    """The code blocks of one language in docs/config.md."""
    text = (root / "docs" / "config.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def build_all(config):
    """Build each section as train.py does."""
    rooms = {name: importlib.import_module(room) for name, room in ROOMS.items()}
    model = config.init_obj("arch", rooms["arch"])
    combine(config.init_ftn("loss", rooms["loss"]), config["loss"])
    config.init_ftn("metrics", rooms["metrics"])
    build_optimizers(config, model, config.init_obj("data_loader", rooms["data_loader"]))


def test_docs_config_fragments_pass_the_check_and_are_built(root, tmp_path, monkeypatch):
    """Each fragment of a config, laid over config.json, is one the framework takes."""
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.chdir(root)
    fragments = blocks(root, "jsonc")
    assert len(fragments) == 6
    for index, text in enumerate(fragments):
        text = text.replace('"extends": "../config.json",', "").replace('"type": "Other"', '"type": "MnistModel"')
        text = text if text.startswith("{") else f"{{{text}}}"
        path = tmp_path / f"{index}.json"
        path.write_text(text.replace("{", f'{{"extends": "{root / "config.json"}",', 1))
        config = ConfigParser.from_file(path)
        config.check(extra_log_names=Trainer.extra_log_names)
        build_all(config)


def test_docs_message_is_the_one_that_is_printed(root, tmp_path):
    """The example of an error is what the check says today."""
    (message,) = blocks(root, "text")
    origin = re.search(r"config\.json:(\d+)", message)
    arguments = {"lr": 0.1, "learning_rate": 0.01}
    config = ConfigParser.from_file(root / "config.json", {"optimizer.type": "SGD", "optimizer.args": arguments})
    config._tree.origins["optimizer", "args", "learning_rate"] = origin.group()
    with pytest.raises(ConfigError) as error:
        config.check()
    assert f"{error.value}\n" == message


def test_docs_python_example_works(root, monkeypatch):
    """The lines for notebooks run as they stand."""
    import model.model as module_arch

    monkeypatch.chdir(root)
    names = {"ConfigParser": ConfigParser, "module_arch": module_arch}
    (code,) = blocks(root, "python")
    exec(code, names)
    assert isinstance(names["model"], module_arch.MnistModel)
    assert names["config"]["optimizer"]["args"]["lr"] == 0.01
