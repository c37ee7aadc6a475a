"""How is a model trained on bins, the same bit for bit each time?

In: opened bins, a seed, a number of steps, and params.yaml's `training`. Out: bits per byte of the
validation split at a few moments of the training, the last at its end. The seed gives the weights
and the order of the batches, "shuffled". AdamW with clipped gradients; the learning rate climbs
for a twentieth of the steps and falls along a cosine to a tenth.

The same arguments on the same device (and on the CPU as many threads) give the same result:
PyTorch's deterministic algorithms are asked for, nothing is compiled, and no global random state is
read or changed. On the CPU all is float32. On a GPU it is bfloat16 by autocast, the whole step
replayed from one CUDA graph, eager where that fails; scores are of float32.
"""

import importlib.util
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from slm.batching.batches import Batches
from slm.bins.opening import Bins
from slm.core.errors import UserError
from slm.training.bits import bits_per_byte
from slm.training.cuda import captured, reason, synchronise
from slm.training.model import GPT, Parameters, Size, gpt, parameters

POINTS = 10  # of a curve, at most
WARM_UP, LOWEST = 0.05, 0.1  # share of the steps in which the rate climbs; what it falls to
BETAS, DECAY, CLIP = (0.9, 0.95), 0.1, 1.0  # matrices decay, norms do not
WORTH_A_GRAPH = 100  # steps


class Fitted(NamedTuple):
    """What one training gave."""

    curve: list[list]  # of [step, seconds of training until then, bits per byte]
    parameters: Parameters
    graph: bool  # whether the step was replayed from a CUDA graph
    failed: str | None  # why it was not, where it should have been


class Begun(NamedTuple):
    """A training that can go on."""

    model: GPT
    batches: Batches
    step: Callable[[], None]
    done: int  # steps
    alive: object  # what a CUDA graph reads and writes, which it does not keep by itself


def fit(bins: Bins, seed: int, steps: int, settings: dict, device: torch.device) -> Fitted:
    """Train one model on "train" and score it on "validation"; `settings` is `training`.

    The seconds leave out scoring, and on a GPU the first three steps and their capture. Raises
    UserError where the loss is no number any more.
    """
    arguments, on_gpu = (bins, seed, steps, settings, device), device.type == "cuda"
    # One stream for all of it: what autograd keeps of another would break the capture.
    with deterministic(), torch.cuda.stream(torch.cuda.Stream(device) if on_gpu else None):
        graph = on_gpu and steps >= WORTH_A_GRAPH
        begun, failed = _graphed(*arguments) if graph else (_begin(*arguments), None)
        curve = _curve(begun, *arguments)
    return Fitted(curve, parameters(begun.model), graph and not failed, failed)


def _graphed(*arguments: object) -> tuple[Begun, str | None]:
    """What replays the step from a CUDA graph; where that fails what does without, and why."""
    try:
        return _begin(*arguments, graph=True), None
    except RuntimeError as error:  # of the step that is captured, or of the end of the capture
        failed = reason(error.__context__ or error)
    return _begin(*arguments), failed  # from the start: nobody knows how far it came


def _begin(
    bins: Bins, seed: int, steps: int, settings: dict, device: torch.device, graph: bool = False
) -> Begun:
    size, block_size = Size(*settings["model"]), settings["block_size"]
    model = gpt(size, bins.manifest["tokenizer"]["vocab_size"], block_size, seed, device)
    shape = {"batch_size": settings["batch_size"], "block_size": block_size}
    where = {"device": device, "placement": "device", "reuse": True}
    batches = Batches(bins, "train", **shape, seed=seed, order="shuffled", **where)
    rates = [rate(step, steps, settings["learning_rate"]) for step in range(steps)]
    step = training_step(model, batches.get_batch, torch.tensor(rates, device=device))
    alive = step
    if graph:
        if not importlib.util.find_spec("triton"):
            raise RuntimeError("without Triton the host draws the batches")
        step = captured({"step": step})["step"]  # after a few steps, which count
    return Begun(model, batches, step, batches.step, alive)


def _curve(
    begun: Begun, bins: Bins, seed: int, steps: int, settings: dict, device: torch.device
) -> list[list]:
    shape = settings["batch_size"], settings["block_size"]
    done, seconds, curve = begun.done, 0.0, []
    for moment in moments(steps, points(bins, steps, settings, device)):
        start = time.perf_counter()
        for _ in range(done, moment):
            begun.step()
        synchronise(device)
        seconds, done = seconds + time.perf_counter() - start, moment
        bits = bits_per_byte(begun.model, bins, "validation", *shape, device)
        if not math.isfinite(bits):
            cure = "choose a smaller training.learning_rate"
            raise UserError(f"{bins.folder}: with seed {seed} the loss is no number; {cure}")
        curve.append([moment, seconds, bits])
    assert begun.batches.step == steps  # a replay that draws no new batch would not count it
    return curve


def training_step(model: GPT, draw: Callable, rates: torch.Tensor) -> Callable[[], None]:
    """What does the next step on what `draw` gives, at its rate of `rates`, (steps,) float32.

    The rates and their counter lie on the device, so that a CUDA graph of it goes on by itself.
    """
    at, now = torch.zeros(1, dtype=torch.int64, device=rates.device), rates[0].clone()
    on_gpu, weights = rates.device.type == "cuda", list(model.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": DECAY},
        {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=now, betas=BETAS, fused=True, capturable=on_gpu)

    def step() -> None:
        now.copy_(rates[at][0])
        at.add_(1)
        optimizer.zero_grad(set_to_none=True)
        _loss(model, *draw()).backward()
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()

    return step


def _loss(model: GPT, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    kind, on_gpu = x.device.type, x.device.type == "cuda"
    # No cache of casts: a graph that is replayed must cast the weights of each step anew.
    with torch.autocast(kind, torch.bfloat16, enabled=on_gpu, cache_enabled=False):
        return model(x, y)


def rate(step: int, steps: int, peak: float) -> float:
    """The learning rate of a step, from 0: `peak` at the end of the warm-up, then down."""
    climb = max(1, round(WARM_UP * steps))
    if step < climb:
        return peak * (step + 1) / climb
    way = (step + 1 - climb) / (steps - climb)  # 1 at the last step
    return peak * (LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * way)) / 2)


def moments(steps: int, many: int) -> list[int]:
    """After how many steps a model is scored: so often or less, evenly, the last at the end."""
    return sorted({max(1, round(steps * i / many)) for i in range(1, many + 1)})


def points(bins: Bins, steps: int, settings: dict, device: torch.device) -> int:
    """How often: on the CPU less, where scoring would take more than half of training's time."""
    if device.type == "cuda":
        return POINTS
    trained = steps * settings["batch_size"] * settings["block_size"]  # each costs three scored
    return max(1, min(POINTS, 3 * trained // (2 * bins.manifest["splits"]["validation"]["tokens"])))


@contextmanager
def deterministic() -> Iterator[None]:
    """PyTorch's deterministic algorithms, and afterwards what was set before."""
    before = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warned)
