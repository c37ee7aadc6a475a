"""How do batches come from the host while the device computes? A thread that is slots ahead.

A slot is a pinned buffer of some steps, a buffer on the device and two events. The thread gathers
the narrow ids of those steps into the pinned buffer and copies them on a stream of its own (2 bytes
a token over the bus, not 16); `batch` widens a step on the caller's stream into x and y. The
promise: a pinned buffer is refilled only after its copy has ended (`copied`, waited for by the
thread), the device's buffer only after all of it was widened (`used`, waited for by the stream).
`close` ends the thread, and so does the end of the object or of the program; an error in the thread
is raised by `batch`.
"""

import weakref
from queue import SimpleQueue
from threading import Thread

import numpy as np
import torch

from slm.batching.gather import Rows, Source, mark_end, take, windows

SLOTS = 4
STEPS, IDS = 32, 2**20  # at most in a slot, but always a step


class Slot:
    def __init__(self, steps: int, rows: Rows, kind: torch.dtype, device: torch.device) -> None:
        many, size = rows.batch_size, rows.plan.block_size
        self.pinned = torch.empty((steps * many, size + 1), dtype=kind, pin_memory=True)
        self.ids = torch.empty(self.pinned.shape, dtype=kind, device=device)
        strides = (1, size + 1, 1)  # x and y of a step, narrow: windows one token apart
        self.pairs = [
            self.ids.as_strided((2, many, size), strides, i * many * (size + 1))
            for i in range(steps)
        ]
        self.copied, self.used = torch.cuda.Event(), torch.cuda.Event()
        self.starts = np.zeros((steps, many), np.int64)

    def fill(self, view: np.ndarray, rows: Rows, step: int) -> None:
        self.starts = np.stack([rows.starts(step + i) for i in range(len(self.pairs))])
        self.pinned.numpy()[...] = take(view, self.starts.ravel())


class Prefetcher(Source):
    """x and y on a CUDA device, of ids that stay on the host."""

    def __init__(self, ids: np.ndarray, rows: Rows, reuse: bool, device: torch.device) -> None:
        self.rows, self._device, self._step = rows, device, 0
        self._view = windows(ids, rows.plan.block_size)
        self._kind = torch.uint16 if ids.itemsize == 2 else torch.uint32
        self._shape = (2, rows.batch_size, rows.plan.block_size)
        self._out = self._empty() if reuse else None
        self._steps = max(1, min(STEPS, IDS // (rows.batch_size * (rows.plan.block_size + 1))))
        self._stream, self._caller = torch.cuda.Stream(device), torch.cuda.current_stream(device)
        self._end = None  # ends the thread, while there is one

    @property
    def step(self) -> int:
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        if step != self._step:
            self.close()
        self._step = step

    def close(self) -> None:
        """End the thread; the next `batch` starts another, at the same step."""
        if self._end:
            self._end()
        self._end = None

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if not self._end:
            self._begin()
        if not self._left:
            self._slot, self._left = self._ready.get(), self._steps
        if isinstance(self._slot, BaseException):
            raise self._slot
        place, slot = self._steps - self._left, self._slot
        out = self._empty() if self._out is None else self._out
        stream = torch.cuda.current_stream(self._device)
        if stream != self._caller:
            stream.wait_stream(self._caller)  # so that `used` stands for all of the slot's steps
            self._caller = stream
        if not place:
            stream.wait_event(slot.copied)
        out.copy_(slot.pairs[place])
        starts = torch.from_numpy(slot.starts[place])
        x, y = out[0], out[1]
        if slot.starts[place][-1] >= len(self._view):
            mark_end(self.rows.plan, starts.to(self._device), x, y)
        self._step += 1
        self._left -= 1
        if not self._left:
            slot.used.record(stream)
            self._free.put(slot)
        return x, y, starts

    def _empty(self) -> torch.Tensor:
        return torch.empty(self._shape, dtype=torch.int64, device=self._device)

    def _begin(self) -> None:
        self._free, self._ready = SimpleQueue(), SimpleQueue()
        self._slot, self._left = None, 0
        slots = [Slot(self._steps, self.rows, self._kind, self._device) for _ in range(SLOTS)]
        for slot in slots:
            self._free.put(slot)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        # The thread has a Rows of its own and does not know `self`, or it would keep it alive.
        plan, size = self.rows.plan, self.rows.batch_size
        rows = Rows(plan, size, self.rows.rank, self.rows.world_size)
        job = self._view, rows, self._step, self._stream, self._free, self._ready
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
    """Wait until the device has read the pinned buffer: without this, batches are wrong."""
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
