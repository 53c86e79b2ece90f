"""Look at runs side by side: python report.py saved/ -o report.html"""

import argparse
import shlex
import sys
import time
from pathlib import Path

from espalier.errors import printable
from espalier.processes.command import errors_without_traceback
from espalier.report.board import link_logs
from espalier.report.compare import compare
from espalier.report.figure import save_figures
from espalier.report.find import find_runs
from espalier.report.page import page
from espalier.report.table import as_csv, as_latex, as_markdown, as_text, leaderboard, seeds_together, sort_by_monitor

WATCHED_EVERY_S = 5
TABLES = {"csv": as_csv, "markdown": as_markdown, "latex": as_latex}


def main(args):
    if args.sync is not None:
        from espalier.runs.sync import sync  # torch, which a table must not wait for

        for run in read(args.runs).runs:
            print(printable(sync(args.sync, run.folder)))
        return
    while True:
        comparison = read(args.runs)
        show(comparison, args)
        if not args.watch or all(run.state != "running" for run in comparison.runs):
            return
        time.sleep(WATCHED_EVERY_S)


def read(paths):
    """The runs, the best first; folders that are none are told."""
    runs, skipped = find_runs(paths)
    for line in skipped:
        print(printable(f"Passed over: {line}"), file=sys.stderr)
    return compare(sort_by_monitor(runs))


def show(comparison, args):
    """Write what is asked for; the table in the terminal where nothing is."""
    if not comparison.runs:
        print("No run yet.")
        return
    table = seeds_together(comparison) if args.seeds else leaderboard(comparison)
    for name, form in TABLES.items():
        if (path := getattr(args, name)) is not None:
            written(path, form(table))
    if args.output is not None:
        written(args.output, page(comparison))
    for path in filter(None, (args.png, args.pdf)):
        print(printable(f"Written: {', '.join(map(str, save_figures(comparison, path)))}"))
    if args.tensorboard is not None:
        count = link_logs(comparison, args.tensorboard)
        print(printable(f"{count} runs by name: tensorboard --logdir {shlex.quote(str(args.tensorboard))}"))
    if not any((args.output, args.csv, args.markdown, args.latex, args.png, args.pdf, args.tensorboard)):
        print(printable(as_text(table)))


def written(path, text):
    path.write_text(text, encoding="utf-8")
    print(printable(f"Written: {path}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Look at runs side by side: a table, a page, figures.")
    parser.add_argument("runs", nargs="*", type=Path, default=[Path("saved")], help="run folders, or folders of them")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="one HTML page with tables and curves")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the table as comma separated values")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table in Markdown")
    parser.add_argument("--latex", type=Path, metavar="FILE", help="the table in LaTeX")
    parser.add_argument("--png", type=Path, metavar="FILE", help="the curves as pictures")
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="the curves for a paper")
    parser.add_argument(
        "--tensorboard", type=Path, metavar="FOLDER", help="links for TensorBoard, called by what differs"
    )
    parser.add_argument(
        "--sync", metavar="TRACKER", help="bring the runs over to wandb, mlflow or comet, from their files"
    )
    parser.add_argument("--seeds", action="store_true", help="runs that differ in their seed alone as one row")
    parser.add_argument("--watch", action="store_true", help="again and again, as long as one of the runs goes on")
    with errors_without_traceback():
        main(parser.parse_args())
