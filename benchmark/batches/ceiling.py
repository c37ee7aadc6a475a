"""What can this device do at best? Bandwidths and launches, measured in the same run.

In: the device. Out: GB/s of a copy in its own memory, bytes read and written both counted (on a
CPU by one thread), GB/s from pinned host memory to a GPU, and microseconds of the smallest kernel,
launched back to back by PyTorch and inside a CUDA graph; None where there is no GPU.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmark.batches.timing import Effort, block, calls_of, typical

BUS_BYTES = 2**28
CPU_BYTES = 2**28
LAUNCHES = 1000  # in the graph


def measure_ceiling(device: torch.device, effort: Effort) -> dict:
    """The section "ceiling" of the result."""
    if device.type != "cuda":
        size = min(CPU_BYTES, effort.ceiling_bytes)
        source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
        copy = 2 * size / 1e9 / _best(lambda: np.copyto(target, source), effort, device)
        return {"copy_gb_s": copy, "bus_gb_s": None, "launch_us": None, "graph_launch_us": None}
    size = min(effort.ceiling_bytes, torch.cuda.mem_get_info(device)[0] // 4)
    from_, to = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
    number = torch.zeros(1, device=device)
    return {
        "copy_gb_s": 2 * size / 1e9 / _best(lambda: to.copy_(from_), effort, device),
        "bus_gb_s": _bus(min(BUS_BYTES, effort.ceiling_bytes), effort, device),
        "launch_us": 1e6 * typical(lambda: number.add_(1), effort, device),
        "graph_launch_us": 1e6 * typical(_graph(number), effort, device) / LAUNCHES,
    }


def _bus(size: int, effort: Effort, device: torch.device) -> float:
    source = torch.ones(size, dtype=torch.uint8).pin_memory()
    target = torch.empty(size, dtype=torch.uint8, device=device)
    copy = partial(target.copy_, source, non_blocking=True)
    return size / 1e9 / _best(copy, effort, device)


def _best(call: Callable, effort: Effort, device: torch.device) -> float:
    calls = calls_of(call, effort.seconds / 2, device)
    return min(block(call, calls, device) for _ in range(effort.turns * effort.blocks))


def _graph(number: torch.Tensor) -> Callable:
    number.add_(1)  # loaded before the capture
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        for _ in range(LAUNCHES):
            number.add_(1)
    return captured.replay
