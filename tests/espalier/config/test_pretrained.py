"""Weights that a library is to download, where there is no network."""

import socket
import types
import urllib.error

import pytest
import torch
import torchvision

from espalier.errors import ConfigError
from parse_config import ConfigParser


class LocalEntryNotFoundError(OSError):
    """As that of huggingface_hub."""


def load_state_dict_from_url(url):
    """As that of torch.hub: the file it looks for, then no network."""
    cached_file = f"/cache/{url.rpartition('/')[2]}"
    try:
        raise socket.gaierror(-2, "Name or service not known")
    except OSError as error:
        raise urllib.error.URLError(f"nothing at {cached_file}: {error}") from error


def hf_hub_download(repo_id, filename, cache_dir):
    """As that of huggingface_hub."""
    raise LocalEntryNotFoundError(f"no {filename} of {repo_id} in {cache_dir}")


def from_url(weights=None, pretrained=False, other=0):
    """A model with weights from an address."""
    return load_state_dict_from_url("https://x.org/a.pth")


def from_hub(pretrained_model_name_or_path="owner/net"):
    """A model from the hub, whose library wraps the error in its own."""
    try:
        hf_hub_download(pretrained_model_name_or_path, "model.safetensors", cache_dir="/cache")
    except OSError as error:
        raise OSError("cannot connect") from error


def own_error(weights="a"):
    """A model whose constructor asks the network itself."""
    raise socket.gaierror(-2, "Name or service not known")


def own_key(weights="a"):
    """A model with a fault of its own."""
    raise KeyError(weights)


ROOM = types.SimpleNamespace(from_url=from_url, from_hub=from_hub, own_error=own_error, own_key=own_key)


BY_HAND = ", and name a .pth or .safetensors file under arch.init_from"


def refusal(kind, **args):
    """What is told of a model that cannot be built."""
    config = ConfigParser({"arch": {"type": kind, "args": args}})
    config.tree.is_checked = True
    with pytest.raises(ConfigError) as caught:
        config.init_obj("arch", ROOM)
    return str(caught.value)


@pytest.mark.parametrize(
    ("args", "key", "advice"),
    [
        ({"weights": "DEFAULT"}, ".weights", f'; or write "weights": null{BY_HAND}'),
        ({"pretrained": True}, ".pretrained", f'; or write "pretrained": false{BY_HAND}'),
        ({"other": 1}, "", ""),
    ],
)
def test_download_from_an_address_that_fails_names_the_file_to_put_where(args, key, advice):
    """Key, address, cause, the place of the file, and how to do without."""
    assert refusal("from_url", **args) == (
        f"config error: arch.args{key} asks for weights that could not be downloaded\n"
        "  got       https://x.org/a.pth (gaierror: [Errno -2] Name or service not known)\n"
        f"  fix       download it elsewhere, and put it here as /cache/a.pth{advice}"
    )


def test_download_from_the_hub_that_fails_names_the_folder_to_put_where():
    """Also an error that a library has wrapped, and an argument that is left at its default."""
    assert refusal("from_hub") == (
        "config error: arch.args.pretrained_model_name_or_path asks for weights that could not be downloaded\n"
        "  got       model.safetensors of https://huggingface.co/owner/net (LocalEntryNotFoundError: no "
        "model.safetensors of owner/net in /cache)\n"
        "  fix       fetch it elsewhere (hf download owner/net), and copy the folder here as "
        "/cache/models--owner--net. HF_HUB_OFFLINE=1 spares the retries, of up to a minute; or name a local folder "
        "that holds it"
    )


def test_download_by_torch_hub_itself_is_understood(tmp_path, monkeypatch):
    """PyTorch's function still knows what the message is made of."""
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *args, **kwargs: load_state_dict_from_url("x/y"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    text = refusal("torchvision.models.resnet18", weights="DEFAULT")
    assert "arch.args.weights asks for weights" in text
    assert "https://download.pytorch.org/models/resnet18-" in text
    assert f"put it here as {tmp_path}/checkpoints/resnet18-" in text


@pytest.mark.parametrize("name", ["DEFALT", "ResNet18_Weights.IMAGENET1K_V"])
def test_weights_that_torchvision_lacks_get_the_nearest_name(name):
    """Before, this was a KeyError."""
    known = [each.name for each in torchvision.models.ResNet18_Weights]
    assert refusal("torchvision.models.resnet18", weights=name) == (
        f'config error: arch.args.weights names no weights of torchvision.models.resnet18\n  got       "{name}"\n'
        f"  expected  one of: {', '.join([*known, 'DEFAULT'])}\n"
        f"  closest   {'DEFAULT' if name == 'DEFALT' else 'IMAGENET1K_V1'}"
    )


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"num_clases": 5},
         ".num_clases is not an argument that torchvision.models.resnet18 can use here\n  got       5\n"
         "  closest   num_classes"),
        ({"num_classes": 5, "weights": "DEFAULT"},
         " is refused by torchvision.models.resnet18: The parameter 'num_classes' expected value 1000 but got 5 "
         'instead.\n  got       {"num_classes": 5, "weights": "DEFAULT"}\n  fix       leave "num_classes" out: the '
         "weights come with their head. For one of your own write arch.replace"),
    ],
)  # fmt: skip
def test_arguments_that_a_model_of_torchvision_refuses_are_told_with_the_way_out(args, told):
    """What it passes on to a class of its own shows there alone; published weights have their own number of classes."""
    assert refusal("torchvision.models.resnet18", **args) == f"config error: arch.args{told}"


