"""What a config out of a checkpoint may say: nothing of the environment, and no place outside."""

import json

import pytest
import torch

import model.model
from espalier.errors import ConfigError
from model.loss import nll_loss
from parse_config import ConfigParser
from tests.kill import Net, config_for, make_loader
from trainer import Trainer

ENVIRONMENT = "asks for a variable of the environment, which a checkpoint may not see"
FOREIGN = "is a name out of a checkpoint that leads to foreign code"


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    """A variable that nobody else is to see."""
    monkeypatch.setenv("ESPALIER_SECRET", "hunter2")
    return "hunter2"


def faults_of(config):
    """The faults of a config as pairs of path and text."""
    with pytest.raises(ConfigError) as error:
        config.check()
    return [(problem.path, problem.what) for problem in error.value.problems]


def test_checkpoint_that_asks_for_the_environment_is_refused(from_checkpoint, tmp_path):
    """A secret is never put in place of a reference out of a checkpoint."""
    with pytest.raises(ConfigError) as error:
        from_checkpoint({"user": {"note": "x-${env:ESPALIER_SECRET}"}}).check()
    assert str(error.value) == (
        f"config error: user.note {ENVIRONMENT}\n"
        f"  from      inside {tmp_path / 'download' / 'model.pth'}\n"
        '  got       "${env:ESPALIER_SECRET}"\n'
        "  fix       give the value: user.note=... on the command line, or in a config with -c"
    )


@pytest.mark.parametrize(
    ("inside", "given", "path"),
    [
        ({"name": "${env:ESPALIER_SECRET}"}, None, "name"),
        ({"user": {"a": "${user.b}", "b": ["${env:ESPALIER_SECRET}"]}}, None, "user.a"),
        ({"user": {"b": "${env:ESPALIER_SECRET}"}}, {"seed": "${user.b}"}, "seed"),
        ({"user": {"b": {"c": "${env:ESPALIER_SECRET}"}}}, {"arch": {"args": "${user.b}"}}, "arch.args"),
        ({"user": {"a": "${user.token}"}}, {"user": {"token": "${env:ESPALIER_SECRET}"}}, "user.a"),
        ({"arch": {"type": "MnistModel", "args": {"num_classes": "${env:ESPALIER_SECRET}"}}},
         {"arch": {"args": {"x": 1}}}, "arch.args.num_classes"),
    ],
    ids=["name", "own reference", "of a config", "section", "of a value of the config", "beside a value of the config"],
)  # fmt: skip
def test_checkpoint_gets_no_value_of_the_environment_on_any_way(from_checkpoint, inside, given, path):
    """Neither through a reference of its own or of the config, nor of what the config has from the environment."""
    config = from_checkpoint(inside, config=given)
    assert (path, ENVIRONMENT) in faults_of(config)
    assert "hunter2" not in json.dumps([config.snapshot, {**config.config, "user": None}])


def test_checkpoint_value_that_the_command_line_replaces_may_ask_for_the_environment(from_checkpoint, tmp_path):
    """What a person writes is a person's, also over a checkpoint."""
    inside = {"user": {"token": "${env:ESPALIER_SECRET}"}}
    overrides = [f"trainer.save_dir={tmp_path}", "user.token=${env:ESPALIER_SECRET}"]
    config = from_checkpoint(inside, overrides=overrides)
    config.check()
    assert config["user"]["token"] == "hunter2"
    assert config.snapshot["user"]["token"] == "${env:ESPALIER_SECRET}"


@pytest.mark.parametrize(
    ("inside", "given"),
    [
        ({"user": {"kind": "os.system"}}, {"arch": {"type": "${user.kind}", "args": None}}),
        ({"user": {"net": {"type": "os.system"}}}, {"arch": "${user.net}"}),
        ({"user": {"a": {"kind": "os.system"}}}, {"arch": {"type": "${user.b.kind}"}, "user": {"b": "${user.a}"}}),
        ({"user": {"kind": "system"}}, {"arch": {"type": "os.${user.kind}", "args": None}}),
        ({"arch": {"type": "os.system", "args": {"command": "true"}}}, {"arch": {"args": {"command": "false"}}}),
    ],
    ids=["text", "section", "over two", "half", "other arguments"],
)
def test_checkpoint_name_that_a_config_takes_by_reference_is_refused(from_checkpoint, inside, given):
    """A value is a checkpoint's wherever a reference brings it."""
    config = from_checkpoint(inside, config=given)
    assert ("arch.type", FOREIGN) in faults_of(config)
    with pytest.raises(ConfigError):
        config.init_obj("arch", model.model)


