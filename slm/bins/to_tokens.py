"""How do bins become tokens again, if tokens/ is missing, as after a pull?

In: a folder of bins, of any end-of-text policy. Out: tokens/, byte for byte as the tokenize stage
wrote it; the caller compares its hash with dvc.lock. Nothing is fetched or tokenized, and raw/ is
not needed. Removing ids overlaps with hashing and writing; memory does not grow with the bins.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from slm.bins.end_of_text import without_end_of_text
from slm.bins.opening import Bins
from slm.core.errors import check
from slm.core.files import CHUNK_BYTES, chunk_hashes, link_or_copy, to_json, write_hashed
from slm.core.formats import Tokens, TokenSplit
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
    offsets, bin_ = _offsets(bins, split), bins.folder / f"{split}.bin"
    if more:
        dtype = dtype_for(bins.manifest["tokenizer"]["vocab_size"])
        ids = prefetch(without_end_of_text(_chunks(bin_, dtype), offsets[:, 0], policy))
        ids_sha256 = write_ids(out / f"{split}.ids", ids, dtype)["sha256"]
    else:
        link_or_copy(bin_, out / f"{split}.ids")
        ids_sha256 = entry["files"][bin_.name]["sha256"]
    totals = write_hashed(out / f"{split}.totals", _with_fewer(offsets, more))
    made: TokenSplit = {
        "tokens": entry["tokens"] - more * entry["documents"],
        "documents": entry["documents"],
        "bytes": entry["text_bytes"],
        "sha256": {"ids": ids_sha256, "totals": totals["sha256"]},
    }
    if split in lossy:
        made["lossy_documents"] = lossy[split]
    return made


def _offsets(bins: Bins, split: str) -> np.ndarray:
    """Returns the offsets, verified first: a wrong one would remove a wrong id."""
    path = bins.folder / f"{split}.docs.npy"
    intact = chunk_hashes(path) == bins.manifest["splits"][split]["files"][path.name]["sha256"]
    check(intact, f"{path} is corrupt: it differs from the manifest of {bins.folder}")
    return bins.docs(split)


def _chunks(path: Path, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Yields the ids of a bin, 16 MiB at a time; read, since mapped pages would count as memory."""
    size = path.stat().st_size
    bar = tqdm(desc=path.name, total=size, unit="B", unit_scale=True, delay=2, disable=None)
    with bar, path.open("rb", buffering=0) as file:
        while len(chunk := np.fromfile(file, dtype, CHUNK_BYTES // dtype.itemsize)):
            yield chunk
            bar.update(chunk.nbytes)


def _with_fewer(offsets: np.ndarray, more: int) -> Iterator[np.ndarray]:
    """Yields the offsets in parts, with `more` tokens less for each document before a row."""
    step = CHUNK_BYTES // 16
    for first in range(0, len(offsets), step):
        rows = np.array(offsets[first : first + step], "<u8")
        rows[:, 0] -= more * np.arange(first, first + len(rows), dtype="<u8")
        yield rows
