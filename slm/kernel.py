"""How does a batch take one launch? A Triton kernel that draws starts, gathers and widens.

In: tokens on the device and, also there, for each program the global row that it writes next, where
that starts, and a table of where its rows of the next steps start. Out: x and y as in slm.gather,
and the starts. While its tokens come a program looks up the next start, and at the table's end
draws another table, its threads a step each: the permutation of "shuffled" then costs a thirtieth
of a batch in place of a quarter. It writes to its own place alone, so no program waits for another,
nothing is left to the host, and a CUDA graph of the launch writes the next batch at each replay.
The numbers are those of slm.counter, bit for bit.

Import it where there is a GPU that has Triton. All sizes are constants of the kernel, so divisions
become multiplications; it is compiled when a source is made, in seconds the first time.
"""

from collections.abc import Callable
from math import isqrt

import numpy as np
import torch
import triton
import triton.language as tl

from slm.counter import rounds
from slm.errors import UserError
from slm.gather import NO_TARGET, Rows, Source
from slm.sampling import ORDERS, starts

WARPS = 4  # a program
MANY = 2**19  # tokens of a batch from which fewer, longer programs are quicker (seen on an H200)
TABLE = 16  # starts that a program draws at once
KEY, ROW, START, PLACE, FIRST = range(5)  # of int64 in a program's state: the table comes last


@triton.jit
def _mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit
def _word(key, counter):
    return _mix(key + (counter + 1) * 0x9E3779B97F4A7C15)


@triton.jit
def _below(words, M: tl.constexpr):
    return tl.umulhi(words, words * 0 + M)


@triton.jit
def _forth(key, x, A: tl.constexpr, B: tl.constexpr, ROUNDS: tl.constexpr):
    left = x // B
    right = x - left * B
    for i in tl.static_range(1, ROUNDS + 1, 2):
        left += ((_word(key, 16 * right + i) >> 32) * A) >> 32
        left = tl.where(left >= A, left - A, left)
        right += ((_word(key, 16 * left + (i + 1)) >> 32) * B) >> 32
        right = tl.where(right >= B, right - B, right)
    return left * B + right


@triton.jit
def _starts(
    g, key, T: tl.constexpr, M: tl.constexpr, n: tl.constexpr, A: tl.constexpr, B: tl.constexpr,
    ORDER: tl.constexpr, ROUNDS: tl.constexpr,
):  # fmt: skip
    if ORDER == 0:
        found = _below(_word(key, g), M)
    elif ORDER == 1:
        epoch = g // n
        k = _word(key, epoch)
        x = _forth(k, g - epoch * n, A, B, ROUNDS)
        while tl.max((x >= n).to(tl.int32)) > 0:
            x = tl.where(x >= n, _forth(k, x, A, B, ROUNDS), x)
        found = _below(_word(k, k * 0), M) + x * T
    else:
        found = tl.minimum(g, g * 0 + n) * T
    return found


@triton.jit
def _fill(
    tokens, state, starts, out, T: tl.constexpr, WIDE: tl.constexpr, LAST: tl.constexpr,
    M: tl.constexpr, n: tl.constexpr, A: tl.constexpr, B: tl.constexpr, ORDER: tl.constexpr,
    ROUNDS: tl.constexpr, IDS: tl.constexpr, NONE: tl.constexpr, BLOCK: tl.constexpr,
    TABLE: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    if EARLY:
        tl.extra.cuda.gdc_wait()  # until all before is done and can be seen
    row, part = tl.program_id(0), tl.program_id(1)
    mine = state + (4 + TABLE) * (row * tl.num_programs(1) + part)
    key = tl.load(mine).to(tl.uint64, bitcast=True)
    g = tl.load(mine + 1)
    start = tl.load(mine + 2)
    place = tl.load(mine + 3) + 1
    j = part * BLOCK + tl.arange(0, BLOCK)
    inside = j < T
    has = inside & (start + j < LAST)
    x = tl.load(tokens + start + j, mask=has, other=0).to(IDS, bitcast=True).to(tl.int64)
    y = tl.load(tokens + start + j + 1, mask=has, other=0).to(IDS, bitcast=True).to(tl.int64)
    if place == TABLE:
        steps = tl.arange(0, TABLE).to(tl.int64)  # or WIDE * steps wraps at 2^31
        rows = (g + WIDE * (1 + steps)).to(tl.uint64, bitcast=True)
        drawn = _starts(rows, key, T, M, n, A, B, ORDER, ROUNDS).to(tl.int64, bitcast=True)
        tl.store(mine + 4 + steps, drawn)
        following = tl.sum(tl.where(steps == 0, drawn, 0))
        place *= 0
    else:
        following = tl.load(mine + 4 + place)
    tl.debug_barrier()  # every warp has read `mine` before one of them writes it
    tl.store(mine + 1, g + WIDE)
    tl.store(mine + 2, following)
    tl.store(mine + 3, place)
    if part == 0:
        tl.store(starts + row, start)
    if ORDER == 2:
        y = tl.where(has, y, NONE)
    at = row.to(tl.int64) * T + j
    tl.store(out + at, x, mask=inside)
    tl.store(out + tl.num_programs(0).to(tl.int64) * T + at, y, mask=inside)


class Fused(Source):
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
        kernel = _fill[grid](*fixed, self._out, **constants, **options)
        launch, values = kernel[grid], tuple(constants.values())
        try:  # spares Triton's look at each argument
            launch(*fixed, self._out, *values)
        except TypeError:  # an old Triton, which takes other arguments here
            return lambda out: _fill[grid](*fixed, out, **constants, **options)
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


def constants(rows: Rows, token_bytes: int, early: bool) -> dict:
    """What the kernel is compiled for."""
    plan, size = rows.plan, rows.plan.block_size
    high = isqrt(plan.blocks - 1) + 1
    block = 512 if rows.batch_size * size <= MANY else 1024  # tokens a program
    return {
        "T": size,
        "WIDE": rows.wide,
        "LAST": plan.tokens - 1,
        "M": plan.tokens - (plan.blocks * size if plan.order == "shuffled" else size),
        "n": plan.blocks,
        "A": high,
        "B": -(-plan.blocks // high),
        "ORDER": ORDERS.index(plan.order),
        "ROUNDS": rounds(plan.blocks),
        "IDS": tl.uint16 if token_bytes == 2 else tl.uint32,
        "NONE": NO_TARGET,
        "BLOCK": min(block, triton.next_power_of_2(size)),
        "TABLE": TABLE,
        "EARLY": early,
    }
