"""The Triton kernel gives what NumPy gives: interpreted here, so that it needs no GPU."""

import importlib.util
import os
import subprocess
import sys
from ast import literal_eval
from collections.abc import Callable, Iterator

import pytest

# In a process of its own, for all tests: Triton reads TRITON_INTERPRET as it is imported.
INTERPRETED = """
import sys, traceback
import numpy as np, torch
from slm.batching.device import to_device
from slm.batching.gpu import kernel, source, state as states, tables
from slm.batching.host import OnHost
from slm.batching.orders.mixing import stages_of
from slm.batching.orders.pieces import DocumentIndex
from slm.batching.orders.rows import Rows, Split
from slm.batching.sampling import plan

SEED = 2**64 - 3


def check(kind, order, lengths, block, batch, rank, world, documents, weights):
    splits = []
    for each in lengths:
        offsets = np.cumsum([0, *each])
        tokens = int(offsets[-1])
        ids = (np.arange(tokens) % 2**16 + (2**17 if kind is np.uint32 else 0)).astype(kind)
        index = DocumentIndex(offsets, follows=documents)
        splits.append(Split(ids, plan(order, SEED, tokens, block, offsets), index))
    mix = stages_of(SEED, [0, 7 * batch * world], weights) if weights else None
    rows = Rows(splits, batch, rank, world, mix, documents, tell_sources=bool(weights))
    wanted, device = OnHost(rows, False), to_device(rows, "cpu")
    constants = states.constants(rows, np.dtype(kind).itemsize, False)
    fixed = [torch.from_numpy(table) for table in tables.tables(rows)]
    parts = -(-block // constants["BLOCK"])
    state = states.first_state(rows, 0, parts)
    for step in range(constants["TABLE"] + 3):
        out = source.outputs(rows, "cpu")
        kernel.fill[(batch, parts)](device, state, *fixed, *out, **constants)
        found, want = source.batch_of(rows, out).tensors(), wanted.batch().tensors()
        for i, (one, other) in enumerate(zip(found, want, strict=True)):
            assert torch.equal(one, other), (kind, order, lengths, block, step, i)
    assert source.step_of(state, rows) == constants["TABLE"] + 3
    after = states.first_state(rows, constants["TABLE"] + 3, parts)
    assert torch.equal(state[:, : kernel.START], after[:, : kernel.START])


for line in sys.stdin:
    answer = "same"
    try:
        for case in eval(line):
            for kind in (np.uint16, np.uint32)[: 1 if case[-1] or case[-2] else 2]:
                check(kind, *case)
    except Exception:
        answer = traceback.format_exc()
    print(repr(answer), flush=True)
"""

MIXED = [0, 5, 30, 17, 1, 0, 40, 16, 2, 90, 3, 8, 16, 15, 33] * 3
LONG = [61, 17, 200, 35]
TINY = [1, 0, 2, 1, 1] * 40
ALL = [MIXED, LONG, TINY]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="Triton is not installed"),
]


@pytest.fixture(scope="module")
def check() -> Iterator[Callable]:
    """Cases: order, documents of each source, block, batch, rank, ranks, documents, weights."""
    words, env = [sys.executable, "-c", INTERPRETED], {**os.environ, "TRITON_INTERPRET": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, env=env, **pipes) as process:

        def check(*cases) -> None:
            print(repr(cases), file=process.stdin, flush=True)
            answer = literal_eval(process.stdout.readline())
            assert answer == "same", answer

        yield check
        process.stdin.close()


@pytest.mark.parametrize("order", ["random", "shuffled", "sequential"])
def test_the_kernel_gives_what_numpy_gives(check, order):
    sizes = [
        (60_000, 16, 8, 1, 2), (60_000, 1500, 3, 0, 1), (1000, 3, 5, 1, 2), (5, 3, 4, 0, 1),
        (69_999, 1, 4, 0, 1), (25, 5, 3, 0, 1),
        (60_000, 16, 2, 7, 2**28),  # 16 steps are beyond 2^32 rows
    ]  # fmt: skip
    check(*((order, [[tokens]], *rest, False, None) for tokens, *rest in sizes))


@pytest.mark.parametrize("order", ["random", "shuffled", "sequential", "packed"])
def test_the_kernel_finds_the_documents_that_numpy_finds(check, order):
    check(*((order, [lengths], 16, 3, 1, 2, True, None) for lengths in (*ALL, [300])))


@pytest.mark.parametrize("order", ["random", "shuffled", "packed"])
def test_the_kernel_mixes_as_numpy_mixes(check, order):
    check(*((order, ALL, 33, 3, 1, 2, which, [[3, 1, 2], [1, 5, 0]]) for which in (False, True)))


def test_the_kernel_counts_the_places_of_long_blocks(check):
    check(("shuffled", [MIXED, LONG], 33, 3, 1, 2, False, [[30, 11], [2, 93]]))


def test_the_kernel_packs_rows_of_more_parts_than_one(check):
    check(("packed", [[700, 300, 1500, 40, 1300, 2, 9]], 1300, 2, 0, 1, True, None))
