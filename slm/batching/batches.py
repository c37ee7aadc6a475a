"""How do batches reach the device? Deterministic, distributed, stateful.

    train = Batches("data/sample/bins", "train", batch_size=64, block_size=256, seed=1337)
    x, y = train.get_batch()  # (64, 256) int64 each, on the device; y is x shifted by one

Batch(step) is a pure function of (data, seed, order, step, batch_size, block_size, rank,
world_size), given in slm.batching.sampling; no global random state is read or changed. The union
over ranks is the batch of one rank with the same global batch, and every device and placement gives
the same numbers. Past the end of "sequential", and in the padding of "packed", x is 0 and y -100.

Each call returns fresh tensors; with `reuse` it writes into the same ones. With `reuse`, placement
"device" and Triton, a CUDA graph may capture get_batch: each replay writes the next batch, and the
state follows.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Lock
from typing import NoReturn

import torch
from torch.utils.data import IterableDataset, get_worker_info

from slm.batching.loops import (
    Items,
    check_state,
    end,
    outside_of_the_graph,
    refuse_to_prepare,
    restored,
    steps_done,
)
from slm.batching.opening import opened, split_of
from slm.batching.orders.rows import Rows
from slm.batching.placement import device_of, placement_for, source
from slm.batching.sampling import VERSION, integers
from slm.bins.opening import Bins
from slm.core.errors import check
from slm.core.formats import State


class Batches(IterableDataset):
    """Batches of one rank; `step` is the next one, `placement` is "host" or "device".

    Rows are drawn from `split` in `order`, one of slm.batching.sampling.ORDERS, as `seed` says,
    for rank `rank` of `world_size`. `placement` is one of slm.batching.placement; `verify` reads
    every byte of the bins first; `documents` adds a third item, slm.batching.documents.Documents.
    `steps` ends iteration at that step and is the length; it is no part of the state, so that a run
    can be made longer. Raises UserError, a ValueError, if an argument is wrong or bins are refused.

    A DataLoader (batch_size=None) gives the same batches in the same order: worker w of W makes
    steps w, w + W, … In a worker, state_dict() counts the steps that its turns have passed. Workers
    of a plain DataLoader do not move the object in the main process: set its `step`.
    """

    _in_turns = False  # whether a DataLoader's worker is amid them

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
        steps: int | None = None,
    ) -> None:
        self._arguments = {key: value for key, value in locals().items() if key != "self"}
        made = opened(bins, split, verify)
        self._name = f"{split!r} of {getattr(bins, 'folder', bins)}"
        self._arguments["bins"] = bins = made
        _, _, batch_size, rank, world_size = integers(0, 1, batch_size, rank, world_size)
        part = split_of(bins, split, order, seed, block_size, documents)
        rows = Rows([part], batch_size, rank, world_size, documents=documents)
        self._begin(rows, steps, bins.manifest["sha256"])

    def _begin(self, rows: Rows, steps: int | None, data: object) -> None:
        """Sets the first step of these rows, and what a state says of them."""
        plan, asked, tokens = rows.splits[0].plan, self._arguments, rows.batch_size * rows.size
        check(tokens < 2**31, f"a batch of {tokens:,} tokens is too large; choose less than 2^31")
        self._rows, self._lock, self._end = rows, Lock(), end(steps, plan, rows.per_step)
        self._state: State = {
            "rows": 0,
            "sampling": VERSION,
            "seed": plan.seed,
            "order": str(plan.order),
            "block_size": rows.size,
            "global_batch": rows.per_step,
            "split": str(asked["split"]),
            "data": data,
        }
        self._device = device_of(asked["device"])
        needed = sum(each.ids.nbytes for each in rows.splits)
        self.placement = placement_for(asked["placement"], self._device, needed)
        self._source = source(rows, self._device, self.placement, asked["reuse"])

    def get_batch(self) -> tuple:
        """Returns x and y, (batch_size, block_size) int64, and Documents if asked for.

        Raises StopIteration at the end, of `steps` or of "sequential".
        """
        if torch.compiler.is_dynamo_compiling():
            return outside_of_the_graph(self)
        with self._lock:  # threads may share it
            if self._at_end():
                raise StopIteration
            return self._source.batch().items()

    def __iter__(self) -> Iterator[tuple]:
        """Yields from the next step to the end; at the end it begins again."""
        if self._at_end():
            self.step = 0
        worker = get_worker_info()
        if worker is None:
            yield from map(Items, iter(self.get_batch, None))  # until StopIteration
        else:
            check(self._device.type == "cpu", "in a DataLoader's workers device must be 'cpu'")
            left = "a DataLoader's loop was left before its end, and its workers would skip batches"
            check(not self._in_turns, f"{left}; pass persistent_workers=False")
            yield from self._turns(worker.id, worker.num_workers)

    def _turns(self, worker: int, workers: int) -> Iterator[tuple]:
        self._in_turns = True
        for begin in count(self.step, workers):
            self.step = begin + worker
            try:
                batch = self.get_batch()
            except StopIteration:
                self._in_turns = False
                return
            self.step = begin + workers
            yield Items(batch)

    def __len__(self) -> int:
        """`steps`, or the batches of "sequential"; raises TypeError where there is no end."""
        if self._end is None:
            raise TypeError(f"order {self._rows.order!r} has no end, and so no length; pass steps=")
        return self._end

    def __repr__(self) -> str:
        """What these are, on one line."""
        rows, of = self._rows, "" if self._end is None else f" of {self._end}"
        size = f"{rows.batch_size} x {rows.size}, seed {self._state['seed']}"
        rank = f"rank {rows.rank} of {rows.world_size}, on {self._device} ({self.placement})"
        what, step = f"{type(self).__name__}({self._name}, {rows.order}", f"step {self.step}{of})"
        return f"{what}, {size}, {rank}, {step}"

    def set_epoch(self, epoch: int) -> NoReturn:
        """Raises UserError: accelerate calls it; an epoch follows from the step."""
        refuse_to_prepare()

    @property
    def step(self) -> int:
        """The step of the next batch."""
        return self._source.step

    @step.setter
    def step(self, step: int) -> None:
        step, *_ = integers(step, 1, self._rows.per_step, 0, 1)
        with self._lock:
            self._source.step = step

    def state_dict(self) -> State:
        """Returns the state from which `load_state_dict` resumes with the next batch."""
        return {**self._state, "rows": self.step * self._rows.per_step}

    def load_state_dict(self, state: State) -> None:
        """Resumes after `state`, also with another number of ranks.

        Raises UserError, with both values, if the state is of other data, other arguments or
        another slm.batching.sampling.VERSION.
        """
        self._check(state)
        self.step = steps_done(state, self._rows.per_step)

    def _check(self, state: State) -> None:
        check_state(self._state, state)

    def close(self) -> None:
        """Ends the thread of placement "host"; the next batch starts another."""
        self._source.close()

    def _at_end(self) -> bool:
        return self._end is not None and not self._capturing() and self.step >= self._end

    def _capturing(self) -> bool:
        """Whether a CUDA graph is being captured, which cannot read the step."""
        return self._device.type == "cuda" and torch.cuda.is_current_stream_capturing()

    def __reduce__(self) -> tuple:
        return restored, (type(self), self._arguments, self.state_dict())
