"""The folder `.espalier` of a project: what it was made from, so that a later version can be merged into it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from scaffold.options import Options

FOLDER = ".espalier"
# The owner's from the first day: an update does not touch what is in them.
ROOMS = ("data_loader", "model", "trainer", "configs", "config.json", "data", "tests", "notebooks")
FRAMEWORK = "espalier"  # replaced as a whole; its MANIFEST has the hashes


@dataclass(frozen=True)
class Record:
    """What a project was made from.

    Attributes:
        version: of the template.
        options: what the owner asked for.
        originals: the files that template and project share (`base/`, train.py, Makefile ...), as they came, by path.
        modes: of those that are no plain files, as git writes them: "100755" for a program.
        framework: the folder that the framework was in.
        signed: SHA-256 of the files of a framework that has no MANIFEST, by name, "" where it is not known.
        tests: those of the framework itself, which came along in version 0.1.
        own: those of the names of `originals` under which the owner has a file of his own.
        manifest: SHA-256 of the framework's MANIFEST as it came, "" where that is not known.
    """

    version: str
    options: Options
    originals: dict[str, bytes]
    modes: dict[str, str] = field(default_factory=dict)
    framework: str = FRAMEWORK
    signed: dict[str, str] = field(default_factory=dict)
    tests: dict[str, bytes] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    manifest: str = ""


def is_shared(path: str) -> bool:
    """Whether a file of a project, by its path in it, is both the template's and the project's."""
    return path.split("/")[0] not in (*ROOMS, FRAMEWORK, FOLDER, ".git")


def shared_files(project: Path) -> dict[str, bytes]:
    """The shared files of a project that was rendered just now."""
    paths = [path for path in sorted(project.rglob("*")) if path.is_file() and not path.is_symlink()]
    named = {path.relative_to(project).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in named.items() if is_shared(name)}


def write_record(project: Path, version: str, options: Options, own: Collection[str] = ()) -> None:
    """Record what a project was made from, when it was rendered just now. The same project gives the same bytes."""
    folder = project / FOLDER
    folder.mkdir(exist_ok=True)
    manifest = project / FRAMEWORK / "MANIFEST"
    signed = {"manifest": sha256(manifest.read_bytes()).hexdigest()} if manifest.is_file() else {}
    facts = {"version": version, **asdict(options), **signed, **({"own": sorted(own)} if own else {})}
    (folder / "project.json").write_text(json.dumps(facts, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    with zipfile.ZipFile(folder / "originals.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in shared_files(project).items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if (project / name).stat().st_mode & 0o100 else 0o100644) << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)


def read_record(project: Path) -> Record | None:
    """What a project was made from; None where it has no record, as before version 0.2."""
    folder = project / FOLDER
    if not (folder / "project.json").is_file():
        return None
    facts = json.loads((folder / "project.json").read_text(encoding="utf-8"))
    with zipfile.ZipFile(folder / "originals.zip") as archive:
        originals = {name: archive.read(name) for name in archive.namelist()}
        programs = [entry.filename for entry in archive.infolist() if entry.external_attr >> 16 & 0o100]
    version, own, manifest = facts.pop("version"), tuple(facts.pop("own", ())), facts.pop("manifest", "")
    return Record(version, Options(**facts), originals, dict.fromkeys(programs, "100755"), own=own, manifest=manifest)
