"""How is a model trained on bins, with the same bits each time?

In: opened bins, a seed, a number of steps, and params.yaml's `training`. Out: bits per byte of the
validation split at a few moments, the last at the end. The seed gives the weights and the order of
the batches, "shuffled". AdamW with clipped gradients; the learning rate rises for a twentieth of
the steps and falls along a cosine to a tenth.

The same arguments on the same device (on the CPU with as many threads) give the same result:
PyTorch's algorithms are deterministic, nothing is compiled, and no global random state is read or
changed. On the CPU all is float32. On a GPU it is bfloat16 by autocast, and the step is replayed
from one CUDA graph, or runs eagerly if that fails; scores are float32.
"""

import importlib.util
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch

from slm.batching.batches import Batches
from slm.bins.opening import Bins
from slm.core.errors import UserError
from slm.training.bits import bits_per_byte
from slm.training.cuda import captured, reason, synchronise
from slm.training.model import GPT, Parameters, Size, gpt, parameters

POINTS = 10  # of a curve, at most
WARM_UP, LOWEST = 0.05, 0.1  # share of the steps in which the rate rises; what it falls to
BETAS, DECAY, CLIP = (0.9, 0.95), 0.1, 1.0  # matrices decay, norms do not
WORTH_A_GRAPH = 100  # steps


class Fitted(NamedTuple):
    """The result of one training."""

    curve: list[list]  # of [step, seconds of training until then, bits per byte]
    parameters: Parameters
    graph: bool  # whether the step was replayed from a CUDA graph
    failed: str | None  # the reason if a graph failed


class Begun(NamedTuple):
    """A training that has begun."""

    model: GPT
    batches: Batches
    step: Callable[[], None]
    done: int  # steps
    alive: object  # tensors of the CUDA graph, which does not keep them


def fit(bins: Bins, seed: int, steps: int, settings: dict, device: torch.device) -> Fitted:
    """Trains one model on "train" and scores it on "validation"; `settings` is `training`.

    The seconds exclude scoring, and on a GPU the first three steps and their capture. Raises
    UserError if the loss is not finite.
    """
    on_gpu, failed = device.type == "cuda", None
    begin = partial(_begin, bins, seed, steps, settings, device)
    # One stream for all of it: autograd's tensors of another would break the capture.
    with deterministic(), torch.cuda.stream(torch.cuda.Stream(device) if on_gpu else None):
        graph = on_gpu and steps >= WORTH_A_GRAPH
        begun, failed = _graphed(begin) if graph else (begin(), None)
        curve = _curve(begun, bins, seed, steps, settings, device)
    return Fitted(curve, parameters(begun.model), graph and not failed, failed)


def _graphed(begin: Callable[..., Begun]) -> tuple[Begun, str | None]:
    """Returns a training that replays a CUDA graph; if that fails one without, and the reason."""
    try:
        return begin(graph=True), None
    except RuntimeError as error:  # of the captured step, or of the end of the capture
        failed = reason(error.__context__ or error)
    return begin(), failed  # from the start: the failed one may have made steps


def _begin(
    bins: Bins, seed: int, steps: int, settings: dict, device: torch.device, graph: bool = False
) -> Begun:
    size, block_size = Size(*settings["model"]), settings["block_size"]
    model = gpt(size, bins.manifest["tokenizer"]["vocab_size"], block_size, seed, device)
    options: dict[str, Any] = {"device": device, "placement": "device", "reuse": True}
    options |= {"batch_size": settings["batch_size"], "block_size": block_size, "seed": seed}
    batches = Batches(bins, "train", order="shuffled", **options)
    rates = [rate(step, steps, settings["learning_rate"]) for step in range(steps)]
    step = training_step(model, batches.get_batch, torch.tensor(rates, device=device))
    alive = step
    if graph:
        if not importlib.util.find_spec("triton"):
            raise RuntimeError("without Triton the host draws the batches")
        step = captured({"step": step})["step"]  # after three steps, which count
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
            raise UserError(
                f"{bins.folder}: with seed {seed} the loss is not finite; choose a smaller "
                "training.learning_rate"
            )
        curve.append([moment, seconds, bits])
    assert begun.batches.step == steps  # else a replay drew no new batch
    return curve


def training_step(
    model: torch.nn.Module, draw: Callable, rates: torch.Tensor
) -> Callable[[], None]:
    """Returns a function that makes the next step on the batch from `draw`, what `model` takes.

    `rates` are the learning rates, (steps,) float32; they and their counter are on the device, so
    that each replay of a CUDA graph takes the next one.
    """
    count, now = torch.zeros(1, dtype=torch.int64, device=rates.device), rates[0].clone()
    weights = list(model.parameters())
    optimizer = adamw(model, now, capturable=rates.device.type == "cuda")

    def step() -> None:
        now.copy_(rates[count][0])
        count.add_(1)
        optimizer.zero_grad(set_to_none=True)
        _loss(model, draw()).backward()
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()

    return step


def adamw(model: torch.nn.Module, rate: float | torch.Tensor, **options: bool) -> torch.optim.AdamW:
    """Returns the optimizer of all weights, at this learning rate: matrices decay, norms do not."""
    weights = list(model.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": DECAY},
        {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, fused=True, **options)


def _loss(model: Callable, batch: tuple) -> torch.Tensor:
    kind = batch[0].device.type
    on_gpu = kind == "cuda"
    # No cache of casts: each replay of a graph must cast the current weights.
    with torch.autocast(kind, torch.bfloat16, enabled=on_gpu, cache_enabled=False):
        return model(*batch)


def rate(step: int, steps: int, peak: float) -> float:
    """Returns the learning rate of a step, from 0: `peak` at the end of the warm-up, then less."""
    warm_up = max(1, round(WARM_UP * steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step + 1 - warm_up) / (steps - warm_up)  # 1 at the last step
    return peak * (LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * progress)) / 2)


def moments(steps: int, most: int) -> list[int]:
    """Returns after which steps a model is scored: at most `most`, evenly, the last at the end."""
    return sorted({max(1, round(steps * i / most)) for i in range(1, most + 1)})


def points(bins: Bins, steps: int, settings: dict, device: torch.device) -> int:
    """Returns how often a model is scored; on the CPU in at most half of the training's time."""
    if device.type == "cuda":
        return POINTS
    # One token that is trained on costs as much as three that are scored.
    trained = steps * settings["batch_size"] * settings["block_size"]
    return max(1, min(POINTS, 3 * trained // (2 * bins.manifest["splits"]["validation"]["tokens"])))


@contextmanager
def deterministic() -> Iterator[None]:
    """Turns PyTorch's deterministic algorithms on in the block, and restores the setting."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
