"""Checkpoints of the classic template: brought over to the bit, and never a door for what else is in them."""

import argparse
import collections
import json
import logging
import os
import pickle
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import parse_config
from data_loader.data_loaders import DigitsDataLoader
from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.folder import newest_checkpoint
from espalier.classic.checkpoint import convert
from espalier.errors import CheckpointError
from model.model import MnistModel

# The classes that a classic project pickles, each as its generation had it; the rest of it is not needed for a file.
CLASSIC_FILES = {
    "parse_config.py": "class ConfigParser:\n    pass\n",  # pickled by name: what it holds is set below
    "logger/__init__.py": "from .logger import Logger\n",
    "logger/logger.py": "class Logger:\n    def __init__(self):\n        self.entries = {}\n",
    "make.py": """
import json, logging, math, sys
from collections import OrderedDict
from pathlib import Path
import numpy as np
import torch
from logger import Logger
from parse_config import ConfigParser

def config_object(**attributes):
    config = ConfigParser()
    config.__dict__.update(attributes, log_levels={0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG})
    return config

plain = torch.load("plain.pth", weights_only=True)
read = json.loads(Path("config.json").read_text(), object_hook=OrderedDict)
base = {"arch": "MnistModel", "epoch": 3, "state_dict": OrderedDict(plain["state_dict"]),
        "optimizer": plain["optimizer"]}
logger = Logger()
logger.entries[1] = {"epoch": 1, "loss": np.float64(0.5), "metrics": [0.9], "seen": np.arange(3)}
folders = {"_save_dir": Path("saved/models/Old/1"), "_log_dir": Path("saved/log/Old/1")}
changed = json.loads(json.dumps(read), object_hook=OrderedDict)
changed["trainer"].update(save_dir=Path("saved"), epochs=np.int64(24), logger=logging.getLogger("classic.run"))
files = {
    "G0": {**base, "logger": logger, "monitor_best": math.inf, "config": json.loads(json.dumps(read))},
    "G1": {**base, "monitor_best": torch.tensor(0.25), "config": config_object(
        _ConfigParser__config=read, resume=None, cfg_fname=Path("config.json"),
        _ConfigParser__save_dir=folders["_save_dir"], _ConfigParser__log_dir=folders["_log_dir"])},
    "G2": {**base, "monitor_best": np.float64(0.25),
           "config": config_object(_config=read, resume=Path("saved/models/Old/0/model_best.pth"), **folders)},
    "G3": {**base, "monitor_best": 0.25, "config": config_object(_config=changed, resume=None, **folders),
           "state_dict": OrderedDict((f"module.{name}", value) for name, value in plain["state_dict"].items())},
}
for name, state in files.items():
    torch.save(state, f"{name}.pth")
    torch.save(state, f"{name}-old-format.pth", _use_new_zipfile_serialization=False)
""",
}
CONFIG = {
    "name": "Old",
    "n_gpu": 0,
    "arch": {"type": "MnistModel", "args": {}},
    "data_loader": {"type": "DigitsDataLoader", "args": {"data_dir": "data/digits", "batch_size": 64, "shuffle": True,
                                                         "validation_split": 0.1, "num_workers": 0}},
    "optimizer": {"type": "Adam", "args": {"lr": 0.001, "weight_decay": 0, "amsgrad": True}},
    "loss": "nll_loss",
    "metrics": ["accuracy", "top_k_acc"],
    "lr_scheduler": {"type": "StepLR", "args": {"step_size": 50, "gamma": 0.1}},
    "trainer": {"epochs": 24, "save_dir": "saved", "save_period": 1, "verbosity": 2, "monitor": "min val_loss",
                "early_stop": 10, "tensorboard": False},
}  # fmt: skip
BEST = {"G0": float("inf"), "G1": 0.25, "G2": 0.25, "G3": 0.25}


