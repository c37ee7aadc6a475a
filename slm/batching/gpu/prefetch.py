"""How do batches come from the host while the device computes? A thread prefetches them.

A slot is a pinned buffer of some steps, a buffer on the device and two events. The thread names the
pages of the slot after next (slm.batching.paging), gathers the narrow ids of the next into the
pinned buffer and copies them on its own stream (of windows 2 bytes per token over the bus, not 16);
`batch` widens a step into x and y on the caller's stream. A pinned buffer is refilled only after
its copy has ended (the thread waits for `copied`), a buffer on the device only after all of it was
widened (the stream waits for `used`). `close`, and the end of the object or of the program, end the
thread; `batch` raises an error of the thread.
"""

import weakref
from collections.abc import Callable
from copy import copy
from queue import SimpleQueue
from threading import Thread
from typing import Any

import torch

from slm.batching.host import Reader
from slm.batching.orders.rows import Rows
from slm.batching.tensors import Batch, Source, copy_all, empty

SLOTS = 4
STEPS, IDS = 32, 2**20  # at most per slot, but always one step


def steps_of(rows: Rows) -> int:
    """Returns the steps of a slot."""
    return max(1, min(STEPS, IDS // (rows.batch_size * (rows.size + 1))))


class Slot:
    """The buffers of some steps, on the host and on the device.

    Windows travel as narrow ids, T + 1 a row, of which x and y are two views. What else a batch has
    travels as it is, and with "packed" that is all of it.
    """

    def __init__(self, steps: int, rows: Rows, device: torch.device) -> None:
        self.pinned = [empty(rows, "cpu", pin_memory=True) for _ in range(steps)]
        self.there = [empty(rows, device) for _ in range(steps)]
        self.copied, self.used = torch.cuda.Event(), torch.cuda.Event()
        if not rows.packed:
            self._add_narrow(steps, rows, device)

    def _add_narrow(self, steps: int, rows: Rows, device: torch.device) -> None:
        kind = torch.uint16 if rows.splits[0].ids.itemsize == 2 else torch.uint32
        batch_size, size = rows.batch_size, rows.size
        shape = (steps * batch_size, size + 1)
        self.narrow = torch.empty(shape, dtype=kind, device="cpu", pin_memory=True)
        ids = self.narrow_there = torch.empty(shape, dtype=kind, device=device)
        pair, strides = (2, batch_size, size), (1, size + 1, 1)  # x and y, one token apart
        step = batch_size * (size + 1)
        for i in range(steps):
            self.there[i] = self.there[i]._replace(pair=ids.as_strided(pair, strides, i * step))
            self.pinned[i] = self.pinned[i]._replace(pair=None)

    def fill(self, reader: Reader, step: int) -> None:
        """Reads so many steps from `step` on."""
        if not reader.rows.packed:
            self.narrow.numpy()[...] = reader.narrow_run(step, len(self.pinned))
        for i, batch in enumerate(self.pinned):
            (reader.write_rest if batch.pair is None else reader.write)(step + i, batch)

    def send(self) -> None:
        """Copies to the device, on the current stream."""
        if self.pinned[0].pair is None:
            self.narrow_there.copy_(self.narrow, non_blocking=True)
        for batch, there in zip(self.pinned, self.there, strict=True):
            if batch.pair is not None:
                there.pair.copy_(batch.pair, non_blocking=True)
            copy_all(there.rest(), batch.rest(), non_blocking=True)


class Prefetcher(Source):
    """Batches on a CUDA device, from ids on the host."""

    def __init__(self, rows: Rows, reuse: bool, device: torch.device) -> None:
        self.rows, self._device = rows, device
        self._reader = Reader(rows)
        self._out = empty(rows, device) if reuse else None
        self._steps = steps_of(rows)
        self._stream, self._caller = torch.cuda.Stream(device), torch.cuda.current_stream(device)
        self._end: Callable[[], object] | None = None  # ends the thread, if there is one
        self._next, self._left = 0, 0  # the step of the next batch, and how many the slot has left
        self._slot: Any = None  # or the error that the thread has raised

    def close(self) -> None:
        """Ends the thread; the next `batch` starts another, at the same step."""
        if self._end:
            self._end()
        self._end = None

    def batch(self) -> Batch:
        if self.step != self._next:  # it was set
            self.close()
        if not self._end:
            self._begin()
        if not self._left:
            self._slot, self._left = self._ready.get(), self._steps
        if isinstance(self._slot, BaseException):
            raise self._slot
        number, slot = self._steps - self._left, self._slot
        out = self._out or empty(self.rows, self._device)
        stream = torch.cuda.current_stream(self._device)
        if stream != self._caller:
            stream.wait_stream(self._caller)  # so that `used` covers all steps of the slot
            self._caller = stream
        if not number:
            stream.wait_event(slot.copied)
        copy_all(out.tensors(), slot.there[number].tensors())
        self._reader.finish(self.step, out.pair)
        self.step = self._next = self.step + 1
        self._left -= 1
        if not self._left:
            slot.used.record(stream)
            self._free.put(slot)
        return out

    def _begin(self) -> None:
        self._free: SimpleQueue = SimpleQueue()
        self._ready: SimpleQueue = SimpleQueue()
        self._left = 0
        slots = [Slot(self._steps, self.rows, self._device) for _ in range(SLOTS)]
        for slot in slots:
            self._free.put(slot)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        # The thread has its own Rows; a reference to `self` would keep it alive.
        reader = Reader(copy(self.rows))
        job = reader, self.step, self._steps, self._stream, self._free, self._ready
        thread = Thread(target=_work, args=job, daemon=True, name="slm.batching.prefetch")
        self._end = weakref.finalize(self, _end, thread, self._free, slots)
        thread.start()


def _work(reader: Reader, step: int, steps: int, stream, free, ready: SimpleQueue) -> None:
    try:
        with torch.cuda.stream(stream):
            advise(reader, step, steps)
            while slot := free.get():
                _until_copied(slot)
                advise(reader, step + steps, steps)  # while those of this slot are gathered
                slot.fill(reader, step)
                reader.gathered(steps)
                _copy(slot, stream)
                ready.put(slot)
                step += steps
    except BaseException as error:
        ready.put(error)


def advise(reader: Reader, step: int, steps: int) -> None:
    """Has the disk read the rows of a slot, where rows come from the disk."""
    for i in range(steps if reader.cold else 0):
        reader.advise(step + i)


def _until_copied(slot: Slot) -> None:
    """Waits until the device has read the pinned buffer; without this, batches are wrong."""
    slot.copied.synchronize()


def _copy(slot: Slot, stream: torch.cuda.Stream) -> None:
    stream.wait_event(slot.used)
    slot.send()
    slot.copied.record(stream)


def _end(thread: Thread, free: SimpleQueue, slots: list[Slot]) -> None:
    free.put(None)
    thread.join()
    for slot in slots:
        slot.copied.synchronize()
        slot.used.synchronize()
