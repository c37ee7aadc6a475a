"""How is a step captured in a CUDA graph, waited for, and why did it fail?"""

import gc
from collections.abc import Callable

import torch

Step = Callable[[], None]


def captured(steps: dict[str, Step]) -> dict[str, Step]:
    """Each step as the replay of a CUDA graph, captured on the current stream, not the default one.

    Graphs share their memory: none reads what another left there, and they never run together.
    The gradients are each graph's own. Raises RuntimeError where a step cannot be captured.
    """
    replays, pool, stream = {}, torch.cuda.graph_pool_handle(), torch.cuda.current_stream()
    for name, step in steps.items():
        for _ in range(3):  # what is compiled or loaded at a first call cannot be captured
            step()
        gc.collect()  # what is left of autograd's graphs goes now, not during the capture
        graph = torch.cuda.CUDAGraph()
        # thread_local: the threads of a loader that is closing may still call CUDA
        with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
            step()
        replays[name] = graph.replay
    return replays


def synchronise(device: torch.device) -> None:
    """Wait for the current stream: the batch is ready, though a loader may copy ahead of it."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def reason(error: BaseException) -> str:
    """One line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
