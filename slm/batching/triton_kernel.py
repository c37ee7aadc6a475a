"""How does a batch take one launch? A Triton kernel draws starts, gathers and widens.

In, on the device: the tokens, and the state of each program: the global row that it writes next,
its start, and a table of the starts of its rows in the next steps. Out: x and y as in
slm.batching.gather, and the starts. While its tokens load, a program looks up the next start; at
the end of the table it draws another, a step per thread, so that the permutation of "shuffled"
costs almost nothing instead of a quarter of the time. Each program writes only its own state: none
waits for another, the host does nothing, and each replay of a CUDA graph writes the next batch. The
numbers are those of slm.core.counter, bit for bit. All sizes are constants of the kernel, so
that divisions become multiplications.
"""

from math import isqrt

import triton
import triton.language as tl

from slm.batching.gather import NO_TARGET, Rows
from slm.batching.sampling import ORDERS
from slm.core.counter import rounds

MANY = 2**19  # tokens per batch from which fewer, longer programs are faster (seen on an H200)
TABLE = 16  # starts that a program draws at once
KEY, ROW, START, INDEX, FIRST = range(5)  # int64 of a program's state; the table comes last


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
        start = _below(_word(key, g), M)
    elif ORDER == 1:
        epoch = g // n
        k = _word(key, epoch)
        x = _forth(k, g - epoch * n, A, B, ROUNDS)
        while tl.max((x >= n).to(tl.int32)) > 0:
            x = tl.where(x >= n, _forth(k, x, A, B, ROUNDS), x)
        start = _below(_word(k, k * 0), M) + x * T
    else:
        start = tl.minimum(g, g * 0 + n) * T
    return start


@triton.jit
def fill(
    tokens, state, starts, out, T: tl.constexpr, WIDE: tl.constexpr, LAST: tl.constexpr,
    M: tl.constexpr, n: tl.constexpr, A: tl.constexpr, B: tl.constexpr, ORDER: tl.constexpr,
    ROUNDS: tl.constexpr, IDS: tl.constexpr, NONE: tl.constexpr, BLOCK: tl.constexpr,
    TABLE: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Writes one batch into `out`, (2, batch_size, T) int64; a program per row and part of it."""
    if EARLY:
        tl.extra.cuda.gdc_wait()  # until the previous kernel is done and its writes are visible
    row, part = tl.program_id(0), tl.program_id(1)
    mine = state + (4 + TABLE) * (row * tl.num_programs(1) + part)
    key = tl.load(mine).to(tl.uint64, bitcast=True)
    g = tl.load(mine + 1)
    start = tl.load(mine + 2)
    index = tl.load(mine + 3) + 1
    j = part * BLOCK + tl.arange(0, BLOCK)
    inside = j < T
    has = inside & (start + j < LAST)
    x = tl.load(tokens + start + j, mask=has, other=0).to(IDS, bitcast=True).to(tl.int64)
    y = tl.load(tokens + start + j + 1, mask=has, other=0).to(IDS, bitcast=True).to(tl.int64)
    if index == TABLE:
        steps = tl.arange(0, TABLE).to(tl.int64)  # or WIDE * steps wraps at 2^31
        rows = (g + WIDE * (1 + steps)).to(tl.uint64, bitcast=True)
        drawn = _starts(rows, key, T, M, n, A, B, ORDER, ROUNDS).to(tl.int64, bitcast=True)
        tl.store(mine + 4 + steps, drawn)
        following = tl.sum(tl.where(steps == 0, drawn, 0))
        index *= 0
    else:
        following = tl.load(mine + 4 + index)
    tl.debug_barrier()  # all warps read `mine` before one writes it
    tl.store(mine + 1, g + WIDE)
    tl.store(mine + 2, following)
    tl.store(mine + 3, index)
    if part == 0:
        tl.store(starts + row, start)
    if ORDER == 2:
        y = tl.where(has, y, NONE)
    position = row.to(tl.int64) * T + j
    tl.store(out + position, x, mask=inside)
    tl.store(out + tl.num_programs(0).to(tl.int64) * T + position, y, mask=inside)


def constants(rows: Rows, token_bytes: int, early: bool) -> dict:
    """Returns the constants that the kernel is compiled for."""
    plan, size = rows.plan, rows.plan.block_size
    high = isqrt(plan.blocks - 1) + 1
    block = 512 if rows.batch_size * size <= MANY else 1024  # tokens per program
    return {
        "T": size,
        "WIDE": rows.per_step,
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
