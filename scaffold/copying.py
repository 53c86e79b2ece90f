"""Copying parts of the template."""

from __future__ import annotations

import shutil
from pathlib import Path

NEVER = (
    "__pycache__", "*.pyc", "*.egg-info", "espalier/build", ".pytest_cache", ".mypy_cache", ".ruff_cache",
    ".hypothesis", ".ipynb_checkpoints", ".DS_Store", ".*.tmp",
)  # fmt: skip


def copy(source: Path, target: Path, made: Path) -> None:
    """Copy a file or folder, if it is there; `made` is our own new folder, which may lie inside the template."""
    if source == made or any(map(source.match, NEVER)):
        return
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True)
        for entry in source.iterdir():
            copy(entry, target / entry.name, made)
    elif source.exists() or source.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target, follow_symlinks=False)
