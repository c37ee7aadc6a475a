"""How does a batch take one launch? A Triton kernel draws rows, gathers and widens.

In, on the device: the tokens of all sources end to end, the tables of slm.batching.gpu.tables, and
the state of each program: the global row that it writes next, and tables of its rows in the next
steps. Out: x and y as in slm.batching.tensors, and documents and sources where they are asked for.
While its tokens load, a program looks up the next row; at the end of the tables it draws others, a
step per lane, so that many steps share what permutations and look-ups take. Each program writes
only its own state: none waits for another, the host does nothing, and each replay of a CUDA graph
writes the next batch. Shapes are constants of the kernel, and of one source of windows the sizes.
"""

import triton
import triton.language as tl

from slm.batching.gpu.drawing import draw_pieces, start_of
from slm.batching.gpu.mixing import source_of
from slm.batching.gpu.numbers import unsigned
from slm.batching.gpu.windows import window_documents

# Of a program's state; from FIRST on lie the pieces of now, and the tables.
KEY, DEALING, ROW, START, INDEX, FIRST = (tl.constexpr(i) for i in range(6))
WAYS = tl.constexpr(8)  # of a search, whose loads are under way at once


@triton.jit
def fill(
    tokens, state, stages, parts, kinds, slots, classes, short, long, totals, offsets, every,
    numbers, out, cu, sources,
    T: tl.constexpr, WIDE: tl.constexpr, LAST: tl.constexpr, M: tl.constexpr, n: tl.constexpr,
    A: tl.constexpr, B: tl.constexpr, R: tl.constexpr, ORDER: tl.constexpr, IDS: tl.constexpr,
    NONE: tl.constexpr, BLOCK: tl.constexpr, TABLE: tl.constexpr, EARLY: tl.constexpr,
    SOURCES: tl.constexpr, STAGES: tl.constexpr, TELL: tl.constexpr,
    DOCS: tl.constexpr, NUMBERED: tl.constexpr, WITHIN: tl.constexpr, STRIDE: tl.constexpr,
    K: tl.constexpr, P: tl.constexpr, FEW: tl.constexpr, BITS: tl.constexpr, LANES: tl.constexpr,
    SEARCH: tl.constexpr,
):  # fmt: skip
    """Writes one batch into `out`, (2 or 4, batch_size, T) int64; a program per row and part."""
    if EARLY:
        tl.extra.cuda.gdc_wait()  # until the previous kernel is done and its writes are visible
    row, part = tl.program_id(0), tl.program_id(1)
    EACH: tl.constexpr = 3 * P if ORDER == 3 else 1
    NOW: tl.constexpr = 3 * FEW if ORDER == 3 else 0
    SIZE: tl.constexpr = (EACH + (5 if ORDER == 3 else 1)) * TABLE + NOW + FIRST
    mine = state + SIZE * (row * tl.num_programs(1) + part)
    g = tl.load(mine + ROW)
    start = tl.load(mine + START)
    index = tl.load(mine + INDEX)
    now = mine + FIRST
    table, about = now + NOW, now + NOW + EACH * TABLE
    j = part * BLOCK + tl.arange(0, BLOCK)
    inside = j < T
    at = row.to(tl.int64) * T + j
    plane = tl.num_programs(0).to(tl.int64) * T
    slot = tl.arange(0, P)
    if ORDER == 3:
        piece, shift, document = _pieces(j, now, table + index * EACH, start, P, FEW)
        begin, until = piece.to(tl.int32), (piece >> 32).to(tl.int32)
        token = tokens + shift + j
        has = inside & (j < until)
        x = tl.load(token, mask=inside & (until >= 0), other=0)
    else:
        token = tokens + start + j
        has = inside & (start + j < LAST)
        x = tl.load(token, mask=has, other=0)
    x = x.to(IDS, bitcast=True).to(tl.int64)
    y = tl.load(token + 1, mask=has, other=0).to(IDS, bitcast=True).to(tl.int64)
    if ORDER >= 2:
        y = tl.where(has, y, NONE)
    if DOCS:
        if ORDER == 3:
            begins = tl.load(table + index * EACH + slot, mask=slot < start, other=T)
            begins, place = begins.to(tl.int32), (j - begin).to(tl.int64)
        else:
            document, place, begins = window_documents(
                start, j, has, slot, every, offsets, numbers, T, LAST, NUMBERED, WITHIN, STRIDE, K
            )
        tl.store(out + 2 * plane + at, document, mask=inside)
        tl.store(out + 3 * plane + at, place, mask=inside)
        if part == 0:
            _store_begins(cu, row, slot, begins, T, K)
    if TELL and part == 0:
        tl.store(sources + row, tl.load(about + index) >> 32)
    index += 1
    if index == TABLE:
        start = _draw(
            mine, g, table, about, stages, parts, kinds, slots, classes, short, long, totals, every,
            offsets, T, WIDE, M, n, A, B, R, ORDER, TABLE, SOURCES, STAGES, P, FEW, BITS, LANES,
            SEARCH
        )  # fmt: skip
        index *= 0
    elif ORDER != 3:
        start = tl.load(table + index)
    tl.debug_barrier()  # all warps read `mine` before one writes it, and have drawn
    if ORDER == 3:
        start = tl.load(about + index) & 0xFFFFFFFF
        few = tl.arange(0, 4 * FEW)
        first = tl.load(table + index * EACH + few // FEW * P + few % FEW, mask=few < NOW, other=0)
        tl.store(now + few, first, mask=few < NOW)
    tl.store(mine + ROW, g + WIDE)
    tl.store(mine + START, start)
    tl.store(mine + INDEX, index)
    tl.store(out + at, x, mask=inside)
    tl.store(out + plane + at, y, mask=inside)


@triton.jit
def _draw(
    mine, g, table, about, stages, parts, kinds, slots, classes, short, long, totals, every,
    offsets, T: tl.constexpr, WIDE: tl.constexpr, M: tl.constexpr, n: tl.constexpr,
    A: tl.constexpr, B: tl.constexpr, R: tl.constexpr, ORDER: tl.constexpr, TABLE: tl.constexpr,
    SOURCES: tl.constexpr, STAGES: tl.constexpr, P: tl.constexpr, FEW: tl.constexpr,
    BITS: tl.constexpr, LANES: tl.constexpr, SEARCH: tl.constexpr,
):  # fmt: skip
    """Draws the rows of TABLE steps after row g; returns where the first starts, of windows."""
    if (ORDER == 3) | (SOURCES > 1):
        tl.debug_barrier()  # all warps have read the tables
    steps = tl.arange(0, TABLE).to(tl.int64)  # or WIDE * steps wraps at 2^31
    rows = unsigned(g + WIDE * (1 + steps))
    source = steps * 0
    if SOURCES > 1:
        source, rows = source_of(rows, stages, STAGES, SOURCES)
        tl.store(about + steps, source << 32)
    key = unsigned(tl.load(mine + KEY))
    if ORDER == 3:
        dealing = unsigned(tl.load(mine + DEALING))
        draw_pieces(
            rows, key, dealing, source, parts, kinds, slots, classes, short, long, totals,
            every, offsets, table, about, about + TABLE, T, P, FEW, TABLE, BITS, LANES, SEARCH
        )  # fmt: skip
        start = g  # not read: the tables have it
    else:
        drawn = start_of(rows, key, source, parts, T, M, n, A, B, R, ORDER, SOURCES)
        tl.store(table + steps, drawn)
        start = tl.sum(tl.where(steps == 0, drawn, 0))
    return start


@triton.jit
def _store_begins(cu, row, slot, begins, T: tl.constexpr, K: tl.constexpr):
    """Writes where the pieces of a row begin, and after the last row where it ends."""
    tl.store(cu + row * K + slot, (row * T + begins).to(tl.int32), mask=slot < K)
    if row == tl.num_programs(0) - 1:
        tl.store(cu + (row + 1) * K, (row + 1) * T)


@triton.jit
def _pieces(j, now, table, count, P: tl.constexpr, FEW: tl.constexpr):
    """Returns the piece of each place of a row, with its shift and its document.

    `now` has the first FEW of the row, and most rows have no more: all begins load at once.
    """
    number = j * 0
    for i in tl.static_range(1, FEW):
        number += (tl.load(now + i).to(tl.int32) <= j).to(tl.int32)
    at = now + number
    piece, shift, document = tl.load(at), tl.load(at + FEW), tl.load(at + 2 * FEW)
    if count > FEW:
        number, step = j * 0, P
        while step > 1:  # the last that begins up to here, of WAYS in each round
            step, first = tl.cdiv(step, WAYS), number
            for i in tl.static_range(1, WAYS):
                probe = first + i * step
                begin = tl.load(table + probe, mask=probe < count, other=0).to(tl.int32)
                number += tl.where((probe < count) & (begin <= j), step, 0)
        at = table + number
        piece, shift, document = tl.load(at), tl.load(at + P), tl.load(at + 2 * P)
    return piece, shift, document
