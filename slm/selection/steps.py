"""Which documents go where, in which order? The steps of a selection, one after the other.

In: raw/, facts/, and what params.yaml asks for. Out: selection/ (slm.selection.files). The order
of the steps is holdout, repair, drop, shuffle, first, whatever the order of the keys:

    drop     empty: of zero bytes; duplicates: all copies in a split but the first in source order;
             leaked: documents of train whose text stands in another split too. A document has the
             first of these reasons that fits. Repaired documents count as they are now
    shuffle  of n documents of train, the document in place p(word(s, 0), i, n) of source order
             comes i-th, s = shuffle, with `word` and the permutation p of slm.core.counter
    first    so many documents of train, in that order

Memory reaches about 160 bytes per document of the source.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slm.core.counter import round_keys, unpermute, word
from slm.core.errors import check
from slm.core.files import write_hashed
from slm.core.formats import FileEntry
from slm.selection.copies import in_other, numbered, repeated
from slm.selection.facts import bit, read_facts
from slm.selection.faults import texts_at
from slm.selection.files import CUT, HELD, OUTCOMES, Part, Selection, all_in_order, write_selection
from slm.selection.holdout import cut_text, held_out
from slm.selection.own_texts import write_texts
from slm.selection.repair import repaired
from slm.selection.wanted import TRAIN, Holdout, Wanted, as_entry
from slm.text.raw import read_source

STEP = 2**18  # documents whose places are computed at a time
FIRST = OUTCOMES.index("first")


class Side(NamedTuple):
    """A split of the bins on its way."""

    source: str  # the split of the source
    rows: np.ndarray  # (documents,) int64, ascending: rows of the source
    facts: np.ndarray  # (documents,) FACTS, of the text that a document has by now
    files: dict[str, FileEntry]  # of texts that differ from the source's
    is_cut: bool = False  # it is a part of the only document


def select(wanted: Wanted, raw: Path, facts: Path, out: Path) -> Selection:
    """Fills the empty folder `out` with the selection; returns it.

    Raises UserError if a step leaves a split empty, and if a file of `facts` is missing or corrupt.
    """
    splits = list(read_source(raw)["splits"])
    selection = all_in_order(splits)
    if wanted != Wanted():
        sides = {s: Side(s, np.arange(len(f)), f, {}) for s, f in read_facts(facts).items()}
        selection["select"] = as_entry(wanted)
        selection |= _taken(sides, wanted, raw, out)  # type: ignore[typeddict-item]
    write_selection(out, selection)
    return selection


def _taken(sides: dict[str, Side], wanted: Wanted, raw: Path, out: Path) -> dict[str, Any]:
    """Takes the steps; returns `splits` and `files` of the selection."""
    before = {split: len(side.rows) for split, side in sides.items()}
    if wanted.holdout:
        sides = _hold_out(sides, wanted.holdout, raw, out)
        _refuse_empty({split: len(side.rows) for split, side in sides.items()}, before, "holdout")
    if wanted.repair:
        sides = {split: _repair(split, side, raw, out) for split, side in sides.items()}
    reasons = dropped({split: side.facts for split, side in sides.items()}, wanted.drop)
    places = None
    if TRAIN in reasons:
        places = order(reasons[TRAIN], wanted.shuffle, wanted.first)
    left = {split: int(np.count_nonzero(own == 0)) for split, own in reasons.items()}
    _refuse_empty(left, before, "drop")
    files = _write(sides, reasons, places, out)
    made = {s: _part(side, reasons[s]) for s, side in sides.items()}
    as_they_are = {s for s, n in before.items() if left[s] == n and f"{s}.places" not in files}
    made |= {s: {"source": s} for s in as_they_are if not sides[s].files}
    return {"splits": dict(sorted(made.items())), "files": dict(sorted(files.items()))}


def _refuse_empty(after: dict[str, int], before: dict[str, int], step: str) -> None:
    """Raises UserError where a split has no documents that had some, or is new."""
    counts = ", ".join(f"{split} {documents:,}" for split, documents in after.items())
    for split, documents in after.items():
        check(
            documents > 0 or before.get(split) == 0,
            f"{step} leaves {split} empty ({counts} documents); change select: in params.yaml",
        )


def _hold_out(sides: dict[str, Side], holdout: Holdout, raw: Path, out: Path) -> dict[str, Side]:
    """Returns the sides with train split in two."""
    train = sides[TRAIN]
    if holdout.last is not None and len(train.rows) == 1:
        ((_, text),) = texts_at(raw, TRAIN, train.rows)
        first, last = cut_text(holdout.last, text)
        check(
            bool(first and last),
            f"the only document has {len(text.encode()):,} bytes, too few for `last` "
            f"{holdout.last}; take another share in params.yaml",
        )
        parts = {
            TRAIN: _part_of(TRAIN, first, out),
            holdout.split: _part_of(holdout.split, last, out),
        }
        return sides | parts
    held = held_out(holdout, train.facts)
    kept, other = (Side(TRAIN, train.rows[of], train.facts[of], {}) for of in (~held, held))
    return sides | {TRAIN: kept, holdout.split: other}


def _part_of(split: str, text: str, out: Path) -> Side:
    (rows, facts), files = write_texts(out, split, [(0, text)])
    return Side(TRAIN, rows, facts, files, is_cut=True)


def _repair(split: str, side: Side, raw: Path, out: Path) -> Side:
    """Returns the side with what is repaired written, and with its facts."""
    wrong = side.rows[(side.facts["faults"] & bit("mojibake")) > 0]
    check(
        not (side.is_cut and len(wrong)),
        "the only document is cut by `last` and has mojibake; `repair` is of whole documents: "
        "leave it out, or repair the source",
    )
    if not len(wrong):
        return side
    (rows, own), files = write_texts(out, split, repaired(raw, side.source, wrong))
    facts = side.facts.copy()
    facts[np.searchsorted(side.rows, rows)] = own
    return side._replace(facts=facts, files=files)


def dropped(facts: dict[str, np.ndarray], drop: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns by split (documents,) uint8: the place in OUTCOMES of why each is left out, or 0."""
    reasons = {split: np.zeros(len(own), np.uint8) for split, own in facts.items()}
    numbers = numbered(facts) if {"duplicates", "leaked"} & {*drop} else {}
    for split, own in reasons.items():
        rows = {"empty": facts[split]["bytes"] == 0}
        if "duplicates" in drop:
            rows["duplicates"] = repeated(numbers[split])
        if "leaked" in drop and split == TRAIN:
            others = [numbers[other] for other in numbers if other != TRAIN]
            rows["leaked"] = in_other(numbers[TRAIN], np.concatenate([[-1], *others]))
        for reason in reversed(drop):  # the first one stays
            own[rows.get(reason, [])] = OUTCOMES.index(reason)
    return reasons


