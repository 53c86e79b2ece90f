"""python -m migration ../old [--dry-run], which is what new_project.py --migrate runs."""

import argparse
import sys
from pathlib import Path

from migration import main

parser = argparse.ArgumentParser(prog="migration", description="Bring over a project of the classic template.")
parser.add_argument("project", type=Path, metavar="OLD", help="its folder, a git repository without changes")
parser.add_argument("--dry-run", action="store_true", help="only print what would be done")
args = parser.parse_args()
sys.exit(main(args.project, is_dry=args.dry_run))
