"""How well does a model predict text? Bits a byte over a whole split, whatever the vocabulary.

In: a model that gives logits, and opened bins. Out: the cross entropy of every target in nats,
added up, over ln 2, over the bytes of UTF-8 text that the targets stand for. Rows are those of
order "sequential": each token but the first is a target once, and the model sees the tokens before
it in its row, block_size at most, and one at the row's start. The first token, which is no target,
takes its bytes out of the count. End-of-text has a loss, which counts, and no bytes. A target's
loss is a float32 and their sum a float64, so that the size of a batch is hardly seen.
"""

from collections.abc import Callable
from math import log

import torch
import torch.nn.functional as F

from slm.batching.batches import Batches
from slm.batching.gather import NO_TARGET
from slm.bins.opening import Bins


def bits_per_byte(
    model: Callable[[torch.Tensor], torch.Tensor],  # x, (rows, tokens), to their logits
    bins: Bins,
    split: str,
    batch_size: int,  # rows
    block_size: int,  # tokens per row
    device: str | torch.device = "cpu",
) -> float:
    """Bits a byte of a split; raises UserError where it has not block_size + 1 tokens."""
    shape = {"batch_size": batch_size, "block_size": block_size}
    batches = Batches(bins, split, **shape, seed=0, order="sequential", device=device)
    try:
        return nats(model, batches, device) / log(2) / scored_bytes(bins, split)
    finally:
        batches.close()


@torch.no_grad()
def nats(model: Callable, batches: Batches, device: str | torch.device) -> float:
    """The cross entropy of every target of `batches`, in nats, added up."""
    total = torch.zeros((), dtype=torch.float64, device=device)  # read once: nothing waits before
    for x, y in batches:
        logits = model(x).flatten(0, 1)
        losses = F.cross_entropy(logits, y.flatten(), ignore_index=NO_TARGET, reduction="none")
        total += losses.double().sum()
    return total.item()


def scored_bytes(bins: Bins, split: str) -> int:
    """UTF-8 bytes of text that the targets of a split stand for: all but the first token's."""
    text_bytes = bins.docs(split)[[0, -1], 1].tolist()
    return text_bytes[1] - text_bytes[0] - _bytes_of(bins, int(bins.ids(split)[0]))


def _bytes_of(bins: Bins, token: int) -> int:
    vocabulary = bins.manifest["tokenizer"]
    if token == vocabulary["end_of_text"]:
        return 0
    from slm.tokens.vocabulary import load_described  # which needs tiktoken

    return len(load_described(vocabulary, bins.folder).decode_single_token_bytes(token))
