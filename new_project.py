"""Start a project of your own from this template: python new_project.py ../myproj [--example text] [--minimal]"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scaffold.changes import check_update
from scaffold.console import tell
from scaffold.errors import ProjectError
from scaffold.examples import EXAMPLES, check_example
from scaffold.foreseen import foreseen
from scaffold.git import start_repository
from scaffold.licence import LICENCES, licence_called, rights_of
from scaffold.make import check_name, make_project
from scaffold.options import Options
from scaffold.update import update
from scaffold.version import TEMPLATE

USAGE = """%(prog)s [-h] [--name NAME] [--example NAME] [--minimal] [--licence NAME] [--no-git] target
       %(prog)s --check-update PROJECT
       %(prog)s --update PROJECT [--dry-run]
       %(prog)s --migrate OLD [--dry-run]"""
OF_A_START = ("name", "example", "minimal", "licence", "no_git")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = parser_of_command()
    args = parser.parse_args(argv)
    if args.migrate is not None:
        refuse(parser, args, "--migrate", ("target", *OF_A_START))
        command = [sys.executable, "-m", "migration", args.migrate.resolve()]
        return subprocess.run([*command, *(["--dry-run"] if args.dry_run else [])], cwd=TEMPLATE).returncode
    if args.update is None and ((args.target is None and args.check_update is None) or args.dry_run):
        parser.error("give either target, --check-update, --update or --migrate")
    try:
        if args.update is not None:
            refuse(parser, args, "--update", ("target", *OF_A_START))
            return update(args.update, args.dry_run)
        if args.check_update is not None:
            refuse(parser, args, "--check-update", ("target", *OF_A_START))
            code, lines = check_update(args.check_update)
            tell([*lines, *(foreseen(args.check_update) if code else [])], sys.stdout)
            return code
        return start(args)
    except ProjectError as error:
        print(error, file=sys.stderr)
        return 2


def parser_of_command() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description="Start a project of your own from this template.", usage=USAGE)
    parser.add_argument("target", type=Path, nargs="?", help="the folder to make, or an empty one")
    parser.add_argument("--name", help="what the project is called; without it, as its folder")
    parser.add_argument(
        "--example", metavar="NAME", help=f"what it starts with, in place of digits: {', '.join(EXAMPLES)}"
    )
    parser.add_argument(
        "--minimal", action="store_true", help="only what trains and evaluates: no docs, no other command"
    )
    parser.add_argument(
        "--licence", "--license", metavar="NAME", help=f"of your own code: {', '.join(LICENCES)}; else MIT"
    )
    parser.add_argument("--no-git", action="store_true", help="make no repository")
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument(
        "--check-update", type=Path, metavar="PROJECT", help="what this template has that is new; code 1 if anything"
    )
    verbs.add_argument("--migrate", type=Path, metavar="OLD", help="bring over a project of the classic template")
    verbs.add_argument("--update", type=Path, metavar="PROJECT", help="bring a project to the version of this template")
    parser.add_argument(
        "--dry-run", action="store_true", help="with --update or --migrate: only print what would be done"
    )
    return parser


def refuse(parser: argparse.ArgumentParser, args: argparse.Namespace, verb: str, others: Sequence[str]) -> None:
    """End with what goes not together, if anything does."""
    given = [each for each in others if getattr(args, each) not in (None, False)]
    if given:
        flag = given[0] if given[0] == "target" else f"--{given[0].replace('_', '-')}"
        parser.error(f"{flag} is for a new project, and cannot be given with {verb}")


def start(args: argparse.Namespace) -> int:
    """Make a new project.

    Raises:
        ProjectError: it cannot be made.
    """
    target: Path = args.target
    name = (Path(os.path.realpath(target)).name if args.name is None else args.name).strip()
    check_name(name)
    if args.example is not None:
        check_example(args.example)
    licence = licence_called(args.licence or "MIT")
    make_project(target, Options(name, args.example, args.minimal, licence, rights_of(name)))
    left_to_do = None if args.no_git else start_repository(target, name)
    print(f"{name} is in {target.resolve()}", *([left_to_do] if left_to_do else []), sep="\n")
    print("Go on with:", f"  cd {shlex.quote(str(target))}", "  make train", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
