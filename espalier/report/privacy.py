"""Texts that may be shown to others: without the paths of a machine, and without secrets."""

from __future__ import annotations

import re

# Of Unix and Windows, from the root on; the last part is what tells something.
_PATH = re.compile(r"(?<![\w.:/~])(?:~|[A-Za-z]:[\\/]|/)(?:[^\s'\"`:,;()\[\]{}<>|]*[\\/])?(?=[^\s\\/])")
_SECRET = re.compile(
    r"(?i)(\b[\w.-]*(?:token|secret|passw(?:or)?d|api[_-]?key|credential)[\w.-]*[\"']?\s*[=:]\s*)([\"']?)[^\s\"',}]+\2"
)
_IN_URL = re.compile(r"(\w+://)[^\s/@]+@")


def public(text: str) -> str:
    """The text with `.../name` for absolute paths, and `***` for what is called a token, secret, password or key."""
    text = _IN_URL.sub(r"\1***@", text)
    text = _SECRET.sub(r"\1***", text)
    return _PATH.sub(".../", text)
