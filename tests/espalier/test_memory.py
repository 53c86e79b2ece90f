"""How much memory can still be taken, and what becomes of what was freed."""

import platform

import pytest

from espalier import memory


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A made-up system with 8,000 kB to be had, and the process in the control group `job`."""
    for name, text in {"meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n", "own": "1:cpu:/\n0::/job\n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "memory.stat").write_text("file 9999999\nanon 500000\n")
    for name, path in {"_MEMINFO": "meminfo", "_MY_GROUPS": "own", "_GROUPS": ""}.items():
        monkeypatch.setattr(memory, name, tmp_path / path)
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "available"), [(None, 8_192_000), ("max", 8_192_000), ("2000000", 1_500_000), ("99000000", 8_192_000)]
)
def test_available_memory_is_that_of_the_machine_or_of_the_job(files, limit, available):
    """A limit of the container or job counts where it is the lower one; caches do not count as taken."""
    if limit is not None:
        (files / "job" / "memory.max").write_text(f"{limit}\n")
    assert memory.available_memory() == available


def test_available_memory_without_meminfo_is_what_sysconf_tells(files, monkeypatch):
    """Where the system counts free pages only; and None where it tells nothing."""
    (files / "meminfo").unlink()
    monkeypatch.setattr(memory.os, "sysconf_names", {"SC_PHYS_PAGES": 1}, raising=False)
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}.get)
    assert memory.available_memory() == 40960
    monkeypatch.setattr(memory.os, "sysconf_names", {})
    assert memory.available_memory() is None


STEPS = """
import ctypes, platform, resource, sys
sys.path.insert(0, {root!r})
import torch
from espalier.memory import keep_freed_memory

# 38 MB, as 64 images of 224x224, where glibc takes that.
large = 64 * 3 * 224**2 if [*map(int, platform.libc_ver()[1].split("."))] >= [2, 35] else 2**20

def pages_of_ten_steps():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        kept = [torch.zeros(2**20) for _ in range(8)]  # 4 MB each, as the activations of a small network
        batch = torch.zeros(large)
        del kept, batch
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for setting in (-1, -3):  # as glibc begins, whatever was freed in this process before
    ctypes.CDLL(None).mallopt(setting, 131072)
print(pages_of_ten_steps())
keep_freed_memory()
pages_of_ten_steps()
print(pages_of_ten_steps())
"""
is_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")


@pytest.fixture
def numbers_of(root, tmp_path, run, monkeypatch):
    """The numbers that a script prints in a process of its own, where no setting of the environment is in the way."""
    for name in memory._SETTINGS:
        monkeypatch.delenv(name, raising=False)

    def run_script(text):
        script = tmp_path / "script.py"
        script.write_text(text.format(root=str(root)))
        result = run(script)
        assert result.returncode == 0, result.stderr
        return [float(number) for number in result.stdout.split()]

    return run_script


@pytest.mark.slow
@is_glibc
def test_keep_freed_memory_spares_a_step_the_way_to_the_system(numbers_of):
    """What the steps before have used is used again."""
    before, after = numbers_of(STEPS)
    assert after < before / 10


KEPT = """
import os, sys
sys.path.insert(0, {root!r})
import torch
from espalier.memory import give_back_freed_memory, keep_freed_memory

def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

keep_freed_memory()
before = megabytes()
taken = [torch.zeros(2**20) for _ in range(24)]  # 100 MB
del taken
print(megabytes() - before)
give_back_freed_memory()
print(megabytes() - before)
"""


@is_glibc
def test_give_back_freed_memory_leaves_it_to_others(numbers_of):
    """A notebook that has trained holds no more than what it uses."""
    kept, given_back = numbers_of(KEPT)
    assert kept > 90 and given_back < 20


@is_glibc
@pytest.mark.parametrize(("name", "is_left"), [("MALLOC_TRIM_THRESHOLD_", True), ("ELSE", False)])
def test_keep_freed_memory_leaves_alone_what_the_environment_sets(monkeypatch, name, is_left):
    """Who sets it has a reason."""
    calls = []
    library = type("Library", (), {"mallopt": lambda self, *call: calls.append(call) or 1})
    for each in memory._SETTINGS:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "131072")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda path: library())
    memory.keep_freed_memory()
    assert (calls == []) == is_left


@is_glibc
def test_keep_freed_memory_takes_what_an_older_glibc_takes(monkeypatch):
    """Before 2.35 it refuses a threshold above 32 MB."""
    calls = []
    library = type("Library", (), {"mallopt": lambda self, *call: calls.append(call) or int(call[1] != 2**26)})
    for each in memory._SETTINGS:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda path: library())
    memory.keep_freed_memory()
    assert calls == [(-3, 2**26), (-3, 2**25), (-1, 2**30)]
