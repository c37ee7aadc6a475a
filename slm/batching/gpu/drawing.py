"""Which rows come next? Drawn in the kernel, for TABLE steps at once, a row per lane.

The tables are those of slm.batching.gpu.tables: all int64, all numbers of the joint buffer, where
the tokens, and the documents, of the sources lie end to end. What is drawn is what
slm.batching.sampling and slm.batching.orders say, bit for bit.
"""

import triton
import triton.language as tl

from slm.batching.gpu.numbers import below, permute, permute_each, search, signed, unsigned, word

# Columns of the tables of sources, and of kinds, slots and classes.
ROWS, HIGH, WIDE, ROUNDS, SPAN, TOKENS, KINDS, MANY_KINDS = (tl.constexpr(i) for i in range(8))
TOTALS, EVERY, STRIDE, LONG, MANY_LONG = (tl.constexpr(i) for i in range(8, 13))
CLASSES, DOCUMENTS, END, FOLLOWS = (tl.constexpr(i) for i in range(13, 17))
COLUMNS, KIND, SLOT, CLASS = (tl.constexpr(i) for i in (17, 5, 3, 5))


@triton.jit
def start_of(
    g, key, source, parts, T: tl.constexpr, M: tl.constexpr, n: tl.constexpr, A: tl.constexpr,
    B: tl.constexpr, R: tl.constexpr, ORDER: tl.constexpr, SOURCES: tl.constexpr,
):  # fmt: skip
    """Returns where windows start, int64; of one source the sizes are constants."""
    if SOURCES > 1:
        mine = parts + source * COLUMNS
        span, many = unsigned(tl.load(mine + SPAN)), unsigned(tl.load(mine + ROWS))
        high, wide = unsigned(tl.load(mine + HIGH)), unsigned(tl.load(mine + WIDE))
        rounds = tl.load(mine + ROUNDS)
        start = _start(g, key, span, many, high, wide, rounds, T, R, ORDER, True)
        start += unsigned(tl.load(mine + TOKENS))
    elif ORDER == 2:
        start = tl.minimum(g, g * 0 + n) * T
    else:
        start = _start(g, key, M, n, A, B, R, T, R, ORDER, False)
    return signed(start)


@triton.jit
def _start(
    g, key, span, many, high, wide, rounds, T: tl.constexpr, R: tl.constexpr, ORDER: tl.constexpr,
    EACH: tl.constexpr,
):  # fmt: skip
    if ORDER == 0:
        start = below(word(key, g), span)
    else:
        epoch = g // many
        k = word(key, epoch)
        if EACH:
            x = permute_each(k, g - epoch * many, many, high, wide, rounds)
        else:
            x = permute(k, g - epoch * many, many, high, wide, R)
        start = below(word(k, k * 0), span) + x * T
    return start


@triton.jit
def draw_pieces(
    g, key, dealing, source, parts, kinds, slots, classes, short, long, totals, every, offsets,
    tables, about, scratch, T: tl.constexpr, P: tl.constexpr, FEW: tl.constexpr,
    TABLE: tl.constexpr, BITS: tl.constexpr, LANES: tl.constexpr, SEARCH: tl.constexpr,
):  # fmt: skip
    """Writes the pieces of TABLE "packed" rows g, uint64, a table of 3·P numbers each.

    Those are P times begin + (place from which there is no target << 32), with -1 for that place in
    padding; P shifts from a place of the row to its token; and P documents. Of what is unused, the
    first FEW begin at T. Into `about` goes how many there are, and, in the upper half, the source.
    """
    step = tl.arange(0, TABLE)
    table, mine = tables + step * (3 * P), parts + source * COLUMNS
    many = unsigned(tl.load(mine + ROWS))
    high, wide = unsigned(tl.load(mine + HIGH)), unsigned(tl.load(mine + WIDE))
    epoch = g // many
    k = word(key, epoch)
    row = signed(permute_each(k, g - epoch * many, many, high, wide, tl.load(mine + ROUNDS)))
    kind = kinds + tl.load(mine + KINDS) * KIND
    kind += (search(kind, tl.load(mine + MANY_KINDS), row, KIND, SEARCH) - 1) * KIND
    copy = row - tl.load(kind)
    slot = tl.load(kind + 1)
    count = tl.load(kind + KIND + 1) - slot
    # What a piece needs of its row, so that pieces of all rows can be drawn side by side.
    tl.store(scratch + step, tl.cumsum(count, 0))
    tl.store(scratch + TABLE + step, slot)
    tl.store(scratch + 2 * TABLE + step, copy)
    tl.store(scratch + 3 * TABLE + step, signed(word(dealing, epoch)))
    tl.debug_barrier()
    for begin in range(0, tl.sum(count), LANES):
        _deal(begin + tl.arange(0, LANES), tl.sum(count), parts, slots, classes, short, offsets,
              tables, about, scratch, P, TABLE, BITS)  # fmt: skip
    count = _draw_rest(k, kind, copy, count, mine, long, totals, every, offsets, table, T, P, FEW)
    tl.store(about + step, count + (source << 32))


