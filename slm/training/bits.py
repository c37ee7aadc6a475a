"""How well does a model predict text? Bits per byte of a split, for any vocabulary.

In: a model that gives logits, and opened bins. Out: the sum of the cross entropies of all targets
in nats / ln 2 / the UTF-8 bytes of text of the targets. Rows are those of order "sequential": each
token but the first is a target once, and the model sees the tokens before it in its row. The bytes
of the first token do not count. The loss of end-of-text counts, and it has no bytes. Losses are
float32 and their sum is float64, so that the batch size hardly matters.

The bytes are those of the text. That the targets stand for as many is checked, and a tokenizer that
loses text is refused. Errors that cancel out in a table of your own are not seen.
"""

from collections.abc import Callable
from contextlib import closing
from math import log
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from slm.batching.batches import Batches
from slm.batching.tensors import NO_TARGET
from slm.bins.opening import Bins
from slm.core.errors import check

Model = Callable[[torch.Tensor], torch.Tensor | tuple]  # x, (b, T), to logits, (b, T, ≥ vocab_size)


class Scored(NamedTuple):
    """All targets of a split."""

    nats: float  # the sum of their cross entropies
    bytes: int  # of text, the sum of their token_bytes


def bits_per_byte(
    model: Model,
    bins: Bins,
    split: str,
    batch_size: int,  # rows
    block_size: int,  # tokens per row
    device: str | torch.device = "cpu",
    token_bytes: np.ndarray | None = None,  # a table of your own, as Bins.token_bytes
) -> float:
    """Returns the bits per byte of a split.

    `model(x)` gives logits, as a tensor or as the first of a tuple; its mode is left as it is.
    Raises UserError below block_size + 1 tokens, if there are fewer logits than ids, and if the
    bytes of the scored targets, by the table, are not those of the text.
    """
    batches = Batches(
        bins,
        split,
        batch_size=batch_size,
        block_size=block_size,
        seed=0,
        order="sequential",
        device=device,
    )
    _check_lossless(bins, split)
    table = _table(bins, token_bytes)
    with closing(batches):
        scored = _scored(model, batches, torch.from_numpy(table.astype(np.int64)).to(device))
    expected = scored_bytes(bins, split, table)
    check(
        scored.bytes == expected,
        f"the targets of {split} stand for {scored.bytes:,} bytes by this count, and their text "
        f"has {expected:,}: {_why(bins, token_bytes is not None)}",
    )
    return scored.nats / log(2) / expected


def scored_bytes(bins: Bins, split: str, table: np.ndarray) -> int:
    """Returns the UTF-8 bytes of text of a split's targets: all but those of the first token."""
    first = int(bins.ids(split)[0])
    return bins.manifest["splits"][split]["text_bytes"] - int(table[first])


def _table(bins: Bins, own: np.ndarray | None) -> np.ndarray:
    table, size = np.asarray(bins.token_bytes if own is None else own), bins.vocab_size
    check(
        table.shape == (size,) and np.issubdtype(table.dtype, np.integer),
        f"token_bytes has shape {table.shape} and dtype {table.dtype}, expected ({size},) integers",
    )
    return table


def _check_lossless(bins: Bins, split: str) -> None:
    counted = bins.manifest.get("lossy_documents", {})
    lossy = counted.get(split, sum(counted.values()))  # of a split that was held out: of all
    check(
        not lossy,
        f"{lossy:,} documents of {split} are not what their ids decode to: {_why(bins, False)}",
    )


def _why(bins: Bins, own: bool) -> str:
    name = bins.manifest["tokenizer"]["encoding"]
    if own:
        return "the table is wrong; take Bins.token_bytes"
    return (
        f"{name} adds, drops or changes text, or the text of a special token is in it, so bits per "
        "byte would be of another text"
    )


@torch.no_grad()
def _scored(model: Model, batches: Batches, table: torch.Tensor) -> Scored:
    nats = torch.zeros((), dtype=torch.float64, device=table.device)  # read once, at the end
    bytes_ = torch.zeros((), dtype=torch.int64, device=table.device)
    for x, y in batches:
        logits = _logits(model(x), x, len(table))
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(), y.flatten(), ignore_index=NO_TARGET, reduction="none"
        )
        nats += losses.double().sum()
        bytes_ += torch.where(y == NO_TARGET, 0, table[y.clamp(min=0)]).sum()
    return Scored(nats.item(), int(bytes_.item()))


def _logits(output: torch.Tensor | tuple, x: torch.Tensor, vocab_size: int) -> torch.Tensor:
    logits = output[0] if isinstance(output, tuple) else output
    fits = logits.ndim == 3 and logits.shape[:2] == x.shape and logits.shape[2] >= vocab_size
    check(
        fits,
        f"model(x) gave logits {tuple(logits.shape)}, expected ({x.shape[0]}, {x.shape[1]}, "
        f"{vocab_size} or more): every id can be a target, special tokens too",
    )
    return logits
