"""Files as a folder or a zip: whole or not at all, never over something else."""

import pytest

from espalier.errors import UserError
from espalier.export import packed
from espalier.export.packed import write_packed
from espalier.inference.bundle_files import BundleFiles
from tests.espalier.inference.small_bundle import small_files

FORMS = ["small", "small.zip"]


@pytest.mark.parametrize("form", FORMS)
def test_bundle_takes_the_place_of_another_only_where_that_is_asked_for(form, tmp_path):
    """The old one stays as it is, else."""
    path = tmp_path / form
    write_packed(path, small_files(name="One"), "One")
    with pytest.raises(UserError) as caught:
        write_packed(path, small_files(name="Two"), "Two")
    assert str(caught.value) == f"export error: {path} is there already\n  fix       --overwrite, or name another"
    assert BundleFiles(path).about["name"] == "One"
    write_packed(path, small_files(name="Two"), "Two", overwrite=True)
    assert BundleFiles(path).about["name"] == "Two"
    assert [each.name for each in tmp_path.iterdir()] == [form]


def test_folder_that_is_no_bundle_is_left_alone(tmp_path):
    """Whatever is said; an empty one is taken."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(UserError) as caught:
        write_packed(tmp_path / "mine", small_files(), "Small", overwrite=True)
    assert str(caught.value) == (f"export error: {tmp_path / 'mine'} is there, and no bundle\n"
                                 "  fix       name a new folder")  # fmt: skip
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years"
    (tmp_path / "empty").mkdir()
    write_packed(tmp_path / "empty", small_files(), "Small")
    assert BundleFiles(tmp_path / "empty").names


def test_bundle_in_a_missing_folder_is_refused(tmp_path):
    """It is told how to make it."""
    with pytest.raises(UserError) as caught:
        write_packed(tmp_path / "none" / "small", small_files(), "Small")
    assert str(caught.value) == (f"export error: there is no folder {tmp_path / 'none'}\n"
                                 f"  fix       mkdir -p {tmp_path / 'none'}")  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "in place of another"])
def test_broken_disk_leaves_what_was_there(form, is_new, tmp_path, monkeypatch):
    """And nothing half done."""
    path = tmp_path / form
    if not is_new:
        write_packed(path, small_files(name="One"), "One")
    calls = []

    def pieces(content):
        calls.append(content)
        if len(calls) > 8:  # after the checksums, amid the files
            raise OSError(28, "No space left on device")
        yield content

    monkeypatch.setattr(packed, "_pieces", pieces)
    with pytest.raises(OSError, match="No space left"):
        write_packed(path, small_files(name="Two"), "Two", overwrite=True)
    assert [each.name for each in tmp_path.iterdir()] == ([] if is_new else [form])
    assert is_new or BundleFiles(path).about["name"] == "One"
