"""Texts that may be shown to others: without the paths of a machine, and without secrets."""

from __future__ import annotations

import re

from espalier.masking import without_logins

# Of Unix and Windows, from the root on; the last part is what tells something.
_PATH = re.compile(r"(?<![\w.:/~])(?:~|[A-Za-z]:[\\/]|/)(?:[^\s'\"`:,;()\[\]{}<>|]*[\\/])?(?=[^\s\\/])")
_SECRET = re.compile(
    r"(?i)(\b[\w.-]*(?:token|secret|passw(?:or)?d|api[_-]?key|credential)[\w.-]*[\"']?\s*[=:]\s*)([\"']?)[^\s\"',}]+\2"
)


def public(text: str) -> str:
    """The text with `.../name` for absolute paths, and `***` for what is called a token, secret, password or key."""
    text = _SECRET.sub(r"\1***", without_logins(text))
    return _PATH.sub(".../", text)
