"""How do batches reach the device? Exact, the same everywhere, and resumed where they stopped.

    train = Batches("data/sample/bins", "train", batch_size=64, block_size=256, seed=1337)
    x, y = train.get_batch()  # (64, 256) int64 each, on the device; y is x shifted by one

Batch(step) is a pure function of (data, seed, order, step, batch_size, block_size, rank,
world_size), which slm.batching.sampling states; neither NumPy's nor PyTorch's global random state is read or
changed. The union over ranks is that of one rank with the whole global batch, and every device and
placement gives the same numbers. Past the end of "sequential" x is 0 and y is -100.

Tensors are fresh at each call unless `reuse` is asked for: then each call writes into the same x
and y. What `documents` adds is always fresh. With `reuse`, placement "device" and Triton, get_batch
may be captured in a CUDA graph: each replay writes the next batch, and the state follows.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from slm.batching.gather import Rows
from slm.batching.placement import device_of, place, source
from slm.batching.sampling import check_steps, length, plan
from slm.batching.segments import Segments
from slm.bins.opening import Bins, open_bins
from slm.bins.verifying import check_bytes
from slm.core.errors import check


class Batches(IterableDataset):
    """Batches of one rank; `step` is the next one, `placement` where the tokens lie.

    Placements are those of slm.batching.placement; `verify` reads every byte of the bins first, and
    `documents` adds a third item, slm.batching.segments.Documents.

    In a DataLoader (batch_size=None) the batches and their order are those without it: worker w of
    W makes steps w, w + W, … In a worker, state_dict() counts what the worker's turns have passed;
    with workers of a plain DataLoader the object in the main process does not move: set its `step`.
    """

    def __init__(
        self,
        bins: str | Path | Bins,
        split: str,
        *,
        batch_size: int,  # rows per rank
        block_size: int,  # tokens per row
        seed: int,
        order: str = "shuffled",
        rank: int = 0,
        world_size: int = 1,
        device: str | torch.device = "cpu",
        placement: str = "auto",
        documents: bool = False,
        reuse: bool = False,
        verify: bool = False,
    ) -> None:
        self._arguments = {key: value for key, value in locals().items() if key != "self"}
        bins = bins if isinstance(bins, Bins) else open_bins(bins)
        splits = bins.manifest["splits"]
        check(split in splits, f"split is {split!r}; {bins.folder} has {', '.join(splits)}")
        if verify:
            check_bytes(bins.folder)
        check_steps(0, 1, batch_size, rank, world_size)
        ids = bins.ids(split)
        self._plan = plan(order, seed, len(ids), block_size)
        self._rows = Rows(self._plan, batch_size, rank, world_size)
        self._device = device_of(device)
        self.placement = place(placement, self._device, ids.nbytes)
        self._source = source(ids, self._rows, self._device, self.placement, reuse)
        docs = bins.docs(split) if documents else None
        self._segments = Segments(docs, self._plan, self._device) if documents else None
        self._about = {
            "seed": seed,
            "order": order,
            "block_size": block_size,
            "global_batch": self._rows.wide,
            "split": split,
            "data": bins.manifest["sha256"],
        }

    def get_batch(self) -> tuple:
        """x and y, and with `documents` those; StopIteration at the end of "sequential"."""
        if self._plan.order == "sequential" and not self._capturing() and self._at_end():
            raise StopIteration
        x, y, starts = self._source.batch()
        if self._segments is None:
            return x, y
        return x, y, self._segments.of(starts.to(self._device))

    def __iter__(self) -> Iterator[tuple]:
        """From the next step on; "sequential" at its end begins again."""
        if self._plan.order == "sequential" and self._at_end():
            self.step = 0
        worker = get_worker_info()
        if worker is None:
            yield from iter(self.get_batch, None)  # its StopIteration is the end
        else:
            check(self._device.type == "cpu", "in a DataLoader's workers device must be 'cpu'")
            yield from self._turns(worker.id, worker.num_workers)

    def _turns(self, worker: int, workers: int) -> Iterator[tuple]:
        for begin in count(self.step, workers):
            self.step = begin + worker
            try:
                batch = self.get_batch()
            except StopIteration:
                return
            self.step = begin + workers
            yield batch

    def __len__(self) -> int:
        """Batches of "sequential"; the other orders have no end."""
        if self._plan.order != "sequential":
            raise TypeError(f"order {self._plan.order!r} has no end, and so no length")
        return length(self._plan, self._rows.batch_size, self._rows.world_size)

    @property
    def step(self) -> int:
        """The step of the next batch."""
        return self._source.step

    @step.setter
    def step(self, step: int) -> None:
        check_steps(step, 1, self._rows.batch_size, self._rows.rank, self._rows.world_size)
        self._source.step = step

    def state_dict(self) -> dict:
        """What resumes here: rows drawn so far by all ranks, and what they were drawn from."""
        return {"rows": self.step * self._rows.wide, **self._about}

    def load_state_dict(self, state: dict) -> None:
        """Go on with the next batch after `state`; the number of ranks may be another."""
        for key, here in self._about.items():
            there = state.get(key)
            check(there == here, f"the state has {key} {there!r} and these batches have {here!r}")
        check("rows" in state, "the state has no rows; it is not one of these batches'")
        self.step = state["rows"] // self._rows.wide

    def close(self) -> None:
        """End the thread of placement "host"; the next batch would start another."""
        self._source.close()

    def _at_end(self) -> bool:
        return self.step >= len(self)

    def _capturing(self) -> bool:
        return self._device.type == "cuda" and torch.cuda.is_current_stream_capturing()

    def __reduce__(self) -> tuple:
        return _again, (self._arguments, self.state_dict())


def distributed() -> tuple[int, int]:
    """(rank, world_size) of torch.distributed, (0, 1) where it is not initialised."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def digest(batches: Iterable[tuple], steps: int) -> str:
    """SHA-256 over the next `steps` of these batches, x then y, as little-endian int64.

    For global batches `batches` is of one rank, or the `union` of all.
    """
    found = hashlib.sha256()
    for x, y, *_ in islice(batches, steps):
        found.update(np.ascontiguousarray(x.cpu().numpy(), "<i8"))
        found.update(np.ascontiguousarray(y.cpu().numpy(), "<i8"))
    return found.hexdigest()


def union(ranks: Iterable[Iterable[tuple]]) -> Iterator[tuple]:
    """Global x and y, of what yields the batches of each rank, in order of rank."""
    for parts in zip(*ranks, strict=True):
        x, y, *_ = zip(*parts, strict=True)
        yield torch.cat(x), torch.cat(y)


def _again(arguments: dict, state: dict) -> Batches:
    """What another process has of pickled Batches: opened anew, at the same step."""
    batches = Batches(**arguments)
    batches.load_state_dict(state)
    return batches
