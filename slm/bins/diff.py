"""What differs between two versions of bins?

In: two opened bins. Out: lines of text: each value of the manifests that differs, the counts of
each split, and the first document that differs, with both texts around their first difference.
End-of-text ids are left out, so that a line can say whether documents differ or only their
end-of-text. Ids are compared if the vocabulary is the same, else the decoded text, from front to
back in parts. Leading chunks of equal hash are not read.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import takewhile

import numpy as np

from slm.bins.documents import decode, document
from slm.bins.end_of_text import without_end_of_text
from slm.bins.manifest import BinSplit
from slm.bins.opening import Bins
from slm.core.files import CHUNK_BYTES
from slm.tokens.vocabulary import load_described

ABOUT = ("dataset", "tokenizer", "end_of_text", "dtype")
COUNTS = ("documents", "tokens", "bytes of text")
VALUES = 20  # of the manifests, at most; a hub dataset may have hundreds of files
SHOWN = 200  # characters of a document
NOTHING = np.empty(0, np.uint8)
PART = 2**20  # ids, or rows of offsets, that are compared at once


def differences(a: Bins, b: Bins) -> Iterator[str]:
    """Yields lines that say what differs; none if the bins are the same."""
    if a.manifest["sha256"] == b.manifest["sha256"]:
        return
    old, new = (_flat({k: v for k, v in bins.manifest.items() if k in ABOUT}) for bins in (a, b))
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    for key in changed[:VALUES]:
        yield f"{key}: {old.get(key)} -> {new.get(key)}"
    if len(changed) > VALUES:
        yield f"and {len(changed) - VALUES:,} more values of the manifest"
    for split in {**a.manifest["splits"], **b.manifest["splits"]}:
        yield from _split(a, b, split)


def _flat(value: object, name: str = "") -> dict[str, object]:
    """Returns a nested value on one level: {"dataset.files.train.0.rows": 60, …}."""
    if not isinstance(value, dict | list):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    parts = [_flat(item, f"{name}.{key}" if name else str(key)) for key, item in items]
    return {key: item for part in parts for key, item in part.items()}


def _split(a: Bins, b: Bins, split: str) -> Iterator[str]:
    old, new = (bins.manifest["splits"].get(split) for bins in (a, b))
    if old == new:
        yield f"{split}: the same bytes"
    elif old is None or new is None:
        yield f"{split}: only in {'A' if old else 'B'}"
    else:
        for (before, after), name in zip(_counts(old, new), COUNTS, strict=True):
            more = f" -> {after:,}" if before != after else ""
            yield f"{split}: {before:,}{more} {name}"
        yield from _documents(a, b, split)


def _counts(*splits: BinSplit) -> Iterator[tuple[int, ...]]:
    return zip(*((s["documents"], s["tokens"], s["text_bytes"]) for s in splits), strict=True)


def _documents(a: Bins, b: Bins, split: str) -> Iterator[str]:
    """Shows the first document that differs, and the first whose text does if it is another."""
    first, documents = first_document(a, b, split), len(a.docs(split)) - 1
    around = [] if _one_vocabulary(a, b) else ["ids"]
    if a.manifest["end_of_text"] != b.manifest["end_of_text"]:
        around.append("end-of-text")
    if around and documents and first != 0:
        yield f"{split}: document 0 is the first that differs, in its {' and '.join(around)} alone"
        yield from _shown(a, b, split, 0)
    if first is None:
        yield f"{split}: the text of all {documents:,} documents is the same"
    else:
        yield f"{split}: document {first:,} is the first whose text differs"
        yield from _shown(a, b, split, first)


def _one_vocabulary(a: Bins, b: Bins) -> bool:
    return a.manifest["tokenizer"] == b.manifest["tokenizer"]


def _shown(a: Bins, b: Bins, split: str, number: int) -> Iterator[str]:
    """Shows both texts of a document, from a little before the first character that differs."""
    texts = [_text(bins, split, number) for bins in (a, b)]
    alike = 0 if texts[0] == texts[1] else _alike(*texts)
    start = max(0, alike - SHOWN // 2)
    for side, bins, text in zip("AB", (a, b), texts, strict=True):
        if text is None:
            yield f"  {side} has no document {number:,}"
            continue
        shown = document(bins, split, number)
        cut = f"{'…' * bool(start)}{text[start : start + SHOWN]}{'…' * (len(text) > start + SHOWN)}"
        yield f"  {side} ({shown.source}, {len(shown.ids):,} tokens): {cut!r}"


def _alike(old: str | None, new: str | None) -> int:
    """Returns how many leading characters two texts have in common."""
    pairs = zip(old or "", new or "", strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _text(bins: Bins, split: str, number: int) -> str | None:
    if number >= len(bins.docs(split)) - 1:
        return None
    encoding = load_described(bins.manifest["tokenizer"], bins.folder)
    return decode(encoding, document(bins, split, number).ids)


# --- which document differs first? ---


def first_document(a: Bins, b: Bins, split: str) -> int | None:
    """Returns the first document whose text differs or that is missing on one side, or None."""
    by_ids = _one_vocabulary(a, b)
    agreed = _agreed(a, b, split, by_ids)
    begin = min(agreed, _hashed_alike(a, b, split)) if by_ids else 0
    parts = (_parts(bins, split, begin, agreed, by_ids) for bins in (a, b))
    position = _first_difference(*parts)
    if position is not None:

        def offset(row: int) -> int:
            return int(_offsets(a, split, row, row + 1, by_ids)[0])

        return bisect_right(range(1, agreed + 1), position + offset(begin), key=offset)
    return None if len(a.docs(split)) == len(b.docs(split)) == agreed + 1 else agreed


def _agreed(a: Bins, b: Bins, split: str, by_ids: bool) -> int:
    """Returns how many leading documents have the same lengths on both sides, in ids or bytes."""
    rows = min(len(a.docs(split)), len(b.docs(split)))
    for start in range(0, rows, PART):
        stop = min(start + PART, rows)
        old, new = (_offsets(bins, split, start, stop, by_ids) for bins in (a, b))
        if (differs := old != new).any():
            return start + int(differs.argmax()) - 1
    return rows - 1


def _offsets(bins: Bins, split: str, start: int, stop: int, by_ids: bool) -> np.ndarray:
    """Returns rows of offsets, (stop - start,) uint64, in ids without end-of-text or in bytes."""
    rows = bins.docs(split)[start:stop]
    if not by_ids:
        return rows[:, 1]
    ends = bins.manifest["end_of_text"] != "none"  # one id per document before
    return rows[:, 0] - np.arange(start, stop, dtype=np.uint64) * np.uint64(ends)


def _hashed_alike(a: Bins, b: Bins, split: str) -> int:
    """Returns how many documents lie entirely in leading chunks of equal hash."""
    if a.manifest["end_of_text"] != b.manifest["end_of_text"]:
        return 0
    name = f"{split}.bin"
    hashes = (bins.manifest["splits"][split]["files"][name]["sha256"] for bins in (a, b))
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(*hashes, strict=False))
    ids = len(list(alike)) * CHUNK_BYTES // a.ids(split).itemsize
    return bisect_right(a.docs(split)[:, 0], ids) - 1


def _parts(bins: Bins, split: str, begin: int, end: int, by_ids: bool) -> Iterator[np.ndarray]:
    """Yields documents begin to end as arrays of ids without end-of-text, or of bytes of text."""
    ids, offsets = bins.ids(split), bins.docs(split)[begin : end + 1, 0]
    first, last = offsets[[0, -1]].tolist()
    parts: Iterator[np.ndarray] = (
        ids[start : min(start + PART, last)] for start in range(first, last, PART)
    )
    if bins.manifest["end_of_text"] != "none":
        parts = without_end_of_text(parts, offsets - offsets[0], bins.manifest["end_of_text"])
    if by_ids:
        yield from parts
        return
    encoding = load_described(bins.manifest["tokenizer"], bins.folder)
    for part in parts:
        yield np.frombuffer(encoding.decode_bytes(part.tolist()), np.uint8)


def _first_difference(a: Iterator[np.ndarray], b: Iterator[np.ndarray]) -> int | None:
    """Returns where two streams of numbers first differ; None if one is the start of the other."""
    done, old, new = 0, NOTHING, NOTHING
    while True:
        old, new = (left if len(left) else _next(more) for left, more in ((old, a), (new, b)))
        length = min(len(old), len(new))
        if not length:
            return None
        if (differs := old[:length] != new[:length]).any():
            return done + int(differs.argmax())
        done, old, new = done + length, old[length:], new[length:]


def _next(parts: Iterator[np.ndarray]) -> np.ndarray:
    return next((part for part in parts if len(part)), NOTHING)
