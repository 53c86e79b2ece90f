"""What a migrated project has of the template is recorded, so that a later version can be merged into it."""

import hashlib
import json
import zipfile

from tests.migration.small import KEPT, OURS, changed, commit, git, state


def record_of(project):
    """The facts of the record, and the names and bytes of the files that came."""
    with zipfile.ZipFile(project / ".espalier/originals.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return json.loads((project / ".espalier/project.json").read_text()), files


def test_migrate_records_what_came(migrate, project, template):
    """Version and options of a minimal project, and our files by content; the project's own are none of ours."""
    migrate(changed(project, {"pyproject.toml": "# the project's own"}))
    facts, files = record_of(project)
    options = {"name": "old", "example": None, "minimal": True, "licence": "none", "rights": ""}
    manifest = hashlib.sha256((project / "espalier/MANIFEST").read_bytes()).hexdigest()
    assert facts == {"version": "3.2.1", **options, "manifest": manifest, "own": ["pyproject.toml"]}
    came = [name for name in OURS if name.startswith(("base/", "logger/", "utils/", "parse_config"))]
    assert {name: files[name] for name in came} == {name: (template / name).read_bytes() for name in came}
    assert not [name for name in files if name.startswith(("espalier/", "trainer/", "data_loader/"))]


def test_migrate_record_names_kept_files_as_own(migrate, project):
    """A classic file that stays is not what a later version of ours is merged into."""
    files, kept, _ = KEPT["attribute"]
    migrate(changed(project, files))
    facts, originals = record_of(project)
    assert facts["own"] == sorted(kept)
    assert {*kept} <= {*originals}


def test_migrate_again_leaves_the_record(migrate, project):
    """A migrated project has nothing to be done, and its record is that of the first time."""
    migrate(project)
    commit(project)
    before = state(project)
    code, out, _ = migrate(project)
    assert (code, out, state(project)) == (0, f"{project} is migrated: nothing to do\n", before)


def test_migrate_dry_run_leaves_no_record(migrate, project):
    """It is made in a folder elsewhere."""
    migrate(project, is_dry=True)
    assert not (project / ".espalier").exists()
    assert git(project, "status", "--porcelain") == ""


def test_migrate_project_of_odd_name_is_recorded_as_project(migrate, project):
    """A folder may be called what no project can be."""
    odd = project.rename(project.with_name("it's"))
    migrate(odd)
    assert record_of(odd)[0]["name"] == "project"
