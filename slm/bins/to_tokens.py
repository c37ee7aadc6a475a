"""How do bins become tokens again, where tokens/ is not there, as after a pull?

In: a dataset's folder with its bins, whatever their end-of-text. Out: vocabulary/ and tokens/, byte
for byte as the stages before the bins wrote them. dvc.lock is the proof: a folder whose hash is
another than it names is not kept. Nothing is fetched or tokenized, and raw/ is not needed; taking
ids out overlaps with hashing and writing, and memory does not follow the length of the bins.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from slm.bins.end_of_text import without_end_of_text
from slm.bins.opening import Bins
from slm.core.errors import UserError
from slm.core.files import CHUNK_BYTES, HashedFile, chunk_hashes, link_or_copy, to_json
from slm.core.ids import dtype_for, write_ids
from slm.core.threads import prefetch


def write_tokens(bins: Bins, out: Path, expected_tokens: dict) -> None:
    """Fill the empty folder `out` with the tokens/ that `bins` were made from.

    `expected_tokens` is what `source` of tokens.json has beyond the manifest's `dataset`, or {}.
    """
    source = {**bins.manifest["dataset"], **expected_tokens}
    source["files"] = source.pop("files")  # last, as the tokenize stage writes it
    content = {
        "source": source,
        "vocabulary": bins.manifest["tokenizer"],
        "splits": {split: _write_split(bins, out, split) for split in bins.manifest["splits"]},
    }
    (out / "tokens.json").write_bytes(to_json(content))


def _write_split(bins: Bins, out: Path, split: str) -> dict:
    found, policy = bins.manifest["splits"][split], bins.manifest["end_of_text"]
    more = 0 if policy == "none" else 1  # ids that a document has in the bin and not in tokens/
    docs, bin_ = _docs(bins, split), bins.folder / f"{split}.bin"
    if more:
        dtype = dtype_for(bins.manifest["tokenizer"]["vocab_size"])
        ids = prefetch(without_end_of_text(_chunks(bin_, dtype), docs[:, 0], policy))
        ids_sha256 = write_ids(out / f"{split}.ids", ids, dtype)["sha256"]
    else:
        link_or_copy(bin_, out / f"{split}.ids")
        ids_sha256 = found["files"][bin_.name]["sha256"]
    with HashedFile(out / f"{split}.totals") as totals:
        for rows in _totals(docs, more):
            totals.write(rows)
    return {
        "tokens": found["tokens"] - more * found["documents"],
        "documents": found["documents"],
        "bytes": found["text_bytes"],
        "sha256": {"ids": ids_sha256, "totals": totals.hashes},
    }


def _docs(bins: Bins, split: str) -> np.ndarray:
    """The offsets, checked first: where one of them is wrong, an id is taken out of nowhere."""
    name = f"{split}.docs.npy"
    if chunk_hashes(bins.folder / name) != bins.manifest["splits"][split]["files"][name]["sha256"]:
        raise UserError(f"{bins.folder / name} is damaged: it is not as {bins.folder}'s manifest")
    return bins.docs(split)


def _chunks(path: Path, dtype: np.dtype) -> Iterator[np.ndarray]:
    """The ids of a bin, 16 MiB at a time; read, since pages of a map would count as memory."""
    size = path.stat().st_size
    bar = tqdm(desc=path.name, total=size, unit="B", unit_scale=True, delay=2, disable=None)
    with bar, path.open("rb", buffering=0) as file:
        while len(chunk := np.fromfile(file, dtype, CHUNK_BYTES // dtype.itemsize)):
            yield chunk
            bar.update(chunk.nbytes)


def _totals(docs: np.ndarray, more: int) -> Iterator[np.ndarray]:
    """Rows of `docs` with `more` tokens less for each document before them."""
    step = CHUNK_BYTES // 16
    for first in range(0, len(docs), step):
        rows = np.array(docs[first : first + step], "<u8")
        rows[:, 0] -= more * np.arange(first, first + len(rows), dtype="<u8")
        yield rows
