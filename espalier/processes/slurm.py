"""The SLURM job that a process runs in; needs no torch."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess

logger = logging.getLogger("trainer")


def slurm_job() -> str | None:
    """The name under which SLURM knows this job; None outside SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def requeue_job() -> None:
    """Let SLURM start this job again; a failure is a warning, for the state of the run is saved."""
    job, command = slurm_job(), shutil.which("scontrol")
    if job is None or command is None:
        logger.warning("Not requeued: %s.", "this is no SLURM job" if job is None else "scontrol is not in the PATH")
        return
    try:
        done = subprocess.run([command, "requeue", job], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        logger.warning("Job %s is not requeued: %s", job, error)
        return
    if done.returncode == 0:
        logger.info("Job %s is requeued.", job)
    else:
        logger.warning("Job %s is not requeued: %s", job, (done.stderr or done.stdout).strip())
