"""How do bins become tokens again, if tokens/ is missing, as after a pull?

In: a folder of bins, of any end-of-text policy. Out: tokens/, byte for byte as the tokenize stage
wrote it; the caller compares its hash with dvc.lock. Nothing is fetched or tokenized, and raw/ is
not needed. Removing ids overlaps with hashing and writing. Memory is 32 bytes a document of a unit.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from slm.bins.end_of_text import without_end_of_text
from slm.bins.manifest import files_of, shard_names
from slm.bins.opening import Bins
from slm.bins.reading import id_parts
from slm.core.errors import check
from slm.core.files import CHUNK_BYTES, chunk_hashes, link_or_copy, to_json, write_hashed
from slm.core.formats import Tokens, TokenSplit, unit_name
from slm.core.ids import dtype_for, write_ids
from slm.core.threads import prefetch


def write_tokens(bins: Bins, out: Path, expected_tokens: dict[str, Any]) -> None:
    """Fills the empty folder `out` with the tokens/ that `bins` were made from.

    `expected_tokens` has the keys of `source` in tokens.json that the manifest's `dataset` does
    not have, or is {}. Raises UserError if the offsets of the bins are corrupt.
    """
    source = {**bins.manifest["dataset"], **expected_tokens}
    source["files"] = source.pop("files")  # last, as the tokenize stage writes it
    content: Tokens = {
        "source": source,
        "vocabulary": bins.manifest["tokenizer"],
        "splits": {split: _write_split(bins, out, split) for split in bins.manifest["splits"]},
    }
    (out / "tokens.json").write_bytes(to_json(content))


def _write_split(bins: Bins, out: Path, split: str) -> TokenSplit:
    entry, policy = bins.manifest["splits"][split], bins.manifest["end_of_text"]
    lossy = bins.manifest.get("lossy_documents", {})
    more = 0 if policy == "none" else 1  # ids per document that are in the bin, not in tokens/
    counts = bins.manifest.get("units", {}).get(split, [entry["documents"]])
    offsets, bounds = _offsets(bins, split), np.cumsum([0, *counts]).tolist()
    check(bounds[-1] == entry["documents"], f"{bins.folder} has units of {bounds[-1]:,} documents")
    units = [
        _write_unit(bins, split, offsets[first : last + 1], out / unit_name(split, i, len(counts)))
        for i, (first, last) in enumerate(pairwise(bounds))
    ]
    made: TokenSplit = {
        "tokens": entry["tokens"] - more * entry["documents"],
        "documents": entry["documents"],
        "bytes": entry["text_bytes"],
    }
    if len(units) == 1:
        made["sha256"] = units[0]["sha256"]
    if split in lossy:
        made["lossy_documents"] = lossy[split]
    if len(units) > 1:
        made["units"] = units
    return made


def _write_unit(bins: Bins, split: str, offsets: np.ndarray, path: Path) -> TokenSplit:
    """Writes the files of a unit, whose documents have these offsets, (documents + 1, 2)."""
    policy = bins.manifest["end_of_text"]
    dtype = dtype_for(bins.manifest["tokenizer"]["vocab_size"])
    more, bounds = int(policy != "none"), offsets[[0, -1]].tolist()
    own = offsets - offsets[0]
    target, entry = Path(f"{path}.ids"), bins.manifest["splits"][split]
    if not more and path.name == split and "files" in entry:
        bins.need([f"{split}.bin"])
        link_or_copy(bins.folder / f"{split}.bin", target)
        ids = entry["files"][f"{split}.bin"]["sha256"]
    else:
        parts = prefetch(_shown(bins, split, bounds[0][0], bounds[1][0]))
        parts = without_end_of_text(parts, own[:, 0], policy) if more else parts
        ids = write_ids(target, parts, dtype)["sha256"]
    totals = write_hashed(Path(f"{path}.totals"), _with_fewer(own, more))
    return {
        "tokens": int(own[-1, 0]) - more * (len(own) - 1),
        "documents": len(own) - 1,
        "bytes": int(own[-1, 1]),
        "sha256": {"ids": ids, "totals": totals["sha256"]},
    }


def _offsets(bins: Bins, split: str) -> np.ndarray:
    """Returns the offsets, verified first: a wrong one would remove a wrong id."""
    names = shard_names(split, bins.manifest["splits"][split])
    bins.need(f"{name}.docs.npy" for name in names)
    known = dict(files_of(bins.folder, bins.manifest))
    for name in names:
        path = bins.folder / f"{name}.docs.npy"
        intact = path.name in known and chunk_hashes(path) == known[path.name]["sha256"]
        check(intact, f"{path} is corrupt: it differs from the manifest of {bins.folder}")
    return bins.docs(split)


def _shown(bins: Bins, split: str, first: int, last: int) -> Iterator[np.ndarray]:
    """Yields some ids of a split, 16 MiB at a time, under a bar."""
    size = np.dtype(bins.manifest["dtype"]).itemsize
    what, total = f"{split}.bin", (last - first) * size
    with tqdm(desc=what, total=total, unit="B", unit_scale=True, delay=2, disable=None) as bar:
        for part in id_parts(bins, split, first, last, CHUNK_BYTES // size):
            yield part
            bar.update(part.nbytes)


def _with_fewer(offsets: np.ndarray, more: int) -> Iterator[np.ndarray]:
    """Yields the offsets in parts, with `more` tokens less for each document before a row."""
    step = CHUNK_BYTES // 16
    for first in range(0, len(offsets), step):
        rows = np.array(offsets[first : first + step], "<u8")
        rows[:, 0] -= more * np.arange(first, first + len(rows), dtype="<u8")
        yield rows
