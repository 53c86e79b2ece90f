"""What is told of a version is told in one voice, and the forms of the repository are read as they should be."""

import json
import re

import pytest

from scaffold.version import version_of_template


def test_versions_are_in_step(root, project):
    """pyproject.toml, the framework, the newest section of the changelog, the citation and the record of a project."""
    newest, day = re.search(r"^## ([\d.]+) - (\S+)$", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE).groups()
    citation = (root / "CITATION.cff").read_text("utf-8")
    told = {
        "changelog": newest,
        "framework": (root / "espalier/VERSION").read_text().strip(),
        "citation": re.search(r"^version: (.*)$", citation, re.MULTILINE)[1],
        "record": json.loads((project / ".espalier/project.json").read_text("utf-8"))["version"],
    }
    assert told == dict.fromkeys(told, version_of_template())
    assert f"\ndate-released: {day}\n" in citation


def test_citation_has_what_its_format_asks_for(root):
    """The four keys without which a file of CFF 1.2.0 is none."""
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"] == "Espalier"
    assert all(author["name"] for author in citation["authors"])


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_form_of_an_issue_is_one(root, name):
    """A name, a description, and fields with different ids and a label each, of kinds that there are."""
    yaml = pytest.importorskip("yaml")
    form = yaml.safe_load((root / f".github/ISSUE_TEMPLATE/{name}.yml").read_text("utf-8"))
    fields = form["body"]
    assert form["name"] and form["description"] and all(each["attributes"]["label"] for each in fields)
    assert len({each["id"] for each in fields}) == len(fields)
    assert {each["type"] for each in fields} <= {"textarea", "input"}
