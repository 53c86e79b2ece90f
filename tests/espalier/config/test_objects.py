"""From names to Python objects."""

import collections
import json
import types

import pytest
import torch

from espalier.config.objects import NameNotFound, find_object, full_name, signature_of


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("loads", json.loads),
        ("torch.nn.MSELoss", torch.nn.MSELoss),
        ("torch.nn.functional.mse_loss", torch.nn.functional.mse_loss),
        ("collections.OrderedDict.fromkeys", collections.OrderedDict.fromkeys),
        ("torch.nn", torch.nn),
    ],
)
def test_find_object_name_or_dotted_path_gives_the_object(name, found):
    """A plain name is looked up in the module, a dotted one from the outermost package."""
    assert find_object(name, json) == found


def test_find_object_any_namespace_will_do():
    """The module may be any object with attributes."""
    assert find_object("Net", types.SimpleNamespace(Net=int)) is int


def test_find_object_dotted_path_imports_the_module_it_names(tmp_path, monkeypatch):
    """A submodule that nobody imported yet is imported."""
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "nets.py").write_text("class Net: width = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_object("my_package.nets.Net", json).width == 3


@pytest.mark.parametrize(
    ("name", "message", "near"),
    [
        ("load_s", "is not in json: load_s", "loads"),
        ("zzzzzz", "is not in json: zzzzzz", None),
        ("", "is not in json: ", None),
        ("torch.nn.MSELos", "is not in torch.nn: MSELos", "MSELoss"),
        ("collections.OrderedDict.fromkey", "is not in OrderedDict: fromkey", "fromkeys"),
        ("json.", "is not in json: ", None),
        ("no_such_package.Net", "is not in the installed packages: no_such_package.Net", None),
        (".loads", "is not in the installed packages: .loads", None),
        ("..loads", "is not in the installed packages: ..loads", None),
    ],
)
def test_find_object_unknown_name_says_where_it_looked_and_what_is_near(name, message, near):
    """A name that is nowhere is a NameNotFound, however odd the name."""
    with pytest.raises(NameNotFound) as error:
        find_object(name, json)
    assert str(error.value) == message
    assert error.value.closest == near


def test_find_object_module_that_lacks_a_package_names_that_package(tmp_path, monkeypatch):
    """A module that is there but cannot be imported is not reported as a misspelt name."""
    (tmp_path / "broken_room.py").write_text("import no_such_package_at_all\nclass Net: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="^No module named 'no_such_package_at_all'$"):
        find_object("broken_room.Net", json)


def test_signature_of_a_class_is_that_of_its_constructor():
    """The arguments of a class are those of `__init__`."""
    assert list(signature_of(torch.nn.Dropout).parameters) == ["p", "inplace"]


def test_signature_of_a_compiled_function_is_none():
    """A callable that tells nothing about its arguments gives None, not an error."""
    assert signature_of(torch.sigmoid) is None


@pytest.mark.parametrize(
    ("target", "name"),
    [(torch.optim.Adam, "torch.optim.Adam"), (torch.nn.functional.mse_loss, "torch.nn.functional.mse_loss"),
     (json.JSONDecoder, "json.JSONDecoder"), (len, "builtins.len"), (dict.fromkeys, "dict.fromkeys")],
)  # fmt: skip
def test_full_name_is_where_people_import_it_from(target, name):
    """Messages give the shortest path that works; what knows no module goes by its name."""
    assert full_name(target) == name
