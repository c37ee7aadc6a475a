"""The orders and features that are measured, and the proof that each gives what the CPU gives.

In: data, a shape, and where batches lie. Out: Batches, or a Mixture of four sources, of order
"shuffled" or "packed", with documents (and the sources of rows) or without. The first of WAYS, x
and y alone of "shuffled", is what all others are held against.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmark.batches.batches import check_same
from benchmark.batches.synthetic import write_stories
from slm.batching.batches import Batches
from slm.batching.mixture import Mixture
from slm.batching.ranks import digest
from slm.bins.opening import Bins, open_bins
from slm.core.tables import say

SEED = 1337
WEIGHTS = (3, 1, 2, 4)
SHARES = (2, 3, 4, 5)  # of the documents, of 14: the sources of a mixture have different sizes
PROVEN = 40  # batches

Shape = tuple[int, int]  # rows, tokens per row


class Data(NamedTuple):
    """What rows are cut from."""

    one: Bins
    four: dict[str, Bins]


class Way(NamedTuple):
    """An order, and what is asked for besides."""

    order: str
    mixed: bool
    told: bool  # documents, and of a mixture sources

    @property
    def name(self) -> str:
        of = f"mixture, {self.order}" if self.mixed else self.order
        return of + (", documents" if self.told else "")


_EVERY = product((False, True), (False, True), ("shuffled", "packed"))
WAYS = [Way(order, mixed, told) for mixed, told, order in _EVERY]


@contextmanager
def synthetic_data(documents: int) -> Iterator[Data]:
    """Yields so many synthetic stories, and once more in four sources; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="slm-orders-") as name:
        say(f"twice {documents:,} synthetic stories")
        whole = [documents, *(max(1, documents * share // sum(SHARES)) for share in SHARES)]
        made = []
        for number, count in enumerate(whole):
            folder = Path(name, str(number))
            folder.mkdir()
            write_stories(folder, count, SEED + number)
            made.append(open_bins(folder))
        yield Data(made[0], {f"source {i}": bins for i, bins in enumerate(made[1:])})


def batches_of(way: Way, data: Data, shape: Shape, **options: Any) -> Batches:
    """Returns the batches of a way; `options` are those of Batches."""
    options |= {"batch_size": shape[0], "block_size": shape[1], "order": way.order, "seed": SEED}
    options["documents"] = way.told
    if not way.mixed:
        return Batches(data.one, "train", **options)
    weights = dict(zip(data.four, WEIGHTS, strict=True))
    return Mixture(data.four, "train", weights=weights, sources=way.told, **options)


def prove(name: str, batches: Batches, cpu: Batches) -> str:
    """Returns the digest of the first batches; AssertionError where one is not the CPU's."""
    digests = {f"{name} on the CPU": digest(cpu, PROVEN), name: digest(batches, PROVEN)}
    check_same(digests)
    for of in (batches, cpu):
        of.step = 0
    for step in range(PROVEN):
        check_equal(f"{name}, step {step}", batches.get_batch(), cpu.get_batch())
    batches.step = 0
    return digests[name]


def check_equal(name: str, batch: tuple, wanted: tuple) -> None:
    """AssertionError unless all tensors of two batches are the same, documents and sources too."""
    pairs = zip(_tensors(batch), _tensors(wanted), strict=True)
    if not all(torch.equal(one.cpu(), other) for one, other in pairs):
        raise AssertionError(f"{name}: documents or sources are not those of the CPU")


def _tensors(batch: tuple) -> list[torch.Tensor]:
    """Returns x, y, those of documents, and sources."""
    parts = (item if isinstance(item, tuple) else (item,) for item in batch)
    return [tensor for part in parts for tensor in part]
