"""How do batches come from tokens that lie on a GPU? One launch of slm.batching.triton_kernel each.

In: the tokens there, and the rows of a rank. Out: x and y as in slm.batching.gather, fresh tensors, or with
`reuse` always the same two, so that a CUDA graph of the call gives the next batch at each replay.
Import it where there is a GPU that has Triton; the kernel is compiled when a source is made, in
seconds the first time.
"""

from collections.abc import Callable

import numpy as np
import torch
import triton.language as tl

from slm.batching.gather import Rows, Source
from slm.batching.sampling import starts
from slm.batching.triton_kernel import FIRST, KEY, PLACE, ROW, START, TABLE, constants, fill
from slm.core.errors import UserError

WARPS = 4  # a program


class TritonSource(Source):
    """x and y from tokens on the device, one launch a batch; in a CUDA graph with `reuse`."""

    def __init__(self, tokens: torch.Tensor, rows: Rows, reuse: bool) -> None:
        self.rows, self._reuse, self._step = rows, reuse, 0
        size, early = rows.plan.block_size, may_be_early(tokens.device)
        fixed = constants(rows, tokens.element_size(), early)
        self._shape, self._parts = (2, rows.batch_size, size), -(-size // fixed["BLOCK"])
        self._options = {"dtype": torch.int64, "device": tokens.device}
        self._guard = torch.cuda.device(tokens.device)
        self._out = torch.empty(self._shape, **self._options)
        self._starts = torch.empty(rows.batch_size, **self._options)
        self._state = first_state(rows, 0, self._parts).to(tokens.device)
        with self._guard:
            self._launch = self._compiled(tokens, fixed)
        self.step = 0

    def _compiled(self, tokens: torch.Tensor, constants: dict) -> Callable:
        """What launches the kernel into a tensor, after two launches that make it ready."""
        fixed, grid = (tokens, self._state, self._starts), (self.rows.batch_size, self._parts, 1)
        options = {"num_warps": WARPS, **({"launch_pdl": True} if constants["EARLY"] else {})}
        kernel = fill[grid](*fixed, self._out, **constants, **options)
        launch, values = kernel[grid], tuple(constants.values())
        try:  # spares Triton's look at each argument
            launch(*fixed, self._out, *values)
        except TypeError:  # an old Triton, which takes other arguments here
            return lambda out: fill[grid](*fixed, out, **constants, **options)
        return lambda out: launch(*fixed, out, *values)

    @property
    def step(self) -> int:
        """With `reuse` read from the device, which alone knows how often a graph was replayed."""
        if self._reuse:
            return (int(self._state[0, ROW]) - self.rows.first) // self.rows.wide
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = step
        self._state.copy_(first_state(self.rows, step, self._parts))

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        out = self._out
        if not self._reuse:
            if torch.cuda.is_current_stream_capturing():
                raise UserError("a CUDA graph replays into the same tensors; pass reuse=True")
            out = torch.empty(self._shape, **self._options)
            self._step += 1
        with self._guard:
            self._launch(out)
        x, y = out.unbind()
        return x, y, self._starts


def first_state(rows: Rows, step: int, parts: int) -> torch.Tensor:
    """What the programs read before `step`: (batch_size·parts, 4 + TABLE) int64."""
    state = np.empty((rows.batch_size, FIRST + TABLE), np.int64)
    state[:, KEY], state[:, PLACE] = signed(rows.plan.key), 0
    state[:, ROW] = np.arange(rows.batch_size) + step * rows.wide + rows.first
    args = rows.plan, step, rows.batch_size, rows.rank, rows.world_size, TABLE
    state[:, FIRST:] = starts(*args).T
    state[:, START] = state[:, FIRST]
    return torch.from_numpy(state.repeat(parts, 0))


def signed(key: int) -> int:
    """The int64 with the bits of the uint64 `key`."""
    return (key + 2**63) % 2**64 - 2**63


def may_be_early(device: torch.device) -> bool:
    """Whether a kernel can be set up there while the one before still runs: from Hopper on."""
    known = torch.version.cuda and hasattr(tl.extra.cuda, "gdc_wait")
    return bool(known) and torch.cuda.get_device_capability(device) >= (9, 0)
