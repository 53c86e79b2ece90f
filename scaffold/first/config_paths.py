"""Dotted paths of what has moved since version 0.1, rewritten in a config."""

from __future__ import annotations

import json
import re

from scaffold.first.imports import Rewritten
from scaffold.first.moves import PACKAGES, Moves

# A comment, or a text and whether it is a key.
_TOKEN = re.compile(rb'//[^\n]*|/\*.*?\*/|"((?:[^"\\\n]|\\.)*)"(\s*:)?', re.DOTALL)
_PATH = re.compile(rf"({'|'.join(PACKAGES)})(\.\w+)+")


def rewritten_config(text: bytes, moves: Moves) -> Rewritten:
    """Rewrite the dotted paths that are values in JSON with comments; layout and comments stay."""
    result = Rewritten(text)

    def new(token: re.Match[bytes]) -> bytes:
        value = (token[1] or b"").decode("utf-8", "replace")
        place = moves.dotted(value) if token[2] is None and _PATH.fullmatch(value) else None
        if place is None:
            return token[0]
        line = text.count(b"\n", 0, token.start()) + 1
        if not place.module:
            result.left.append((line, f"{value} is gone" + (f": see {place.hint}" if place.hint else "")))
            return token[0]
        written = json.dumps(f"{place.module}.{place.name}")
        result.changed.append((line, written))
        return written.encode()

    result.text = _TOKEN.sub(new, text)
    return result
