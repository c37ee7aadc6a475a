"""Where are the tokens of a split, and which source makes batches of them?

"device": in the device's memory; on the CPU, read into memory. "host": mapped from the file; for a
CUDA GPU a thread prefetches, for other devices each batch is copied. "auto": "device" if they take
at most half of a CUDA GPU's free memory, else "host": PyTorch cannot ask every device what is free,
and where a device shares the host's memory, as on a Mac, tokens would lie there twice. Each gives
the same batches.
"""

import importlib.util

import numpy as np
import torch

from slm.batching.device import Copied, OnDevice, to_device
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
    """Returns the device, with its number; raises UserError if no tensor can be read back there."""
    try:
        device = torch.device(device)
        made = torch.ones(1, device=device)
        made.item()  # "meta" has no numbers
    except (RuntimeError, TypeError, ValueError, AssertionError, ImportError) as error:
        why, _, _ = str(error).partition(". ")
        wrong = f"device is {str(device)!r}, which PyTorch does not find here; it has"
        raise UserError(f"{wrong} {', '.join(devices())} ({why})") from None
    return made.device


def devices() -> list[str]:
    """Returns the names of the devices that PyTorch has here."""
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = torch.accelerator.device_count() if kind else 0
    return ["cpu", *(f"{kind.type}:{i}" for i in range(count) if kind)]


def source(rows: Rows, device: torch.device, placement: str, reuse: bool) -> Source:
    """Returns the source that makes the batches."""
    if device.type == "cpu":
        if placement == "device":
            rows.splits = [split._replace(ids=np.array(split.ids)) for split in rows.splits]
        return OnHost(rows, reuse)
    if placement == "host":
        make = Prefetcher if device.type == "cuda" else Copied
        return make(rows, reuse, device)
    tokens = to_device(rows, device)
    if device.type == "cuda" and importlib.util.find_spec("triton"):
        from slm.batching.gpu.source import TritonSource

        return TritonSource(tokens, rows, reuse)
    return OnDevice(tokens, rows, reuse)
