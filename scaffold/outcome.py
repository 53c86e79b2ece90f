"""What an update has done to a project, in words."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What an update has done to a project.

    Attributes:
        rows: a word and a file each, with what there is to say of it.
        conflicts: where conflict markers begin, as file:line.
        patch: the owner's edits of `espalier/`, as a diff.
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    patch: bytes = b""

    def say(self, word: str, text: str) -> None:
        """Add a row."""
        self.rows.append((word, text))

    def __str__(self) -> str:
        return "\n".join(f"  {word:<10} {text}" for word, text in self.rows)
