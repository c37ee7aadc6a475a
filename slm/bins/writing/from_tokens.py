"""How do tokens become bins?

In: tokens/ (see slm.tokens.token_files), selection/ (see slm.selection.files), vocabulary/, and the
end-of-text policy: no id ("none"), one after ("append") or before ("prepend") each document. Out: a
folder of bins (see slm.bins.format). Each 16 MiB that is read is compared with the hashes of
tokens.json; nothing is tokenized but texts that the selection has of its own.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np

from slm.bins.format import write_docs, write_manifest
from slm.bins.manifest import BinSplit, Manifest, Taken
from slm.bins.writing.documents import write_documents
from slm.bins.writing.from_selection import write_selected
from slm.bins.writing.pieces import Chosen, Counts, all_pieces
from slm.bins.writing.reading import TOKENS, checked
from slm.bins.writing.steps import taken
from slm.core.errors import check, differs
from slm.core.files import chunk_hashes, link_or_copy, read_json, write_hashed
from slm.core.formats import FileEntry, Tokens, TokenSplit, Vocabulary, units_of
from slm.core.ids import dtype_for
from slm.core.threads import prefetch
from slm.selection.files import all_in_order, is_all, read_selection
from slm.tokens.from_file import NAME
from slm.tokens.reference import Encode
from slm.tokens.vocabulary import TRAINED, load_described, own_files


def write_bins(
    folder: Path,
    out: Path,
    end_of_text: str,
    vocabulary: Path | None = None,
    selected: tuple[Path, Encode] | None = None,
    shard_tokens: int | None = None,
) -> Manifest:
    """Fills the empty folder `out` with the bins of every split; returns the manifest.

    `folder` is tokens/, `end_of_text` the policy, `vocabulary` the folder of a vocabulary that is
    not a published one, whose file becomes part of the bins; `selected` is selection/ and what
    encodes the texts that it has of its own (slm.tokens.tokenizer), or None for all documents in
    source order; `shard_tokens` of each file, or None for one file a split. Raises UserError if a
    file is corrupt.
    """
    tokens = cast(Tokens, read_json(folder / TOKENS))
    source = dict(tokens["source"])
    expected = source.pop("expected_tokens", {})
    _check_end_of_text(tokens["vocabulary"], end_of_text)
    _check_counts(tokens["splits"], expected.get(tokens["vocabulary"]["encoding"], {}))
    splits, selection = _write_splits(folder, out, tokens, end_of_text, selected, shard_tokens)
    content: dict[str, Any] = {
        "dataset": source,
        "tokenizer": tokens["vocabulary"],
        "end_of_text": end_of_text,
        "dtype": dtype_for(tokens["vocabulary"]["vocab_size"]).name,
        **({} if shard_tokens is None else {"shard_tokens": shard_tokens}),
        "splits": splits,
        **selection,
        **({} if selection else _units(tokens)),
    }
    if tokens["vocabulary"]["encoding"].startswith((TRAINED, NAME)):
        own = own_files(load_described(tokens["vocabulary"], vocabulary or folder))
        content["vocabulary"] = {name: write_hashed(out / name, [of]) for name, of in own.items()}
    named = {split: entry.get("lossy_documents") for split, entry in tokens["splits"].items()}
    if lossy := {split: number for split, number in named.items() if number is not None}:
        content["lossy_documents"] = lossy
    return cast(Manifest, write_manifest(out, content))


def _write_splits(
    folder: Path,
    out: Path,
    tokens: Tokens,
    policy: str,
    selected: tuple[Path, Encode] | None,
    shard_tokens: int | None,
) -> tuple[dict[str, BinSplit], dict[str, Taken]]:
    """Writes every split; returns their entries, and `selection` of the manifest, if any."""
    selection = read_selection(selected[0]) if selected else all_in_order(list(tokens["splits"]))
    splits, counts = dict[str, BinSplit](), dict[str, Counts]()
    for split in selection["splits"]:
        if selected is None or is_all(selection, split):
            splits[split] = _write_split(folder, out, split, tokens, policy, shard_tokens)
            counts[split] = Counts(tokens["splits"][split])
        else:
            chosen, encode = Chosen(selected[0], selection, split), selected[1]
            made = write_selected(folder, out, tokens, chosen, policy, encode, shard_tokens)
            splits[split], counts[split] = made
    return splits, taken(selection, counts)


def _units(tokens: Tokens) -> dict[str, dict[str, list[int]]]:
    """Returns `units` of the manifest, if tokens/ have any."""
    splits = tokens["splits"]
    cut = {name: [unit["documents"] for unit in of["units"]]
           for name, of in splits.items() if "units" in of}  # fmt: skip
    return {"units": cut} if cut else {}


def _check_end_of_text(vocabulary: Vocabulary, policy: str) -> None:
    check(
        policy == "none" or vocabulary["end_of_text"] is not None,
        f"bins.end_of_text is {policy}, and the tokenizer.json names no token for it; set "
        "tokenizer.end_of_text to a special token of the file, or bins.end_of_text to none",
    )


def _check_counts(splits: dict[str, TokenSplit], expected: dict[str, int]) -> None:
    for split, entry in splits.items():
        tokens, pinned = entry["tokens"], expected.get(split, entry["tokens"])
        check(
            tokens == pinned,
            f"{split} has {tokens:,} tokens, its pins.json expects {pinned:,}; another tokenizer "
            "or another text than was pinned: see `git diff`, or pin this count",
        )


def _write_split(
    folder: Path, out: Path, split: str, tokens: Tokens, policy: str, shard_tokens: int | None
) -> BinSplit:
    """Writes all documents in source order; without end-of-text the ids are only linked."""
    entry, vocabulary = tokens["splits"][split], tokens["vocabulary"]
    if policy == "none" and shard_tokens is None:
        return _linked(folder, out, split, entry)
    width = dtype_for(vocabulary["vocab_size"]).itemsize
    pieces = prefetch(all_pieces(folder, split, entry, width), 1)
    documents = entry["documents"]
    return write_documents(out, split, pieces, documents, vocabulary, policy, False, shard_tokens)


def _linked(folder: Path, out: Path, split: str, entry: TokenSplit) -> BinSplit:
    """Writes the ids and offsets of all units end to end; those of a single one are linked."""
    bin_ = out / f"{split}.bin"
    ids = (_joined if "units" in entry else _link)(folder, bin_, split, entry)
    offsets = _offsets(folder, split, entry)
    docs = write_docs(out / f"{split}.docs.npy", offsets, entry["documents"])
    return {
        "tokens": entry["tokens"],
        "documents": entry["documents"],
        "text_bytes": entry["bytes"],
        "files": {bin_.name: ids, f"{split}.docs.npy": docs},
    }


def _link(folder: Path, bin_: Path, split: str, entry: TokenSplit) -> FileEntry:
    """Links the ids, once verified; neither name is written again, and DVC's cache has a copy."""
    path, hashes = folder / f"{split}.ids", entry["sha256"]["ids"]
    if chunk_hashes(path) != hashes:
        raise differs(path, TOKENS)
    link_or_copy(path, bin_)
    return {"bytes": bin_.stat().st_size, "sha256": hashes}


def _joined(folder: Path, bin_: Path, split: str, entry: TokenSplit) -> FileEntry:
    units = units_of(split, entry)
    files = (checked(folder / f"{name}.ids", unit["sha256"]["ids"]) for name, unit in units)
    return write_hashed(bin_, prefetch(chain.from_iterable(files)))


def _offsets(folder: Path, split: str, entry: TokenSplit) -> Iterator[np.ndarray]:
    """Yields the offsets of all documents, (rows, 2) uint64, in parts."""
    end = np.zeros((1, 2), "<u8")
    yield end
    for name, unit in units_of(split, entry):
        begin, first = end, 1  # the first row of a unit is the end of the one before
        for chunk in checked(folder / f"{name}.totals", unit["sha256"]["totals"]):
            rows = begin + chunk.view("<u8").reshape(-1, 2)
            yield rows[first:]
            end, first = rows[-1:], 0
