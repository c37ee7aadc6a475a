"""What does the kernel look up? Tables of the rows of all sources, and its constants.

In: rows. Out: int64 tensors (documents int32 where they fit) as slm.batching.gpu.drawing reads
them, in numbers of the joint buffer, where the tokens and the documents of the sources lie end to
end; the constants that the kernel is compiled for; and the state of its programs before a step.
"""

from typing import NamedTuple

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
FAR = 2**62  # beyond any token


class Tables(NamedTuple):
    """(numbers,) each, in the order of the kernel's arguments."""

    stages: np.ndarray
    parts: np.ndarray
    kinds: np.ndarray
    slots: np.ndarray
    classes: np.ndarray
    short: np.ndarray
    long: np.ndarray
    totals: np.ndarray
    offsets: np.ndarray
    every: np.ndarray
    numbers: np.ndarray


NOTHING = np.zeros(1, np.int64)


def tables(rows: Rows) -> Tables:
    """Returns the tables of these rows; what the kernel does not read is NOTHING."""
    made = dict.fromkeys(Tables._fields, NOTHING)
    made["stages"] = _stages(rows)
    if rows.packed:
        made |= _packed(rows)
    else:
        made["parts"] = np.concatenate([_part(rows, i) for i in range(len(rows.splits))])
        made |= _documents(rows) if rows.documents else {}
    return Tables(**made)


def _stages(rows: Rows) -> np.ndarray:
    if rows.stages is None:
        return NOTHING
    parts = []
    for stage in rows.stages:
        total = int(stage.ends[-1])
        about = [stage.first, signed(stage.key), total, *network(total)[:3]]
        parts.append(np.array([*about, *stage.ends.tolist(), *stage.before.tolist()], np.int64))
    return np.concatenate(parts)


def _part(rows: Rows, i: int) -> np.ndarray:
    """Returns the columns that windows and "packed" share; the others are 0."""
    plan = rows.splits[i].plan
    span = plan.tokens - (plan.blocks * rows.size if plan.order == "shuffled" else rows.size)
    about = [plan.blocks, *network(plan.blocks)[:3], span, token_bases(rows)[i]]
    return np.array([*about, *[0] * 9], np.int64)


def _documents(rows: Rows) -> dict[str, np.ndarray]:
    """Returns where documents of windows begin, and the index of them."""
    indices, bases = [split.documents for split in rows.splits], token_bases(rows)
    many = np.cumsum([0, *(len(index.bounds) - 1 for index in indices)])
    bounds = [index.bounds[:-1] + base for index, base in zip(indices, bases, strict=True)]
    end = sum(len(split.ids) for split in rows.splits)
    borders = np.concatenate([*bounds, [end], np.full(rows.most + 1, FAR)])
    strides = np.arange(0, end, STRIDE)
    every = np.searchsorted(borders, strides, side="right") - 1
    own = [index.number(np.arange(len(index.bounds) - 1)) for index in indices]
    plain = len(own) == 1 and indices[0].numbers is None
    numbers = NOTHING if plain else _narrow(np.concatenate(own), int(many[-1]))
    return {"offsets": borders, "every": _narrow(every, int(many[-1])), "numbers": numbers}


def _narrow(array: np.ndarray, most: int) -> np.ndarray:
    return array.astype(np.int32 if most < 2**31 else np.int64)


def _packed(rows: Rows) -> dict[str, np.ndarray]:
    """Returns the plans of all sources, end to end."""
    every = [_plan(split) for split in rows.splits]
    sizes = {name: [len(plan[name]) for plan in every] for name in every[0]}
    first = {name: np.cumsum([0, *many]) for name, many in sizes.items()}  # of each source
    bases, parts = token_bases(rows), []
    for i, (split, plan) in enumerate(zip(rows.splits, every, strict=True)):
        plan["kinds"][:, 1] += first["slots"][i]
        plan["classes"][:, 0] += first["short"][i]
        plan["short"] += first["offsets"][i]
        plan["long"] += first["offsets"][i]
        plan["offsets"] += bases[i]
        part = _part(rows, i)
        part[4] = plan["totals"][-1]
        part[6:8] = first["kinds"][i], len(plan["kinds"]) - 1
        part[8:11] = first["totals"][i], first["long"][i], len(plan["long"])
        part[11:15] = first["classes"][i], first["offsets"][i], plan["offsets"][-1], 0
        part[14] = split.documents.follows
        parts.append(part)
    joint = {name: np.concatenate([plan[name] for plan in every]) for name in first}
    for name in ("short", "long"):
        joint[name] = _narrow(np.append(joint[name], 0), int(first["offsets"][-1]))
    return {"parts": np.concatenate(parts), **{name: a.ravel() for name, a in joint.items()}}


def _plan(split: Split) -> dict[str, np.ndarray]:
    """Returns the plan of one source, int64, as if it were the only one."""
    pack = split.plan.packing
    assert pack is not None
    lengths = pack.lengths.astype(np.int64)
    begins = np.cumsum(lengths) - lengths
    per_kind = np.diff(pack.first_slot)
    before = np.append(begins, lengths.sum())[pack.first_slot]
    gap, stream = np.append(pack.gap, 0), np.append(pack.stream, 0)
    used = np.append(np.diff(before), 0)
    counts = np.diff(pack.first)
    sizes = [network(int(n))[:3] if n else (1, 1, 0) for n in counts]
    made = {
        "kinds": np.stack([pack.first_row, pack.first_slot, gap, stream, used], 1),
        "slots": np.stack([lengths, pack.slots, begins - np.repeat(before[:-1], per_kind)], 1),
        "classes": np.column_stack([pack.first[:-1], counts, np.array(sizes)]),
        "short": pack.short,
        "long": pack.long,
        "totals": pack.totals,
        "offsets": split.documents.offsets.copy(),
    }
    return {name: array.astype(np.int64) for name, array in made.items()}


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
