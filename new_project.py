"""Start a project of your own from this template: python new_project.py ../myproj [--name "My project"]"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scaffold.errors import ProjectError
from scaffold.git import start_repository
from scaffold.make import check_name, make_project
from scaffold.options import Options
from scaffold.version import TEMPLATE


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    usage = "%(prog)s [-h] [--name NAME] target\n       %(prog)s --migrate OLD [--dry-run]"
    parser = argparse.ArgumentParser(description="Start a project of your own from this template.", usage=usage)
    parser.add_argument("target", type=Path, nargs="?", help="the folder to make, or an empty one")
    parser.add_argument("--name", help="what the project is called; without it, as its folder")
    parser.add_argument("--migrate", type=Path, metavar="OLD", help="bring over a project of the classic template")
    parser.add_argument("--dry-run", action="store_true", help="with --migrate: only print what would be done")
    args = parser.parse_args(argv)
    if args.migrate is not None and args.target is None and args.name is None:
        command = [sys.executable, "-m", "migration", args.migrate.resolve()]
        return subprocess.run([*command, *(["--dry-run"] if args.dry_run else [])], cwd=TEMPLATE).returncode
    if args.target is None or args.migrate is not None or args.dry_run:
        parser.error("give either target or --migrate")
    target: Path = args.target
    try:
        name = (Path(os.path.realpath(target)).name if args.name is None else args.name).strip()
        check_name(name)
        make_project(target, Options(name))
    except ProjectError as error:
        print(error, file=sys.stderr)
        return 2
    left_to_do = start_repository(target, name)
    print(f"{name} is in {target.resolve()}", *([left_to_do] if left_to_do else []), sep="\n")
    print("Go on with:", f"  cd {shlex.quote(str(target))}", "  make train", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
