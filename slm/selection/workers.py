"""How do several cores make facts of text? Each by a process of its own.

Python's hashes of short documents hold its lock, so threads would wait for each other. A worker
reads blocks from its standard input and writes their facts to its standard output, all as bytes:
two little-endian int64, documents and bytes; then the offsets, int64; then the text. It ends where
its input does, so none outlives the process that started it.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import BinaryIO, cast

import numpy as np

from slm.selection.audit import facts_of_block
from slm.selection.facts import FACTS
from slm.text.blocks import Block

Worker = subprocess.Popen
# For glibc: arrays of some MB are used again, not given back and zeroed: a quarter of the time.
KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "268435456"}


@contextmanager
def facts_by_workers(number: int, command: list[str]) -> Iterator[Callable[[Block], np.ndarray]]:
    """Yields a function from a block to its facts, for up to so many threads at a time.

    `command` starts a process that runs `serve`.
    """
    idle: SimpleQueue[Worker] = SimpleQueue()
    workers: list[Worker] = []

    def facts(block: Block) -> np.ndarray:
        worker = idle.get()
        try:
            return _asked(worker, block)
        finally:
            idle.put(worker)

    try:
        for _ in range(number):
            workers.append(_started(command))
            idle.put(workers[-1])
        yield facts
    finally:
        for worker in workers:
            worker.kill()
            with suppress(BrokenPipeError):
                worker.communicate()


def _started(command: list[str]) -> Worker:
    pipe, env = subprocess.PIPE, {**os.environ, **KEEPS_MEMORY}
    # Ctrl-C is for the process that started it: in a session of its own it does not see it.
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env, start_new_session=True)


def _asked(worker: Worker, block: Block) -> np.ndarray:
    requests, answers = cast(BinaryIO, worker.stdin), cast(BinaryIO, worker.stdout)
    size = block.documents * FACTS.itemsize
    with suppress(BrokenPipeError):  # then its answer is too short
        for part in (np.array([block.documents, len(block.data)]), block.offsets, block.data):
            requests.write(np.ascontiguousarray(part).data)
        requests.flush()
    if len(answer := answers.read(size)) < size:
        raise RuntimeError(f"a worker ended with {worker.wait()}; its error stands above")
    return np.frombuffer(answer, FACTS)


def serve() -> None:
    """Answers requests until the input ends."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while header := requests.read(16):
        documents, size = np.frombuffer(header, np.int64).tolist()
        offsets = np.frombuffer(requests.read(8 * (documents + 1)), np.int64)
        data = np.frombuffer(requests.read(size), np.uint8)
        answers.write(facts_of_block(Block(0, offsets, data)).tobytes())
        answers.flush()
