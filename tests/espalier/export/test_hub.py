"""A folder for a hub is a bundle with the metadata that the hub reads."""

import json

import pytest
import yaml

from espalier.export.hub import hub_files, metadata_of, task_of
from espalier.export.packed import write_packed
from espalier.inference.bundle import load_bundle
from tests.espalier.export.test_card import FIGURES
from tests.espalier.inference.small_bundle import ABOUT, small_files


def read_front(text):
    """The metadata of a card, as any reader of YAML has it, and the card."""
    _, front, card = text.split("---\n", 2)
    return yaml.safe_load(front), card


def test_hub_folder_has_what_the_hub_reads(tmp_path):
    """Licence, task, tags and figures; it stays a bundle, though people edit its card."""
    files = {**small_files(), "metrics.json": json.dumps(FIGURES).encode()}
    write_packed(tmp_path / "hub", hub_files(files), "Small")
    front, card = read_front((tmp_path / "hub" / "README.md").read_text(encoding="utf-8"))
    assert card == "\n# Small\n"
    assert front == {
        "license": "mit", "library_name": "espalier", "tags": ["pytorch", "onnx"], "metrics": ["accuracy"],
        "model-index": [{"name": "Small", "results": [{
            "task": {"type": "other"},
            "dataset": {"name": "data_loader, test part", "type": "data_loader", "split": "test"},
            "metrics": [{"type": "accuracy", "value": 0.925, "name": "accuracy"},
                        {"type": "loss", "value": 0.2, "name": "loss"}],
        }]}],
    }  # fmt: skip
    assert "*.onnx filter=lfs diff=lfs merge=lfs -text\n" in (tmp_path / "hub" / ".gitattributes").read_text()
    (tmp_path / "hub" / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    assert load_bundle(tmp_path / "hub").class_names == ("no", "yes")


@pytest.mark.parametrize(("licence", "expected"), [
    ("MIT", {"license": "mit"}),
    ("Apache-2.0", {"license": "apache-2.0"}),
    (None, {}),
    ("Our own: ask us", {"license": "other", "license_name": "our-own-ask-us", "license_link": "LICENSE.md"}),
])  # fmt: skip
def test_licence_is_told_in_the_words_of_the_hub(licence, expected):
    """One that the hub does not know is a file of its own."""
    files = hub_files({**small_files(licence=licence), "metrics.json": b"{}"})
    front, _ = read_front(files["README.md"].decode())
    assert {name: each for name, each in front.items() if name.startswith("license")} == expected
    assert files.get("LICENSE.md") == (b"Our own: ask us\n" if expected.get("license") == "other" else None)


@pytest.mark.parametrize(("kind", "meaning", "is_of_pixels", "expected"), [
    ("image", "classes", False, "image-classification"), ("image", "classes", True, "image-segmentation"),
    ("row", "numbers", False, "tabular-regression"), ("row", "classes", False, "tabular-classification"),
    ("text", "labels", False, "text-classification"), ("window", "numbers", False, "time-series-forecasting"),
    ("tensor", "classes", False, None),
])  # fmt: skip
def test_task_is_told_in_the_words_of_the_hub(kind, meaning, is_of_pixels, expected):
    """Where it has some."""
    about = {**ABOUT, "preprocessing": {"kind": kind}, "is_of_pixels": is_of_pixels,
             "meaning": {**ABOUT["meaning"], "kind": meaning}}  # fmt: skip
    assert task_of(about) == expected
    assert metadata_of(about, {}).get("pipeline_tag") == expected
