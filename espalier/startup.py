"""How a command starts quickly: the garbage collector waits while packages are imported.

What they make stays to the end, so that looking at it again and again finds nothing: it takes a fifth of the import of
torch, and half of the time that Python needs to end.
"""

from __future__ import annotations

import gc
import sys

_is_paused = False


def pause_collector() -> None:
    """To be called before anything large is imported."""
    global _is_paused
    if gc.isenabled():
        gc.disable()
        _is_paused = True


def resume_collector() -> None:
    """To be called when all is imported, which is then left out of every later look; without a pause does nothing."""
    global _is_paused
    if _is_paused:
        if "torch._dynamo" not in sys.modules:  # a library it brings complains at the end of what was never collected
            gc.freeze()
        gc.enable()
        _is_paused = False
