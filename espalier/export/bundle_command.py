"""What `export.py --bundle` and `--hub-folder` do, once their arguments are known."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from espalier.checkpoints.file import load_checkpoint
from espalier.errors import UserError, explain, printable
from espalier.export.bundle import Labels, bundle_files, check_portable, write_bundle
from espalier.export.calibration import int8_request
from espalier.export.command import exported_as, subject_of_run, told
from espalier.export.data_hash import hash_of_data
from espalier.export.hub import FORMATS as HUB_FORMATS
from espalier.export.hub import hub_files
from espalier.export.packed import check_free
from espalier.export.subject import Subject
from espalier.export.write import NETWORKS, Exported, check_format
from espalier.inference.bundle_files import MODELS
from espalier.training.build_data import build_test_data, section_of_test

ALL, TEST = "all", "test"


def bundle_run(config: Any, rooms: Mapping[str, Any], args: Any) -> dict[str, Exported]:
    """Write the model of a run as a bundle, as a folder for a hub, or both, and tell of it.

    Raises:
        UserError: it cannot be exported, differs from its model, or there is no place for it.
    """
    formats = _formats(args)
    places = [Path(each) for each in (args.bundle, args.hub_folder) if each]
    _check_places(args, places)
    subject, kind = subject_of_run(config, rooms, args)
    check_portable(subject.model, config)
    with tempfile.TemporaryDirectory() as folder:
        int8 = int8_request(config, rooms, subject, args)
        exported = {each: exported_as(subject, each, Path(folder, MODELS[each]), args, int8) for each in formats}
        data = _hashes(config, rooms, subject, kind)
        for form, each in exported.items():
            for line in told(replace(each, path=places[0] / MODELS[form]), kind):
                print(printable(line))
        for path in places:
            is_hub = path == Path(args.hub_folder or "")
            held = {each: exported[each] for each in (HUB_FORMATS if is_hub else _asked(args))}
            files = bundle_files(subject, held, config, Labels(args.name, args.licence), data)
            files = hub_files(files) if is_hub else files
            write_bundle(path, files, overwrite=args.overwrite)
            print(printable(f"Written to {path}: {', '.join(sorted(files))}."))
    return exported


def _formats(args: Any) -> list[str]:
    """What is to be written, of both places together."""
    if args.output:
        raise UserError(explain("export error: -o names one file, and a bundle has several", fix="leave -o out"))
    asked = (*(_asked(args) if args.bundle else ()), *(HUB_FORMATS if args.hub_folder else ()))
    for each in asked:
        check_format(each)
    return [*dict.fromkeys(asked)]


def _asked(args: Any) -> tuple[str, ...]:
    return tuple(NETWORKS) if args.format == ALL else (args.format,)


def _check_places(args: Any, places: list[Path]) -> None:
    if args.hub_folder and Path(args.hub_folder).suffix == ".zip":
        raise UserError(explain("export error: --hub-folder names a zip", got=args.hub_folder, expected="a folder"))
    if len({path.absolute() for path in places}) < len(places):
        raise UserError(explain("export error: --bundle and --hub-folder name the same place", got=str(places[0])))
    for path in places:
        check_free(path, overwrite=args.overwrite)


def _hashes(config: Any, rooms: Mapping[str, Any], subject: Subject, kind: str) -> list[dict[str, Any]]:
    """Of the data that the files were compared on, and of the test data of the config, where there is some here."""
    found = [(kind, None, hash_of_data(subject.loader))]
    if kind != TEST:
        with contextlib.suppress(UserError):
            section = section_of_test(config, rooms["data_loader"])
            checkpoint = load_checkpoint(config.resume, with_shards=False)
            loader = build_test_data(config, section, rooms["data_loader"], checkpoint)
            found.append((TEST, config.as_saved(config.config)[section], hash_of_data(loader)))
    return [{"part": part, "data": data, **own} for part, data, own in found if own is not None]
