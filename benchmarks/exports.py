"""Each example in each format: python -m benchmarks.exports [--only NAME,...] [--folder DIR]

Trains each example for a short time, exports it, and writes the table between two marks of docs/export.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks import report
from benchmarks.example_runs import EXAMPLES, trained
from espalier.errors import UserError
from espalier.export.calibration import int8_request
from espalier.export.command import exported_as, subject_of_run
from espalier.export.int8 import Quantised, worse_by
from espalier.export.write import Exported
from espalier.inference.bundle_files import MODELS
from parse_config import ConfigParser

DOCS = Path(__file__).resolve().parent.parent / "docs" / "export.md"
MARKS = "<!-- made by benchmarks/exports.py -->", "<!-- end -->"
FORMATS = "onnx", "onnx --int8", "torch_export", "safetensors"
HEAD = ("| example | format | difference | metric: model, file | kB | one: model, file, ms | batch: model, file, ms |\n"
        "|---|---|---:|---|---:|---:|---:|")  # fmt: skip


def exported(run: Path, format: str, path: Path, **options: Any) -> Exported:
    """A run as `export.py` exports it.

    Args:
        format: of `FORMATS`.
        options: of the command line, such as `most_loss`.

    Raises:
        UserError: it cannot be exported, or the file is refused.
    """
    import data_loader.data_loaders as module_data
    import model.loss as module_loss
    import model.metric as module_metric
    import model.model as module_arch
    import trainer as module_trainer

    rooms = {"arch": module_arch, "loss": module_loss, "metrics": module_metric, "trainer": module_trainer,
             "data_loader": module_data}  # fmt: skip
    kind, _, more = format.partition(" ")
    args = SimpleNamespace(format=kind, int8=more == "--int8", int8_samples=None, batches=0, raw=False, atol=None,
                           rtol=None, opset=None, **{"most_loss": None, **options})  # fmt: skip
    config = ConfigParser.from_args(argparse.Namespace(resume=str(run)), evaluating=True, strict=True)
    subject, _ = subject_of_run(config, rooms, args)
    return exported_as(subject, kind, path, args, int8_request(config, rooms, subject, args))


def row(name: str, format: str, run: Path, folder: Path) -> str:
    """A line of the table."""
    path = folder / MODELS[format.partition(" ")[0]]
    path.unlink(missing_ok=True)
    try:
        found = exported(run, format, path)
    except UserError as error:
        lines = str(error).splitlines()
        why = next((line.removeprefix("  got").strip() for line in lines if line.startswith("  got")), lines[0])
        return f"| {name} | {format} | refused: {why.replace('|', '/')} | | | | |"
    times = [found.latency_s[size] for size in sorted(found.latency_s)]
    cells = [f"{each['eager'] * 1e3:.2f}, {each['exported'] * 1e3:.2f}" for each in times] or ["", ""]
    difference = f"{found.comparison.largest_absolute:.1g}"
    return (f"| {name} | {format} | {difference} | {_metric(run, found)} | {found.num_bytes / 1e3:,.0f} | "
            f"{cells[0]} | {cells[-1]} (of {max(found.latency_s, default=0)}) |").replace(" (of 0)", "")  # fmt: skip


def _metric(run: Path, found: Exported) -> str:
    """The metric that 8 bits are judged by."""
    rule = json.loads((run / "config.json").read_text(encoding="utf-8"))["trainer"].get("monitor", "off")
    worse = worse_by(rule, found.comparison.metrics, found.comparison.metrics_exported)
    worse = found.worse if worse is None and isinstance(found, Quantised) else worse
    return "" if worse is None else f"{worse.name} {worse.before:.4f}, {worse.after:.4f}"


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="names of examples, after commas; the table is printed, not written")
    parser.add_argument("--folder", type=Path, help="where data and runs are kept; else they are made anew")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = args.only.split(",") if args.only else [name for name in EXAMPLES if name != "letters"]
    with tempfile.TemporaryDirectory() as made:
        folder = args.folder or Path(made)
        rows = [row(name, format, trained(name, folder), Path(made)) for name in names for format in FORMATS]
    table = "\n".join([*report.machine()[:1], f"- torch {torch.__version__}, onnxruntime "
                       f"{report.version_of('onnxruntime')}, one thread", "", HEAD, *rows])  # fmt: skip
    print(table)
    if not args.only:
        before, _, rest = DOCS.read_text(encoding="utf-8").partition(MARKS[0])
        behind = rest.partition(MARKS[1])[2]
        DOCS.write_text(f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{behind}", encoding="utf-8")


if __name__ == "__main__":
    main()