def is_same(one, other):
    """Whether two values are equal to the bit: types, keys and their order, dtypes, every number."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(is_same, one, other))
    return type(one) is type(other) and one == other


@pytest.fixture(scope="module")
def model():
    """A network and its optimizer after one step: what the classic checkpoints hold."""
    torch.manual_seed(5)
    model = MnistModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, amsgrad=True)
    model(torch.randn(2, 1, 28, 28)).sum().backward()
    optimizer.step()
    return model, optimizer


@pytest.fixture(scope="module")
def classic(tmp_path_factory, model, run):
    """A folder of checkpoints as a project of each generation pickles them, made where none of our rooms is known."""
    folder = tmp_path_factory.mktemp("classic")
    for name, text in CLASSIC_FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    torch.save({"state_dict": model[0].state_dict(), "optimizer": model[1].state_dict()}, folder / "plain.pth")
    assert run("make.py", cwd=folder).returncode == 0
    return folder


def refusal(old, new):
    """The message with which a file is refused; nothing may have been written."""
    with pytest.raises(CheckpointError) as error:
        convert(old, new, is_trusted=True)
    assert not new.exists()
    return str(error.value)


# what is brought over


@pytest.mark.parametrize("file_format", ["", "-old-format"], ids=["zip", "old_format"])
@pytest.mark.parametrize("generation", BEST)
def test_convert_each_generation_is_the_same_to_the_bit(
    classic, model, config_command, tmp_path, generation, file_format
):
    """Weights, optimizer state, epoch, best value and config come through; nothing else is in the new file."""
    new = tmp_path / "new.pth"
    code, _, errors = config_command("--convert", classic / f"{generation}{file_format}.pth", new, "--trust")
    assert (code, errors) == (0, "")
    config = CONFIG if generation != "G3" else {**CONFIG, "trainer": {**CONFIG["trainer"], "logger": None}}
    expected = {"arch": "MnistModel", "epoch": 3, "state_dict": model[0].state_dict(),
                "optimizer": model[1].state_dict(), "monitor_best": BEST[generation], "config": config}  # fmt: skip
    found = load_checkpoint(new)
    assert is_same(found, expected)
    assert type(found["config"]) is type(found["config"]["trainer"]) is dict


def test_convert_command_tells_what_was_kept_and_dropped(classic, run, tmp_path):
    """The command as a user runs it: a line for each part, then where the file is and what to do with it."""
    result = run("parse_config.py", "--convert", classic / "G3.pth", tmp_path / "new.pth", "--trust")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        'kept      arch: "MnistModel"\n'
        "kept      epoch: 3\n"
        'kept      state_dict: ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight", "f...\n'
        'kept      optimizer: ["state", "param_groups"]\n'
        "kept      monitor_best: 0.25\n"
        'kept      config: ["name", "n_gpu", "arch", "data_loader", "optimizer", "loss", "metrics", "lr_...\n'
        'dropped   "module." before each name of state_dict\n'
        "dropped   resume of the config object\n"
        "dropped   _save_dir of the config object\n"
        "dropped   _log_dir of the config object\n"
        "dropped   log_levels of the config object\n"
        "dropped   config.trainer.logger, of type logging.getLogger; null stands there\n"
        f"Written to {tmp_path / 'new.pth'}; to evaluate it: python test.py -r {tmp_path / 'new.pth'}\n"
    )


def test_convert_oldest_generation_drops_its_logger(classic, tmp_path):
    """The log object of G0 is read past, with the numbers and arrays in it."""
    lines = convert(classic / "G0.pth", tmp_path / "new.pth", is_trusted=True)
    assert [line for line in lines[:-1] if not line.startswith("kept ")] == ["dropped   logger"]


def test_convert_result_is_evaluated_by_test(classic, model, run, root, tmp_path):
    """test.py takes a converted checkpoint, with the config inside it, and finds what its weights give."""
    convert(classic / "G2.pth", tmp_path / "new.pth", is_trusted=True)
    result = run("test.py", "-r", tmp_path / "new.pth")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "test.json").read_text())["evaluations"][-1]
    loader = DigitsDataLoader(str(root / "data" / "digits"), 64, shuffle=False, training=False)
    with torch.no_grad():
        right = sum((model[0].eval()(data).argmax(1) == target).sum().item() for data, target in loader)
    assert report["num_samples"] == 359
    assert report["metrics"]["accuracy"] == pytest.approx(right / 359)


def test_convert_file_of_a_gpu_is_read_on_the_cpu(tmp_path, monkeypatch):
    """Tensors that were saved from a GPU come back on the CPU, whether or not this machine has one."""
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    torch.save({"state_dict": {"weight": torch.arange(3.0)}}, tmp_path / "old.pth")
    monkeypatch.undo()
    convert(tmp_path / "old.pth", tmp_path / "new.pth", is_trusted=True)
    assert is_same(load_checkpoint(tmp_path / "new.pth")["state_dict"], {"weight": torch.arange(3.0)})


NUMPY = [np.bool_(True), np.int8(-5), np.uint16(7), np.int64(-(2**60)), np.float16(0.5), np.float32(0.1),
         np.float64(0.1), np.float64("inf")]  # fmt: skip


def test_convert_config_becomes_what_a_json_file_holds(tmp_path):
    """Paths are texts, tuples lists, keys texts, NumPy's numbers plain; what has no such form is null and named."""
    config = {"path": Path("a/b"), "tuple": (1, [2.5, None]), 5: "key", "numbers": NUMPY, "array": np.ones(2),
              "nested": [{"tensor": torch.ones(2)}], "text": "${not.a.reference}"}  # fmt: skip
    torch.save({"state_dict": {}, "config": collections.OrderedDict(config)}, tmp_path / "old.pth")
    lines = convert(tmp_path / "old.pth", tmp_path / "new.pth", is_trusted=True)
    assert is_same(load_checkpoint(tmp_path / "new.pth")["config"], {
        "path": str(Path("a/b")), "tuple": [1, [2.5, None]], "5": "key", "numbers": [each.item() for each in NUMPY],
        "array": None, "nested": [{"tensor": None}], "text": "$${not.a.reference}",
    })  # fmt: skip
    assert lines[2:-1] == [
        "missing   arch",
        "missing   epoch",
        "missing   optimizer",
        "missing   monitor_best",
        f"dropped   config.array, of type {np.ones(1).__reduce__()[0].__module__}._reconstruct; null stands there",
        "dropped   config.nested.0.tensor, of type Tensor; null stands there",
    ]


