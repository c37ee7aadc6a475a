"""How do a dataset's documents become files of ids?

In: raw/ and a vocabulary. Out: tokens/: for each split `<split>.ids` (the ids of all documents end
to end, little-endian, with the vocabulary's dtype) and `<split>.totals` ((documents + 1, 2)
little-endian uint64: offsets in tokens and in UTF-8 bytes), and tokens.json (slm.core.formats).
No byte depends on engine, workers or block size. Reading, encoding and writing overlap; memory does
not grow with the text.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from slm.core.errors import UserError, check
from slm.core.files import HashedFile, to_json
from slm.core.formats import Tokens, TokenSplit
from slm.core.ids import dtype_for, to_dtype
from slm.core.threads import in_order, prefetch
from slm.text.blocks import BLOCK_BYTES, Block, read_blocks
from slm.text.raw import locate, read_source
from slm.tokens.from_file import FileTokenizer
from slm.tokens.reference import Encode, Encoding, Unencodable
from slm.tokens.tokenizer import encoder
from slm.tokens.vocabulary import describe


class Encoded(NamedTuple):
    """A block of documents as ids."""

    ids: np.ndarray  # (tokens,) uint16 or uint32, as dtype_for says
    tokens: np.ndarray  # (documents,) int64: tokens per document
    bytes: np.ndarray  # (documents,) int64: UTF-8 bytes per document
    lossy: int | None  # documents whose ids do not give their text back; of a tokenizer.json


def make_tokens(
    raw: Path,
    encoding: Encoding,
    out: Path,
    engine: str,
    workers: int,
    block_bytes: int = BLOCK_BYTES,
    known: Path | None = None,
) -> dict[str, TokenSplit]:
    """Fills the empty folder `out` with the tokens of every split; returns `splits` of tokens.json.

    `engine` and `known` are as in slm.tokens.tokenizer, `workers` is the number of encoding
    threads, `block_bytes` the size of a block of text. Raises UserError, which names file and row,
    at the first document that cannot be encoded.
    """
    source: dict[str, Any] = dict(read_source(raw))
    files = {split: entry["files"] for split, entry in source.pop("splits").items()}
    encode = encoder(engine, encoding, known)
    splits = {}
    for split in files:
        blocks = prefetch(read_blocks(raw, split, block_bytes))
        expected = sum(file["rows"] for file in files[split])
        with tqdm(desc=split, total=expected, unit="doc", delay=2, disable=None) as bar:
            parts = in_order(_job(encode, encoding, files[split]), blocks, workers)
            splits[split] = _write(out, split, parts, bar)
        documents = splits[split]["documents"]
        check(
            documents == expected,
            f"{split} has {documents} documents, but raw/source.json counted {expected}; the "
            "source changed while it was read: run `make data` again",
        )
    content: Tokens = {
        "source": {**source, "files": files},
        "vocabulary": describe(encoding),
        "splits": splits,
    }
    (out / "tokens.json").write_bytes(to_json(content))
    return splits


def _job(encode: Encode, encoding: Encoding, files: list) -> Callable[[Block], Encoded]:
    dtype = dtype_for(encoding.n_vocab)

    def job(block: Block) -> Encoded:
        try:
            ids, tokens = encode(block)
        except Unencodable as error:
            raise UserError(f"{locate(files, error.document)} {error}") from None
        file = encoding if isinstance(encoding, FileTokenizer) else None
        lossy = file.lossy(block, ids, tokens) if file else None
        return Encoded(to_dtype(ids, dtype), tokens, np.diff(block.offsets), lossy)

    return job


def _write(out: Path, split: str, parts: Iterable[Encoded], bar: tqdm) -> TokenSplit:
    end, documents, lossy = np.zeros(2, np.uint64), 0, list[int]()
    with HashedFile(out / f"{split}.ids") as ids, HashedFile(out / f"{split}.totals") as totals:
        totals.write(end.astype("<u8"))
        for part in parts:
            ids.write(part.ids)
            lengths = np.stack([part.tokens, part.bytes], axis=1).astype(np.uint64)
            offsets = end + np.cumsum(lengths, axis=0)
            totals.write(offsets.astype("<u8"))
            documents += len(lengths)
            lossy += [] if part.lossy is None else [part.lossy]
            end = offsets[-1] if len(offsets) else end
            bar.update(len(lengths))
    made: TokenSplit = {
        "tokens": int(end[0]),
        "documents": documents,
        "bytes": int(end[1]),
        "sha256": {"ids": ids.hashes, "totals": totals.hashes},
    }
    if lossy:
        made["lossy_documents"] = sum(lossy)
    return made
