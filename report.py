"""Look at runs side by side: python report.py saved/ -o report.html"""

import argparse  # PYTHON_ARGCOMPLETE_OK
import shlex
import sys
import time
from pathlib import Path

from espalier.config.completion import completing
from espalier.console import Told
from espalier.errors import printable
from espalier.processes.command import errors_without_traceback
from espalier.report.board import link_logs
from espalier.report.compare import compare
from espalier.report.figure import save_figures
from espalier.report.find import find_runs
from espalier.report.page import page
from espalier.report.say import written
from espalier.report.table import as_csv, as_latex, as_markdown, as_text, leaderboard, sort_by_monitor, why
from espalier.search.page import study_sections
from espalier.search.record import read_study, run_folders, study_among
from espalier.search.to_optuna import fill_dashboard
from espalier.search.trials_table import study_table, terminal_text

WATCHED_EVERY_S = 5
CLEAR = "\x1b[H\x1b[2J"
TABLES = {"csv": as_csv, "markdown": as_markdown, "latex": as_latex}
WRITTEN = ("output", *TABLES, "png", "pdf", "tensorboard", "dashboard")


def main(args):
    say = Told()
    if args.compare:
        from espalier.report.two import write_two  # NumPy, which a table must not wait for

        write_two(vars(args), lambda paths: find(paths, say), say)
        return
    if args.sync is not None:
        from espalier.runs.sync import sync  # torch, which a table must not wait for

        for run in look(args, say)[0].runs:
            print(printable(sync(args.sync, run.folder)))
        return
    while True:
        comparison, study = look(args, say)
        goes_on = args.watch and (
            any(run.state == "running" for run in comparison.runs) or (study and study.is_at_work)
        )
        if comparison.runs or study is not None:
            show(comparison, study, args, say, WATCHED_EVERY_S if goes_on else None)
        else:
            say(f"No run yet in {', '.join(map(str, args.runs))}.")
        if not goes_on:
            return
        time.sleep(WATCHED_EVERY_S)


def find(paths, say):
    """The runs, those of studies with them; folders that are none are told."""
    runs, skipped = find_runs([each for path in paths for each in run_folders(path)])
    for line in skipped:
        say(f"Passed over: {line}", file=sys.stderr)
    return runs


def look(args, say):
    """The runs, the best first, and the study that is named, or None."""
    study, runs = study_among(args.runs), find(args.runs, say)
    record = None if study is None else read_study(study, runs)
    for line in record.skipped if record else ():
        say(f"Passed over: {line}", file=sys.stderr)
    return compare(sort_by_monitor(runs), seeds_together=args.seeds), record


def show(comparison, study, args, say, renewed_every_s):
    """Write what is asked for; the table in the terminal where nothing is."""
    table = leaderboard(comparison) if study is None else study_table(study, means=args.seeds)
    for name, form in TABLES.items():
        if (path := getattr(args, name)) is not None:
            written(path, form(table), say)
    if args.output is not None:
        head = {} if study is None else {"title": study.name, "before": study_sections(study)}
        written(args.output, page(comparison, renewed_every_s=renewed_every_s, **head), say)
    if args.dashboard is not None:
        say(f"To look at it: {fill_dashboard(study, args.dashboard)}")
    for path in filter(None, (args.png, args.pdf)):
        say(f"Written: {', '.join(map(str, save_figures(comparison, path)))}")
    if args.tensorboard is not None:
        count = link_logs(comparison, args.tensorboard)
        say(f"{count} runs by name: tensorboard --logdir {shlex.quote(str(args.tensorboard))}")
    if not any(getattr(args, name) for name in WRITTEN):
        clear = CLEAR if args.watch and sys.stdout.isatty() else ""
        text = "\n".join([as_text(table), *why(comparison)]) if study is None else terminal_text(study)
        print(clear + printable(text), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs", nargs="*", type=Path, default=[Path("saved")], help="run folders, folders of them, or a study"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="one HTML page with tables and curves")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the table as comma separated values")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table in Markdown")
    parser.add_argument("--latex", type=Path, metavar="FILE", help="the table in LaTeX")
    parser.add_argument("--png", type=Path, metavar="FILE", help="the curves as pictures")
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="the curves for a paper")
    parser.add_argument("--tensorboard", type=Path, metavar="FOLDER", help="links for TensorBoard, by what differs")
    parser.add_argument("--sync", metavar="TRACKER", help="bring runs over to wandb, mlflow or comet, from their files")
    parser.add_argument("--dashboard", type=Path, metavar="FILE", help="copy a study for optuna-dashboard")
    parser.add_argument("--seeds", action="store_true", help="runs that differ in their seed alone as one row")
    parser.add_argument("--compare", action="store_true", help="is A better than B: two runs, or folders of seeds")
    parser.add_argument("--watch", action="store_true", help="again and again, as long as one of the runs goes on")
    with errors_without_traceback():
        main(completing(parser).parse_args())