def test_convert_parts_of_other_types_are_dropped(tmp_path):
    """What stands where a name, a number or a config should be is left out, and told."""
    state = {"arch": 3, "epoch": "7", "state_dict": {}, "monitor_best": {"a": 1.0}, "config": None, "ema": {}}
    torch.save(state, tmp_path / "old.pth")
    assert convert(tmp_path / "old.pth", tmp_path / "new.pth", is_trusted=True)[:-1] == [
        "kept      state_dict: []",
        "missing   optimizer",
        "dropped   arch, of type int",
        "dropped   epoch, of type str",
        "dropped   monitor_best, of type dict",
        "dropped   config, of type NoneType",
        "dropped   ema",
    ]
    assert load_checkpoint(tmp_path / "new.pth") == {"state_dict": {}}


@pytest.mark.parametrize("names", [["module.a", "b"], ["a.module.b"]])
def test_convert_names_that_only_look_like_wrapped_ones_stay(tmp_path, names):
    """Only where every name begins with `module.` was it the wrapper that put it there."""
    torch.save({"state_dict": {name: torch.ones(1) for name in names}}, tmp_path / "old.pth")
    convert(tmp_path / "old.pth", tmp_path / "new.pth", is_trusted=True)
    assert list(load_checkpoint(tmp_path / "new.pth")["state_dict"]) == names


# what is not run


class Payload:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


