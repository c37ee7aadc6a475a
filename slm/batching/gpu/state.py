"""What is the kernel compiled for, and what does it keep? Its constants, and its programs' state.

In: rows. Out: the constants, and before a step the state, (programs, numbers) int64: key, dealing
key, global row, start and place in the tables; the tables of the next steps, of starts or of pieces
(slm.batching.gpu.drawing says how these are kept); and for each step the source and where a binary
search in its pieces begins.
"""

import numpy as np
import torch
import triton
import triton.language as tl

from slm.batching.device import token_bases
from slm.batching.gpu.kernel import FIRST
from slm.batching.orders.pieces import STRIDE, Pieces
from slm.batching.orders.rows import Rows, Split
from slm.batching.sampling import ORDERS
from slm.batching.tensors import NO_TARGET
from slm.core.counter import network, signed

LARGE = 2**19  # tokens per batch from which fewer, longer programs are faster (seen on an H200)
TABLE, PACKED_TABLE = 16, 64  # steps that a program draws at once
STATE_BYTES = 2**28  # of all programs, at most: fewer steps are drawn at once where rows are many
CHUNK = 8  # pieces of a row that are drawn together


def constants(rows: Rows, token_bytes: int, early: bool) -> dict:
    """Returns the constants that the kernel is compiled for, in the order of its arguments."""
    plan, size, sources = rows.splits[0].plan, rows.size, len(rows.splits)
    high, wide, *_ = network(plan.blocks)
    block = 512 if rows.batch_size * size <= LARGE else 1024  # tokens per program
    block = min(block, triton.next_power_of_2(size))
    plans = [split.plan for split in rows.splits]
    places = max(2, triton.next_power_of_2(rows.most))
    windows = rows.documents and not rows.packed
    indices = [split.documents for split in rows.splits if windows and split.documents]
    return {
        "T": size,
        "WIDE": rows.per_step,
        "LAST": sum(one.tokens for one in plans) - 1,
        "M": plan.tokens - (plan.blocks * size if plan.order == "shuffled" else size),
        "n": plan.blocks,
        "A": high,
        "B": wide,
        "R": max(network(one.blocks).rounds for one in plans),
        "ORDER": ORDERS.index(plan.order),
        "IDS": tl.uint16 if token_bytes == 2 else tl.uint32,
        "NONE": NO_TARGET,
        "BLOCK": block,
        "TABLE": steps_at_once(rows, -(-size // block)),
        "EARLY": early,
        "SOURCES": sources,
        "STAGES": len(rows.stages) if rows.stages else 1,
        "MIXING": max(
            (network(int(stage.ends[-1])).rounds for stage in rows.stages or ()), default=0
        ),
        "TELL": rows.tell_sources,
        "DOCS": rows.documents,
        "NUMBERED": sources > 1 or any(index.numbers is not None for index in indices),
        "WITHIN": max((_within(index.bounds) for index in indices), default=0),
        "STRIDE": STRIDE,
        "K": rows.most,
        "P": places,
        "CHUNK": min(CHUNK, places),
        "DEALT": max((_rounds_dealt(split) for split in rows.splits), default=0),
        "SEARCH": max(_bits(split) for split in rows.splits),
    }


def _within(bounds: np.ndarray) -> int:
    """Returns how many documents end, at most, between a token of the index and the next."""
    borders = bounds[1:]
    return int((np.searchsorted(borders, borders + STRIDE) - np.arange(len(borders))).max())


def _rounds_dealt(split: Split) -> int:
    if split.plan.packing is None:
        return 0
    return max((network(int(n)).rounds for n in np.diff(split.plan.packing.first) if n), default=2)


def _bits(split: Split) -> int:
    """Returns the steps of the longest binary search."""
    pack = split.plan.packing
    return 0 if pack is None else max(len(pack.gap), len(pack.totals)).bit_length() + 1


def words_per_step(rows: Rows) -> int:
    """Returns the numbers of a program's state for one of its next steps."""
    return 1 + (3 * max(2, triton.next_power_of_2(rows.most)) if rows.packed else 1)


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
    drawn = rows.draw(step, steps)
    each = words_per_step(rows) - 1
    state = np.zeros((b, FIRST + steps * (each + 1)), np.int64)
    state[:, :2] = signed(rows.splits[0].plan.key), signed(rows.splits[0].plan.dealing)
    state[:, 2] = np.arange(b) + step * rows.per_step + rows.first
    table, about = np.zeros((b, steps, each), np.int64), np.zeros((b, steps), np.int64)
    bases = token_bases(rows)
    base = np.repeat(bases[:1], steps * b) if drawn.sources is None else bases[drawn.sources]
    if rows.packed:
        table[:], about[:] = _piece_table(rows, drawn.pieces, base, each // 3, steps)
    else:
        table[:, :, 0] = (drawn.starts + base).reshape(steps, b).T
    if drawn.sources is not None:
        about += drawn.sources.reshape(steps, b).T << 32
    state[:, 3] = 0 if rows.packed else table[:, 0, 0]
    state[:, FIRST:] = np.concatenate([table.reshape(b, -1), about], 1)
    return torch.from_numpy(state.repeat(parts, 0))


def _piece_table(rows: Rows, pieces: Pieces, base: np.ndarray, places: int, steps: int) -> tuple:
    """Returns the kernel's tables of pieces of some steps, and what searches in them begin with.

    They are (batch_size, steps, 3·places) and (batch_size, steps) int64.
    """
    table = np.zeros((steps * rows.batch_size, 3, places), np.int64)
    table[:, 0] = rows.size
    real = pieces.document >= 0
    until = np.where(real, pieces.begin + pieces.targets, 0) << 32
    shift = np.where(real, pieces.start + base[pieces.row] - pieces.begin, 0)
    for i, values in enumerate((pieces.begin + until, shift, pieces.document)):
        table[pieces.row, i, pieces.number] = values
    counts = np.bincount(pieces.row)
    half = np.where(counts > 1, 1 << np.log2(np.maximum(counts - 1, 1)).astype(np.int64), 0)
    shape = steps, rows.batch_size
    return table.reshape(*shape, -1).transpose(1, 0, 2), half.reshape(shape).T
