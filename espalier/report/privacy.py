"""Texts that may be shown to others: without the paths of a machine, and without secrets."""

from __future__ import annotations

import re

from espalier.masking import without_secrets

# Of Unix and Windows, from the root on; the last part is what tells something.
_PATH = re.compile(r"(?<![\w.:/~])(?:~|[A-Za-z]:[\\/]|/)(?:[^\s'\"`:,;()\[\]{}<>|]*[\\/])?(?=[^\s\\/])")


def public(text: str) -> str:
    """The text with `.../name` for absolute paths, and `***` for what is called a token, secret, password or key."""
    return _PATH.sub(".../", without_secrets(text))
