"""What does a loader add to a training step? A small GPT's step, with each and with none.

In: a folder of bins, params.yaml's `batching`, and the device. Out: for each size of the model and
shape of the batch what a step takes on one fixed batch and with the batches of each loader, in
interleaved blocks; on a GPU also the whole step in one CUDA graph, on a fixed batch and with our
own loader inside. A step is a batch, forward, backward and AdamW; nothing in it waits for the
device, and it returns nothing. On a GPU: bfloat16 by autocast, compiled by torch.compile in the
mode for small models, "reduce-overhead": in the default one the 8M model waits for the host three
quarters of its time. On the CPU: float32, not compiled.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from benchmark.batches.interleaved import Pace, Step, against, interleaved
from benchmark.batches.loaders import LOADERS, Task, batches_of
from benchmark.batches.timing import dropping_out
from slm.bins.opening import open_bins
from slm.training.cuda import captured, reason
from slm.training.model import GPT, SIZES, Size, gpt, parameters

NAMES = ("notebook", "dataloader", "host", "device")  # of LOADERS
GRAPHS = ("graph fixed", "graph device")
VOCABULARY = 50_257  # GPT-2's: the model's, where the bins have no larger one
RATE = 1e-4  # small: the fixed batch comes thousands of times
MODE = "reduce-overhead"
PACE = {"cuda": Pace(61, 0.06), "cpu": Pace(9, 0.2)}
QUICK = Pace(7, 0.05)

Draw = Callable[[], tuple]  # the next x and y
Train = Callable[[Draw], Step]  # the step on what is drawn


class Run(NamedTuple):
    """A model and the shape of its batches."""

    size: Size
    batch_size: int  # rows
    block_size: int  # tokens per row


RUNS = {
    "cuda": {
        "8M 32x128": Run(SIZES["8M"], 32, 128),
        "30M 64x256": Run(SIZES["30M"], 64, 256),
        "124M 32x1024": Run(SIZES["124M"], 32, 1024),
    },
    "cpu": {"8M 4x64": Run(SIZES["8M"], 4, 64)},
}


def measure_steps(
    bins_folder: Path,
    batching: dict,  # of it, order and seed
    device: torch.device,
    quick: bool,  # the first run alone, and shorter: to see that it works
    runs: dict[str, Run] | None = None,  # RUNS of the device
    say: Callable[[str], None] = lambda line: None,  # told what is about to run
) -> dict:
    """What each loader does to each run, by the run's name: the benchmark's section "steps".

    The "ratio" of "graph device" is to "graph fixed", all others are to "fixed". What cannot run
    here is None, and "failed", which is there only then, says why. A run with batches as large as
    the data is left out.
    """
    runs = runs or RUNS[device.type]
    tokens = open_bins(bins_folder).manifest["splits"]["train"]["tokens"]
    figures = {}
    for name in list(runs)[: 1 if quick else None]:
        size, rows, length = runs[name]
        task = Task(bins_folder, rows, length, batching["order"], batching["seed"], device)
        if tokens > task.tokens:
            say(f"training steps of {name}")
            figures[name] = _measure(size, task, QUICK if quick else PACE[device.type])
    return figures


def _measure(size: Size, task: Task, pace: Pace) -> dict:
    failed: dict[str, str] = {}
    on_gpu = task.device.type == "cuda"
    # One stream for all of a run: what autograd keeps of another would break the capture.
    with torch.cuda.stream(torch.cuda.Stream(task.device) if on_gpu else None):
        ids = open_bins(task.bins).manifest.get("tokenizer", {}).get("vocab_size", 0)
        model = gpt(size, max(VOCABULARY, ids), task.block_size, task.seed, task.device)
        train = partial(training_step, *trainer(model, task.device, MODE))
        x, y = (
            part.to(task.device)
            for part in batches_of(task._replace(device=torch.device("cpu"))).get_batch()
        )
        figures = {"parameters": sum(parameters(model)), "compiled": MODE if on_gpu else None}
        figures["dtype"] = "bfloat16" if on_gpu else "float32"
        figures |= _eager(train(lambda: (x, y)), train, task, pace, failed)
        if on_gpu:
            torch.compiler.reset()  # the mode has graphs of its own, which no graph can hold
            train = partial(training_step, *trainer(model, task.device, "default"))
            figures |= _graphs(train(lambda: (x, y)), train, task, pace, failed)
            torch.compiler.reset()  # the next model is another program, not a case of this one
    return figures | ({"failed": failed} if failed else {})


def _eager(fixed: Step, train: Train, task: Task, pace: Pace, failed: dict[str, str]) -> dict:
    steps = {"fixed": fixed}
    with ExitStack() as stack:
        for name in NAMES:
            with dropping_out(name, failed):
                loader = LOADERS[name](task)
                stack.callback(loader.close)
                loader.call()
                steps[name] = train(loader.call)
        figures = against(interleaved(steps, task.device, pace))
    return {name: figures.get(name) for name in ("fixed", *NAMES)}


def _graphs(fixed: Step, train: Train, task: Task, pace: Pace, failed: dict[str, str]) -> dict:
    try:
        batches = batches_of(task, placement="device", reuse=True)
        steps = dict(zip(GRAPHS, (fixed, train(batches.get_batch)), strict=True))
        return against(interleaved(captured(steps), task.device, pace))
    except RuntimeError as error:  # of the step that is captured, or of the end of the capture
        failed |= dict.fromkeys(GRAPHS, reason(error.__context__ or error))
        return dict.fromkeys(GRAPHS)


def trainer(
    model: GPT,
    device: torch.device,
    mode: str,  # of torch.compile, on a GPU
) -> tuple[Callable, torch.optim.Optimizer]:
    """What gives the loss of x and y, and the optimizer; in mode "default" for a CUDA graph too."""
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True, capturable=on_gpu)
    if not on_gpu:
        return model, optimizer
    compiled = torch.compile(model, dynamic=False, mode=mode)

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # No cache of casts: a graph that is replayed must cast the weights of each step anew.
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            return compiled(x, y)

    return loss, optimizer


def training_step(loss: Callable, optimizer: torch.optim.Optimizer, draw: Draw) -> Step:
    """One step on what `draw` gives."""

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(*draw()).backward()  # not kept: a loss that lives keeps autograd's graph alive
        optimizer.step()

    return step
