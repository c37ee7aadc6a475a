"""What is the kernel compiled for, and what does it keep? Its constants, and its programs' state.

In: rows. Out: the constants, and before a step the state, (programs, numbers) int64: key, dealing
key, global row, start (of "packed" how many pieces) and place in the tables; the first
FEW pieces of the row; the tables of the next steps, of starts or of pieces
(slm.batching.gpu.drawing says how these are kept); for each step the source and how many
pieces there are; and four numbers per step of "packed" that are of use while pieces are drawn.
"""

import numpy as np
import torch
import triton
import triton.language as tl

from slm.batching.device import token_bases
from slm.batching.gpu.kernel import DEALING, FIRST, INDEX, KEY, ROW, START
from slm.batching.orders.borders import most_within
from slm.batching.orders.pieces import STRIDE, Pieces
from slm.batching.orders.rows import Rows, Split
from slm.batching.sampling import ORDERS, span_of
from slm.batching.tensors import NO_TARGET
from slm.core.counter import network, signed

LARGE = 2**19  # tokens per batch from which fewer, longer programs are faster (seen on an H200)
TABLE, PACKED_TABLE = 16, 128  # steps that a program draws at once
STATE_BYTES = 2**26  # of all programs, at most: fewer steps are drawn at once where rows are many
FEW = 16  # pieces of a row that are looked at without asking how many there are
LANES = 256  # pieces that are drawn together


def constants(rows: Rows, token_bytes: int, early: bool) -> dict:
    """Returns the constants that the kernel is compiled for, in the order of its arguments."""
    plan, size, sources = rows.splits[0].plan, rows.size, len(rows.splits)
    high, wide, *_ = network(plan.blocks)
    block = 512 if rows.batch_size * size <= LARGE else 1024  # tokens per program
    block = min(block, triton.next_power_of_2(size))
    plans = [split.plan for split in rows.splits]
    places, parts = places_of(rows), -(-size // block)
    steps = steps_at_once(rows, parts)
    windows = rows.documents and not rows.packed
    indices = [split.documents for split in rows.splits if windows and split.documents]
    return {
        "T": size,
        "WIDE": rows.per_step,
        "LAST": sum(one.tokens for one in plans) - 1,
        "M": span_of(plan),
        "n": plan.blocks,
        "A": high,
        "B": wide,
        "R": network(plan.blocks).rounds,
        "ORDER": ORDERS.index(plan.order),
        "IDS": tl.uint16 if token_bytes == 2 else tl.uint32,
        "NONE": NO_TARGET,
        "BLOCK": block,
        "TABLE": steps,
        "EARLY": early,
        "SOURCES": sources,
        "STAGES": len(rows.stages) if rows.stages else 1,
        "TELL": rows.tell_sources,
        "DOCS": rows.documents,
        "NUMBERED": sources > 1 or any(index.numbers is not None for index in indices),
        "WITHIN": max(
            (most_within(index.borders.bounds[1:], STRIDE) for index in indices), default=0
        ),
        "STRIDE": STRIDE,
        "K": rows.most,
        "P": places,
        "FEW": min(FEW, places),
        "BITS": steps.bit_length(),
        "LANES": LANES,
        "SEARCH": max(_bits(split) for split in rows.splits),
    }


def _bits(split: Split) -> int:
    """Returns the steps of the longest binary search."""
    pack = split.plan.packing
    return 0 if pack is None else len(pack.gap).bit_length() + 1


def words_per_step(rows: Rows) -> int:
    """Returns the numbers of a program's state for one of its next steps."""
    return 5 + 3 * places_of(rows) if rows.packed else 2


def places_of(rows: Rows) -> int:
    """Returns the pieces that a table has room for."""
    return max(2, triton.next_power_of_2(rows.most))


def steps_at_once(rows: Rows, parts: int) -> int:
    """Returns TABLE, or less where the state would take more than STATE_BYTES."""
    steps = PACKED_TABLE if rows.packed else TABLE
    each = 8 * rows.batch_size * parts * words_per_step(rows)
    while steps > 1 and steps * each > STATE_BYTES:
        steps //= 2
    return steps


def first_state(rows: Rows, step: int, parts: int) -> torch.Tensor:
    """Returns the programs' state before `step`, (batch_size·parts, numbers) int64."""
    steps, b = steps_at_once(rows, parts), rows.batch_size
    drawn, plan = rows.draw(step, steps), rows.splits[0].plan
    about = np.zeros((b, steps), np.int64)
    bases = token_bases(rows)
    base = np.repeat(bases[:1], steps * b) if drawn.sources is None else bases[drawn.sources]
    if rows.packed:
        table, about = _piece_table(rows, drawn.pieces, base, steps)
        few = min(FEW, table.shape[-1])
        start, now = about[:, 0], table[:, 0, :, :few].reshape(b, -1)
    else:
        table = (drawn.starts + base).reshape(steps, b).T
        start, now = table[:, 0], table[:, :0]
    if drawn.sources is not None:
        about = about + (drawn.sources.reshape(steps, b).T << 32)
    state = np.empty((b, FIRST), np.int64)
    state[:, KEY], state[:, DEALING] = signed(plan.key), signed(plan.dealing)
    state[:, ROW] = np.arange(b) + step * rows.per_step + rows.first
    state[:, START], state[:, INDEX] = start, 0
    scratch = np.zeros((b, 4 * steps if rows.packed else 0), np.int64)
    state = np.concatenate([state, now, table.reshape(b, -1), about, scratch], 1)
    return torch.from_numpy(state.repeat(parts, 0))


def _piece_table(rows: Rows, pieces: Pieces, base: np.ndarray, steps: int) -> tuple:
    """Returns the kernel's tables of the pieces of some steps, and how many there are.

    They are (batch_size, steps, 3, places) and (batch_size, steps) int64.
    """
    table = np.zeros((steps * rows.batch_size, 3, places_of(rows)), np.int64)
    table[:, 0] = rows.size
    real = pieces.document >= 0
    until = np.where(real, pieces.begin + pieces.targets, -1) << 32
    shift = np.where(real, pieces.start + base[pieces.row] - pieces.begin, 0)
    for i, values in enumerate((pieces.begin + until, shift, pieces.document)):
        table[pieces.row, i, pieces.number] = values
    shape = steps, rows.batch_size
    counts = np.bincount(pieces.row).reshape(shape)
    return table.reshape(*shape, 3, -1).swapaxes(0, 1), counts.T
