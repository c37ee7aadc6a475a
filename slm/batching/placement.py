"""Where are the tokens of a split, and which source makes batches of them?

"device": in the device's memory; on the CPU, read into memory. "host": mapped from the file; for a
GPU a thread prefetches. "auto": "device" if they take at most half of a GPU's free memory, and
"host" on the CPU. Each gives the same batches.
"""

import importlib.util

import numpy as np
import torch

from slm.batching.device import OnDevice, to_device
from slm.batching.gpu.prefetch import Prefetcher
from slm.batching.host import OnHost
from slm.batching.orders.rows import Rows
from slm.batching.tensors import Source
from slm.core.errors import UserError, check

PLACEMENTS = ("auto", "host", "device")


def placement_for(placement: str, device: torch.device, needed: int) -> str:
    """Returns "host" or "device" for `needed` bytes; raises UserError if `placement` is unknown."""
    names = ", ".join(PLACEMENTS)
    check(placement in PLACEMENTS, f"placement is {placement!r}; it must be one of {names}")
    if placement != "auto" or device.type != "cuda":
        return "host" if placement == "auto" else placement
    free, _ = torch.cuda.mem_get_info(device)
    return "device" if 2 * needed <= free else "host"


def device_of(device: str | torch.device) -> torch.device:
    """Returns the device, with its number; raises UserError if it is not here or not supported."""
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"device is {str(device)!r}; {error}") from None
    check(device.type in ("cpu", "cuda"), f"device is {str(device)!r}; it must be 'cpu' or 'cuda'")
    if device.type == "cpu":
        return device
    check(torch.cuda.is_available(), f"device is {str(device)!r} and PyTorch finds no GPU here")
    return device if device.index is not None else torch.device("cuda", torch.cuda.current_device())


def source(rows: Rows, device: torch.device, placement: str, reuse: bool) -> Source:
    """Returns the source that makes the batches."""
    if device.type == "cpu":
        if placement == "device":
            rows.splits = [split._replace(ids=np.array(split.ids)) for split in rows.splits]
        return OnHost(rows, reuse)
    if placement == "host":
        return Prefetcher(rows, reuse, device)
    tokens = to_device(rows, device)
    if importlib.util.find_spec("triton"):
        from slm.batching.gpu.source import TritonSource

        return TritonSource(tokens, rows, reuse)
    return OnDevice(tokens, rows, reuse)
