"""Whether the packages are there that a server needs; imports none of them."""

from __future__ import annotations

from importlib.util import find_spec

from espalier.errors import UserError, explain

_NEEDED = {"fastapi": ("fastapi",), "uvicorn": ("uvicorn",), "python-multipart": ("python_multipart", "multipart")}


def check_extra() -> None:
    """Raise a UserError that names the packages which are not installed."""
    missing = [package for package, names in _NEEDED.items() if not any(map(find_spec, names))]
    if missing:
        head = f"serve error: a server needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}"
        raise UserError(explain(head, fix='pip install -e ".[serve]"'))
