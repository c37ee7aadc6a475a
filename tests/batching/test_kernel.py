"""The Triton kernel gives what NumPy gives: interpreted here, so that it needs no GPU."""

import importlib.util
import os
import subprocess
import sys

import pytest

# In a process of its own: Triton reads TRITON_INTERPRET as it is imported.
INTERPRETED = """
import numpy as np, torch
from slm.batching import gather
from slm.batching import triton_kernel as kernel
from slm.batching import triton_source as fused
from slm.batching.sampling import plan

order, tokens, block, batch, rank, world = eval(__import__("sys").argv[1])
for kind in (np.uint16, np.uint32):
    ids = (np.arange(tokens) % 2**16 + (2**17 if kind is np.uint32 else 0)).astype(kind)
    rows = gather.Rows(plan(order, 2**64 - 3, tokens, block), batch, rank, world)
    wanted = gather.OnHost(ids, rows, False)
    device, constants = gather.to_device(ids, "cpu"), kernel.constants(rows, ids.itemsize, False)
    parts = -(-block // constants["BLOCK"])
    state = fused.first_state(rows, 0, parts)
    starts = torch.empty(batch, dtype=torch.int64)
    out = torch.empty((2, batch, block), dtype=torch.int64)
    for step in range(kernel.TABLE + 3):
        kernel.fill[(batch, parts)](device, state, starts, out, **constants)
        for found, want in zip((*out, starts), wanted.batch(), strict=True):
            assert torch.equal(found, want), (kind, step)
    after = fused.first_state(rows, kernel.TABLE + 3, parts)
    assert torch.equal(state[:, :kernel.INDEX], after[:, :kernel.INDEX])
"""


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="Triton is not installed")
@pytest.mark.parametrize("order", ["random", "shuffled", "sequential"])
@pytest.mark.parametrize("sizes", [
    (60_000, 16, 8, 1, 2), (60_000, 1500, 3, 0, 1), (1000, 3, 5, 1, 2), (5, 3, 4, 0, 1),
    (60_000, 16, 2, 7, 2**28),  # 16 steps are beyond 2^32 rows
])  # fmt: skip
def test_the_kernel_gives_what_numpy_gives(order, sizes):
    command = [sys.executable, "-c", INTERPRETED, repr((order, *sizes))]
    subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, check=True)
