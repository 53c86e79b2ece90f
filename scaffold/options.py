"""What the owner of a project asked for when it was made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What the owner of a project asked for; kept in its record, so that an update renders the same project again.

    Attributes:
        name: of the project, as in headings and in the name of its config.
        example: a folder of `examples/` laid into the project's rooms, or None for the digits of config.json.
        minimal: only what trains and evaluates.
        licence: of the project's own code, an SPDX identifier, or "none".
        rights: since when and whose they are, as in "2026 Ada Lovelace"; empty: the project's name stands there.
    """

    name: str
    example: str | None = None
    minimal: bool = False
    licence: str = "MIT"
    rights: str = ""
