"""Which rows come next? Drawn in the kernel, for TABLE steps at once, a row per lane.

The tables are those of slm.batching.gpu.tables: all int64, all numbers of the joint buffer, where
the tokens, and the documents, of the sources lie end to end. What is drawn is what
slm.batching.sampling and slm.batching.orders say, bit for bit.
"""

import triton
import triton.language as tl

from slm.batching.gpu.numbers import below, permute, search, word

# Columns of the table of sources, of stages before their weights, of kinds, slots and classes.
ROWS, HIGH, WIDE, ROUNDS, SPAN, TOKENS, KINDS, MANY_KINDS = (tl.constexpr(i) for i in range(8))
TOTALS, LONG, MANY_LONG, CLASSES, DOCUMENTS, END, FOLLOWS = (tl.constexpr(i) for i in range(8, 15))
COLUMNS, STAGE, KIND, SLOT, CLASS = (tl.constexpr(i) for i in (15, 6, 5, 3, 5))


@triton.jit
def unsigned(number):
    return number.to(tl.uint64, bitcast=True)


@triton.jit
def signed(number):
    return number.to(tl.int64, bitcast=True)


@triton.jit
def source_of(g, stages, STAGES: tl.constexpr, SOURCES: tl.constexpr, MOST: tl.constexpr):
    """Returns the source, int64, and its row, uint64, of global rows, uint64."""
    stride = STAGE + 2 * SOURCES + 1
    stage = signed(g) * 0
    for i in tl.static_range(1, STAGES):
        stage += (signed(g) >= tl.load(stages + i * stride)).to(tl.int64)
    at = stages + stage * stride
    h = g - unsigned(tl.load(at))
    total = unsigned(tl.load(at + 2))
    block = h // total
    key = word(unsigned(tl.load(at + 1)), block)
    high, wide = unsigned(tl.load(at + 3)), unsigned(tl.load(at + 4))
    u = permute(key, h - block * total, total, high, wide, tl.load(at + 5), MOST, True)
    source = signed(g) * 0
    for i in tl.static_range(1, SOURCES):
        source += (u >= unsigned(tl.load(at + STAGE + i))).to(tl.int64)
    end = unsigned(tl.load(at + STAGE + source))
    weight = unsigned(tl.load(at + STAGE + source + 1)) - end
    before = unsigned(tl.load(at + STAGE + SOURCES + 1 + source))
    return source, before + block * weight + u - end


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
        x = permute(k, g - epoch * many, many, high, wide, rounds, R, EACH)
        start = below(word(k, k * 0), span) + x * T
    return start


@triton.jit
def draw_pieces(
    g, key, dealing, source, parts, kinds, slots, classes, short, long, totals, offsets, table,
    about, T: tl.constexpr, P: tl.constexpr, CHUNK: tl.constexpr, R: tl.constexpr,
    DEALT: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Writes the pieces of "packed" rows g, uint64, into tables of 3·P numbers from `table` on.

    Those are P times begin + (place from which there is no target << 32), P shifts from a place of
    the row to its token, and P documents. Unused pieces begin at T. Into `about` goes what a binary
    search begins with, half the least power of two that is no less than the pieces, and, in the
    upper half, the source.
    """
    mine = parts + source * COLUMNS
    many = unsigned(tl.load(mine + ROWS))
    high, wide = unsigned(tl.load(mine + HIGH)), unsigned(tl.load(mine + WIDE))
    epoch = g // many
    k = word(key, epoch)
    row = signed(permute(k, g - epoch * many, many, high, wide, tl.load(mine + ROUNDS), R, True))
    kind = kinds + tl.load(mine + KINDS) * KIND
    kind += (search(kind, tl.load(mine + MANY_KINDS), row, KIND, STEPS) - 1) * KIND
    copy = row - tl.load(kind)
    slot = slots + tl.load(kind + 1) * SLOT
    count = tl.load(kind + KIND + 1) - tl.load(kind + 1)
    d = word(dealing, epoch)
    first_class = classes + tl.load(mine + CLASSES) * CLASS
    c = tl.arange(0, CHUNK)
    for begin in range(0, tl.max(count), CHUNK):
        number = begin + c[None, :] + (count * 0)[:, None]
        inside = number < count[:, None]
        at = slot[:, None] + number * SLOT
        length = tl.load(at, mask=inside, other=0)
        of_length = first_class[:, None] + length * CLASS
        x = tl.where(inside, tl.load(at + 1, mask=inside, other=0) + copy[:, None], 0)
        n = unsigned(tl.load(of_length + 1, mask=inside, other=1))
        a = unsigned(tl.load(of_length + 2, mask=inside, other=1))
        b = unsigned(tl.load(of_length + 3, mask=inside, other=1))
        rounds = tl.load(of_length + 4, mask=inside, other=0)
        item = permute(
            word(d[:, None], unsigned(length)), unsigned(x), n, a, b, rounds, DEALT, True
        )
        item = signed(item) + tl.load(of_length, mask=inside, other=0)
        document = tl.load(short + item, mask=inside, other=0).to(tl.int64)
        start = tl.load(offsets + document, mask=inside, other=0)
        place = tl.load(at + 2, mask=inside, other=0)
        _store(table[:, None] + number, inside, place, length, start, document,
               mine[:, None], offsets, P)  # fmt: skip
    count = _draw_rest(
        k, kind, copy, count, mine, long, totals, offsets, table, c, T, P, CHUNK, STEPS
    )
    half = count * 0
    for i in tl.static_range(0, 31):
        half = tl.where(count > (1 << i), half * 0 + (1 << i), half)
    tl.store(about, half + (source << 32))


@triton.jit
def _draw_rest(
    k, kind, copy, count, mine, long, totals, offsets, table, c, T: tl.constexpr, P: tl.constexpr,
    CHUNK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Writes the pieces of long documents in the gaps, the padding, and what is unused."""
    gap, used, tokens = tl.load(kind + 2), tl.load(kind + 4), tl.load(mine + SPAN)
    begin = tl.load(kind + 3) + copy * gap
    amount = tl.minimum(tl.maximum(tokens - begin, 0), gap)
    at = begin + signed(below(word(k, k * 0), unsigned(tokens)))
    at = tl.where(at >= tokens, at - tokens, at)
    total, many = totals + tl.load(mine + TOTALS), tl.load(mine + MANY_LONG)
    some = amount > 0
    which = search(total, many + 1, at, 1, STEPS) - 1
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
    tl.store(table + count, used, mask=padding)
    tl.store(table + count + P, used * 0, mask=padding)
    tl.store(table + count + 2 * P, used * 0 - 1, mask=padding)
    count += padding.to(tl.int64)
    for i in range(0, P, CHUNK):
        number = i + c[None, :] + (count * 0)[:, None]
        unused = (number >= count[:, None]) & (number < P)
        tl.store(table[:, None] + number, number * 0 + T, mask=unused)
    return count


@triton.jit
def _store(at, mask, place, length, start, document, mine, offsets, P: tl.constexpr):
    end = tl.load(offsets + document + 1, mask=mask, other=0)
    follows = (tl.load(mine + FOLLOWS) > 0) & (end < tl.load(mine + END))
    end += follows.to(tl.int64)
    until = place + tl.minimum(length, end - 1 - start)
    tl.store(at, place + (until << 32), mask=mask)
    tl.store(at + P, start - place, mask=mask)
    tl.store(at + 2 * P, document - tl.load(mine + DOCUMENTS), mask=mask)
