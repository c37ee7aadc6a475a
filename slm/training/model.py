"""Which model is trained to compare loaders and vocabularies? One small GPT, in several sizes.

In: ids, (rows, tokens) int64. Out: logits, or with targets the mean cross entropy, in nats, of the
targets that are not -100. A transformer like GPT-2: norms before each part, learned positions, tied
embeddings, no bias, no dropout. A mask and positions of the caller's keep documents apart. Weights
are a function of seed, device and sizes; PyTorch's global random state is neither read nor changed.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from slm.batching.tensors import NO_TARGET

STD = 0.02  # of the first weights, as in GPT-2
RESIDUAL = ("gather.weight", "down.weight")  # added to the stream: smaller with depth


class Size(NamedTuple):
    """The size of a GPT; each head has width / heads numbers."""

    layers: int
    heads: int
    width: int


# Named by their parameters with GPT-2's vocabulary, embeddings included.
SIZES = {"8M": Size(8, 4, 128), "30M": Size(6, 6, 384), "124M": Size(12, 12, 768)}


class Parameters(NamedTuple):
    """Trained numbers, in the embeddings (ids and positions) and elsewhere."""

    embeddings: int
    others: int


class Block(nn.Module):
    """Attention, then a perceptron of 4 × width; each is added to the stream."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, width = size.heads, size.width
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.gather = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, h: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Maps (rows, tokens, width) to the same shape."""
        h = h + self.gather(self._attend(self.attention_norm(h), mask))
        return h + self.down(F.gelu(self.up(self.mlp_norm(h)), approximate="tanh"))

    def _attend(self, h: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        rows, tokens, _ = h.shape
        heads = self.query_key_value(h).view(rows, tokens, 3, self.heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None)
        return h.transpose(1, 2).reshape(rows, tokens, -1)


class GPT(nn.Module):
    """The model; `gpt` makes one with its first weights."""

    def __init__(self, size: Size, vocab_size: int, block_size: int) -> None:
        super().__init__()
        self.size = size
        self.ids = nn.Embedding(vocab_size, size.width)
        self.positions = nn.Embedding(block_size, size.width)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, bias=False)

    def forward(
        self,
        x: torch.Tensor,
        y: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Returns logits, (rows, tokens, vocab_size), or with `y`, (rows, tokens), the mean loss.

        Rows have at most block_size tokens. `mask`, (rows, 1, tokens, tokens) bool, says which
        tokens each one attends to, else those up to its own; `positions` is (rows, tokens) int64,
        else 0, 1 … in each row.
        """
        window = self.positions.weight[: x.shape[1]]
        h = self.ids(x) + (window if positions is None else self.positions(positions))
        for block in self.blocks:
            h = block(h, mask)
        logits = F.linear(self.norm(h), self.ids.weight)
        if y is None:
            return logits
        return F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=NO_TARGET)


def gpt(
    size: Size,
    vocab_size: int,  # rounded up to the next multiple of 64: matrix products are faster
    block_size: int,  # tokens per row, at most
    seed: int,
    device: str | torch.device = "cpu",
) -> GPT:
    """Returns a GPT in float32 with its first weights, the same for the same arguments."""
    with torch.device("meta"):  # else modules draw weights from the global random state
        model = GPT(size, -(-vocab_size // 64) * 64, block_size)
    model.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.ndim == 1:  # of a norm
            nn.init.ones_(weight)
        else:
            std = STD / (2 * size.layers) ** 0.5 if name.endswith(RESIDUAL) else STD
            nn.init.normal_(weight, std=std, generator=generator)
    return model


def parameters(model: GPT) -> Parameters:
    """Counts the parameters; the tied embedding of ids counts once."""
    embeddings = model.ids.weight.numel() + model.positions.weight.numel()
    return Parameters(embeddings, sum(w.numel() for w in model.parameters()) - embeddings)
