"""The JSON Schema that editors complete and mark configs with."""

import copy
import importlib
import inspect
import json

import jsonschema
import pytest

from espalier.config.arguments import annotations_of
from espalier.config.help_keys import TABLES
from espalier.config.json_schema import json_schema
from espalier.config.json_text import parse_json
from espalier.config.meanings import meaning_of
from espalier.config.objects import signature_of
from espalier.config.schema import PASSED
from espalier.config.tune import PRUNERS, SAMPLERS
from parse_config import ROOMS, ConfigParser

MODULES = {name: importlib.import_module(room) for name, room in ROOMS.items()}


@pytest.fixture(scope="module")
def validator():
    """A validator of this project's schema, as an editor reads it from the file."""
    return jsonschema.Draft202012Validator(json.loads(json.dumps(json_schema(MODULES))))


@pytest.fixture(scope="module")
def shipped(root):
    """The raw values of config.json."""
    return parse_json((root / "config.json").read_text(), "config.json").values


def changed(config, path, value):
    """A copy of `config` with `value` at the dotted path."""
    config = copy.deepcopy(config)
    *sections, last = path.split(".")
    node = config
    for key in sections:
        node = node[int(key)] if isinstance(node, list) else node[key]
    node[int(last) if isinstance(node, list) else last] = value
    return config


def marked(validator, config):
    """The dotted places that an editor would mark: of a choice, the deepest fault."""
    found = (jsonschema.exceptions.best_match([error]) for error in validator.iter_errors(config))
    return {".".join(map(str, error.absolute_path)) for error in found}


def test_json_schema_is_itself_valid():
    """The schema keeps the rules of JSON Schema 2020-12, and can be written down."""
    schema = json_schema(MODULES)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


def test_json_schema_every_shipped_config_validates_as_it_is_written(validator, root):
    """An editor marks nothing in what we ship, `extends` and all."""
    paths = [root / "config.json", *sorted((root / "configs").glob("*.json"))]
    assert len(paths) >= 2
    for path in paths:
        assert marked(validator, parse_json(path.read_text(), str(path)).values) == set(), path