def order(reasons: np.ndarray, shuffle: int | None, first: int | None) -> np.ndarray | None:
    """Returns the places of the documents taken, (documents,) int64, or None for source order.

    Notes in `reasons` which of them are behind the first ones.
    """
    taken = np.flatnonzero(reasons == 0)
    places = np.arange(len(taken)) if shuffle is None else shuffled(len(taken), shuffle)
    kept = places < len(taken) if first is None else places < first
    reasons[taken[~kept]] = FIRST
    return None if shuffle is None else places[kept]


def shuffled(documents: int, seed: int) -> np.ndarray:
    """Returns (documents,) int64: the place of each document of a shuffled split."""
    places = np.arange(documents, dtype=np.uint64)
    keys = round_keys(word(seed, places[:1]).reshape(()), documents) if documents else []
    for start in range(0, documents, STEP):
        places[start : start + STEP] = unpermute(keys, places[start : start + STEP], documents)
    return places.view(np.int64)


def _write(sides: dict, reasons: dict, places: np.ndarray | None, out: Path) -> dict:
    """Writes what became of each document of the source, and train's places; returns all files."""
    files = {name: entry for side in sides.values() for name, entry in side.files.items()}
    for source in dict.fromkeys(side.source for side in sides.values()):
        own = {split: side for split, side in sides.items() if side.source == source}
        codes = np.zeros(sum(len(side.rows) for side in own.values()), np.uint8)
        for split, side in own.items():
            held = HELD if split != source else 0
            codes = codes[:1] if side.is_cut else codes
            codes[side.rows] = CUT if side.is_cut else reasons[split] << 1 | held
        files[f"{source}.outcomes"] = write_hashed(out / f"{source}.outcomes", [codes])
    if places is not None:
        files[f"{TRAIN}.places"] = write_hashed(out / f"{TRAIN}.places", [places.astype("<i8")])
    return files


def _part(side: Side, reasons: np.ndarray) -> Part:
    """Returns what selection.json says of a split."""
    taken = side.facts[reasons == 0]
    words = int(taken["words"].sum(dtype=np.int64))
    return {"source": side.source, "documents": len(taken), "words": words}
