"""Trials on the nodes of a Ray cluster: Ray finds a node with CPUs and GPUs that are free, and runs the command there.

A trial is the same process as without Ray, in the same folders, so it is pruned, killed and resumed in the same way.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espalier.config.suggestions import install_command
from espalier.errors import UserError, explain
from espalier.search.workers import Worker, start_command

CONNECT_WITHIN_S = 10
LOOK_EVERY_S = 0.1
KILLED = 137  # also of a trial whose node is gone


def connect(address: str) -> Any:
    """The module `ray`, connected to the cluster at an address; "auto" is the one that this machine belongs to.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError as error:
        head = "tune error: --ray needs Ray, which is not installed"
        raise UserError(explain(head, fix=install_command("ray"))) from error
    host, _, port = address.rpartition(":")
    try:
        if port.isdecimal():  # where nobody listens Ray would try for many minutes
            socket.create_connection((host, int(port)), CONNECT_WITHIN_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        head = f"tune error: there is no Ray cluster at {address}"
        fix = "start one with: ray start --head; or name its address, as in --ray 10.0.0.1:6379"
        raise UserError(explain(head, got=str(error).partition("\n")[0], fix=fix)) from error
    return ray


class RayCluster:
    """The nodes, which see the project under the same path.

    Args:
        ray: the module, connected.
        config: of a study; a trial asks for `n_gpu` GPUs.
        num_cpus: and for so many CPUs.

    Attributes:
        num_slots: how many trials at once: `tune.jobs`, or as many as fit.
    """

    def __init__(self, ray: Any, config: Mapping[str, Any], num_cpus: int) -> None:
        asked = {"CPU": num_cpus, "GPU": int(config.get("n_gpu") or 0)}
        nodes: list[Mapping[str, float]] = [each["Resources"] for each in ray.nodes() if each["Alive"]]
        if not any(node.get("GPU") for node in nodes):  # as without Ray, a GPU that is not there is not waited for
            asked["GPU"] = 0
        fit = sum(min(int(node.get(name, 0) // number) for name, number in asked.items() if number) for node in nodes)
        if not fit:
            head = f"tune error: a trial asks for {num_cpus} CPUs and {asked['GPU']} GPUs, which no node has"
            got = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise UserError(explain(head, got=got, fix="lower trainer.num_threads or n_gpu"))
        self.num_slots = int(config["tune"].get("jobs") or fit)
        self._ray = ray
        self._remote = ray.remote(num_cpus=asked["CPU"], num_gpus=asked["GPU"], max_retries=0)(_run)

    def start(self, command: Sequence[str], output: Path, environment: Mapping[str, str]) -> Worker:
        """Start a command on a node as soon as one is free; which GPUs it sees is for Ray to say."""
        return _WorkerOnNode(self._ray, self._remote.remote([*command], str(Path.cwd()), str(output)))


def _run(command: list[str], folder: str, output: str) -> int:
    """On the node: run a command, and give its exit code."""
    os.chdir(folder)
    asked: list[int] = []
    # by this signal Ray cancels; left alone it does nothing where Ray was started in the background of a script
    signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    process = start_command(command, Path(output), {})
    while (code := process.exit_code) is None:
        while asked:
            asked.pop()
            process.ask_to_stop()
        time.sleep(LOOK_EVERY_S)
    return code


class _WorkerOnNode(Worker):
    def __init__(self, ray: Any, result: Any) -> None:
        super().__init__(0, self._look)
        self._ray, self._result = ray, result

    def _look(self) -> int | None:
        if not self._ray.wait([self._result], timeout=0)[0]:
            return None
        try:
            return int(self._ray.get(self._result))
        except self._ray.exceptions.RayError:  # cancelled, or its process or node is gone
            return KILLED

    def ask_to_stop(self) -> None:
        self._ray.cancel(self._result)
