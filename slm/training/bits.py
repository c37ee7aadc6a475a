"""How well does a model predict text? Bits per byte of a split, for any vocabulary.

In: a model that gives logits, and opened bins. Out: the sum of the cross entropies of all targets
in nats / ln 2 / the UTF-8 bytes of text of the targets. Rows are those of order "sequential": each
token but the first is a target once, and the model sees the tokens before it in its row. The bytes
of the first token do not count. The loss of end-of-text counts, and it has no bytes. Losses are
float32 and their sum is float64, so that the batch size hardly matters.
"""

from collections.abc import Callable
from contextlib import closing
from math import log

import torch
import torch.nn.functional as F

from slm.batching.batches import Batches
from slm.batching.gather import NO_TARGET
from slm.bins.opening import Bins


def bits_per_byte(
    model: Callable[[torch.Tensor], torch.Tensor],  # x, (rows, tokens), to logits
    bins: Bins,
    split: str,
    batch_size: int,  # rows
    block_size: int,  # tokens per row
    device: str | torch.device = "cpu",
) -> float:
    """Returns the bits per byte of a split; raises UserError below block_size + 1 tokens."""
    batches = Batches(
        bins,
        split,
        batch_size=batch_size,
        block_size=block_size,
        seed=0,
        order="sequential",
        device=device,
    )
    with closing(batches):
        return nats(model, batches, device) / log(2) / scored_bytes(bins, split)


@torch.no_grad()
def nats(model: Callable, batches: Batches, device: str | torch.device) -> float:
    """Returns the sum of the cross entropies of all targets of `batches`, in nats."""
    total = torch.zeros((), dtype=torch.float64, device=device)  # read once, at the end
    for x, y in batches:
        logits = model(x).flatten(0, 1)
        losses = F.cross_entropy(logits, y.flatten(), ignore_index=NO_TARGET, reduction="none")
        total += losses.double().sum()
    return total.item()


def scored_bytes(bins: Bins, split: str) -> int:
    """Returns the UTF-8 bytes of text of a split's targets: all but those of the first token."""
    text_bytes, first = bins.manifest["splits"][split]["text_bytes"], int(bins.ids(split)[0])
    vocabulary = bins.manifest["tokenizer"]
    if first == vocabulary["end_of_text"]:
        return text_bytes
    from slm.tokens.vocabulary import load_described  # needs tiktoken

    encoding = load_described(vocabulary, bins.folder)
    return text_bytes - len(encoding.decode_single_token_bytes(first))
