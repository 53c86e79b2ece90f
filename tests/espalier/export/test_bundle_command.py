"""What a command line may ask of a bundle, before anything is built."""

from argparse import Namespace

import pytest

from espalier.errors import UserError
from espalier.export.bundle_command import bundle_run
from espalier.export.command import export_run

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
