"""How often may a source be gone through? `max_epochs` of a mixture.

In: epochs by name, the splits and stages. Out: a Cap, the first step that would pass one of them.
"""

from collections.abc import Mapping
from typing import NamedTuple

from slm.batching.orders.mixing import Stage, rows_of
from slm.batching.orders.rows import Split
from slm.core.counter import LARGEST
from slm.core.errors import UserError, check


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
    caps = [
        Cap(first_beyond(_most(name, epochs, splits), list(splits).index(name), stages, per_step),
            name, epochs)
        for name, epochs in (max_epochs or {}).items()
    ]  # fmt: skip
    if not caps:
        return None
    cap = min(caps)
    if steps is not None:
        check(
            steps <= cap.step,
            f"max_epochs of {cap.source} is {cap.epochs:g} and steps is {steps}; it is passed in "
            f"step {cap.step}: give at most {cap.step} steps, or {cap.source} a smaller weight",
        )
    return cap


def _most(name: str, epochs: object, splits: dict[str, Split]) -> int:
    """Returns the rows of so many epochs of a source."""
    check(name in splits, f"max_epochs has {name}; bins has {', '.join(splits)}")
    fine = isinstance(epochs, int | float) and not isinstance(epochs, bool)
    if not fine or not epochs > 0:  # type: ignore[operator]
        raise UserError(f"max_epochs of {name} is {epochs!r}; it must be a number above 0")
    return int(epochs * splits[name].plan.blocks)  # type: ignore[operator]


def first_beyond(most: int, source: int, stages: list[Stage], per_step: int) -> int:
    """Returns the first step after which a source has had more than `most` rows."""
    low, high = 0, LARGEST // per_step - 1
    while low < high:  # the rows of a source never become fewer
        middle = (low + high) // 2
        if int(rows_of(stages, (middle + 1) * per_step)[source]) > most:
            high = middle
        else:
            low = middle + 1
    return low
