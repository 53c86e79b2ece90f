"""What a command line may ask of a bundle, before anything is built."""

from argparse import Namespace
from dataclasses import replace
from types import SimpleNamespace

import pytest

from espalier.errors import UserError
from espalier.export.bundle import check_portable
from espalier.export.bundle_command import bundle_run
from espalier.export.command import export_run
from tests.espalier.export.networks import model_of

ARGS = {"bundle": None, "hub_folder": None, "output": None, "format": "onnx", "overwrite": False, "name": None,
        "licence": None}  # fmt: skip


def refusal(command, **args):
    """What is said of it."""
    with pytest.raises(UserError) as caught:
        command(None, {}, Namespace(**{**ARGS, **args}))
    return str(caught.value)


def test_bundle_with_one_output_is_refused(tmp_path):
    """It is a folder of several."""
    assert refusal(bundle_run, bundle=str(tmp_path / "b"), output="model.onnx") == (
        "export error: -o names one file, and a bundle has several\n  fix       leave -o out"
    )


def test_hub_folder_as_a_zip_is_refused(tmp_path):
    """The hub takes folders."""
    path = str(tmp_path / "hub.zip")
    assert refusal(bundle_run, hub_folder=path) == (
        f"export error: --hub-folder names a zip\n  got       {path}\n  expected  a folder"
    )


def test_bundle_and_hub_folder_in_one_place_are_refused(tmp_path):
    """The one would take the place of the other."""
    path = str(tmp_path / "both")
    assert refusal(bundle_run, bundle=path, hub_folder=path) == (
        f"export error: --bundle and --hub-folder name the same place\n  got       {path}"
    )


def test_bundle_of_an_unknown_format_is_refused(tmp_path):
    """As a file is."""
    message = refusal(bundle_run, bundle=str(tmp_path / "b"), format="onxx")
    assert message.startswith("export error: --format is not known\n  got       onxx\n")


@pytest.mark.parametrize(("args", "said"), [
    ({"name": "Mine"}, "--name"), ({"licence": "MIT"}, "--licence"), ({"format": "all"}, "--format all"),
])  # fmt: skip
def test_words_for_a_bundle_without_one_are_refused(args, said):
    """They would change nothing."""
    assert refusal(export_run, **args) == (
        f"export error: {said} is for a bundle\n  fix       add --bundle, or leave it out"
    )


INPUTS = "docs/inputs.md"
UNPORTABLE = {
    "unpack": ({"unpack": lambda batch: (batch["image"], batch["mask"])}, {}, (
        "export error: a bundle cannot hold how inputs are prepared, which only the trainer of the run knows",
        "it has an `unpack` of its own, which does not give the first of a batch `(inputs, targets)` as it is",
        "let the dataset give (input, target), and train again; or export the graph alone, without --bundle")),
    "dataset": ({"preprocessing": SimpleNamespace(state={"kind": "dataset", "why": "it reads files"})}, {}, (
        "export error: a bundle cannot hold how inputs are prepared, which only the data loader of the run knows",
        "it reads files",
        f"give the dataset a `preprocessing` that says how, as {INPUTS} has it, and train again; or export the graph "
        "alone, without --bundle")),
    "loader": ({"transform": abs}, {"collate_fn": {"type": "x"}}, (
        "export error: a bundle cannot hold how inputs are prepared, which only the data loader of the run knows",
        "it has a transform of its own, which the config does not name",
        f"give the dataset a `preprocessing` that says how, as {INPUTS} has it, and train again; or export the graph "
        "alone, without --bundle")),
}  # fmt: skip


@pytest.mark.parametrize("name", UNPORTABLE)
def test_bundle_of_what_only_code_knows_is_refused(name):
    """When it is to be written, not when others load it."""
    values, arguments, (head, why, fix) = UNPORTABLE[name]
    model = replace(model_of("two")[0], **{"collate_fn": None, **values})
    with pytest.raises(UserError) as caught:
        check_portable(model, {"data_loader": {"args": arguments}})
    assert str(caught.value) == f"{head}\n  why       {why}\n  fix       {fix}"


def test_bundle_of_what_the_config_names_is_not_refused():
    """Its loader may transform and collate, as others can do it too."""
    model = replace(model_of("two")[0], collate_fn=None, transform=abs)
    check_portable(model, {"data_loader": {"args": {"transform": {"type": "x"}}}})
