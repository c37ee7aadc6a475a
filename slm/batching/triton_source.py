"""How are batches made from tokens on a GPU? With one launch of slm.batching.triton_kernel each.

In: the tokens there, and the rows of a rank. Out: x and y as in slm.batching.gather, fresh tensors,
or with `reuse` always the same two, so that each replay of a CUDA graph writes the next batch.
Importing this needs Triton; making a source compiles the kernel, in seconds the first time.
"""

from collections.abc import Callable

import numpy as np
import torch
import triton.language as tl

from slm.batching.gather import Rows, Source
from slm.batching.triton_kernel import FIRST, INDEX, KEY, ROW, START, TABLE, constants, fill
from slm.core.counter import signed
from slm.core.errors import check

WARPS = 4  # per program


class TritonSource(Source):
    """x and y from tokens on the device, one launch per batch; in a CUDA graph with `reuse`."""

    def __init__(self, tokens: torch.Tensor, rows: Rows, reuse: bool) -> None:
        self.rows, self._reuse, self._step = rows, reuse, 0
        size, early = rows.plan.block_size, may_be_early(tokens.device)
        fixed = constants(rows, tokens.element_size(), early)
        self._parts = -(-size // fixed["BLOCK"])
        self._guard = torch.cuda.device(tokens.device)
        self._out = torch.empty((2, rows.batch_size, size), dtype=torch.int64, device=tokens.device)
        self._starts = torch.empty(rows.batch_size, dtype=torch.int64, device=tokens.device)
        self._state = first_state(rows, 0, self._parts).to(tokens.device)
        with self._guard:
            self._launch = self._compiled(tokens, fixed)
        self.step = 0

    def _compiled(self, tokens: torch.Tensor, constants: dict) -> Callable:
        fixed, grid = (tokens, self._state, self._starts), (self.rows.batch_size, self._parts, 1)
        options = {"num_warps": WARPS, **({"launch_pdl": True} if constants["EARLY"] else {})}
        kernel = fill[grid](*fixed, self._out, **constants, **options)
        launch, values = kernel[grid], tuple(constants.values())
        try:  # without Triton's checks of each argument
            launch(*fixed, self._out, *values)
        except TypeError:  # an old Triton takes other arguments here
            return lambda out: fill[grid](*fixed, out, **constants, **options)
        return lambda out: launch(*fixed, out, *values)

    @property
    def step(self) -> int:
        """The next step; with `reuse` read from the device, which counts the replays of a graph."""
        if self._reuse:
            return (int(self._state[0, ROW]) - self.rows.first) // self.rows.per_step
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = step
        self._state.copy_(first_state(self.rows, step, self._parts))

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        out = self._out
        if not self._reuse:
            capturing = torch.cuda.is_current_stream_capturing()
            check(not capturing, "a CUDA graph replays into the same tensors; pass reuse=True")
            out = torch.empty_like(out)
            self._step += 1
        with self._guard:
            self._launch(out)
        x, y = out.unbind()
        return x, y, self._starts


def first_state(rows: Rows, step: int, parts: int) -> torch.Tensor:
    """Returns the programs' state before `step`, (batch_size·parts, 4 + TABLE) int64."""
    state = np.empty((rows.batch_size, FIRST + TABLE), np.int64)
    state[:, KEY], state[:, INDEX] = signed(rows.plan.key), 0
    state[:, ROW] = np.arange(rows.batch_size) + step * rows.per_step + rows.first
    state[:, FIRST:] = rows.draw(step, TABLE).T
    state[:, START] = state[:, FIRST]
    return torch.from_numpy(state.repeat(parts, 0))


def may_be_early(device: torch.device) -> bool:
    """Whether a kernel can be set up while the previous one still runs: on Hopper and later."""
    supported = torch.version.cuda and hasattr(tl.extra.cuda, "gdc_wait")
    return bool(supported) and torch.cuda.get_device_capability(device) >= (9, 0)
