"""The error of new_project.py."""

from __future__ import annotations


class ProjectError(ValueError):
    """A project that cannot be made, and what to do about it."""

    def __init__(self, head: str, **answers: str) -> None:
        rows = [f"  {label:<9} {text}" for label, text in answers.items()]
        super().__init__("\n".join((f"new_project error: {head}", *rows)))
