"""What did each step of a selection take, and what did it leave? For the manifest.

In: the counts of documents, tokens and bytes by what became of them. Out: the steps that were asked
for, in their order, each with what it took and what it left of a split, end-of-text not counted.
"""

from typing import Any

import numpy as np

from slm.bins.manifest import Taken
from slm.bins.writing.pieces import Counts
from slm.selection.files import OUTCOMES, Selection
from slm.selection.wanted import TRAIN


def taken(selection: Selection, counts: dict[str, Counts]) -> dict[str, Taken]:
    """Returns `selection` of the manifest under that name, or nothing where all was taken."""
    if not selection["select"]:
        return {}
    words = {s: part["words"] for s, part in selection["splits"].items() if "words" in part}
    made: Taken = {"select": selection["select"], "steps": steps(selection, counts), "words": words}
    return {"selection": made}


def steps(selection: Selection, counts: dict[str, Counts]) -> list[dict[str, Any]]:
    """Returns the steps; `counts` has those of every split of the bins."""
    select, splits = selection["select"], selection["splits"]
    asked = [OUTCOMES.index(name) for name in OUTCOMES[1:] if name in select.get("drop", [])]
    chains, begun = list[dict[str, Any]](), dict[str, np.ndarray]()
    for split, count in counts.items():
        first = [OUTCOMES.index("first")] if "first" in select and split == TRAIN else []
        leaks = OUTCOMES.index("leaked")
        own = [reason for reason in asked + first if reason != leaks or split == TRAIN]
        left = count.of[0] + sum(count.of[reason] for reason in own)
        begun[split] = left
        if select.get("repair"):
            before, after = count.repaired
            begun[split] = left - after + before
            chains.append(_step("repair", split, before, left) | {"gave": _amount(after)})
        for reason in own:
            left = left - count.of[reason]
            chains.append(_step(OUTCOMES[reason], split, count.of[reason], left))
    held = [split for split, part in splits.items() if part["source"] != split]
    made = [_step("holdout", TRAIN, begun[s], begun[TRAIN]) | {"into": s} for s in held]
    return [*made, *chains]


def _step(step: str, split: str, took: np.ndarray, left: np.ndarray) -> dict[str, Any]:
    return {"step": step, "split": split, "took": _amount(took), "left": _amount(left)}


def _amount(counted: np.ndarray) -> dict[str, int]:
    documents, tokens, text_bytes = counted.tolist()
    return {"documents": documents, "bytes": text_bytes, "tokens": tokens}