@pytest.mark.parametrize(
    "place", ["/etc", "../runs", "a/../../b", "~/runs", "~other", "C:/runs", "\\\\host\\x", "a\x1b[2J"]
)
def test_checkpoint_that_keeps_runs_elsewhere_is_refused(from_checkpoint, tiny_config, tmp_path, place):
    """A checkpoint cannot say that files are to be written outside of the folder where the command runs."""
    config = from_checkpoint({"trainer": {**tiny_config["trainer"], "save_dir": place}}, overrides=())
    with pytest.raises(ConfigError) as error:
        config.save_dir  # noqa: B018
    assert str(error.value) == (
        "config error: trainer.save_dir is a place out of a checkpoint that leads out of this folder\n"
        f"  from      inside {tmp_path / 'download' / 'model.pth'}\n"
        f"  got       {json.dumps(place)}\n"
        "  expected  a folder below this one\n"
        "  fix       if you trust it, give it yourself: trainer.save_dir=... on the command line"
    )


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "..", "a\\b"])
def test_checkpoint_whose_name_is_a_path_is_refused(from_checkpoint, name):
    """Also without a check, as in the commands of the classic template."""
    with pytest.raises(ConfigError):
        from_checkpoint({"name": name}).save_dir  # noqa: B018


def test_checkpoint_that_keeps_runs_below_is_continued_there(from_checkpoint, tiny_config, tmp_path, monkeypatch):
    """The common case: a folder beside the project's code."""
    monkeypatch.chdir(tmp_path)
    for place in ("saved", "./saved/a..b", str(tmp_path / "saved")):
        config = ConfigParser({**tiny_config, "trainer": {"save_dir": place}}, origins={("trainer",): "inside a.pth"})
        assert config.save_dir.is_relative_to(place)


@pytest.mark.slow
def test_secret_of_the_environment_is_in_no_file_of_a_run(run, tmp_path, tiny_config):
    """Train, resume and evaluate with values from the environment: each file keeps the reference alone."""
    digits, environment = tiny_config["data_loader"]["args"]["data_dir"], {"ESPALIER_SECRET": "hunter2"}
    (tmp_path / "hunter2").symlink_to(digits)
    tiny_config["data_loader"]["args"]["data_dir"] = f"{tmp_path}/${{env:ESPALIER_SECRET}}"
    tiny_config["user"] = {"token": "${env:ESPALIER_SECRET}", "same": "Bearer ${user.token}"}
    tiny_config["trainer"].update(tensorboard=True, verbosity=2)
    (tmp_path / "c.json").write_text(json.dumps(tiny_config))
    given = ("-c", tmp_path / "c.json"), ("-r", None, "trainer.epochs=3"), ("-r", None)
    for command, arguments in zip(("train.py", "train.py", "test.py"), given, strict=True):
        folder = next((tmp_path / "saved" / "models" / "Tiny").glob("*"), None)
        result = run(command, *(folder if each is None else each for each in arguments), env=environment)
        assert result.returncode == 0, result.stderr
        assert "hunter2" not in result.stdout + result.stderr
    files = [path for path in (tmp_path / "saved").rglob("*") if path.is_file()]
    assert {"config.json", "info.log", "last.pth", "run.json", "test.json"} <= {path.name for path in files}
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("change", "origins", "path", "got"),
    [
        ({"trainer": {"on_end_command": "touch here"}}, ("trainer",), "trainer.on_end_command", '"touch here"'),
        ({"writers": ["csv", "wandb"]}, ("writers",), "writers.1", '"wandb"'),
        ({"writers": [{"type": "mlflow", "args": {}}]}, ("writers",), "writers.0", '{"type": "mlflow", "args": {}}'),
    ],
)
def test_checkpoint_has_no_command_run_and_no_tracker_told(tmp_path, change, origins, path, got):
    """Refused before there is a folder; what a config on disk or the command line says is done."""
    config = config_for(tmp_path, epochs=1)
    for name, value in change.items():
        config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
    parser = ConfigParser(config, origins={origins: "inside a.pth"})
    network = Net()
    optimizer = parser.init_obj("optimizer", torch.optim, network.parameters())
    trainer = Trainer(network, nll_loss, [], optimizer, parser, torch.device("cpu"), make_loader())
    with pytest.raises(ConfigError) as error:
        trainer.train()
    what = "a command" if path == "trainer.on_end_command" else "a tracker"
    assert str(error.value) == (
        f"config error: {path} is {what} out of a checkpoint\n  from      inside a.pth\n  got       {got}\n"
        "  fix       if you trust it, write it into a config and give that with -c, or give it on the command line"
    )
    assert not (tmp_path / "saved").exists()