def test_json_schema_every_shipped_config_validates_when_resolved(validator, root):
    """The config that a run writes down validates too."""
    for path in (root / "config.json", *(root / "configs").glob("*.json")):
        assert marked(validator, ConfigParser.from_file(path).config) == set(), path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$schema", "config.schema.json"),
        ("extends", ["a.json", "b.json"]),
        ("seed", None),
        ("lr_scheduler", None),
        ("test_data_loader", None),
        ("user", {"anything": [1]}),
        ("arch.args", None),
        ("arch.args.dropout", 0),
        ("arch.type", "torchvision.models.resnet18"),
        ("arch.args.num_classes", {"type": "int", "args": {}}),
        ("arch", {"type": "torchvision.models.resnet18", "args": {"weights": "DEFAULT"}}),
        ("optimizer.param_groups", [{"match": "fc*", "lr": 0.1}]),
        ("optimizer.param_groups", [{"match": ["*.bias", "*.norm*"], "ndim": 1, "lr_mult": 0.1}]),
        ("optimizer.layer_decay", {"rate": 0.75, "layers": ["blocks.*"]}),
        ("optimizer", [{"type": "Muon", "match": "fc*", "ndim": 2, "args": {"lr": 0.02}}, {"type": "AdamW"}]),
        ("optimizer.args.foreach", None),
        ("loss", {"type": "nll_loss", "name": "nll"}),
        ("loss", "torch.nn.functional.nll_loss"),
        ("loss", [{"type": "nll_loss", "weight": 0.3}, "torch.nn.functional.cross_entropy"]),
        ("metrics", []),
        ("metrics", [{"type": "top_k_acc", "args": {"k": 5}, "name": "top_5"}, "torchmetrics.MeanSquaredError"]),
        ("lr_scheduler.interval", "step"),
        ("lr_scheduler.args.step_size", "12.5%"),
        ("lr_scheduler.args.step_size", "3 epochs"),
        ("lr_scheduler", {"type": "MultiStepLR", "args": {"milestones": [5, "50%", "800 steps"]}}),
        ("lr_scheduler", {"type": "ChainedScheduler", "args": {"schedulers": [{"type": "StepLR"}]}}),
        ("trainer.early_stop", 0),
        ("trainer.tensorboard", {"images": False}),
        ("trainer.tensorboard", None),
        ("trainer.keep_last", None),
        ("data_loader.args.validation_split", 100),
        ("data_loader.args.shuffle", None),
        # references
        ("name", "run-${seed}"),
        ("seed", "${user.seed}"),
        ("trainer.epochs", "${env:EPOCHS}"),
        ("trainer.verbosity", "${user.verbosity}"),
        ("trainer.tensorboard", "${user.tensorboard}"),
        ("optimizer.type", "${user.optimizer}"),
        ("optimizer.args.lr", "${user.lr}"),
        ("data_loader.args.batch_size", "${user.batch_size}"),
        ("lr_scheduler.interval", "${user.interval}"),
        ("loss", "${user.loss}"),
        ("metrics.0", "${user.metric}"),
        ("metrics", "${user.metrics}"),
        ("arch.args", "${user.args}"),
        ("arch", "${user.arch}"),
    ],
    ids=lambda value: json.dumps(value) if not isinstance(value, str) else value,
)
def test_json_schema_what_a_config_may_say_is_not_marked(validator, shipped, path, value):
    """What the framework can read, an editor leaves alone."""
    assert marked(validator, changed(shipped, path, value)) == set()


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("optimiser", {}, ""),
        ("arch.typ", "MnistModel", "arch"),
        ("arch.type", "MnistModle", "arch.type"),
        ("arch.type", 3, "arch.type"),
        ("arch.args.num_class", 10, "arch.args"),
        ("arch.args.num_classes", "10", "arch.args.num_classes"),
        ("arch.args.num_classes", 2.5, "arch.args.num_classes"),
        ("arch.args.num_classes", True, "arch.args.num_classes"),
        ("arch.args.dropout", "0.2", "arch.args.dropout"),
        ("arch", None, "arch"),
        ("data_loader.args.batch_size", 0, "data_loader.args.batch_size"),
        ("data_loader.args.batch_size", "32", "data_loader.args.batch_size"),
        ("data_loader.args.num_workers", -1, "data_loader.args.num_workers"),
        ("data_loader.args.shufle", True, "data_loader.args"),
        ("optimizer.type", "Addam", "optimizer.type"),
        ("optimizer.args.learning_rate", 0.1, "optimizer.args"),
        ("optimizer.args.params", [], "optimizer.args"),
        ("optimizer.param_groups", [{"match": "*", "lr_mult": 0}], "optimizer.param_groups.0.lr_mult"),
        ("optimizer.layer_decay", {"rate": 2, "layers": ["a.*"]}, "optimizer.layer_decay.rate"),
        ("optimizer.layer_decay", {"rate": 0.5, "layer": ["a.*"]}, "optimizer.layer_decay"),
        ("optimizer", [{"type": "Moun", "ndim": 2}, {"type": "AdamW"}], "optimizer.0.type"),
        ("optimizer", [{"type": "Muon", "ndims": 2}, {"type": "AdamW"}], "optimizer.0"),
        ("lr_scheduler.args.gama", 0.1, "lr_scheduler.args"),
        ("lr_scheduler.args.step_size", "8", "lr_scheduler.args.step_size"),
        ("lr_scheduler.args.step_size", "3 days", "lr_scheduler.args.step_size"),
        ("lr_scheduler.args.gamma", "5%", "lr_scheduler.args.gamma"),
        ("lr_scheduler.args.last_epoch", "5%", "lr_scheduler.args.last_epoch"),
        ("lr_scheduler.interval", "batch", "lr_scheduler.interval"),
        ("loss", "nl_loss", "loss"),
        ("loss", {"type": "nl_loss"}, "loss.type"),
        ("loss", {"type": "nll_loss", "wieght": 1}, "loss"),
        ("metrics.1", "topk_acc", "metrics.1"),
        ("metrics.1", {"type": "top_k_acc", "args": {"n": 3}}, "metrics.1.args"),
        ("metrics.1", {"type": "top_k_acc", "args": {"k": "3"}}, "metrics.1.args.k"),
        ("trainer.epochs", 0, "trainer.epochs"),
        ("trainer.epochs", "24", "trainer.epochs"),
        ("trainer.epoch", 24, "trainer"),
        ("trainer.verbosity", 3, "trainer.verbosity"),
        ("trainer.tensorboard", {"image": True}, "trainer.tensorboard"),
        ("trainer.tensorboard", "yes", "trainer.tensorboard"),
        ("extends", 3, "extends"),
        ("name", 3, "name"),
    ],
    ids=lambda value: json.dumps(value) if not isinstance(value, str) else value,
)
def test_json_schema_mistake_is_marked_where_it_is(validator, shipped, path, value, place):
    """A misspelt key or argument marks its section, a wrong value itself, and nothing else is marked."""
    assert marked(validator, changed(shipped, path, value)) == {place}


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("arch", {"MnistModel"}),
        ("data_loader", {"DigitsDataLoader", "MnistDataLoader"}),
        ("optimizer", {"SGD", "Adam", "AdamW"}),
        ("lr_scheduler", {"StepLR", "ReduceLROnPlateau", "OneCycleLR"}),
    ],
)
def test_json_schema_names_of_the_room_are_offered(section, names):
    """An editor completes the classes of the room, and not what the room itself imports."""
    schema = json_schema(MODULES)["properties"][section]
    while "anyOf" in schema or "then" in schema:  # a reference, null, or several by name may stand there too
        schema = schema["anyOf"][0] if "anyOf" in schema else schema["then"]
    offered = set(schema["properties"]["type"]["anyOf"][0]["enum"])
    assert names <= offered
    assert not offered & {"BaseModel", "BaseDataLoader", "Path", "Any", "Tensor"}


