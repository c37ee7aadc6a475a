"""Where do the tokens of a split lie, and what makes batches of them there?

"device": in the device's memory; on the CPU, read into memory. "host": mapped from the file; for a
GPU a thread copies ahead. "auto": "device" where they take at most half of a GPU's free memory, and
"host" on the CPU. Each gives the same batches.
"""

import importlib.util

import numpy as np
import torch

from slm.batching.gather import OnDevice, OnHost, Rows, to_device
from slm.batching.prefetch import Prefetcher
from slm.core.errors import check

PLACEMENTS = ("auto", "host", "device")


def place(asked: str, device: torch.device, needed: int) -> str:
    """Where `needed` bytes of tokens go: "host" or "device"."""
    check(asked in PLACEMENTS, f"placement is {asked!r}; it must be one of {', '.join(PLACEMENTS)}")
    if asked != "auto" or device.type != "cuda":
        return "host" if asked == "auto" else asked
    free, _ = torch.cuda.mem_get_info(device)
    return "device" if 2 * needed <= free else "host"


def device_of(device: str | torch.device) -> torch.device:
    """The device, with its number; UserError where there is none."""
    device = torch.device(device)
    check(device.type in ("cpu", "cuda"), f"device is {str(device)!r}; it must be 'cpu' or 'cuda'")
    if device.type == "cpu":
        return device
    check(torch.cuda.is_available(), f"device is {str(device)!r} and PyTorch finds no GPU here")
    return device if device.index is not None else torch.device("cuda", torch.cuda.current_device())


def source(ids: np.ndarray, rows: Rows, device: torch.device, placement: str, reuse: bool):
    """What makes the batches: `batch()`, `step` and `close()`."""
    if device.type == "cpu":
        return OnHost(np.array(ids) if placement == "device" else ids, rows, reuse)
    if placement == "host":
        return Prefetcher(ids, rows, reuse, device)
    tokens = to_device(ids, device)
    if importlib.util.find_spec("triton"):
        from slm.batching.triton_source import TritonSource

        return TritonSource(tokens, rows, reuse)
    return OnDevice(tokens, rows, reuse)