PAYLOADS = {
    "system": (lambda target: Payload(os.system, f"touch {target}"), f"{os.system.__module__}.system"),
    "eval": (lambda target: Payload(eval, f"open({str(target)!r}, 'w')"), "builtins.eval"),
    "method": (lambda target: Payload(Path.touch, target), "builtins.getattr"),
    "import": (lambda target: Payload(shutil.copyfile, __file__, str(target)), "shutil.copyfile"),
}
PLACES = {
    "part": lambda payload: {"state_dict": {}, "epoch": payload},
    "weights": lambda payload: {"state_dict": {"weight": payload}},
    "config": lambda payload: {"state_dict": {}, "config": argparse.Namespace(_config={"name": payload})},
    "key": lambda payload: {"state_dict": {}, "config": [payload, Path("x")]},
}


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "old_format"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_convert_payload_is_refused_by_name_and_not_run(tmp_path, payload, place, is_zip):
    """Whatever would run when unpickled stops the conversion, wherever it stands; the global is named."""
    build, name = PAYLOADS[payload]
    old, harm = tmp_path / "old.pth", tmp_path / "harm"
    torch.save(PLACES[place](build(harm)), old, _use_new_zipfile_serialization=is_zip)
    assert refusal(old, tmp_path / "new.pth") == (
        f"checkpoint error: {old} holds a type that is not on the list, so it was not read and nothing in it was run\n"
        f"  got       {name}\n"
        "  fix       if you know who made it, save it without that type in the project it is from"
    )
    assert [each.name for each in tmp_path.iterdir()] == ["old.pth"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_runs_where_it_is_unpickled(tmp_path, payload):
    """The payloads of these tests are real ones: an unsafe load runs them."""
    torch.save(PLACES["config"](PAYLOADS[payload][0](tmp_path / "harm")), tmp_path / "old.pth")
    torch.load(tmp_path / "old.pth", weights_only=False)
    assert (tmp_path / "harm").exists()


def test_convert_listed_names_are_not_looked_up(classic, tmp_path):
    """What is on the list is not called either: converting makes no logger and no config object."""
    assert b"classic.run" in (classic / "G3.pth").read_bytes()
    convert(classic / "G3.pth", tmp_path / "new.pth", is_trusted=True)
    assert "classic.run" not in logging.root.manager.loggerDict


def test_convert_command_refuses_a_payload_without_a_traceback(config_command, tmp_path):
    """As a user sees it: exit code 2, the message, no marker file."""
    old, harm = tmp_path / "old.pth", tmp_path / "harm"
    torch.save({"state_dict": {}, "config": Payload(os.system, f"touch {harm}")}, old)
    assert config_command("--convert", old, tmp_path / "new.pth", "--trust") == (
        2,
        "",
        f"checkpoint error: {old} holds a type that is not on the list, so it was not read and nothing in it was run\n"
        f"  got       {os.system.__module__}.system\n"
        "  fix       if you know who made it, save it without that type in the project it is from\n",
    )
    assert [each.name for each in tmp_path.iterdir()] == ["old.pth"]


LISTED = b"cparse_config\nConfigParser\n cargparse\nNamespace\n cpathlib\nPosixPath\n cnumpy\ndtype\n".split(b" ")
USES = [b")", b"R", b"\x81", b"b", b"}", b"]", b"K\x01", b"0", b"s"]  # call, create, set a state, hold, drop, put


@given(
    st.lists(st.sampled_from(LISTED) | st.sampled_from(USES)),
    st.sampled_from([b"\x80\x02", b"\x80\x02}X\x0a\x00\x00\x00state_dict}sX\x06\x00\x00\x00config"]),
)
def test_convert_any_use_of_the_listed_types_is_converted_or_refused(parts, start):
    """However a pickle combines what it may name, a file comes of it or a CheckpointError, nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder) / "old.pth", Path(folder) / "new.pth"
        with zipfile.ZipFile(old, "w") as archive:
            archive.writestr("old/data.pkl", start + b"".join(parts) + (b"s." if b"config" in start else b"."))
            archive.writestr("old/version", "3\n")
        try:
            convert(old, new, is_trusted=True)
            load_checkpoint(new)
        except CheckpointError:
            assert not new.exists()


# what is refused


def test_convert_without_trust_is_refused_with_an_explanation(classic, config_command, tmp_path):
    """The flag has to be given, and the message says what it means."""
    assert config_command("--convert", classic / "G3.pth", tmp_path / "new.pth") == (
        2,
        "",
        f"checkpoint error: {classic / 'G3.pth'} is converted only with --trust\n"
        "  expected  a file whose numbers and config you believe: its config says what train.py and test.py import\n"
        "  fix       add --trust if it is one; even then only listed types are read, and no code in it is run\n",
    )
    assert not (tmp_path / "new.pth").exists()


def test_convert_to_a_file_that_exists_is_refused(classic, config_command, tmp_path):
    """Nothing is overwritten, the checkpoint itself included."""
    (tmp_path / "new.pth").write_bytes(b"mine")
    assert config_command("--convert", classic / "G3.pth", tmp_path / "new.pth", "--trust") == (
        2,
        "",
        f"checkpoint error: {tmp_path / 'new.pth'} exists already\n  fix       give another name\n",
    )
    assert (tmp_path / "new.pth").read_bytes() == b"mine"


def test_convert_to_a_folder_that_is_not_there_is_refused(classic, tmp_path):
    """The system's reason is told."""
    new = tmp_path / "missing" / "new.pth"
    assert refusal(classic / "G3.pth", new) == (
        f"checkpoint error: {new} cannot be written\n  got       No such file or directory"
    )


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"model": {}}, "is no training checkpoint\n  expected  a dict with the key state_dict"),
        ([1], "is no training checkpoint\n  expected  a dict with the key state_dict"),
        ({"state_dict": 1}, "is no training checkpoint\n  expected  a dict with the key state_dict"),
        ({"state_dict": {}, "format": 2}, "has the plain format already\n  fix       use it as it is"),
        ({"state_dict": {"a": logging.getLogger("a")}},
         "holds a value that has no plain form, so it was not converted\n  got       "
         "checkpoint['state_dict']['a'] is a logging.getLogger; only tensors and plain Python values can be saved"),
        ({"state_dict": {}, "monitor_best": np.longdouble(1)},
         f"is damaged, or no checkpoint\n  got       a NumPy scalar of type {np.dtype('longdouble').str}"),
    ],
)  # fmt: skip
def test_convert_file_that_holds_something_else_is_refused(tmp_path, state, told):
    """Bare weights, our own format, and values without a plain form are told apart."""
    torch.save(state, tmp_path / "old.pth")
    assert refusal(tmp_path / "old.pth", tmp_path / "new.pth") == f"checkpoint error: {tmp_path / 'old.pth'} {told}"


