"""How do tokens become bins?

In: a tokens/ folder (see slm.tokens), where the vocabulary was trained here its folder, and where
the end-of-text id goes: nowhere ("none"), after each document ("append") or before it ("prepend").
Out: a folder of bins (see slm.bins). What is read is checked, 16 MiB at a time, against the hashes
in tokens.json; nothing is tokenized again.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.bins.end_of_text import with_end_of_text
from slm.bins.format import write_bytes, write_docs, write_manifest
from slm.core.errors import UserError
from slm.core.files import CHUNK_BYTES, chunk_hashes, link_or_copy, read_json
from slm.core.ids import dtype_for, write_ids
from slm.core.threads import prefetch
from slm.tokens.vocabulary import RANKS, TRAINED, load_described, rank_file


def write_bins(tokens: Path, out: Path, end_of_text: str, vocabulary: Path | None = None) -> dict:
    """Fill the empty folder `out` with the bins of every split; return the manifest.

    `end_of_text` is "none", "append" or "prepend"; `vocabulary` the folder of a vocabulary that was
    trained, whose ranks become part of the bins. Raises UserError where something is damaged.
    """
    made = read_json(tokens / "tokens.json")
    expected = made["source"].pop("expected_tokens", {})
    _compare(made["splits"], expected.get(made["vocabulary"]["encoding"], {}))
    splits = {
        split: _write_split(tokens, out, split, found, made["vocabulary"], end_of_text)
        for split, found in made["splits"].items()
    }
    content = {
        "dataset": made["source"],
        "tokenizer": made["vocabulary"],
        "end_of_text": end_of_text,
        "dtype": dtype_for(made["vocabulary"]["vocab_size"]).name,
        "splits": splits,
    }
    if made["vocabulary"]["encoding"].startswith(TRAINED):
        ranks = rank_file(load_described(made["vocabulary"], vocabulary))
        content["vocabulary"] = {RANKS: write_bytes(out / RANKS, ranks)}
    return write_manifest(out, content)


def _compare(splits: dict, expected: dict[str, int]) -> None:
    """Raise UserError where a split has not as many tokens as its source's pins.json expects."""
    for split, found in splits.items():
        if found["tokens"] != expected.get(split, found["tokens"]):
            raise UserError(
                f"{split} has {found['tokens']:,} tokens, its pins.json expects "
                f"{expected[split]:,}; another tokenizer or another text than was pinned: see "
                "`git diff`, or pin this count"
            )


def _write_split(
    tokens: Path, out: Path, split: str, found: dict, vocabulary: dict, end_of_text: str
) -> dict:
    source, hashes = tokens / f"{split}.ids", found["sha256"]["ids"]
    dtype, documents = dtype_for(vocabulary["vocab_size"]), found["documents"]
    totals = _checked(tokens / f"{split}.totals", found["sha256"]["totals"])
    totals = (chunk.view("<u8").reshape(-1, 2) for chunk in totals)
    if end_of_text == "none":
        more, bin_ = 0, _same(source, out / f"{split}.bin", hashes)
    else:
        ids = (chunk.view(dtype) for chunk in prefetch(_checked(source, hashes)))
        ends = _ends(tokens / f"{split}.totals", documents)
        ids = with_end_of_text(ids, ends, vocabulary["end_of_text"], end_of_text)
        more, bin_ = documents, write_ids(out / f"{split}.bin", ids, dtype)
        totals = _with_one_more(totals)
    docs = write_docs(out / f"{split}.docs.npy", totals, documents)
    return {
        "tokens": found["tokens"] + more,
        "documents": documents,
        "text_bytes": found["bytes"],
        "files": {f"{split}.bin": bin_, f"{split}.docs.npy": docs},
    }


def _same(source: Path, bin_: Path, hashes: list[str]) -> dict:
    """The ids as they are: checked on all cores, then linked, which spares a second copy.

    Neither name is ever written to again; the copy that a mend needs is DVC's, in its cache.
    """
    if chunk_hashes(source) != hashes:
        raise _spoilt(source)
    link_or_copy(source, bin_)
    return {"bytes": bin_.stat().st_size, "sha256": hashes}


def _ends(path: Path, documents: int) -> np.ndarray:
    """(documents + 1,) uint64, mapped: where each document ends, the first at 0."""
    if path.stat().st_size != 16 * (documents + 1):
        raise _spoilt(path)
    return np.memmap(path, "<u8", "r").reshape(-1, 2)[:, 0]


def _with_one_more(totals: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Running totals with one more token for each document before a row."""
    first = 0
    for rows in totals:
        more = np.arange(first, first + len(rows), dtype=np.uint64)
        yield rows + np.stack([more, np.zeros_like(more)], axis=1)
        first += len(rows)


def _checked(path: Path, hashes: list[str]) -> Iterator[np.ndarray]:
    """The bytes of a file, 16 MiB at a time, each checked before it is given out."""
    expected = iter(hashes)
    with path.open("rb", buffering=0) as file:
        while True:
            chunk = np.fromfile(file, np.uint8, CHUNK_BYTES)
            if not len(chunk):
                break
            if hashlib.sha256(chunk).hexdigest() != next(expected, None):
                raise _spoilt(path)
            yield chunk
    if next(expected, None):
        raise _spoilt(path)


def _spoilt(path: Path) -> UserError:
    where = path.parent
    return UserError(f"{path} is not as tokens.json says; `rm -r {where}`, then `make data`")
