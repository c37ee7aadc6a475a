"""Which tokens are in batch i? Pure functions of integers: no state, no I/O, no index arrays.

A split has N tokens; a row has T inputs, and its targets are the tokens one further on. Row `row`
of rank `rank` in step `step` is the global row g = step·b·world_size + rank·b + row, b =
batch_size. The start of row g follows from order, seed, N, T and g alone. With `word`, `below` and
the permutation p of slm.core.counter, defined there bit for bit:

    random      below(word(word(seed, 0), g), N − T): with replacement
    shuffled    n = max(1, (N − T) // T) blocks per epoch, e = g // n, k = word(word(seed, 1), e):
                below(word(k, 0), N − n·T) + T·p(k, g mod n, n); a batch may straddle epochs
    sequential  T·min(g, n), n = ceil((N − 1) / T): rows from n on have no target
    packed      has no start but pieces: slm.batching.orders.packing and .pieces

The inverse, which row has token t, is slm.batching.coverage.
"""

import operator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from slm.batching.orders.packing import Packing, packing
from slm.core.counter import LARGEST, below, permute, round_keys, word
from slm.core.errors import check

ORDERS = ("random", "shuffled", "sequential", "packed")
LONGEST = 2**31 - 1  # tokens of a row
VERSION = 2  # of all this; a state names it, and a change of any start is another


class Plan(NamedTuple):
    """An order over a split; `plan` makes and checks it."""

    order: str
    seed: int
    tokens: int  # N
    block_size: int  # T
    blocks: int  # n; "random" does not use it
    key: int  # word(seed, 0), for "shuffled" word(seed, 1), for "packed" word(seed, 2)
    packing: Packing | None = None  # of "packed"

    @property
    def dealing(self) -> int:
        """word(seed, 3), from which "packed" deals documents."""
        return int(word(self.seed, np.array([3], np.uint64))[0])


