"""How is text read? From a dataset's raw/ folder, block by block, in the order of its documents.

In: the files that raw/source.json names: Parquet, Arrow, and JSON Lines, packed or not.
Out: `Block`s of UTF-8 and offsets, each about `block_bytes` long; every document, empty ones too,
once and in order. The text is valid Unicode or a UserError says which file and row is not.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from slm.core.errors import UserError
from slm.text.by_url.objects import Object
from slm.text.columnar import read_arrow, read_parquet
from slm.text.json_lines import read_json_lines
from slm.text.raw import locate, places, read_source
from slm.text.units import Part, Unit

BLOCK_BYTES = 4 * 2**20  # enough to keep a core busy, little enough to keep several in memory

READERS: dict[str, Any] = {".parquet": read_parquet, ".arrow": read_arrow}  # Arrow not by URL


class Block(NamedTuple):
    """Consecutive documents of one split, as a column of text in memory."""

    first: int  # number of the first document, from 0 in its split
    offsets: np.ndarray  # (documents + 1,) int64: where each document begins and ends in `data`
    data: np.ndarray  # (bytes,) uint8: valid UTF-8

    @property
    def documents(self) -> int:
        """How many documents the block holds."""
        return len(self.offsets) - 1

    def text(self, document: int) -> str:
        """Document `document` of this block, counted from 0."""
        return self.data[self.offsets[document] : self.offsets[document + 1]].tobytes().decode()


def block_of(texts: Iterable[str | bytes]) -> Block:
    """Returns these documents as a block."""
    content = [text if isinstance(text, bytes) else text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, content)], dtype=np.int64)
    return Block(0, offsets, np.frombuffer(b"".join(content), np.uint8))


def read_blocks(
    raw: Path, split: str, block_bytes: int = BLOCK_BYTES, unit: Unit | None = None
) -> Iterator[Block]:
    """The documents of a split, or of a unit of it, in order.

    Raises UserError at the first one that is not text.
    """
    source = read_source(raw)
    first, entry = unit.first if unit else 0, source["splits"][split]
    there = places(raw, entry)
    for part in unit.parts if unit else map(Part, entry["raw"]):
        kind, place = Path(part.raw).suffix, there[part.raw]
        read = READERS.get(kind) or partial(read_json_lines, kind=kind)
        read = partial(read_parquet, groups=range(*part.groups)) if part.groups else read
        for actual, texts in read(place, source["column"], block_bytes):
            if actual is None:
                yield _block(first, texts)
                first += len(texts)
            else:
                position = locate(entry["files"], first + actual)
                raise UserError(f"{split}: {position} {texts}; correct that row in the source")
        if isinstance(place, Object):
            place.check_same()


def _block(first: int, texts: pa.Array) -> Block:
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, np.uint8) if data and data.size else np.empty(0, np.uint8)
    return Block(first, bounds - bounds[0], content[bounds[0] : bounds[-1]])
