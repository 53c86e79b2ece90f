"""The page of a server: one file with its style and its script, which asks for nothing elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from espalier.report.html import source as source_of_report

_HERE = Path(__file__).parent


def _source(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _parts() -> dict[str, str]:
    return {"style": source_of_report("page.css") + _source("page.css"), "script": _source("page.js")}


def page() -> str:
    """The page as text; what it shows of a model it asks the server for."""
    parts = _parts()
    return re.sub(r"{{(\w+)}}", lambda found: parts[found[1]], _source("page.html"))


def headers() -> dict[str, str]:
    """What keeps the page to itself: its own style and script alone, pictures that the user gives, and this server."""
    hashes = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for name, text in _parts().items()
    }
    rules = {
        "default-src": "'none'",
        "style-src": f"'sha256-{hashes['style']}'",
        "script-src": f"'sha256-{hashes['script']}'",
        "img-src": "'self' blob: data:",
        "connect-src": "'self'",
        "form-action": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in rules.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