def plan(
    order: str, seed: int, tokens: int, block_size: int, offsets: np.ndarray | None = None
) -> Plan:
    """Returns the plan; raises UserError if an argument is out of range.

    `tokens` is the length of the split, `block_size` the tokens of a row; "packed" needs `offsets`,
    the (documents + 1,) running totals of the documents' tokens.
    """
    check(order in ORDERS, f"order is {order!r}; it must be one of {', '.join(ORDERS)}")
    seed = integer("seed", seed, 0, 2**64 - 1)
    block_size = integer("block_size", block_size, 1, LONGEST)
    if order == "packed":
        return _packed(seed, tokens, block_size, offsets)
    check(
        block_size < tokens <= LARGEST,
        f"a row of {block_size} needs {block_size + 1} tokens and the data has {tokens}; "
        "choose a smaller block_size or more data",
    )
    blocks = max(1, (tokens - block_size) // block_size)
    if order == "sequential":
        blocks = -(-(tokens - 1) // block_size)
    key = word(seed, np.array([order == "shuffled"], np.uint64))
    return Plan(order, seed, tokens, block_size, blocks, int(key[0]))


def _packed(seed: int, tokens: int, block_size: int, offsets: np.ndarray | None) -> Plan:
    check(0 < tokens <= LARGEST, f"rows need a token and the data has {tokens}; choose more data")
    fits = block_size <= max(tokens, 2**20)
    check(fits, f"a row of {block_size} and the data has {tokens}; choose a smaller block_size")
    if offsets is None:
        raise TypeError("order 'packed' needs the offsets of the documents")
    key = int(word(seed, np.array([2], np.uint64))[0])
    packed = packing(offsets, block_size)
    return Plan("packed", seed, tokens, block_size, packed.rows, key, packed)


def starts(
    plan: Plan, step: int, batch_size: int, rank: int = 0, world_size: int = 1, steps: int = 1
) -> np.ndarray:
    """Returns the starts of steps step … step + steps - 1, (steps, batch_size) int64."""
    numbers = integers(step, steps, batch_size, rank, world_size)
    return starts_of(plan, row_numbers(*numbers)).reshape(-1, batch_size)


def row_numbers(step: int, steps: int, batch_size: int, rank: int, world_size: int) -> np.ndarray:
    """Returns the global rows of steps step … step + steps - 1, (steps·batch_size,) uint64."""
    first = np.arange(step, step + steps, dtype=np.uint64) * np.uint64(batch_size * world_size)
    own = np.arange(rank * batch_size, (rank + 1) * batch_size, dtype=np.uint64)
    return (first[:, None] + own).ravel()


def starts_of(plan: Plan, rows):
    """Returns the starts, (rows,) int64, of global rows: a uint64 array or an int64 tensor."""
    if plan.order == "random":
        drawn = below(word(plan.key, rows), span_of(plan))
    elif plan.order == "sequential":
        drawn = rows.clip(max=plan.blocks) * plan.block_size
    elif isinstance(rows, np.ndarray) and rows.size and (epoch := _only_epoch(plan, rows)) >= 0:
        positions = rows - np.uint64(epoch * plan.blocks)  # without a division per row
        drawn = _block_starts(plan, positions, *_one_epoch(plan, epoch))
    else:
        epochs = rows // plan.blocks
        drawn = _block_starts(plan, rows - epochs * plan.blocks, *epoch_keys(plan, epochs))
    return drawn.view(np.int64) if isinstance(drawn, np.ndarray) else drawn


def span_of(plan: Plan) -> int:
    """Returns how many starts a row of "random" may have, or offsets an epoch of "shuffled"."""
    return plan.tokens - plan.block_size * (plan.blocks if plan.order == "shuffled" else 1)


def targets(plan: Plan, starts):
    """Returns the targets of rows with these int64 starts: T, or fewer at the end."""
    return (plan.tokens - 1 - starts).clip(0, plan.block_size)


def length(plan: Plan, batch_size: int, world_size: int = 1) -> int:
    """Returns the steps of an epoch of "shuffled", and of all of "sequential"."""
    return -(-plan.blocks // (batch_size * world_size))


def epoch_keys(plan: Plan, epochs) -> tuple:
    """Returns the offset and the round keys of each of these epochs of "shuffled"."""
    keys = word(plan.key, epochs)
    offsets = below(word(keys, epochs * 0), span_of(plan))
    return offsets, round_keys(keys, plan.blocks)


def _only_epoch(plan: Plan, rows: np.ndarray) -> int:
    """Returns the epoch of these rows, or -1 if they are of more than one."""
    first, last = int(rows.min()) // plan.blocks, int(rows.max()) // plan.blocks
    return first if first == last else -1


@lru_cache(maxsize=16)
def _one_epoch(plan: Plan, epoch: int) -> tuple:
    """Returns the same of one epoch, without dimension."""
    offset, keys = epoch_keys(plan, np.array([epoch], np.uint64))
    return offset.reshape(()), [key.reshape(()) for key in keys]


def _block_starts(plan: Plan, positions, offsets, keys: list):
    return permute(keys, positions, plan.blocks) * plan.block_size + offsets


def integer(name: str, value: object, least: int, most: int = 2**64) -> int:
    """Returns `value`, also NumPy's, as an int; raises UserError if it is none in least … most."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    limits = f"at least {least}" if most == 2**64 else f"in {least} … {most}"
    fits = not isinstance(value, bool) and least <= number <= most
    check(fits, f"{name} is {value!r}; it must be an integer, {limits}")
    return number


def integers(
    step: int, steps: int, batch_size: int, rank: int, world_size: int
) -> tuple[int, int, int, int, int]:
    """Returns these as ints; raises UserError if there are no such rows."""
    step, steps = integer("step", step, 0), integer("steps", steps, 1)
    batch_size = integer("batch_size", batch_size, 1)
    world_size = integer("world_size", world_size, 1)
    rank = integer("rank", rank, 0, world_size - 1)
    last = (step + steps) * batch_size * world_size
    check(last <= LARGEST, f"step is {step}; rows are counted up to 2^62 and this makes {last}")
    return step, steps, batch_size, rank, world_size
