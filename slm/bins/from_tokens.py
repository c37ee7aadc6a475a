"""How do tokens become bins?

In: tokens/ (see slm.tokens.token_files), selection/ (see slm.selection.files), vocabulary/, and the
end-of-text policy: no id ("none"), one after ("append") or before ("prepend") each document. Out: a
folder of bins (see slm.bins.format). Each 16 MiB that is read is compared with the hashes of
tokens.json; nothing is tokenized but texts that the selection has of its own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from slm.bins.end_of_text import with_end_of_text
from slm.bins.format import write_docs, write_manifest
from slm.bins.from_selection import write_selected
from slm.bins.manifest import BinSplit, Manifest
from slm.bins.pieces import Chosen, Counts
from slm.bins.reading import checked, corrupt
from slm.bins.steps import steps
from slm.core.errors import check
from slm.core.files import chunk_hashes, link_or_copy, read_json, write_hashed
from slm.core.formats import FileEntry, Tokens, TokenSplit
from slm.core.ids import dtype_for, write_ids
from slm.core.threads import prefetch
from slm.selection.files import is_all, read_selection
from slm.tokens.tokenizer import Encode
from slm.tokens.vocabulary import RANKS, TRAINED, load_described, rank_file


def write_bins(
    folder: Path, selection: Path, out: Path, end_of_text: str, encode: Encode, vocabulary: Path
) -> Manifest:
    """Fills the empty folder `out` with the bins of every split; returns the manifest.

    `folder` is tokens/, `selection` selection/, `end_of_text` the policy; `encode` (slm.tokens.
    tokenizer) encodes the texts that a selection has of its own; the ranks of a `vocabulary` that
    was trained here become part of the bins. Raises UserError if a file is corrupt.
    """
    tokens = cast(Tokens, read_json(folder / "tokens.json"))
    source = dict(tokens["source"])
    expected = source.pop("expected_tokens", {})
    _check_counts(tokens["splits"], expected.get(tokens["vocabulary"]["encoding"], {}))
    chosen = read_selection(selection)
    splits, counts = dict[str, BinSplit](), dict[str, Counts]()
    for split in chosen["splits"]:
        if is_all(chosen, split):
            splits[split] = _write_split(folder, out, split, tokens, end_of_text)
            counts[split] = Counts(tokens["splits"][split])
        else:
            asked = (tokens, Chosen(selection, chosen, split), end_of_text, encode)
            splits[split], counts[split] = write_selected(folder, out, *asked)
    content: dict[str, Any] = {
        "dataset": source,
        "tokenizer": tokens["vocabulary"],
        "end_of_text": end_of_text,
        "dtype": dtype_for(tokens["vocabulary"]["vocab_size"]).name,
        "splits": splits,
    }
    if chosen["select"]:
        words = {s: part["words"] for s, part in chosen["splits"].items() if "words" in part}
        content["selection"] = {
            "select": chosen["select"],
            "steps": steps(chosen, counts),
            "words": words,
        }
    if tokens["vocabulary"]["encoding"].startswith(TRAINED):
        ranks = rank_file(load_described(tokens["vocabulary"], vocabulary))
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
        chunks = (chunk.view(dtype) for chunk in prefetch(checked(path, hashes)))
        totals = folder / f"{split}.totals"
        if totals.stat().st_size != 16 * (documents + 1):
            raise corrupt(totals)
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
        raise corrupt(path)
    link_or_copy(path, bin_)
    return {"bytes": bin_.stat().st_size, "sha256": hashes}


def _offsets(path: Path, entry: TokenSplit, one_more: bool) -> Iterator[np.ndarray]:
    """Yields the offsets in parts, with `one_more` token for each document before a row."""
    first = 0
    for chunk in checked(path, entry["sha256"]["totals"]):
        rows = chunk.view("<u8").reshape(-1, 2)
        if one_more:
            rows[:, 0] += np.arange(first, first + len(rows), dtype=np.uint64)
        yield rows
        first += len(rows)
