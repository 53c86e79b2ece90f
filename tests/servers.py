"""Servers that tests start on this machine."""

import socket
import time


def free_port():
    """A port where nobody listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def wait_for(port, name):
    """Wait until somebody listens at a port, a minute at most."""
    for _ in range(120):
        try:
            socket.create_connection(("localhost", port), 1).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(f"{name} does not answer")
