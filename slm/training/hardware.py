"""What are the numbers taken on? The processor's and the device's names, and what computes."""

import importlib.util
import os
import platform
import re
from pathlib import Path


def processor() -> str:
    """The processor's model, as Linux names it, or else the platform."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown processor"


def this_device():
    """The GPU that PyTorch would use, with its number, or the CPU where there is none."""
    import torch  # bench-data, which asks for the processor, must stay small

    on_gpu = torch.cuda.is_available()
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def device_name(device) -> str:
    """The GPU's name, as its driver gives it, or the processor's."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def kebab(name: str) -> str:
    """A device's name as a file's: "NVIDIA H200" is nvidia-h200."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def training_machine() -> dict:
    """Cores, processor, Python, and the versions of what makes batches."""
    import numpy as np
    import torch

    return {
        "cores": os.cpu_count(),
        "processor": processor(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "triton": _triton(),
    }


def _triton() -> str | None:
    if not importlib.util.find_spec("triton"):
        return None
    import triton

    return triton.__version__
