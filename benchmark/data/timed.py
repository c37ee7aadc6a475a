"""Run one stage's command for the rehearsal and note what it took: -m benchmark.data.timed.

In: a module and its arguments, and SLM_TIMES, the file that gets a line of JSON for each stage:
its name, wall seconds and peak resident bytes of the whole process, as the kernel has them.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmark.data.measure import UNIT


def main() -> None:
    """Run the module named on the command line; exit as it exits."""
    module, *arguments = sys.argv[1:]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", module, *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    line = {"stage": module, "seconds": seconds, "peak_bytes": usage.ru_maxrss * UNIT}
    with Path(os.environ["SLM_TIMES"]).open("a") as file:
        file.write(json.dumps(line) + "\n")
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
