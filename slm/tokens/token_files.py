"""How do a dataset's documents become files of ids?

In: raw/ and a vocabulary. Out: tokens/: for each split `<split>.ids` (the ids of all documents end
to end, little-endian, as wide as the vocabulary asks) and `<split>.totals` (uint64 pairs: running
totals of tokens and of UTF-8 bytes, from 0), and tokens.json, which says what they were made from
and has the SHA-256 of each 16 MiB of them. No byte depends on engine, workers or block size.
Reading, encoding and writing overlap; what is in memory does not grow with the text.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tiktoken
from tqdm import tqdm

from slm.core.errors import UserError
from slm.core.files import HashedFile, to_json
from slm.core.ids import dtype_for, to_dtype
from slm.core.threads import in_order, prefetch
from slm.text.blocks import BLOCK_BYTES, Block, read_blocks
from slm.text.raw import locate, read_source
from slm.tokens.tokenizer import Encode, Unencodable, encoder
from slm.tokens.vocabulary import describe


class Encoded(NamedTuple):
    """A block of documents as ids."""

    ids: np.ndarray  # (tokens,) as wide as the vocabulary asks
    tokens: np.ndarray  # (documents,) int64: tokens per document
    bytes: np.ndarray  # (documents,) int64: UTF-8 bytes per document


def make_tokens(
    raw: Path,
    encoding: tiktoken.Encoding,
    out: Path,
    engine: str,
    workers: int,
    block_bytes: int = BLOCK_BYTES,
) -> dict:
    """Fill the empty folder `out` with the tokens of every split; return `splits` of tokens.json.

    `engine` is "gigatoken" or "tiktoken", `workers` the number of encoding threads. Raises
    UserError, which names file and row, at the first document that cannot be encoded.
    """
    source = read_source(raw)
    encode = encoder(engine, encoding)
    splits = {}
    for split, of_split in source["splits"].items():
        blocks = prefetch(read_blocks(raw, split, block_bytes))
        documents = sum(file["rows"] for file in of_split["files"])
        with tqdm(desc=split, total=documents, unit="doc", delay=2, disable=None) as bar:
            parts = in_order(_job(encode, encoding, of_split["files"]), blocks, workers)
            splits[split] = _write(out, split, _watched(parts, bar))
        _check_rows(split, splits[split]["documents"], documents)
    found = {"source": _named(source), "vocabulary": describe(encoding), "splits": splits}
    (out / "tokens.json").write_bytes(to_json(found))
    return splits


def _job(encode: Encode, encoding: tiktoken.Encoding, files: list[dict]):
    dtype = dtype_for(encoding.n_vocab)

    def job(block: Block) -> Encoded:
        try:
            ids, tokens = encode(block)
        except Unencodable as error:
            raise UserError(
                f"{locate(files, error.document)} holds a run of 999,999 or more whitespace "
                "characters, which tiktoken cannot split; shorten it in the source"
            ) from None
        return Encoded(to_dtype(ids, dtype), tokens, np.diff(block.offsets))

    return job


def _watched(parts: Iterable[Encoded], bar: tqdm) -> Iterator[Encoded]:
    for part in parts:
        yield part
        bar.update(len(part.tokens))


def _write(out: Path, split: str, parts: Iterable[Encoded]) -> dict:
    """Write a split's two files, front to back; return their counts and hashes."""
    total, documents = np.zeros(2, np.uint64), 0
    with HashedFile(out / f"{split}.ids") as ids, HashedFile(out / f"{split}.totals") as totals:
        totals.write(total.astype("<u8"))
        for part in parts:
            ids.write(part.ids)
            steps = np.stack([part.tokens, part.bytes], axis=1).astype(np.uint64)
            running = total + np.cumsum(steps, axis=0)
            totals.write(running.astype("<u8"))
            documents += len(steps)
            total = running[-1] if len(running) else total
    counts = {"tokens": int(total[0]), "documents": documents, "bytes": int(total[1])}
    return {**counts, "sha256": {"ids": ids.hashes, "totals": totals.hashes}}


def _check_rows(split: str, found: int, expected: int) -> None:
    if found != expected:
        raise UserError(
            f"{split} has {found} documents, but raw/source.json counted {expected}; the source "
            "changed while it was read: run `make data` again"
        )


def _named(source: dict) -> dict:
    """What source.json says of the source itself, without our names for its files."""
    splits = {split: of_split["files"] for split, of_split in source["splits"].items()}
    return {**{k: v for k, v in source.items() if k != "splits"}, "files": splits}
