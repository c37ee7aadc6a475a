"""How much memory does a loader add, on the host and on the device?

On the host: memory that belongs to no file, of this process and of its children (a DataLoader's
workers), each page that several share counted once, as /proc/<pid>/smaps_rollup tells it; None
where there is none. Pages of a mapped bin are the file's and do not count; nor does what a GPU's
driver holds outside of the process. On the device: what PyTorch's allocator gave out.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

import torch

from slm.training.cuda import synchronise

SAMPLE_SECONDS = 0.01
PROC = Path("/proc")


def private_bytes() -> int | None:
    """Bytes of this process and its children that are no file's; None where it cannot be told."""
    own = _private("self")
    return None if own is None else own + sum(_private(child) or 0 for child in _children())


def _private(process: str) -> int | None:
    try:
        lines = (PROC / process / "smaps_rollup").read_text().splitlines()
    except OSError:  # no such system, or a child that has ended
        return None
    words = [line.split() for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
    return sum(int(kib) for _, kib, _ in words) * 1024 if words else None


def _children() -> Iterator[str]:
    parent = (PROC / "self").resolve().name
    for path in PROC.glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if after_name[1] == parent:
            yield path.parent.name


class Growth:
    """What is added from here on: `watch` runs something, `found` gives the most that was seen."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._peak, self._done = device, 0, Event()
        self._host = private_bytes()
        if device.type == "cuda":
            synchronise(device)
            torch.cuda.reset_peak_memory_stats(device)
            self._allocated = torch.cuda.memory_allocated(device)

    def watch(self, call: Callable, calls: int, seconds: float) -> None:
        """Call so often, and on until so many seconds have passed, while memory is sampled."""
        sampler = Thread(target=self._sample, daemon=True)
        sampler.start()
        try:
            end = perf_counter() + seconds
            while calls > 0 or perf_counter() < end:
                call()
                synchronise(self._device)  # or seconds of calls would queue minutes of work
                calls -= 1
        finally:
            self._done.set()
            sampler.join()

    def _sample(self) -> None:
        while self._host is not None:
            self._peak = max(self._peak, private_bytes() or 0)
            if self._done.wait(SAMPLE_SECONDS):
                break

    def figures(self) -> dict[str, float | None]:
        """`device_mb` and `host_mb`, None where there is nothing to tell."""
        device_mb = host_mb = None
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
            device_mb = (peak - self._allocated) / 1e6
        if self._host is not None:
            host_mb = max(0, self._peak - self._host) / 1e6
        return {"device_mb": device_mb, "host_mb": host_mb}
