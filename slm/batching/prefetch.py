"""How do batches come from the host while the device computes? A thread prefetches them.

A slot is a pinned buffer of some steps, a buffer on the device and two events. The thread gathers
the narrow ids of those steps into the pinned buffer and copies them on its own stream (2 bytes per
token over the bus, not 16); `batch` widens a step into x and y on the caller's stream. A pinned
buffer is refilled only after its copy has ended (the thread waits for `copied`), a buffer on the
device only after all of it was widened (the stream waits for `used`). `close`, and the end of the
object or of the program, end the thread; `batch` raises an error of the thread.
"""

import weakref
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
import torch

from slm.batching.gather import Rows, Source, mark_end, take, windows

SLOTS = 4
STEPS, IDS = 32, 2**20  # at most per slot, but always one step


class Slot:
    """The buffers of some steps, on the host and on the device."""

    def __init__(self, steps: int, rows: Rows, kind: torch.dtype, device: torch.device) -> None:
        batch_size, size = rows.batch_size, rows.plan.block_size
        self.pinned = torch.empty(
            (steps * batch_size, size + 1), dtype=kind, device="cpu", pin_memory=True
        )
        self.ids = torch.empty(self.pinned.shape, dtype=kind, device=device)
        shape, strides = (2, batch_size, size), (1, size + 1, 1)  # x and y, one token apart
        step = batch_size * (size + 1)
        self.pairs = [self.ids.as_strided(shape, strides, i * step) for i in range(steps)]
        self.copied, self.used = torch.cuda.Event(), torch.cuda.Event()
        self.starts = np.zeros((steps, batch_size), np.int64)

    def fill(self, view: np.ndarray, rows: Rows, step: int) -> None:
        self.starts = np.stack([rows.starts(step + i) for i in range(len(self.pairs))])
        self.pinned.numpy()[...] = take(view, self.starts.ravel())


class Prefetcher(Source):
    """x and y on a CUDA device, from ids on the host."""

    def __init__(self, ids: np.ndarray, rows: Rows, reuse: bool, device: torch.device) -> None:
        self.rows, self._device = rows, device
        self._view = windows(ids, rows.plan.block_size)
        self._kind = torch.uint16 if ids.itemsize == 2 else torch.uint32
        self._shape = (2, rows.batch_size, rows.plan.block_size)
        self._out = self._empty() if reuse else None
        self._steps = max(1, min(STEPS, IDS // (rows.batch_size * (rows.plan.block_size + 1))))
        self._stream, self._caller = torch.cuda.Stream(device), torch.cuda.current_stream(device)
        self._end: Callable[[], object] | None = None  # ends the thread, if there is one
        self._next, self._left = 0, 0  # the step of the next batch, and how many the slot has left
        self._slot: Any = None  # or the error that the thread has raised

    def close(self) -> None:
        """Ends the thread; the next `batch` starts another, at the same step."""
        if self._end:
            self._end()
        self._end = None

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.step != self._next:  # it was set
            self.close()
        if not self._end:
            self._begin()
        if not self._left:
            self._slot, self._left = self._ready.get(), self._steps
        if isinstance(self._slot, BaseException):
            raise self._slot
        number, slot = self._steps - self._left, self._slot
        out = self._empty() if self._out is None else self._out
        stream = torch.cuda.current_stream(self._device)
        if stream != self._caller:
            stream.wait_stream(self._caller)  # so that `used` covers all steps of the slot
            self._caller = stream
        if not number:
            stream.wait_event(slot.copied)
        out.copy_(slot.pairs[number])
        starts = torch.from_numpy(slot.starts[number])
        x, y = out[0], out[1]
        if slot.starts[number][-1] >= len(self._view):
            mark_end(self.rows.plan, starts.to(self._device), x, y)
        self.step = self._next = self.step + 1
        self._left -= 1
        if not self._left:
            slot.used.record(stream)
            self._free.put(slot)
        return x, y, starts

    def _empty(self) -> torch.Tensor:
        return torch.empty(self._shape, dtype=torch.int64, device=self._device)

    def _begin(self) -> None:
        self._free: SimpleQueue = SimpleQueue()
        self._ready: SimpleQueue = SimpleQueue()
        self._left = 0
        slots = [Slot(self._steps, self.rows, self._kind, self._device) for _ in range(SLOTS)]
        for slot in slots:
            self._free.put(slot)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        # The thread has its own Rows; a reference to `self` would keep it alive.
        plan, size = self.rows.plan, self.rows.batch_size
        rows = Rows(plan, size, self.rows.rank, self.rows.world_size)
        job = self._view, rows, self.step, self._stream, self._free, self._ready
        thread = Thread(target=_work, args=job, daemon=True, name="slm.batching.prefetch")
        self._end = weakref.finalize(self, _end, thread, self._free, slots)
        thread.start()


def _work(view, rows: Rows, step: int, stream, free: SimpleQueue, ready: SimpleQueue) -> None:
    try:
        with torch.cuda.stream(stream):
            while slot := free.get():
                _until_copied(slot)
                slot.fill(view, rows, step)
                _copy(slot, stream)
                ready.put(slot)
                step += len(slot.pairs)
    except BaseException as error:
        ready.put(error)


def _until_copied(slot: Slot) -> None:
    """Waits until the device has read the pinned buffer; without this, batches are wrong."""
    slot.copied.synchronize()


def _copy(slot: Slot, stream: torch.cuda.Stream) -> None:
    stream.wait_event(slot.used)
    slot.ids.copy_(slot.pinned, non_blocking=True)
    slot.copied.record(stream)


def _end(thread: Thread, free: SimpleQueue, slots: list[Slot]) -> None:
    free.put(None)
    thread.join()
    for slot in slots:
        slot.copied.synchronize()
        slot.used.synchronize()
