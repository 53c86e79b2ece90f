"""What `export.py` does, once its arguments are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espalier.errors import UserError, counted, explain, printable
from espalier.export.calibration import int8_request
from espalier.export.compare import ATOL, RTOL
from espalier.export.data import build_comparison
from espalier.export.int8 import Quantised, Request, export_int8, told_of_int8
from espalier.export.onnx_file import OPSET, OPSETS
from espalier.export.subject import Subject, own_examples, subject_of, subject_with
from espalier.export.write import Exported, check_format, export
from espalier.inference.bundle_files import MODELS
from espalier.inference.load import load_run


def export_run(config: Any, rooms: Mapping[str, Any], args: Any) -> Exported:
    """Export the model of a run as its command line says, and tell of it.

    Raises:
        UserError: it cannot be exported, or differs from its model.
    """
    _check_alone(args)
    check_format(args.format)
    path = _place(config, args)
    subject, kind = subject_of_run(config, rooms, args)
    exported = exported_as(subject, args.format, path, args, int8_request(config, rooms, subject, args))
    for line in told(exported, kind):
        print(printable(line))
    return exported


def _check_alone(args: Any) -> None:
    """Refuse what is said of a bundle, where none is asked for."""
    given = {"--name": args.name, "--licence": args.licence, "--format all": args.format == "all"}
    if said := next((name for name, value in given.items() if value), None):
        raise UserError(explain(f"export error: {said} is for a bundle", fix="add --bundle, or leave it out"))


def subject_of_run(config: Any, rooms: Mapping[str, Any], args: Any) -> tuple[Subject, str]:
    """What a command line asks to export, and what it is compared on: "validation", "test" or "example" data."""
    num_batches = args.batches or None
    _check_numbers(args)
    precision = (config.get("trainer") or {}).get("precision") or "fp32"
    # In 32 bits on the CPU, as the file will mostly be run, whatever it was trained in.
    config.config.setdefault("trainer", {}).update(tensorboard=False, limit_valid_batches=num_batches,
                                                   precision="fp32", compile=False)  # fmt: skip
    config.config["n_gpu"] = 0
    config.check(sections=("data_loader", "arch", "loss", "metrics"))
    trainer, loader, kind = build_comparison(config, rooms, is_raw=args.raw)
    model = load_run(config, rooms, "cpu", is_raw=args.raw)
    notes = [] if precision == "fp32" else [f"The run computed in {precision}; file and model are compared in 32 bits."]
    if (examples := own_examples(model)) is not None:
        return subject_with(model, examples, arch=config["arch"]), "example"
    subject = subject_of(model, trainer, loader, num_batches)
    subject.arch = config["arch"]
    subject.notes += notes
    return subject, kind


def exported_as(subject: Subject, format: str, path: Path, args: Any, int8: Request | None) -> Exported:
    """Write a file as a command line says; an ONNX file in 8 bits where that is asked for."""
    if int8 is not None and format == "onnx":
        return export_int8(subject, path, int8, **options_of(args))
    return export(subject, format, path, **options_of(args))


def options_of(args: Any) -> dict[str, Any]:
    """What a command line says of how to write and to compare."""
    return {"atol": ATOL if args.atol is None else args.atol, "rtol": RTOL if args.rtol is None else args.rtol,
            "opset": args.opset or OPSET}  # fmt: skip


def _check_numbers(args: Any) -> None:
    """Make sure that the numbers of a command line are in range.

    Raises:
        UserError: one is not.
    """
    for name, least, most in (("batches", 0, None), ("atol", 0, None), ("rtol", 0, None), ("opset", *OPSETS)):
        value = getattr(args, name)
        if value is not None and not (value >= least and (most is None or value <= most)):
            expected = f"{least} or more" if most is None else f"{least} to {most}"
            raise UserError(explain(f"export error: --{name} is out of range", got=str(value), expected=expected))


def told(exported: Exported, kind: str) -> list[str]:
    """What was written and found, in lines."""
    found = exported.comparison
    lines = [f"{exported.path}, {exported.num_bytes:,} bytes"]
    if exported.latency_s:  # a graph, and not weights alone
        lines += [f"  takes {name}: {each['dtype']} ({', '.join(map(str, each['dims']))})"
                  for name, each in exported.inputs.items()]  # fmt: skip
        lines.append(f"  gives {', '.join(exported.outputs)}")
        reasons = dict.fromkeys(exported.fixed.values())
        lines += [f"  {' and '.join(one for one, each in exported.fixed.items() if each == why)}: {why}"
                  for why in reasons]  # fmt: skip
    lines += [f"  {name}: from {least} on" for name, least in exported.least.items()]
    lines += exported.notes
    lines.append(f"Compared on {counted(found.num_samples, 'sample')} of the {kind} data: largest difference "
                 f"{found.largest_absolute:.2g}, relative {found.largest_relative:.2g}")  # fmt: skip
    for name, value in found.metrics.items():
        lines.append(f"  {name:<16} {value:.6g}, of the file {found.metrics_exported[name]:.6g}")
    lines += told_of_int8(exported) if isinstance(exported, Quantised) else []
    for size, each in exported.latency_s.items():
        beside = f", in 32 bits {each['float'] * 1e3:.3f} ms" if "float" in each else ""
        lines.append(f"  {size} at once: {each['exported'] * 1e3:.3f} ms{beside}, "
                     f"the model {each['eager'] * 1e3:.3f} ms")  # fmt: skip
    return lines


def _place(config: Any, args: Any) -> Path:
    path = Path(args.output) if args.output else config.resume.with_name(MODELS[args.format])
    if not path.parent.is_dir():
        fix = f"make it: mkdir -p {path.parent}"
        raise UserError(explain(f"export error: there is no folder {path.parent}", fix=fix))
    if path.is_dir():
        raise UserError(explain(f"export error: {path} is a folder", expected="the name of a file"))
    if path.exists() and not args.overwrite:
        raise UserError(explain(f"export error: {path} is there already", fix="--overwrite, or another name with -o"))
    return path
