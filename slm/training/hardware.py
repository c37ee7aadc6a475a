"""What hardware and which libraries were measured?"""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def processor() -> str:
    """Returns the processor's model, as Linux names it, or else the platform's name."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = re.search(r"(?m)^model name\s*: *(.*\S)", text)
    return model[1] if model else platform.processor() or "unknown processor"


def this_device():
    """Returns the GPU that PyTorch would use, with its number, or the CPU if there is none."""
    import torch  # not above: bench-data measures its own memory

    on_gpu = torch.cuda.is_available()
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def device_name(device) -> str:
    """Returns the GPU's name, from its driver, or the processor's."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def kebab(name: str) -> str:
    """Returns a device's name for a file: "NVIDIA H200" is nvidia-h200."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def machine(*libraries: str) -> dict:
    """Returns cores, processor, Python, and the version of each library, or None without it."""
    about = {"cores": os.cpu_count(), "processor": processor(), "python": platform.python_version()}
    return about | {name: _version(name) for name in libraries}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