@pytest.mark.parametrize("is_inside", [False, True], ids=["", "in the config object"])
def test_convert_config_that_holds_itself_is_refused(tmp_path, is_inside):
    """A circle has no end; nor has it inside the object of a class."""
    circle = []
    circle.append(circle)
    config = {"a": circle}
    if is_inside:
        config = argparse.Namespace(_config={"a": circle})
    torch.save({"state_dict": {}, "config": config}, tmp_path / "old.pth")
    assert refusal(tmp_path / "old.pth", tmp_path / "new.pth") == (
        f"checkpoint error: {tmp_path / 'old.pth'} is not read: it would take more memory or time than its size "
        "accounts for\n  got       a list holds itself"
    )


def test_convert_zip_with_a_flipped_bit_is_refused(classic, tmp_path):
    """The checksums of a zip are compared, as for our own files."""
    old = tmp_path / "old.pth"
    data = bytearray((classic / "G2.pth").read_bytes())
    data[len(data) // 2] ^= 4
    old.write_bytes(data)
    assert refusal(old, tmp_path / "new.pth").startswith(f"checkpoint error: {old} is damaged\n  got       the part ")


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
@pytest.mark.parametrize("name", ["G2", "G2-old-format"])
def test_convert_file_that_was_cut_is_refused(classic, tmp_path, name, share):
    """A file that lost its end is no checkpoint, in either format."""
    old, whole = tmp_path / "old.pth", (classic / f"{name}.pth").read_bytes()
    old.write_bytes(whole[: int(share * len(whole))])
    assert refusal(old, tmp_path / "new.pth").startswith(f"checkpoint error: {old} is ")


def test_convert_pickle_protocol_that_torch_does_not_read_is_refused(tmp_path):
    """What the safe loader cannot read is told without torch's advice to load it unsafely."""
    torch.save({"state_dict": {}, "config": Path("a")}, tmp_path / "old.pth", pickle_protocol=4)
    with pytest.warns(UserWarning, match="Detected pickle protocol 4"):
        assert refusal(tmp_path / "old.pth", tmp_path / "new.pth") == (
            f"checkpoint error: {tmp_path / 'old.pth'} is damaged, or no checkpoint\n"
            f"  got       Unsupported operand {pickle.FRAME[0]}"
        )


def test_convert_file_that_is_not_there_is_refused(tmp_path):
    """A name that was mistyped is the error of every other command."""
    assert refusal(tmp_path / "old.pth", tmp_path / "new.pth") == (
        f"checkpoint error: {tmp_path / 'old.pth'} is not a file\n"
        "  fix       give a checkpoint (.pth) or the folder of a run under saved/models"
    )


# the way there


def advice(path):
    """The line that names the command."""
    return (
        "  fix       if it is of the classic template and you trust it: "
        f"python parse_config.py --convert {path} new.pth --trust"
    )


def test_load_checkpoint_classic_file_names_the_command(classic):
    """Who gives a classic checkpoint to a command is told how to bring it over."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(classic / "G3.pth")
    assert str(error.value) == (
        f"checkpoint error: {classic / 'G3.pth'} holds more than tensors and plain values, so it was not opened\n"
        f"  got       parse_config.ConfigParser\n{advice(classic / 'G3.pth')}"
    )


@pytest.mark.parametrize("load", [load_checkpoint, lambda path: parse_config.ConfigParser.from_args(
    argparse.Namespace(config=None, resume=str(path), device=None))], ids=["load_checkpoint", "from_args"])  # fmt: skip
def test_resume_old_format_names_the_command(classic, load):
    """A file from before torch 1.6 is not called damaged."""
    path = classic / "G2-old-format.pth"
    with pytest.raises(CheckpointError) as error:
        load(path)
    assert str(error.value) == (f"checkpoint error: {path} has the format that torch wrote before 1.6\n{advice(path)}")


def test_newest_checkpoint_of_old_format_names_the_command(classic, tmp_path):
    """In a run folder of such files the newest is what to bring over."""
    for epoch in (1, 2):
        shutil.copyfile(classic / "G2-old-format.pth", tmp_path / f"checkpoint-epoch{epoch}.pth")
    with pytest.raises(CheckpointError) as error:
        newest_checkpoint(tmp_path)
    assert str(error.value) == (
        f"checkpoint error: {tmp_path} has no checkpoint that can be read\n"
        f"  got       {tmp_path / 'checkpoint-epoch2.pth'} has the format that torch wrote before 1.6; "
        f"{tmp_path / 'checkpoint-epoch1.pth'} has the format that torch wrote before 1.6\n"
        f"{advice(tmp_path / 'checkpoint-epoch2.pth')}"
    )


def test_resume_file_that_is_no_checkpoint_at_all_names_no_command(tmp_path):
    """The command is not the answer to a text file."""
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(CheckpointError) as error:
        parse_config.ConfigParser.from_args(argparse.Namespace(config=None, resume=str(tmp_path / "notes.txt")))
    assert str(error.value) == (
        f"checkpoint error: {tmp_path / 'notes.txt'} is a text file\n"
        '  got       "notes"\n'
        "  fix       give a file of weights: .pth, .pt, .bin or .safetensors"
    )


def test_convert_pipe_is_refused_without_waiting(tmp_path):
    """Nobody writes into it."""
    os.mkfifo(tmp_path / "old.pth")
    assert refusal(tmp_path / "old.pth", tmp_path / "new.pth") == (
        f"checkpoint error: {tmp_path / 'old.pth'} is not a file\n"
        "  fix       give a checkpoint (.pth) or the folder of a run under saved/models"
    )
