"""How long does a process take, how much memory does it and its children hold, and on what?

Wall seconds from start to exit, imports and all. Peak memory is the greater of two numbers: the
highest sum of resident memory over the process tree, sampled every 0.2 s (pages that processes
share count in each), and the kernel's own peak of the largest process (exact, one process).
The caller must hold little memory itself: Linux counts a parent's peak in a child that it starts.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from slm.core.errors import UserError

SAMPLE_SECONDS = 0.2
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes on macOS, KiB on Linux
LIBRARIES = ("tiktoken", "gigatoken", "datasets", "numpy", "pyarrow")


class Measured(NamedTuple):
    """One run of a process."""

    seconds: float
    peak_bytes: int
    output: str  # what it wrote to standard output


def spread(of: list[Measured]) -> str:
    """The seconds of several runs: median, lowest and highest."""
    times = [run.seconds for run in of]
    return f"{median(times):.1f} ({min(times):.1f}–{max(times):.1f})"


def machine_line(known: dict, libraries: tuple[str, ...]) -> str:
    """Cores, processor, Python and libraries, of what slm.training.hardware.machine returned."""
    values = [f"{known['cores']} cores", known["processor"], f"Python {known['python']}"]
    return ", ".join([*values, *(f"{name} {known[name]}" for name in libraries)])


def measure(command: list[str], folder: Path, env: dict[str, str]) -> Measured:
    """Run `command` in `folder`; raises UserError with its last line where it fails."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=errors)
        sampler = _Sampler(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = max(sampler.peak(), usage.ru_maxrss * UNIT)
        if process.returncode:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no message"])[-1]
            raise UserError(f"`{' '.join(command[1:4])}` failed ({process.returncode}): {last}")
        output.seek(0)
        return Measured(seconds, peak, output.read())


class _Sampler:
    """A thread that watches the resident memory of a process tree until it is asked."""

    def __init__(self, process: int) -> None:
        self._process, self._peak, self._done = process, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, tree_bytes(self._process))

    def peak(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak


def tree_bytes(process: int) -> int:
    """Resident bytes of a process and everything that it started; 0 once it has gone."""
    try:
        root = psutil.Process(process)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(map(_resident, tree))


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
