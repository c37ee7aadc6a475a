"""How is a step captured in a CUDA graph and waited for, and why did the capture fail?"""

import gc
from collections.abc import Callable, Mapping

import torch

Step = Callable[[], None]


def captured(steps: Mapping[str, Callable[[], object]]) -> dict[str, Step]:
    """Returns each step as the replay of a CUDA graph, captured on the current stream.

    The stream is not the default one. Graphs share their memory: none reads what another wrote, and
    they never run together. Each has its own gradients. Raises RuntimeError if a capture fails.
    """
    replays, pool, stream = {}, torch.cuda.graph_pool_handle(), torch.cuda.current_stream()
    for name, step in steps.items():
        for _ in range(3):  # a first call compiles and loads, which cannot be captured
            step()
        gc.collect()  # frees autograd's graphs before the capture
        graph = torch.cuda.CUDAGraph()
        # thread_local: threads of a loader that is closing may still call CUDA
        with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
            step()
        replays[name] = graph.replay
    return replays


def synchronise(device: torch.device) -> None:
    """Waits for the current stream: the batch is ready, though a loader may still prefetch."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def reason(error: BaseException) -> str:
    """Returns the first line of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
