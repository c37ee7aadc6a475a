"""What differs between two versions of bins?

In: two opened bins. Out: lines of text: each value of the manifests that differs, the counts of
each split, and the first document that differs, with the place where its two texts part. The
ids of end-of-text are set aside, so that it is said whether documents differ or their end-of-text
alone. With one vocabulary ids are compared, with two the decoded text; either way front to back in
parts, and leading chunks of equal hash are not read at all.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import takewhile

import numpy as np

from slm.bins.documents import decode, document
from slm.bins.end_of_text import without_end_of_text
from slm.bins.opening import Bins
from slm.core.files import CHUNK_BYTES
from slm.tokens.vocabulary import load_described

ABOUT = ("dataset", "tokenizer", "end_of_text", "dtype")
COUNTS = {"documents": "documents", "tokens": "tokens", "text_bytes": "bytes of text"}
VALUES = 20  # of the manifests, at most: a hub dataset may have hundreds of files
SHOWN = 200  # characters of a document
NOTHING = np.empty(0, np.uint8)
PART = 2**20  # ids, or rows of bounds, that are looked at in one go


def differences(a: Bins, b: Bins) -> Iterator[str]:
    """Lines that say what differs, nothing where nothing does."""
    if a.manifest["sha256"] == b.manifest["sha256"]:
        return
    one, other = (_flat({key: bins.manifest[key] for key in ABOUT}) for bins in (a, b))
    changed = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    for key in changed[:VALUES]:
        yield f"{key}: {one.get(key)} -> {other.get(key)}"
    if len(changed) > VALUES:
        yield f"and {len(changed) - VALUES:,} more values of the manifest"
    for split in {**a.manifest["splits"], **b.manifest["splits"]}:
        yield from _split(a, b, split)


def _flat(value: object, name: str = "") -> dict[str, object]:
    """A nested value on one level: {"dataset.files.train.0.rows": 60, …}."""
    if not isinstance(value, dict | list):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    parts = [_flat(item, f"{name}.{key}" if name else str(key)) for key, item in items]
    return {key: item for part in parts for key, item in part.items()}


def _split(a: Bins, b: Bins, split: str) -> Iterator[str]:
    one, other = (bins.manifest["splits"].get(split) for bins in (a, b))
    if one == other:
        yield f"{split}: the same bytes"
    elif one is None or other is None:
        yield f"{split}: only in {'A' if one else 'B'}"
    else:
        for key, name in COUNTS.items():
            more = f" -> {other[key]:,}" if one[key] != other[key] else ""
            yield f"{split}: {one[key]:,}{more} {name}"
        yield from _documents(a, b, split)


def _documents(a: Bins, b: Bins, split: str) -> Iterator[str]:
    """The first document that differs, and the first whose text does where that is another."""
    first, documents = first_document(a, b, split), len(a.docs(split)) - 1
    around = [name for name, differs in _around(a, b).items() if differs]
    if around and documents and first != 0:
        yield f"{split}: document 0 is the first that differs, in its {' and '.join(around)} alone"
        yield from _shown(a, b, split, 0)
    if first is None:
        yield f"{split}: the text of all {documents:,} documents is the same"
    else:
        yield f"{split}: document {first:,} is the first whose text differs"
        yield from _shown(a, b, split, first)


def _around(a: Bins, b: Bins) -> dict[str, bool]:
    """What every document may differ in while its text is the same."""
    return {
        "ids": not _one_vocabulary(a, b),
        "end-of-text": a.manifest["end_of_text"] != b.manifest["end_of_text"],
    }


def _one_vocabulary(a: Bins, b: Bins) -> bool:
    return a.manifest["tokenizer"] == b.manifest["tokenizer"]


def _shown(a: Bins, b: Bins, split: str, number: int) -> Iterator[str]:
    """Both sides' text of a document, from a little before the first character that differs."""
    texts = [_text(bins, split, number) for bins in (a, b)]
    alike = 0 if texts[0] == texts[1] else _alike(*texts)
    start = max(0, alike - SHOWN // 2)
    for side, bins, text in zip("AB", (a, b), texts, strict=True):
        if text is None:
            yield f"  {side} has no document {number:,}"
            continue
        found = document(bins, split, number)
        cut = f"{'…' * bool(start)}{text[start : start + SHOWN]}{'…' * (len(text) > start + SHOWN)}"
        yield f"  {side} ({found.source}, {len(found.ids):,} tokens): {cut!r}"


def _alike(one: str | None, other: str | None) -> int:
    """How many characters two texts begin with alike."""
    pairs = zip(one or "", other or "", strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _text(bins: Bins, split: str, number: int) -> str | None:
    if number >= len(bins.docs(split)) - 1:
        return None
    encoding = load_described(bins.manifest["tokenizer"], bins.folder)
    return decode(encoding, document(bins, split, number).ids)


# --- which document differs first? ---


def first_document(a: Bins, b: Bins, split: str) -> int | None:
    """The number of the first document whose text differs or that one side lacks; None for none."""
    by_ids = _one_vocabulary(a, b)
    agreed = _agreed(a, b, split, by_ids)
    begin = min(agreed, _hashed_alike(a, b, split)) if by_ids else 0
    place = _first_difference(*(_parts(bins, split, begin, agreed, by_ids) for bins in (a, b)))
    if place is not None:
        place += int(_totals(a, split, begin, begin + 1, by_ids)[0])
        ends = range(1, agreed + 1)
        return bisect_right(
            ends, place, key=lambda end: int(_totals(a, split, end, end + 1, by_ids)[0])
        )
    return None if len(a.docs(split)) == len(b.docs(split)) == agreed + 1 else agreed


def _agreed(a: Bins, b: Bins, split: str, by_ids: bool) -> int:
    """How many documents from the first on are as long on both sides, in ids or in bytes."""
    rows = min(len(a.docs(split)), len(b.docs(split)))
    for start in range(0, rows, PART):
        stop = min(start + PART, rows)
        one, other = (_totals(bins, split, start, stop, by_ids) for bins in (a, b))
        if (differs := one != other).any():
            return start + int(differs.argmax()) - 1
    return rows - 1


def _totals(bins: Bins, split: str, start: int, stop: int, by_ids: bool) -> np.ndarray:
    """(stop - start,) uint64: rows of running totals, of ids without end-of-text or of bytes."""
    rows = bins.docs(split)[start:stop]
    if not by_ids:
        return rows[:, 1]
    ends = bins.manifest["end_of_text"] != "none"  # one more for each document before
    return rows[:, 0] - np.arange(start, stop, dtype=np.uint64) * np.uint64(ends)


def _hashed_alike(a: Bins, b: Bins, split: str) -> int:
    """How many documents lie whole in leading chunks whose hashes agree."""
    if a.manifest["end_of_text"] != b.manifest["end_of_text"]:
        return 0
    name = f"{split}.bin"
    hashes = (bins.manifest["splits"][split]["files"][name]["sha256"] for bins in (a, b))
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(*hashes, strict=False))
    ids = len(list(alike)) * CHUNK_BYTES // a.ids(split).itemsize
    return bisect_right(a.docs(split)[:, 0], ids) - 1


def _parts(bins: Bins, split: str, begin: int, end: int, by_ids: bool) -> Iterator[np.ndarray]:
    """Documents begin to end as arrays of ids without end-of-text, or of bytes of text."""
    ids, bounds = bins.ids(split), bins.docs(split)[begin : end + 1, 0]
    first, last = bounds[[0, -1]].tolist()
    parts = (ids[start : min(start + PART, last)] for start in range(first, last, PART))
    if bins.manifest["end_of_text"] != "none":
        parts = without_end_of_text(parts, bounds - bounds[0], bins.manifest["end_of_text"])
    encoding = None if by_ids else load_described(bins.manifest["tokenizer"], bins.folder)
    for part in parts:
        yield part if by_ids else np.frombuffer(encoding.decode_bytes(part.tolist()), np.uint8)


def _first_difference(a: Iterator[np.ndarray], b: Iterator[np.ndarray]) -> int | None:
    """Where two streams of numbers first differ; None where one is the beginning of the other."""
    done, one, other = 0, NOTHING, NOTHING
    while True:
        one, other = (left if len(left) else _next(more) for left, more in ((one, a), (other, b)))
        length = min(len(one), len(other))
        if not length:
            return None
        if (differs := one[:length] != other[:length]).any():
            return done + int(differs.argmax())
        done, one, other = done + length, one[length:], other[length:]


def _next(parts: Iterator[np.ndarray]) -> np.ndarray:
    return next((part for part in parts if len(part)), NOTHING)
