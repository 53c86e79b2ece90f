"""Look at runs side by side: python report.py saved/ -o report.html"""

import argparse
import shlex
import sys
import time
from pathlib import Path

from espalier.atomic import replace_text
from espalier.console import Told
from espalier.errors import UserError, explain, printable
from espalier.processes.command import errors_without_traceback
from espalier.report.board import link_logs
from espalier.report.compare import compare
from espalier.report.figure import save_figures
from espalier.report.find import find_runs
from espalier.report.page import page
from espalier.report.table import as_csv, as_latex, as_markdown, as_text, leaderboard, sort_by_monitor, why

WATCHED_EVERY_S = 5
CLEAR = "\x1b[H\x1b[2J"
TABLES = {"csv": as_csv, "markdown": as_markdown, "latex": as_latex}


def main(args):
    if args.compare:
        compare_two(args, Told())
        return
    if args.sync is not None:
        from espalier.runs.sync import sync  # torch, which a table must not wait for

        for run in find(args.runs, Told()):
            print(printable(sync(args.sync, run.folder)))
        return
    say = Told()
    while True:
        comparison = compare(sort_by_monitor(find(args.runs, say)), seeds_together=args.seeds)
        goes_on = args.watch and any(run.state == "running" for run in comparison.runs)
        if comparison.runs:
            show(comparison, args, say, WATCHED_EVERY_S if goes_on else None)
        else:
            say(f"No run yet in {', '.join(map(str, args.runs))}.")
        if not goes_on:
            return
        time.sleep(WATCHED_EVERY_S)


def find(paths, say):
    """The runs; folders that are none are told."""
    runs, skipped = find_runs(paths)
    for line in skipped:
        say(f"Passed over: {line}", file=sys.stderr)
    return runs


def compare_two(args, say):
    """Write whether A is better than B, in each form that is asked for; to the terminal where none is."""
    from espalier.report.two import check_flags, two_in_forms  # NumPy, which a table must not wait for

    check_flags(vars(args))
    forms = two_in_forms(args.runs, [find([path], say) for path in args.runs])
    asked = {name: path for name, path in vars(args).items() if name in forms and path is not None}
    for name, path in asked.items():
        written(path, forms[name](), say)
    if not asked:
        say(forms["text"]())


def show(comparison, args, say, renewed_every_s):
    """Write what is asked for; the table in the terminal where nothing is."""
    table = leaderboard(comparison)
    for name, form in TABLES.items():
        if (path := getattr(args, name)) is not None:
            written(path, form(table), say)
    if args.output is not None:
        written(args.output, page(comparison, renewed_every_s=renewed_every_s), say)
    for path in filter(None, (args.png, args.pdf)):
        say(f"Written: {', '.join(map(str, save_figures(comparison, path)))}")
    if args.tensorboard is not None:
        count = link_logs(comparison, args.tensorboard)
        say(f"{count} runs by name: tensorboard --logdir {shlex.quote(str(args.tensorboard))}")
    if not any((args.output, args.csv, args.markdown, args.latex, args.png, args.pdf, args.tensorboard)):
        clear = CLEAR if args.watch and sys.stdout.isatty() else ""
        print(clear + printable("\n".join([as_text(table), *why(comparison)])), flush=True)


def written(path, text, say):
    """Write a file in one step, since a browser may read it meanwhile."""
    try:
        if path.exists() and not path.is_file():  # a pipe, or a folder
            path.write_text(text, encoding="utf-8")
        else:
            replace_text(path.resolve(), text)
    except OSError as error:
        what = f"report error: {path} cannot be written: {error.strerror or error}"
        raise UserError(explain(what, fix="name a file in a folder that is there and that you may write to")) from error
    say(f"Written: {path}")


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
    parser.add_argument("--compare", action="store_true", help="is A better than B: two runs, or folders of seeds")
    parser.add_argument("--watch", action="store_true", help="again and again, as long as one of the runs goes on")
    with errors_without_traceback():
        main(parser.parse_args())