@triton.jit
def _deal(
    at, all_, parts, slots, classes, short, offsets, tables, about, scratch, P: tl.constexpr,
    TABLE: tl.constexpr, BITS: tl.constexpr,
):  # fmt: skip
    """Writes pieces `at` of those of all rows: which document of its length is in a slot."""
    inside = at < all_
    at = tl.where(inside, at, 0).to(tl.int64)
    step = search(scratch, at * 0 + TABLE, at, 1, BITS)
    number = at - tl.load(scratch + step - 1, mask=step > 0, other=0)
    slot = slots + (tl.load(scratch + TABLE + step) + number) * SLOT
    copy = tl.load(scratch + 2 * TABLE + step)
    dealing = unsigned(tl.load(scratch + 3 * TABLE + step))
    mine = parts + (tl.load(about + step) >> 32) * COLUMNS
    length = tl.load(slot)
    of_length = classes + (tl.load(mine + CLASSES) + length) * CLASS
    x = unsigned(tl.load(slot + 1) + copy)
    n, a = unsigned(tl.load(of_length + 1)), unsigned(tl.load(of_length + 2))
    b, rounds = unsigned(tl.load(of_length + 3)), tl.load(of_length + 4)
    item = permute_each(word(dealing, unsigned(length)), x, n, a, b, rounds)
    document = tl.load(short + tl.load(of_length) + signed(item)).to(tl.int64)
    place, start = tl.load(slot + 2), tl.load(offsets + document)
    _store(
        tables + step * (3 * P) + number, inside, place, length, start, document, mine, offsets, P
    )


@triton.jit
def _draw_rest(
    k, kind, copy, count, mine, long, totals, every, offsets, table, T: tl.constexpr,
    P: tl.constexpr, FEW: tl.constexpr,
):  # fmt: skip
    """Writes the pieces of long documents in the gaps, the padding, and what is unused."""
    gap, used, tokens = tl.load(kind + 2), tl.load(kind + 4), tl.load(mine + SPAN)
    begin = tl.load(kind + 3) + copy * gap
    amount = tl.minimum(tl.maximum(tokens - begin, 0), gap)
    at = begin + signed(below(word(k, k * 0), unsigned(tokens)))
    at = tl.where(at >= tokens, at - tokens, at)
    total, many = totals + tl.load(mine + TOTALS), tl.load(mine + MANY_LONG)
    some = amount > 0
    which = _border(at, some, total, every + tl.load(mine + EVERY), tl.load(mine + STRIDE))
    own = tl.load(total + which, mask=some, other=0)
    first = tl.minimum(amount, tl.load(total + which + 1, mask=some, other=0) - at)
    longs = long + tl.load(mine + LONG)
    document = tl.load(longs + which, mask=some, other=0).to(tl.int64)
    start = tl.load(offsets + document, mask=some, other=0) + at - own
    _store(table + count, some, used, first, start, document, mine, offsets, P)
    more = some & (first < amount)
    following = tl.where(which + 1 == many, 0, which + 1)
    document = tl.load(longs + following, mask=more, other=0).to(tl.int64)
    start = tl.load(offsets + document, mask=more, other=0)
    count += some.to(tl.int64)
    _store(table + count, more, used + first, amount - first, start, document, mine, offsets, P)
    count += more.to(tl.int64)
    used += amount
    padding = used < T
    tl.store(table + count, used + (tl.full([1], -1, tl.int64) << 32), mask=padding)
    tl.store(table + count + P, used * 0, mask=padding)
    tl.store(table + count + 2 * P, used * 0 - 1, mask=padding)
    count += padding.to(tl.int64)
    for i in tl.static_range(0, FEW):
        tl.store(table + i, used * 0 + T, mask=i >= count)
    return count


@triton.jit
def _border(at, mask, bounds, every, stride):
    """Returns Borders.of(at) of slm.batching.orders.borders, a few loads in place of a search."""
    which = tl.load(every + at // stride, mask=mask, other=0).to(tl.int64)
    later = mask & (tl.load(bounds + which + 1, mask=mask, other=0) <= at)
    while tl.max(later.to(tl.int32)) > 0:
        which += later.to(tl.int64)
        later = mask & (tl.load(bounds + which + 1, mask=mask, other=0) <= at)
    return which


@triton.jit
def _store(at, mask, place, length, start, document, mine, offsets, P: tl.constexpr):
    end = tl.load(offsets + document + 1, mask=mask, other=0)
    follows = (tl.load(mine + FOLLOWS) > 0) & (end < tl.load(mine + END))
    end += follows.to(tl.int64)
    until = place + tl.minimum(length, end - 1 - start)
    tl.store(at, place + (until << 32), mask=mask)
    tl.store(at + P, start - place, mask=mask)
    tl.store(at + 2 * P, document - tl.load(mine + DOCUMENTS), mask=mask)
