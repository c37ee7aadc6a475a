"""How is a model trained on rows of each kind, and how well does it predict then? One run.

In: bins, an arm, a seed, and a setting that all arms share: steps, learning rates, sizes. Out: bits
per byte of "validation" by two measures, and the time of a step. The seed gives weights and order.
`windows` is slm.training.bits.bits_per_byte: windows without masks, whatever the training was.
`documents` reads each document alone, in rows of "packed" with masks, whatever the training was.
"""

from collections.abc import Callable
from contextlib import closing
from math import log
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from benchmark.batches.timing import block
from slm.batching.batches import Batches
from slm.batching.orders.packing import packing
from slm.batching.tensors import NO_TARGET
from slm.bins.opening import Bins
from slm.training.bits import bits_per_byte
from slm.training.model import GPT, Size, gpt
from slm.training.trainer import rate, training_step

TIMED = 50  # steps between two looks at the clock, at most


class Arm(NamedTuple):
    """Rows of a kind."""

    order: str
    masked: bool  # attention stays within a document, whose positions begin at 0


ARMS = {
    "shuffled": Arm("shuffled", False),
    "packed": Arm("packed", False),
    "packed, masks": Arm("packed", True),
}


class Setting(NamedTuple):
    """What all arms share."""

    size: Size
    batch_size: int  # rows
    block_size: int  # tokens per row
    steps: int
    peak: float  # of the learning rate


class Models(NamedTuple):
    """One model, whose weights each run sets anew, so that all of an arm share a compilation."""

    plain: GPT
    step: torch.nn.Module  # on a GPU compiled


def models(bins: Bins, setting: Setting, device: torch.device) -> Models:
    """Returns the models of all runs."""
    plain = gpt(setting.size, bins.vocab_size, setting.block_size, 0, device)
    if device.type != "cuda":
        return Models(plain, plain)
    compiled: Any = torch.compile(plain, dynamic=False)
    return Models(plain, compiled)


def run(
    of: Models, bins: Bins, arm: Arm, seed: int, setting: Setting, device: torch.device
) -> dict[str, float]:
    """Returns `windows` and `documents` in bits per byte, and `ms`, the median time of a step."""
    first = gpt(setting.size, bins.vocab_size, setting.block_size, seed, device)
    of.plain.load_state_dict(first.state_dict())
    rates = [rate(step, setting.steps, setting.peak) for step in range(setting.steps)]
    options: dict[str, Any] = {"order": arm.order, "documents": arm.masked, "seed": seed}
    with closing(_batches(bins, "train", setting, device, **options)) as batches:
        draw = drawn(batches) if arm.masked else batches.get_batch
        step = training_step(of.step, draw, torch.tensor(rates, device=device))
        seconds = timed(step, setting.steps, device)
    shape = setting.batch_size, setting.block_size
    return {
        "windows": bits_per_byte(of.plain, bins, "validation", *shape, device),
        "documents": document_bits(of.plain, bins, setting, device),
        "ms": 1000 * seconds,
    }


def drawn(batches: Batches) -> Callable[[], tuple]:
    """Returns a function that gives x, y, mask and positions."""

    def draw() -> tuple:
        x, y, documents = batches.get_batch()
        return x, y, document_mask(documents.positions), documents.positions

    return draw


def document_mask(positions: torch.Tensor) -> torch.Tensor:
    """Returns which tokens each one attends to, (rows, 1, T, T) bool: those of its piece before it.

    `positions` are those of documents, (rows, T): so many tokens of the piece are before each.
    """
    at = torch.arange(positions.shape[1], device=positions.device)
    before = at[:, None] - at
    return ((before >= 0) & (before <= positions[:, :, None]))[:, None]


def timed(step: Callable[[], None], steps: int, device: torch.device) -> float:
    """Makes the steps; returns the median seconds of one, the first part left out: it compiles."""
    part = max(1, min(TIMED, steps // 3))
    parts = [min(part, steps - first) for first in range(0, steps, part)]
    seconds = [block(step, count, device) for count in parts]
    return median(seconds[1:] or seconds)


@torch.no_grad()
def document_bits(model: GPT, bins: Bins, setting: Setting, device: torch.device) -> float:
    """Returns the bits per byte of an epoch of "packed", each document by itself.

    The targets are all tokens but the first of each document, or of each piece of a long one.
    """
    table = torch.from_numpy(bins.token_bytes.copy()).to(device)
    left = packing(bins.docs("validation")[:, 0], setting.block_size).rows
    nats = torch.zeros((), dtype=torch.float64, device=device)
    text = torch.zeros((), dtype=torch.int64, device=device)
    with closing(_batches(bins, "validation", setting, device, order="packed",
                          documents=True, seed=0)) as batches:  # fmt: skip
        draw = drawn(batches)
        while left > 0:  # the last batch goes on with the next epoch
            x, y, mask, positions = (part[:left] for part in draw())
            logits, targets = model(x, None, mask, positions).flatten(0, 1).float(), y.flatten()
            nats += F.cross_entropy(logits, targets, ignore_index=NO_TARGET, reduction="sum")
            text += table[targets[targets != NO_TARGET]].sum()
            left -= len(x)
    return nats.item() / log(2) / text.item()


def _batches(
    bins: Bins, split: str, setting: Setting, device: torch.device, **options: Any
) -> Batches:
    options |= {"batch_size": setting.batch_size, "block_size": setting.block_size}
    return Batches(bins, split, device=device, **options)
