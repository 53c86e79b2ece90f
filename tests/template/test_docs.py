"""What the pages say holds: their configs are built, their code runs."""

import ast
import importlib
import inspect
import json
import re
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn

import espalier.datasets
import train
from espalier.config.settings import TRAINER
from espalier.data import samplers
from espalier.errors import ConfigError
from espalier.training.criterion import combine
from espalier.training.param_groups import build_optimizers
from espalier.training.parts import by_name
from espalier.training.weights import Freezing, begin_weights
from parse_config import ROOMS, ConfigParser
from trainer import Trainer

SMALL_VIT = '"torchvision.models.VisionTransformer", "args": {"image_size": 8, "patch_size": 4, "num_layers": 2, ' \
            '"num_heads": 2, "hidden_dim": 8, "mlp_dim": 8, "num_classes"'  # fmt: skip
PAGES = ["README.md", "docs/config.md", "docs/training.md", "docs/search.md"]


class Gan(nn.Module):
    """A model of two parts, for fragments that name them."""

    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = nn.Linear(2, 2), nn.Linear(2, 2)


def build_all(config):
    """Build each section as train.py does, and lay out the model."""
    rooms = {name: importlib.import_module(room) for name, room in ROOMS.items()}
    model = config.init_obj("arch", rooms["arch"])
    begin_weights(model, config["arch"], config.find)
    combine(config.init_ftn("loss", rooms["loss"]), config["loss"])
    config.init_ftn("metrics", rooms["metrics"])
    optimizers, _ = build_optimizers(config, model, config.init_obj("data_loader", rooms["data_loader"]))
    if (freezing := Freezing.of(model, config["arch"])) is not None:
        freezing.check_left(by_name(optimizers))


@pytest.fixture
def as_on_a_page(root, tmp_path, monkeypatch):
    """What the pages take to be there: a user, the folder of the repository, a file of weights."""
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.chdir(root)

    def load(text):
        text = text if text.startswith("{") else f"{{{text}}}"
        text = text.replace('"extends": "../config.json",', "").replace('"type": "Other"', '"type": "MnistModel"')
        text = text.replace('"torchvision.models.vit_b_16", "args": {"num_classes"', SMALL_VIT)
        if "resnet18.pth" in text:
            weights = torchvision.models.resnet18(num_classes=7).state_dict()
            torch.save({f"backbone.{name}": value for name, value in weights.items()}, tmp_path / "resnet18.pth")
            text = text.replace("resnet18.pth", str(tmp_path / "resnet18.pth"))
        if '"generator"' in text:
            text = text.replace("{", f'{{"arch": {{"type": "{__name__}.Gan"}},', 1)
        path = tmp_path / "fragment.json"
        path.write_text(text.replace("{", f'{{"extends": "{root / "config.json"}",', 1))
        config = ConfigParser.from_file(path)
        config.check(extra_log_names=Trainer.extra_log_names)
        return config

    return load


@pytest.mark.parametrize(("page", "count"), [*zip(PAGES, [1, 6, 10, 2], strict=True)])
def test_docs_fragments_of_a_config_pass_the_check_and_are_built(blocks, as_on_a_page, page, count):
    """Each, laid over config.json, is one the framework takes."""
    fragments = blocks(page, "jsonc")
    assert len(fragments) == count
    for text in fragments:
        build_all(as_on_a_page(text))


def test_docs_values_in_running_text_pass_the_check(root, as_on_a_page):
    """What stands as `"key": value` between the lines, where that is a setting of the trainer."""
    pages = [*sorted({*(root / "docs").glob("*.md")} - {root / "docs" / "migrating.md"}), root / "README.md"]
    found = [re.findall(r'`"(\w+)": ([^`]+)`', page.read_text()) for page in pages]
    settings = {f'"{key}": {value}' for each in found for key, value in each if key in TRAINER and key != "type"}
    assert len(settings) > 10
    for text in sorted(settings):
        metric = '"metrics": [{"type": "accuracy", "name": "f1"}], ' if "f1" in text else ""
        strategy = ', "strategy": "fsdp"' if text.startswith('"fsdp"') else ""
        as_on_a_page(f'{metric}"trainer": {{{text}{strategy}}}')


def test_docs_trainer_is_one(blocks):
    """The classes of docs/training.md override what is there to be overridden, and understand their batches."""
    names = {"Trainer": Trainer}
    for code in blocks("docs/training.md", "python"):
        exec(code, names)
    assert "_train_epoch" in vars(names["DetectionTrainer"])
    kind = names["GraphTrainer"]
    own = [name for name, value in vars(kind).items() if inspect.isfunction(value)]
    assert own == ["unpack", "on_epoch_end"] and all(hasattr(Trainer, name) for name in own)
    assert kind.unpack(None, {"graph": 1, "label": 2}) == (1, 2)
    log = {}
    kind.on_epoch_end(SimpleNamespace(num_edges=3), log)
    assert log == {"num_edges": 3}


