"""Time and peak memory of a command: python benchmarks/launch.py <file descriptor for the answer> <command>

Linux counts the memory of the process that starts another into the peak of that other one, so it must be a small one.
"""

import json
import os
import sys
import time

if __name__ == "__main__":
    if sys.argv[1:] == ["--help"]:
        sys.exit(print(__doc__))
    answer, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(answer, False)
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.execvp(command[0], command)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    memory_mb = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    code = os.waitstatus_to_exitcode(status)
    os.write(answer, json.dumps({"seconds": seconds, "memory_mb": memory_mb, "code": code}).encode())
