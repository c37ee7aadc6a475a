"""How are batches made from tokens on a GPU? With one launch of slm.batching.gpu.kernel each.

In: the tokens there, and rows. Out: batches as in slm.batching.tensors, fresh tensors, or with
`reuse` always the same ones, so that each replay of a CUDA graph writes the next batch. Importing
this needs Triton; making a source compiles the kernel, in seconds the first time.
"""

from collections.abc import Callable

import torch
import triton.language as tl

from slm.batching.documents import Documents
from slm.batching.gpu.kernel import ROW, fill
from slm.batching.gpu.state import constants, first_state
from slm.batching.gpu.tables import tables
from slm.batching.orders.rows import Rows
from slm.batching.tensors import Batch, Source
from slm.core.errors import check

WARPS, MORE_WARPS = 4, 8  # per program; more where pieces are drawn or documents looked up


class TritonSource(Source):
    """Batches from tokens on the device, one launch each; in a CUDA graph with `reuse`."""

    def __init__(self, tokens: torch.Tensor, rows: Rows, reuse: bool) -> None:
        self.rows, self._reuse, self._step, self._device = rows, reuse, 0, tokens.device
        fixed = constants(rows, tokens.element_size(), may_be_early(tokens.device))
        self._parts = -(-rows.size // fixed["BLOCK"])
        self._guard = torch.cuda.device(tokens.device)
        self._out = outputs(rows, tokens.device)
        self._state = first_state(rows, 0, self._parts).to(tokens.device)
        self._tables = [torch.from_numpy(table).to(tokens.device) for table in tables(rows)]
        with self._guard:
            self._launch = self._compiled(tokens, fixed)
        self.step = 0

    def _compiled(self, tokens: torch.Tensor, constants: dict) -> Callable:
        fixed, grid = (tokens, self._state, *self._tables), (self.rows.batch_size, self._parts, 1)
        warps = MORE_WARPS if self.rows.packed or self.rows.documents else WARPS
        options = {"num_warps": warps, **({"launch_pdl": True} if constants["EARLY"] else {})}
        kernel = fill[grid](*fixed, *self._out, **constants, **options)
        launch, values = kernel[grid], tuple(constants.values())
        try:  # without Triton's checks of each argument
            launch(*fixed, *self._out, *values)
        except TypeError:  # an old Triton takes other arguments here
            return lambda out: fill[grid](*fixed, *out, **constants, **options)
        return lambda out: launch(*fixed, *out, *values)

    @property
    def step(self) -> int:
        """The next step; with `reuse` read from the device, which counts the replays of a graph."""
        if self._reuse:
            return step_of(self._state, self.rows)
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = step
        self._state.copy_(first_state(self.rows, step, self._parts))

    def batch(self) -> Batch:
        out = self._out
        if not self._reuse:
            capturing = torch.cuda.is_current_stream_capturing()
            check(not capturing, "a CUDA graph replays into the same tensors; pass reuse=True")
            out = outputs(self.rows, self._device)
            self._step += 1
        with self._guard:
            self._launch(out)
        return batch_of(self.rows, out)


def step_of(state: torch.Tensor, rows: Rows) -> int:
    """Returns the step that the programs' state is before."""
    return (int(state[0, ROW.value]) - rows.first) // rows.per_step


def outputs(rows: Rows, device: torch.device | str) -> tuple[torch.Tensor, ...]:
    """Returns what the kernel writes into: x, y, ids and positions; borders; sources."""
    b, size = rows.batch_size, rows.size
    out = torch.empty((4 if rows.documents else 2, b, size), dtype=torch.int64, device=device)
    cu, sources = out, out  # not written
    if rows.documents:
        cu = torch.empty(b * rows.most + 1, dtype=torch.int32, device=device)
    if rows.tell_sources:
        sources = torch.empty(b, dtype=torch.int64, device=device)
    return out, cu, sources


def batch_of(rows: Rows, outputs: tuple[torch.Tensor, ...]) -> Batch:
    """Returns the batch that lies in these outputs."""
    out, cu_seqlens, sources = outputs
    documents = None
    if rows.documents:
        _, _, ids, positions = out.unbind()
        documents = Documents(ids, positions, cu_seqlens)
    return Batch(out[:2], documents, sources if rows.tell_sources else None)


def may_be_early(device: torch.device) -> bool:
    """Whether a kernel can be set up while the previous one still runs: on Hopper and later."""
    supported = torch.version.cuda and hasattr(tl.extra.cuda, "gdc_wait")
    return bool(supported) and torch.cuda.get_device_capability(device) >= (9, 0)
