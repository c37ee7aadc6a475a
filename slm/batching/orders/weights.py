"""Which weights does a mixture have? Read from what a caller wrote, or refused with the cure.

In: the names of the sources, and `weights` or `stages` by name. Out: the step from which each stage
is, and its weights, integers in the order of the names.
"""

import operator
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from math import gcd, lcm
from typing import Any

from slm.batching.orders.mixing import MOST_WEIGHT
from slm.batching.sampling import integer
from slm.core.errors import UserError, check

FINE, FINEST = 1000, MOST_WEIGHT  # sums that the nearest integers have, at most
FORM = "give weights={…} or stages=[(0, {…}), (step, {…})]"

Weights = Mapping[str, int]
Stages = list[tuple[int, Weights]]


def read_stages(
    names: list[str], weights: Weights | None, stages: Stages | None
) -> list[tuple[int, list[int]]]:
    """Returns (step, weights in the order of `names`) of each stage; raises UserError."""
    given = f"weights is {weights!r}, stages is {stages!r}"
    check((weights is None) != (stages is None), f"{given}; {FORM}")
    pairs: Any = [(0, weights)] if stages is None else stages
    fine = isinstance(pairs, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[1], Mapping)
        for pair in pairs
    )
    check(fine, f"{given}; {FORM}")
    made = [(integer("step of a stage", step, 0), _whole(names, each)) for step, each in pairs]
    steps = [step for step, _ in made]
    rising = all(one < other for one, other in pairwise(steps))
    check(steps[:1] == [0] and rising, f"stages begin at steps {steps}; they must ascend from 0")
    return made


def _whole(names: list[str], weights: Mapping) -> list[int]:
    """Returns the weights in the order of the names."""
    unknown = ", ".join(str(name) for name in weights if name not in names)
    check(not unknown, f"weights has {unknown}; bins has {', '.join(names)}")
    missing = ", ".join(name for name in names if name not in weights)
    check(not missing, f"weights has no {missing}; a source to leave out has weight 0")
    values = [weights[name] for name in names]
    try:
        found = [operator.index(value) for value in values]
    except TypeError:
        found = []
    fine = found and min(found) >= 0 and not any(isinstance(value, bool) for value in values)
    if not fine or not 0 < sum(found) <= MOST_WEIGHT:
        limits = f"they must be integers from 0 on with a sum in 1 … {MOST_WEIGHT}"
        raise UserError(f"weights is {dict(weights)!r}; {limits}{_nearest(names, values)}")
    return found


def _nearest(names: list[str], values: list) -> str:
    """Returns what to write instead, if that can be told."""
    try:
        parts = [Fraction(float(value)) for value in values]
        shares = [part / sum(parts) for part in parts]
    except (TypeError, ValueError, ArithmeticError):
        return ""
    if min(parts) < 0:
        return ""
    near = _integers(shares)
    return f"; the nearest are {dict(zip(names, near, strict=True))}"


def _integers(shares: list[Fraction]) -> list[int]:
    """Returns integers that are nearly in these shares, none 0 that is not 0."""
    near = [share.limit_denominator(FINE) for share in shares]
    wide = lcm(*(each.denominator for each in near))
    found = [int(each * wide) for each in near]
    if sum(found) > FINE or any(
        share and not own for share, own in zip(shares, found, strict=True)
    ):
        most = FINE if min(filter(None, shares)) * FINE > Fraction(1, 2) else FINEST
        wide = most - 2 * len(shares)  # as each may be rounded up
        found = [max(round(share * wide), share > 0) for share in shares]
    divisor = gcd(*found)
    return [each // divisor for each in found]
