"""How is a model trained on the ids that occur, of a vocabulary of which most do not?

In: ids of the whole vocabulary. Out: a model over all of them that spends its time on those that
occur in the train split: each has a class of its own, and the others share one, whose probability
they share evenly. So logits are a distribution over the whole vocabulary, and a loss or bits per
byte mean what they mean for any model. Of GPT-2's 50,257 ids the sample has 3,806: a step on a CPU
takes a sixth of the time, since most of it goes into logits.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from slm.batching.tensors import NO_TARGET
from slm.bins.opening import Bins
from slm.training.model import GPT, Size, gpt

PIECE = 1 << 24  # ids that are counted at a time


class Occurring(nn.Module):
    """A GPT over classes; `classes`, (vocab_size,) int64, has that of each id."""

    classes: torch.Tensor

    def __init__(self, model: GPT, classes: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("classes", classes)
        last = classes == classes.max()
        self.share = last * math.log(last.sum().item())

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """Returns logits, (rows, tokens, vocab_size), or with `y` the mean loss, as a GPT does.

        The loss is that of the classes: targets of a train split have classes of their own.
        """
        if y is not None:
            own = torch.where(y == NO_TARGET, NO_TARGET, self.classes[y.clamp(min=0)])
            return self.model(self.classes[x], own)
        return self.model(self.classes[x])[..., self.classes] - self.share


def classes_of(bins: Iterable[Bins], vocab_size: int) -> torch.Tensor:
    """Returns the class of each id, (vocab_size,) int64: those that occur in "train", in order."""
    occurs = np.zeros(vocab_size, bool)
    for one in bins:
        ids = one.ids("train")
        for start in range(0, len(ids), PIECE):
            occurs[np.asarray(ids[start : start + PIECE])] = True
    return torch.from_numpy(np.where(occurs, np.cumsum(occurs) - 1, occurs.sum()))


def model_of(
    classes: torch.Tensor,
    size: Size,
    block_size: int,
    seed: int,
    device: str | torch.device = "cpu",
) -> Occurring:
    """Returns the model with its first weights, the same for the same arguments."""
    made = gpt(size, int(classes.max()) + 1, block_size, seed, device)
    return Occurring(made, classes.to(device))
