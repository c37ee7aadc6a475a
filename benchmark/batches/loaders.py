"""The ways to get a batch that are measured: each a call that gives the next x and y.

In: a Task, which says what batches of which bins on which device. Out: a Loader, whose `call` gives
(x, y), (batch_size, block_size) int64 each on the device, or on its way there on the current
stream; y is x shifted by one. The notebook's and the DataLoader's are what people write; the other
three are slm.batching, with the tokens on the host, on the device, and there inside a CUDA graph.
"""

import os
import shutil
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from slm.batching.batches import Batches
from slm.batching.gpu.prefetch import SLOTS, STEPS
from slm.bins.opening import open_bins
from slm.training.cuda import captured

GRAPHED = 200  # batches in one CUDA graph
WORKERS = 8  # at most, of the DataLoader
AHEAD = 2  # batches that a worker of the DataLoader prepares, as it does by default


class Task(NamedTuple):
    """Which batches, and where to."""

    bins: Path
    batch_size: int  # rows
    block_size: int  # tokens per row
    order: str
    seed: int
    device: torch.device

    @property
    def tokens(self) -> int:
        """Of a batch."""
        return self.batch_size * self.block_size


class Loader(NamedTuple):
    """A way to get batches; give `close` its turn when done."""

    call: Callable[[], tuple]  # the next x and y, or, where `batches` is more, the last of so many
    bus_bytes: int = 0  # that a batch moves to the GPU
    ahead: int = 0  # batches that may be ready because nobody asked for a while
    batches: int = 1  # a call
    one: Callable[[], tuple] | None = None  # a single batch, where a call has more
    close: Callable[[], None] = lambda: None


def notebook(task: Task) -> Loader:
    """The notebook's get_batch: the file mapped anew, a slice and a copy for each row, twice."""
    path, dtype = task.bins / "train.bin", open_bins(task.bins).manifest["dtype"]
    device, batch_size, block_size = task.device, task.batch_size, task.block_size

    def get_batch() -> tuple[torch.Tensor, torch.Tensor]:
        data = np.memmap(path, dtype=dtype, mode="r")
        ix = torch.randint(len(data) - block_size, (batch_size,))
        x = torch.stack([torch.from_numpy(data[i : i + block_size].astype(np.int64)) for i in ix])
        y = torch.stack(
            [torch.from_numpy(data[i + 1 : i + 1 + block_size].astype(np.int64)) for i in ix]
        )
        pinned = (part.pin_memory() if device.type == "cuda" else part for part in (x, y))
        return _moved(pinned, device)  # x is on its way while y is pinned

    return Loader(get_batch, _wide_bytes(task))


class Blocks(Dataset):
    """Block i is the tokens i·T … i·T + T: x without the last, y without the first."""

    def __init__(self, bins: Path, block_size: int) -> None:
        self._bins, self._size = bins, block_size
        self._ids: np.ndarray | None = None
        self._tokens = open_bins(bins).manifest["splits"]["train"]["tokens"]

    def __len__(self) -> int:
        return (self._tokens - 1) // self._size

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self._ids is None:  # in each worker: a map would be copied to one that is not forked
            self._ids = open_bins(self._bins).ids("train")
        block = self._ids[i * self._size : (i + 1) * self._size + 1].astype(np.int64)
        return torch.from_numpy(block[:-1]), torch.from_numpy(block[1:])


def dataloader(task: Task) -> Loader:
    """PyTorch's DataLoader with workers; RuntimeError where shared memory has no room for it."""
    workers = min(WORKERS, os.cpu_count() or 1)
    on_gpu, ahead = task.device.type == "cuda", workers * AHEAD
    _check_shared_memory((ahead + 2) * 16 * task.tokens)
    batches = _endless(
        DataLoader(
            Blocks(task.bins, task.block_size),
            task.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            prefetch_factor=AHEAD,
            pin_memory=on_gpu,
            persistent_workers=True,
        )
    )
    # The generator holds the only reference to the workers, so that closing it ends them.
    return Loader(
        lambda: _moved(next(batches), task.device), _wide_bytes(task), ahead, close=batches.close
    )


def _endless(loader: DataLoader | Batches) -> Generator[Sequence[torch.Tensor]]:
    while True:
        yield from loader


def _check_shared_memory(needed: int) -> None:
    """Workers that find none are killed by a signal, at any moment: so it is asked beforehand."""
    if Path("/dev/shm").is_dir() and (free := shutil.disk_usage("/dev/shm").free) < needed:  # noqa: S108
        raise RuntimeError(
            f"its workers need {needed / 1e6:,.0f} MB of shared memory; {free / 1e6:,.0f} are free"
        )


def _moved(parts: Iterable[torch.Tensor], device: torch.device) -> tuple:
    return tuple(part.to(device, non_blocking=True) for part in parts)


def _wide_bytes(task: Task) -> int:
    """x and y as int64."""
    return 16 * task.tokens if task.device.type == "cuda" else 0


def host(task: Task) -> Loader:
    """slm.batching with the tokens on the host: narrow ids of windows cross the bus."""
    batches = batches_of(task, placement="host")
    if task.device.type != "cuda":
        return Loader(_next_of(batches, task.order))
    ids = task.batch_size * (task.block_size + 1)
    narrow = ids * np.dtype(open_bins(task.bins).manifest["dtype"]).itemsize
    bus_bytes = _wide_bytes(task) if task.order == "packed" else narrow
    return Loader(_next_of(batches, task.order), bus_bytes, SLOTS * STEPS, close=batches.close)


def device(task: Task) -> Loader:
    """slm.batching with the tokens on the device, in fresh tensors each time."""
    return Loader(_next_of(batches_of(task, placement="device"), task.order))


def graph(task: Task) -> Loader:
    """The same in a CUDA graph: a call is a replay, which writes GRAPHED batches to one place."""
    return graph_of(batches_of(task, placement="device", reuse=True), task.device)


def graph_of(batches: Batches, device: torch.device) -> Loader:
    """A CUDA graph of batches that lie on the device, and are written into the same tensors."""
    place = batches.get_batch()

    def several() -> None:
        for _ in range(GRAPHED):
            batches.get_batch()

    steps = {"several": several, "one": batches.get_batch}
    with torch.cuda.stream(torch.cuda.Stream(device)):
        replays = captured(steps)
    torch.cuda.synchronize(device)
    calls = {name: lambda replay=replay: (replay(), place)[1] for name, replay in replays.items()}
    # The graphs read and write memory of `batches`, which the last function keeps.
    return Loader(calls["several"], batches=GRAPHED, one=calls["one"], close=batches.close)


def batches_of(task: Task, **options: Any) -> Batches:
    """slm.batching's batches of a task."""
    about = task._asdict()
    return Batches(about.pop("bins"), "train", **about, **options)


def _next_of(batches: Batches, order: str) -> Callable[[], tuple]:
    """Its get_batch; but "sequential" comes to an end, and is begun again."""
    return partial(next, _endless(batches)) if order == "sequential" else batches.get_batch


# The graph needs CUDA.
LOADERS = {way.__name__: way for way in (notebook, dataloader, host, device, graph)}
