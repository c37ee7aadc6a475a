"""What does the kernel look up? Tables of the rows of all sources.

In: rows. Out: int64 arrays (documents int32 where they fit) as slm.batching.gpu.drawing reads them,
in numbers of the joint buffer, where the tokens and the documents of the sources lie end to end.
"""

from typing import NamedTuple

import numpy as np

from slm.batching.device import token_bases
from slm.batching.gpu import drawing as columns
from slm.batching.gpu.windows import FAR
from slm.batching.orders.borders import Borders
from slm.batching.orders.packing import Packing
from slm.batching.orders.pieces import STRIDE
from slm.batching.orders.rows import Rows, Split
from slm.batching.sampling import span_of
from slm.core.counter import network, signed


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
    plan, part = rows.splits[i].plan, np.zeros(columns.COLUMNS, np.int64)
    part[columns.ROWS] = plan.blocks
    part[columns.HIGH], part[columns.WIDE], part[columns.ROUNDS], _ = network(plan.blocks)
    part[columns.SPAN] = span_of(plan)
    part[columns.TOKENS] = token_bases(rows)[i]
    return part


def _documents(rows: Rows) -> dict[str, np.ndarray]:
    """Returns where documents of windows begin, and the index of them."""
    indices, bases = [split.documents for split in rows.splits], token_bases(rows)
    bounds = [index.borders.bounds[:-1] + base for index, base in zip(indices, bases, strict=True)]
    end = sum(len(split.ids) for split in rows.splits)
    joint = Borders(np.concatenate([*bounds, [end]]), STRIDE)
    own = [index.number(np.arange(len(index.borders))) for index in indices]
    plain = len(own) == 1 and indices[0].numbers is None
    return {
        "offsets": np.append(joint.bounds, np.full(rows.most + 1, FAR.value)),
        "every": joint.every,
        "numbers": NOTHING if plain else _narrow(np.concatenate(own), len(joint)),
    }


def _narrow(array: np.ndarray, most: int) -> np.ndarray:
    return array.astype(np.int32 if most < 2**31 else np.int64)


def _packed(rows: Rows) -> dict[str, np.ndarray]:
    """Returns the plans of all sources, end to end."""
    plans = [_plan(split) for split in rows.splits]
    sizes = {name: [len(plan[name]) for plan in plans] for name in plans[0]}
    first = {name: np.cumsum([0, *many]) for name, many in sizes.items()}  # of each source
    bases, parts = token_bases(rows), []
    for i, (split, plan) in enumerate(zip(rows.splits, plans, strict=True)):
        plan["kinds"][:, 1] += first["slots"][i]
        plan["classes"][:, 0] += first["short"][i]
        plan["short"] += first["offsets"][i]
        plan["long"] += first["offsets"][i]
        plan["offsets"] += bases[i]
        part = _part(rows, i)
        part[columns.SPAN] = plan["totals"][-1]
        part[columns.KINDS], part[columns.MANY_KINDS] = first["kinds"][i], len(plan["kinds"]) - 1
        part[columns.LONG], part[columns.MANY_LONG] = first["long"][i], len(plan["long"])
        part[columns.TOTALS], part[columns.CLASSES] = first["totals"][i], first["classes"][i]
        part[columns.EVERY] = first["every"][i]
        part[columns.STRIDE] = _packing(split).stream_of.stride
        part[columns.DOCUMENTS], part[columns.END] = first["offsets"][i], plan["offsets"][-1]
        part[columns.FOLLOWS] = split.documents.follows
        parts.append(part)
    joint = {name: np.concatenate([plan[name] for plan in plans]) for name in first}
    for name in ("short", "long", "every"):
        joint[name] = _narrow(np.append(joint[name], 0), int(first["offsets"][-1]))
    return {"parts": np.concatenate(parts), **{name: a.ravel() for name, a in joint.items()}}


def _packing(split: Split) -> Packing:
    assert split.plan.packing is not None
    return split.plan.packing


def _plan(split: Split) -> dict[str, np.ndarray]:
    """Returns the plan of one source, int64, as if it were the only one."""
    pack = _packing(split)
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
        "totals": pack.stream_of.bounds,
        "every": pack.stream_of.every,
        "offsets": split.documents.offsets.copy(),
    }
    return {name: array.astype(np.int64) for name, array in made.items()}