def test_readme_loop_is_that_of_the_trainer(blocks):
    """Each of its statements stands in trainer/trainer.py."""
    (code,) = blocks("README.md", "python")
    shown = ast.parse(code).body[0].body
    assert isinstance(shown[-1].value, ast.Constant)  # "..."
    there = ast.parse(inspect.getsource(Trainer._train_epoch).replace("\n    ", "\n").strip()).body[0].body
    assert [ast.unparse(each) for each in shown[:-1]] == [ast.unparse(each) for each in there[1:3]]


def test_docs_notebook_goes_on_with_a_run_and_from_weights(blocks, root, tmp_path, monkeypatch, generators_restored):
    """The second cell of docs/notebooks.md, with a run and weights that are there."""
    monkeypatch.chdir(root)
    short = {"trainer.limit_train_batches": 1, "trainer.limit_valid_batches": 1, "trainer.epochs": 1}
    config = ConfigParser.from_file(
        "config.json", {**short, "trainer.save_dir": str(tmp_path), "trainer.tensorboard": False}
    )
    folder = train.build(config).train().folder
    code = blocks("docs/notebooks.md", "python")[1]
    code = code.replace("saved/models/Digits_LeNet/20260701_120000", str(folder))
    names = {"train": train, "ConfigParser": ConfigParser}
    exec(code.replace("model_best.pth", str(folder / "model_best.pth")), names)
    assert names["trainer"].config.resume == folder / "model_best.pth" and not names["trainer"].config.continues_run


def test_docs_message_is_the_one_that_is_printed(blocks, root, tmp_path):
    """The example of an error is what the check says today."""
    (message,) = blocks("docs/config.md", "text")
    origin = re.search(r"config\.json:(\d+)", message)
    arguments = {"lr": 0.1, "learning_rate": 0.01}
    config = ConfigParser.from_file(root / "config.json", {"optimizer.type": "SGD", "optimizer.args": arguments})
    config.tree.origins["optimizer", "args", "learning_rate"] = origin.group()
    with pytest.raises(ConfigError) as error:
        config.check()
    assert f"{error.value}\n" == message


def test_docs_python_example_works(blocks, root, monkeypatch):
    """The lines for notebooks run as they stand."""
    import model.model as module_arch

    monkeypatch.chdir(root)
    names = {"ConfigParser": ConfigParser, "module_arch": module_arch}
    (code,) = blocks("docs/config.md", "python")
    exec(code, names)
    assert isinstance(names["model"], module_arch.MnistModel)
    assert names["config"]["optimizer"]["args"]["lr"] == 0.01


def configs_in(page, root):
    """Every fragment of a config in a page, completed to a whole one."""
    rest = {"name": "Docs", "arch": {"type": "MnistModel"}, "loss": "torch.nn.CrossEntropyLoss", "metrics": [],
            "optimizer": {"type": "SGD", "args": {"lr": 0.1}}, "trainer": {"epochs": 1}}  # fmt: skip
    data = {"type": "DigitsDataLoader", "args": {"data_dir": "data/digits", "batch_size": 32}}
    text = (root / page).read_text(encoding="utf-8")
    for fragment in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
        yield {**rest, "data_loader": data, **json.loads(f"{{{fragment}}}")}


def test_fragments_of_the_page_on_data_are_right(root):
    """Each is a config that the check takes, but for the classes of the reader's own that it names."""
    found = list(configs_in("docs/data.md", root))
    assert len(found) == 7
    for values in found:
        config, problems = ConfigParser(values), []
        try:
            config.check()
        except ConfigError as error:
            problems = error.problems
        assert [each.path for each in problems if not {"Gru", "my_data.Birds"} & {each.got.strip('"')}] == []


def test_page_on_data_names_what_each_dataset_knows(root):
    """Each fact of each dataset, and each sampler with arguments that it takes."""
    text = (root / "docs" / "data.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    of_table = {name: facts for names, facts in rows for name in re.findall(r"`(\w+)`", names)}
    for name in espalier.datasets.__all__:
        facts = set(getattr(getattr(espalier.datasets, name), "facts", None) or ()) - {"num_classes"}
        assert facts <= set(re.findall(r"`(\w+)`", of_table.get(name, ""))), name
    for name, said in rows:
        if (found := re.match(r" `samplers\.(\w+)`", name)) is not None:
            for arguments in map(json.loads, re.findall(r"`(\{.*?\})`", said)):
                assert getattr(samplers, found[1])(**arguments) is not None
