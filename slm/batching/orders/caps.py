"""How often may a source be gone through? `max_epochs` of a mixture.

In: epochs by name, the splits and stages. Out: a Cap, the first step that would pass one of them.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

import numpy as np

from slm.batching.orders.mixing import Stage, rows_of
from slm.batching.orders.rows import Split
from slm.core.counter import LARGEST
from slm.core.errors import check


class Cap(NamedTuple):
    """The first step that has more of a source than is allowed."""

    step: int
    source: str
    epochs: float


def cap_of(
    max_epochs: Mapping[str, float] | None,
    splits: dict[str, Split],
    stages: list[Stage],
    per_step: int,
    steps: int | None,
) -> Cap | None:
    """Returns the first cap that is met, or None; raises UserError if `steps` would pass it."""
    check(
        max_epochs is None or isinstance(max_epochs, Mapping),
        f"max_epochs is {max_epochs!r}; it must be a number for some of the sources, by name",
    )
    caps = [
        Cap(first_beyond(_most(name, epochs, splits), list(splits).index(name), stages, per_step),
            name, epochs)
        for name, epochs in (max_epochs or {}).items()
    ]  # fmt: skip
    if not caps:
        return None
    cap = min(caps)
    wrong = f"max_epochs of {cap.source} is {cap.epochs:g}"
    check(
        cap.step > 0,
        f"{wrong}, and the first step has more of it; raise it, or give {cap.source} less weight",
    )
    check(
        steps is None or steps <= cap.step,
        f"{wrong} and steps is {steps}; it is passed in step {cap.step}: give at most {cap.step} "
        f"steps, or {cap.source} less weight",
    )
    return cap


def _most(name: str, epochs: Any, splits: dict[str, Split]) -> int:
    """Returns the rows of so many epochs of a source."""
    check(name in splits, f"max_epochs has {name}; bins has {', '.join(splits)}")
    number = isinstance(epochs, int | float | np.integer | np.floating)
    fine = number and not isinstance(epochs, bool) and 0 < epochs <= LARGEST
    check(fine, f"max_epochs of {name} is {epochs!r}; it must be a number above 0")
    exact = Fraction(float(epochs)).limit_denominator(10**6)  # 0.29 of 100 rows are 29
    return floor(exact * splits[name].plan.blocks)


def first_beyond(most: int, source: int, stages: list[Stage], per_step: int) -> int:
    """Returns the first step after which a source has had more than `most` rows.

    That is the first step that cannot be numbered, if none has.
    """
    low, high = 0, LARGEST // per_step
    while low < high:  # the rows of a source never become fewer
        middle = (low + high) // 2
        if int(rows_of(stages, (middle + 1) * per_step)[source]) > most:
            high = middle
        else:
            low = middle + 1
    return low