NAMES = "', '".join(f"net{each}" for each in range(500))


@pytest.mark.parametrize(
    ("error", "args", "told"),
    [
        (FileNotFoundError(), {"model_name": "net1", "checkpoint_path": "w/none.pth"},
         '.checkpoint_path names what is not a file\n  got       "w/none.pth"'),
        (FileNotFoundError(2, "No such file or directory", "w/none.pth"), {"weights": "w/none.pth"},
         '.weights names what is not a file\n  got       "w/none.pth"'),
        (AssertionError(), {"a": 1}, ' is refused by timm.make: AssertionError\n  got       {"a": 1}'),
        (ValueError(), {"a": 1}, ' is refused by timm.make: ValueError\n  got       {"a": 1}'),
        (AssertionError("Invalid pool type: avgg"), {"model_name": "net1", "pool": "avgg"},
         '.pool is refused by timm.make: Invalid pool type: avgg\n  got       "avgg"'),
        (KeyError(f"Wrong encoder name `nett7`, supported encoders: ['{NAMES}']"), {"encoder_name": "nett7"},
         '.encoder_name is refused by timm.make: Wrong encoder name `nett7`, supported encoders\n  got       "nett7"\n'
         "  expected  one of: net0, net1, net2, net3, net4, net5, net6, net7 and 492 more\n"
         '  closest   net7\n  fix       write "net7"'),
        (KeyError("Wrong weights `imagenett` for encoder `net1`. There are: ['imagenet', 'ssl']"),
         {"encoder_name": "net1", "encoder_weights": "imagenett"},
         '.encoder_weights is refused by timm.make: Wrong weights `imagenett` for encoder `net1`. There are\n'
         '  got       "imagenett"\n  expected  one of: imagenet, ssl\n  closest   imagenet\n'
         '  fix       write "imagenet"'),
        (ValueError("Invalid task: expected one of ['BINARY', 'MULTICLASS'], but got multiclas."),
         {"task": "multiclas"},
         '.task is refused by timm.make: Invalid task\n  got       "multiclas"\n'
         '  expected  one of: binary, multiclass\n  closest   multiclass\n  fix       write "multiclass"'),
        (ValueError("mode must be one of {'a', 'b'}, but got mode='c'"), {"mode": "c"},
         ".mode is refused by timm.make: mode must be one of {'a', 'b'}, but got mode='c'\n  got       \"c\"\n"
         "  expected  one of: a, b"),
        (ValueError("bad " * 200), {"a": 1},
         f' is refused by timm.make: {("bad " * 200)[:297]}...\n  got       {{"a": 1}}'),
    ],
)  # fmt: skip
def test_what_a_library_says_is_told_of_the_argument_that_it_is_about(monkeypatch, error, args, told):
    """Short, with the nearest of what it knows, and never empty."""

    def make(**_):
        raise error

    make.__module__ = "timm"
    make.__qualname__ = "make"
    monkeypatch.setattr(ROOM, "make", make, raising=False)
    assert refusal("make", **args) == f"config error: arch.args{told}"


@pytest.mark.parametrize(("kind", "error"), [("own_error", socket.gaierror), ("own_key", KeyError)])
def test_error_of_the_users_own_model_is_shown_as_it_is(kind, error):
    """No download of a library is in it."""
    config = ConfigParser({"arch": {"type": kind}})
    config.tree.is_checked = True
    with pytest.raises(error):
        config.init_obj("arch", ROOM)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "kind", "args", "path"),
    [
        ("timm", "timm.create_model", {"model_name": "resnet18", "pretrained": True}, "pretrained asks"),
        ("timm", "timm.create_model", {"model_name": "resnet18", "num_class": 5}, "num_class is not an argument"),
        ("timm", "timm.create_model", {"model_name": "resnet81"}, "model_name names no model of timm"),
        ("segmentation_models_pytorch", "segmentation_models_pytorch.Unet", {}, "encoder_weights asks"),
        ("transformers", "transformers.AutoModel.from_pretrained", {"pretrained_model_name_or_path": "a/b"},
         "pretrained_model_name_or_path asks"),
    ],
)  # fmt: skip
def test_libraries_that_are_installed_are_understood(monkeypatch, library, kind, args, path):
    """The same of the libraries themselves."""
    pytest.importorskip(library)
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refusal(kind, **args).startswith(f"config error: arch.args.{path}")
