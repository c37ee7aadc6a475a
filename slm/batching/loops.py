"""What do loops get? An end, a resume from a state, and a refusal of what goes wrong.

A DataLoader without batch_size=None stacks what it is given by `default_collate`, and accelerate
calls `set_epoch` of a dataset whose DataLoader it was given to prepare. Both hooks are documented
by their libraries, and both refuse here, in one line, what would train on other rows in silence.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch.utils.data._utils.collate import default_collate_fn_map

from slm.batching.sampling import VERSION, Plan, integer, integers, length
from slm.core.errors import UserError, check
from slm.core.formats import State


class Items(tuple):
    """What iteration yields: x, y and whatever was asked for; `default_collate` refuses it."""

    __slots__ = ()


def refuse_to_collate(batch: list, *, collate_fn_map: dict | None = None) -> NoReturn:
    """Raises UserError: a DataLoader would put batches into batches."""
    raise UserError(
        "this DataLoader would stack batches into batches of batches; pass it batch_size=None, "
        "since the batch_size of Batches says how many rows a batch has"
    )


default_collate_fn_map[Items] = refuse_to_collate


def refuse_to_prepare() -> NoReturn:
    """Raises UserError: accelerate would deal out batches that are dealt out already."""
    raise UserError(
        "set_epoch was called, as by a DataLoader that accelerate prepared: ranks would miss rows "
        "and a resume would skip a batch; prepare the model and the optimizer alone, and pass rank "
        "and world_size to Batches (accelerator.process_index and accelerator.num_processes)"
    )


def end(steps: int | None, plan: Plan, rows: int) -> int | None:
    """Returns the step at which iteration ends: `steps`, else all of "sequential", else None.

    `rows` are those of a step, over all ranks. Raises UserError if `steps` is no integer above 0,
    or more than "sequential" has.
    """
    whole = length(plan, rows) if plan.order == "sequential" else None
    if steps is None:
        return whole
    steps, *_ = integers(integer("steps", steps, 1), 1, rows, 0, 1)
    fits = whole is None or steps <= whole
    check(fits, f"steps is {steps}; order 'sequential' has {whole} here, so give at most {whole}")
    return steps


def outside_of_the_graph(batches: Any) -> tuple:
    """Returns the next batch where torch.compile traces the caller: the graph breaks here.

    Not by a decorator, which would import the compiler with this module, in a second.
    """
    return torch.compiler.disable(batches.get_batch)()


def check_state(here: Mapping, state: State) -> None:
    """Raises UserError, with both values, where a state is of other batches than `here`.

    Or of another slm.batching.sampling.VERSION.
    """
    a_dict = isinstance(state, Mapping)
    check(a_dict, f"the state is of {type(state).__name__}; give what state_dict() returned")
    for key, wanted in here.items():
        there = state.get(key)
        same = key in ("rows", "sampling") or there == wanted
        found = f"the state has {key} {there!r} and these batches have {wanted!r}"
        check(same, f"{found}; give the arguments and bins of the state's run, or begin a new one")
    there = state.get("sampling", 1)  # version 1 did not name itself
    check(
        there == VERSION,
        f"the state is of sampling {there!r} and this slm draws sampling {VERSION}; "
        "finish that run with the slm that began it, or begin a new one",
    )


def steps_done(state: State, per_step: int) -> int:
    """Returns the steps before a state; raises UserError unless its rows are those of steps."""
    rows = integer("rows of the state", state.get("rows"), 0)
    check(rows % per_step == 0, f"rows of the state is {rows}; it must be a multiple of {per_step}")
    return rows // per_step


def restored(kind: type, arguments: dict, state: State) -> Any:
    """Returns pickled batches in another process: opened again, at the same step."""
    batches = kind(**arguments)
    batches.load_state_dict(state)
    return batches
