"""What differs between two versions of bins?

In: two opened bins. Out: lines of text: each value of the manifests that differs, the counts of
each split, and the first document that differs, with both texts around their first difference.
End-of-text ids are left out, so that a line can say whether documents differ or only their
end-of-text. Ids are compared if the vocabulary is the same, else the decoded text, from front to
back in parts. Leading chunks of equal hash are not read.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise, takewhile

import numpy as np

from slm.bins.documents import document
from slm.bins.end_of_text import without_end_of_text
from slm.bins.opening import Bins
from slm.bins.reading import ids_of
from slm.core.files import CHUNK_BYTES
from slm.tokens.from_file import Encoding, FileTokenizer

ABOUT = ("dataset", "tokenizer", "end_of_text", "dtype", "shard_tokens")
COUNTS = ("documents", "tokens", "bytes of text")
VALUES = 20  # of the manifests, at most; a hub dataset may have hundreds of files
SHOWN = 200  # characters of a document
PART = 2**20  # ids, or documents, that are compared at once


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
        own = ((s["documents"], s["tokens"], s["text_bytes"]) for s in (old, new))
        counts = zip(*own, strict=True)
        for (before, after), name in zip(counts, COUNTS, strict=True):
            more = f" -> {after:,}" if before != after else ""
            yield f"{split}: {before:,}{more} {name}"
        yield from _documents(a, b, split)


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
    pairs = zip(*(text or "" for text in texts), strict=False)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    alike = 0 if texts[0] == texts[1] else alike
    start = max(0, alike - SHOWN // 2)
    for side, bins, text in zip("AB", (a, b), texts, strict=True):
        if text is None:
            yield f"  {side} has no document {number:,}"
            continue
        shown = document(bins, split, number)
        cut = f"{'…' * bool(start)}{text[start : start + SHOWN]}{'…' * (len(text) > start + SHOWN)}"
        yield f"  {side} ({shown.source}, {len(shown.ids):,} tokens): {cut!r}"


def _text(bins: Bins, split: str, number: int) -> str | None:
    if number >= len(bins.docs(split)) - 1:
        return None
    return _encoding(bins).decode(document(bins, split, number).ids.tolist())


def _encoding(bins: Bins) -> Encoding:
    return bins.encoding


def first_document(a: Bins, b: Bins, split: str) -> int | None:
    """Returns the first document whose text differs or that is missing on one side, or None."""
    by_ids, documents = _one_vocabulary(a, b), [len(bins.docs(split)) - 1 for bins in (a, b)]
    start = min(*documents, _hashed_alike(a, b, split)) if by_ids else 0
    encodings = [None if by_ids else _encoding(bins) for bins in (a, b)]
    offsets = a.docs(split)[:, 0]
    while start < min(documents):
        stop = (
            bisect_right(offsets, int(offsets[start]) + PART, hi=min(start + PART, len(offsets)))
            - 1
        )
        stop = min(max(stop, start + 1), *documents)
        sides = zip((a, b), encodings, strict=True)
        first = _first_row(*(_content(bins, split, start, stop, known) for bins, known in sides))
        if first is not None:
            return start + first
        start = stop
    return None if len({*documents}) == 1 else min(documents)


def _hashed_alike(a: Bins, b: Bins, split: str) -> int:
    """Returns how many documents are entirely in leading chunks of equal hash."""
    if a.manifest["end_of_text"] != b.manifest["end_of_text"]:
        return 0
    pieces = [_pieces(bins, split) for bins in (a, b)]
    if pieces[0][0] != pieces[1][0]:
        return 0
    hashes = (hashes for _, hashes in pieces)
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(*hashes, strict=False))
    ids = len(list(alike)) * pieces[0][0]
    offsets = [bins.docs(split)[:, 0] for bins in (a, b)]
    count = min(bisect_right(of, ids) for of in offsets)
    others = np.flatnonzero(offsets[0][:count] != offsets[1][:count])
    return int(others[0] if len(others) else count) - 1


def _pieces(bins: Bins, split: str) -> tuple[int, list[str]]:
    """Returns how many ids have a hash of their own, and these: of chunks, or of shards."""
    entry, width = bins.manifest["splits"][split], np.dtype(bins.manifest["dtype"]).itemsize
    if "shard_tokens" in bins.manifest:
        return bins.manifest["shard_tokens"], [shard["sha256"] for shard in entry["shards"]]
    return CHUNK_BYTES // width, entry["files"][f"{split}.bin"]["sha256"]


def _content(
    bins: Bins, split: str, start: int, stop: int, encoding: Encoding | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns documents start … stop - 1 and their offsets, from 0.

    They are ids without end-of-text, or with `encoding` bytes of text.
    """
    rows = bins.docs(split)[start : stop + 1].astype(np.int64)
    ids = ids_of(bins, split, *rows[[0, -1], 0].tolist())
    policy = bins.manifest["end_of_text"]
    rows -= rows[0]
    if policy != "none":
        [ids] = without_end_of_text(iter([ids]), rows[:, 0], policy)
    ends = rows[:, 0] - (policy != "none") * np.arange(len(rows))
    if encoding is None:
        return ids, ends
    if not isinstance(encoding, FileTokenizer):
        return np.frombuffer(encoding.decode_bytes(ids.tolist()), np.uint8), rows[:, 1]
    texts = [encoding.decode_bytes(ids[i:j].tolist()) for i, j in pairwise(ends.tolist())]
    return np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)])


def _first_row(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> int | None:
    """Returns the first document whose content or length differs, or None."""
    length, rows = min(len(a[0]), len(b[0])), []
    if (differs := a[1] != b[1]).any():
        rows.append(int(differs.argmax()) - 1)
    if (differs := a[0][:length] != b[0][:length]).any():
        rows.append(int(np.searchsorted(a[1], differs.argmax(), side="right")) - 1)
    return min(rows, default=None)
