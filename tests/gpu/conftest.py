"""Each test runs on a GPU (`pytest -m gpu`), and nearly each as a rehearsal of itself on the CPU (`pytest -m slow`)."""

from collections import Counter

import pytest
import torch

CUDA = pytest.param("cuda", marks=pytest.mark.gpu)
CPU = pytest.param("cpu", marks=pytest.mark.slow)


@pytest.fixture(params=[CUDA, CPU])
def device(request):
    """Where a test computes."""
    return request.param


@pytest.fixture(params=[CUDA])
def gpu(request):
    """For what cannot be rehearsed."""
    return request.param


@pytest.fixture(autouse=True)
def _there_are_gpus(request):
    """A test that is for GPUs is skipped where there are too few."""
    if request.node.get_closest_marker("gpu") is None:
        return
    needed = 2 if request.node.get_closest_marker("two_gpus") else 1
    if (found := torch.cuda.device_count()) < needed:
        pytest.skip(f"{needed} of CUDA needed, {found} found")


def pytest_terminal_summary(terminalreporter):
    """Say in a line how many tests were skipped for want of GPUs."""
    skipped = [each for each in terminalreporter.stats.get("skipped", ()) if "tests/gpu/" in each.nodeid]
    for reason, number in Counter(each.longrepr[2].removeprefix("Skipped: ") for each in skipped).items():
        terminalreporter.write_line(f"{number} tests on GPUs were skipped: {reason}.")