def test_json_schema_default_of_every_argument_is_accepted(validator, shipped):
    """A default may be written out for every argument of everything that the rooms offer."""
    wrong = []
    for section in ("arch", "data_loader", "optimizer", "lr_scheduler"):
        for name, target in vars(MODULES[section]).items():
            is_own = inspect.isclass(target) and target.__module__.startswith(MODULES[section].__name__)
            if not is_own or name.startswith("_") or signature_of(target) is None:
                continue
            parameters = list(signature_of(target).parameters.values())[PASSED.get(section, 0) :]
            for parameter in parameters:
                is_passed = section == "lr_scheduler" and parameter.name == "optimizer"
                if is_passed or type(parameter.default) not in (int, float, bool, str, type(None)):
                    continue
                config = {**shipped, section: {"type": name, "args": {parameter.name: parameter.default}}}
                if marked(validator, config):
                    wrong.append((name, parameter.name, parameter.default, annotations_of(target)[parameter.name]))
    assert wrong == []


_LR = {"type": "float", "low": 1e-4, "high": 0.1, "log": True}
TUNES = {
    "search": (
        {"space": {"optimizer.args.lr": _LR}, "sampler": "TPESampler", "pruner": {"type": "MedianPruner"}},
        True,
    ),
    "choice": ({"space": {"arch": {"type": "choice", "choices": [1, {"args": {"width": _LR}}]}}}, True),
    "file": ({"space": "search_space.json"}, True),
    "of NNI": ({"space": {"lr": {"_type": "uniform", "_value": [0, 1]}}}, True),
    "grid": ({"grid": {"optimizer.args.lr": [1, 2]}, "seeds": 3, "folds": None}, True),
    "no kind": ({"space": {"optimizer.args.lr": {"type": "loguniform", "low": 1, "high": 2}}}, False),
    "no end": ({"space": {"optimizer.args.lr": {"type": "float", "low": 1}}}, False),
    "half of it": ({"space": {"optimizer.args.lr": {"type": "int", "low": 0.5, "high": 2}}}, False),
    "foreign key": ({"space": {"optimizer.args.lr": {"type": "choice", "choices": [1], "log": True}}}, False),
    "no range": ({"space": {"optimizer.args.lr": 0.1}}, False),
    "grid of one": ({"grid": {"optimizer.args.lr": 1}}, False),
    "one seed": ({"seeds": 1}, False),
    "sampler without a type": ({"sampler": {"args": {}}}, False),
}


@pytest.mark.parametrize(("tune", "is_right"), TUNES.values(), ids=TUNES)
def test_json_schema_knows_the_section_of_studies(validator, shipped, tune, is_right):
    """Ranges by their kind, and lists of values; what is no such thing is marked."""
    assert bool(marked(validator, {**shipped, "tune": tune})) is not is_right


def test_json_schema_offers_the_samplers_and_pruners_of_optuna():
    """All that need no arguments of their own."""
    optuna = pytest.importorskip("optuna")
    assert {*SAMPLERS} == {each for each in optuna.samplers.__all__ if each.endswith("Sampler")} - {
        "BaseSampler", "BaseGASampler", "GridSampler", "PartialFixedSampler"}  # fmt: skip
    assert {*PRUNERS} == {each for each in optuna.pruners.__all__ if each.endswith("Pruner")} - {"BasePruner"}


def test_json_schema_says_what_each_key_is_for():
    """What an editor shows beside a key is what `--help KEY` tells of it."""

    def descriptions(value):
        if isinstance(value, dict):
            yield from {value["description"]} if isinstance(value.get("description"), str) else ()
            yield from (each for item in value.values() for each in descriptions(item))
        elif isinstance(value, list):
            yield from (each for item in value for each in descriptions(item))

    found = {*descriptions(json_schema(MODULES))}
    sections = [
        (),
        ("trainer",),
        ("trainer", "swa"),
        ("tune",),
        ("arch",),
        ("optimizer",),
        ("optimizer", "layer_decay"),
    ]
    missing = {
        (*section, name)
        for section in sections
        for name in TABLES[section]
        if meaning_of(section, name).text not in found
    }
    assert missing == set()
