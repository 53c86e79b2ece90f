"""Keeps the packages of trackers apart from the run, whose random numbers and log they would use."""

from __future__ import annotations

import logging
import random
import sys


def keep_apart(package: str) -> None:
    """Give the loaded modules of a package a random generator of their own, and no place in the log.

    They draw from Python's generator, for the time until a retry say, in a thread: at another moment in each run.
    What fails is raised, and then told once.
    """
    own = random.Random()
    for name, module in [*sys.modules.items()]:
        if name.partition(".")[0] in (package, "urllib3") and vars(module).get("random") is random:
            vars(module)["random"] = own
    logging.getLogger(package).setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
