"""What a project of version 0.1 was made from: its own first commit says it, else the files that it has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from scaffold.first.archive import Archive
from scaffold.first.history import start_of
from scaffold.licence import rights_of
from scaffold.options import Options
from scaffold.record import FRAMEWORK, Record, is_shared

VERSION = "0.1.0"
PACKAGE = "espalier-project-name"  # of the projects in the archive
ALL_TESTS = "tests/base/"  # which only those of the framework itself have
FORMER = "engine"  # where most of the framework was at first


def is_first(project: Path) -> bool:
    """Whether a project without a record is of version 0.1."""
    is_framed = any((project / each / "__init__.py").is_file() for each in (FRAMEWORK, FORMER))
    return is_framed and all((project / each).is_file() for each in ("base/base_trainer.py", "parse_config.py"))


def origin_of_first(project: Path) -> Record:
    """What a project of version 0.1 was made from."""
    if (start := start_of(project)) is not None:
        return record_of(start.name, start.files, _hashes(start.files))
    name = name_of(project)
    archive = Archive()
    here = {path: (project / path).read_bytes() for path in archive.spans if (project / path).is_file()}
    state = archive.nearest(here)
    came = dict(files_that_came(archive, state, here, name, _package_of(project)))
    return record_of(name, came, _hashes({path: data for path, data in came.items() if archive.is_known(path, data)}))


def files_that_came(
    archive: Archive, state: int, here: Mapping[str, bytes], name: str, package: str
) -> Iterable[tuple[str, bytes]]:
    """The files of a project in a state of the template; those that it has from any state are as they came."""
    for path in archive.spans:
        if path in here and archive.is_known(path, here[path]):
            yield path, here[path]
        elif archive.hash_at(path, state):
            text = archive.text(path, state, name, here.get(path, b"")) or b""
            yield path, text.replace(PACKAGE.encode(), package.encode()) if path == "pyproject.toml" else text


def record_of(name: str, files: Mapping[str, bytes], hashes: Mapping[str, str]) -> Record:
    """The record that a project of these files would have; `hashes` are those of the known ones."""
    framework = FORMER if f"{FORMER}/__init__.py" in files else FRAMEWORK
    inside = [path for path in files if path.startswith(f"{framework}/")]
    originals = {path: data for path, data in files.items() if is_shared(path) and path not in {*inside}}
    has_all = any(path.startswith(ALL_TESTS) for path in files)
    tests = {path: data for path, data in files.items() if has_all and path.startswith("tests/")}
    signed = {path.removeprefix(f"{framework}/"): hashes.get(path, "") for path in inside}
    return Record(
        VERSION, Options(name, rights=rights_of(name)), originals, framework=framework, signed=signed, tests=tests
    )


def name_of(project: Path) -> str:
    """What a project is called: as its pyproject.toml, its README.md or else its folder says."""
    for path, pattern in (("pyproject.toml", r'^description = "(.+), made from Espalier"'), ("README.md", r"^# (.+)")):
        text = (project / path).read_text(encoding="utf-8", errors="replace") if (project / path).is_file() else ""
        if found := re.search(pattern, text, re.MULTILINE):
            return found[1].strip()
    return project.resolve().name


def _package_of(project: Path) -> str:
    path = project / "pyproject.toml"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(r'^name\s*=\s*"([^"]*)"', text, re.MULTILINE)
    return found[1] if found else PACKAGE


def _hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: sha256(data).hexdigest() for path, data in files.items()}
