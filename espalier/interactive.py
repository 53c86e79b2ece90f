"""Whether a person types at a prompt of Python, or in a notebook."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any


def is_interactive() -> bool:
    """Whether this is a Python prompt or a notebook, which goes on after an exception."""
    return hasattr(sys, "ps1") or _shell() is not None


def in_notebook() -> bool:
    """Whether output is shown by a Jupyter front end."""
    return hasattr(_shell(), "kernel")


def has_widgets() -> bool:
    """Whether a notebook can show a progress bar of its own kind."""
    return in_notebook() and find_spec("ipywidgets") is not None


def _shell() -> Any:
    """The shell of IPython, which is there only if that was imported."""
    get = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if get is None else get()
