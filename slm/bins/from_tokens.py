"""How do tokens become bins?

In: a tokens/ folder (see slm.tokens.token_files), the folder of the vocabulary if it was trained
here, and the end-of-text policy: no id ("none"), one after ("append") or before ("prepend") each
document. Out: a folder of bins (see slm.bins.format). Each 16 MiB that is read is compared with the
hashes of tokens.json; nothing is tokenized again.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from slm.bins.end_of_text import with_end_of_text
from slm.bins.format import write_docs, write_manifest
from slm.bins.manifest import BinSplit, Manifest
from slm.core.errors import UserError, check
from slm.core.files import CHUNK_BYTES, chunk_hashes, link_or_copy, read_json, write_hashed
from slm.core.formats import FileEntry, Tokens, TokenSplit
from slm.core.ids import dtype_for, write_ids
from slm.core.threads import prefetch
from slm.tokens.vocabulary import RANKS, TRAINED, load_described, rank_file


def write_bins(
    folder: Path, out: Path, end_of_text: str, vocabulary: Path | None = None
) -> Manifest:
    """Fills the empty folder `out` with the bins of every split; returns the manifest.

    `folder` is tokens/, `end_of_text` the policy; `vocabulary` is the folder of a vocabulary that
    was trained here, whose ranks become part of the bins. Raises UserError if a file is corrupt.
    """
    tokens = cast(Tokens, read_json(folder / "tokens.json"))
    source = dict(tokens["source"])
    expected = source.pop("expected_tokens", {})
    _check_counts(tokens["splits"], expected.get(tokens["vocabulary"]["encoding"], {}))
    content = {
        "dataset": source,
        "tokenizer": tokens["vocabulary"],
        "end_of_text": end_of_text,
        "dtype": dtype_for(tokens["vocabulary"]["vocab_size"]).name,
        "splits": {
            split: _write_split(folder, out, split, tokens, end_of_text)
            for split in tokens["splits"]
        },
    }
    if tokens["vocabulary"]["encoding"].startswith(TRAINED):
        ranks = rank_file(load_described(tokens["vocabulary"], vocabulary or folder))
        content["vocabulary"] = {RANKS: write_hashed(out / RANKS, [ranks])}
    return cast(Manifest, write_manifest(out, content))


def _check_counts(splits: dict[str, TokenSplit], expected: dict[str, int]) -> None:
    for split, entry in splits.items():
        tokens, pinned = entry["tokens"], expected.get(split, entry["tokens"])
        check(
            tokens == pinned,
            f"{split} has {tokens:,} tokens, its pins.json expects {pinned:,}; another tokenizer "
            "or another text than was pinned: see `git diff`, or pin this count",
        )


def _write_split(folder: Path, out: Path, split: str, tokens: Tokens, policy: str) -> BinSplit:
    entry, vocabulary = tokens["splits"][split], tokens["vocabulary"]
    path, hashes, documents = folder / f"{split}.ids", entry["sha256"]["ids"], entry["documents"]
    offsets = _offsets(folder / f"{split}.totals", entry, one_more=policy != "none")
    if policy == "none":
        bin_ = _same(path, out / f"{split}.bin", hashes)
    else:
        dtype = dtype_for(vocabulary["vocab_size"])
        chunks = (chunk.view(dtype) for chunk in prefetch(_checked(path, hashes)))
        totals = folder / f"{split}.totals"
        if totals.stat().st_size != 16 * (documents + 1):
            raise _corrupt(totals)
        ends = np.memmap(totals, "<u8", "r").reshape(-1, 2)[:, 0]
        ids = with_end_of_text(chunks, ends, vocabulary["end_of_text"], policy)
        bin_ = write_ids(out / f"{split}.bin", ids, dtype)
    docs = write_docs(out / f"{split}.docs.npy", offsets, documents)
    return {
        "tokens": entry["tokens"] + (documents if policy != "none" else 0),
        "documents": documents,
        "text_bytes": entry["bytes"],
        "files": {f"{split}.bin": bin_, f"{split}.docs.npy": docs},
    }


def _same(path: Path, bin_: Path, hashes: list[str]) -> FileEntry:
    """Links the ids, once verified; neither name is written again, and DVC's cache has a copy."""
    if chunk_hashes(path) != hashes:
        raise _corrupt(path)
    link_or_copy(path, bin_)
    return {"bytes": bin_.stat().st_size, "sha256": hashes}


def _offsets(path: Path, entry: TokenSplit, one_more: bool) -> Iterator[np.ndarray]:
    """Yields the offsets in parts, with `one_more` token for each document before a row."""
    first = 0
    for chunk in _checked(path, entry["sha256"]["totals"]):
        rows = chunk.view("<u8").reshape(-1, 2)
        if one_more:
            rows[:, 0] += np.arange(first, first + len(rows), dtype=np.uint64)
        yield rows
        first += len(rows)


def _checked(path: Path, hashes: list[str]) -> Iterator[np.ndarray]:
    """Yields the bytes of a file, 16 MiB at a time, each verified first."""
    expected = iter(hashes)
    with path.open("rb", buffering=0) as file:
        while len(chunk := np.fromfile(file, np.uint8, CHUNK_BYTES)):
            if hashlib.sha256(chunk.data).hexdigest() != next(expected, None):
                raise _corrupt(path)
            yield chunk
    if next(expected, None):
        raise _corrupt(path)


def _corrupt(path: Path) -> UserError:
    folder = path.parent
    return UserError(f"{path} is not as tokens.json says; `rm -r {folder}`, then `make data`")
