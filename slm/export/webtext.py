"""The selected text itself, as nanochat and lingua read it.

    shard_00000.parquet, …   column `text`, row groups of 1,000 documents, shards of some 250 MB of
                             text; the last one is the validation split (nanochat takes it so)
                             (of a train split alone, what is its end), other splits have none
    <split>/<split>.chunk.00.jsonl   a line a document, {"text": …}; a folder is a source (lingua)

The text is decoded from the ids, which give it back exactly: so it is what was selected, repaired
and put in order, and raw/ need not be there. Bins that are lossy are refused.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from slm.bins.end_of_text import text_ids
from slm.bins.opening import Bins
from slm.bins.reading import ids_of
from slm.core.errors import check
from slm.export.parts import WRITTEN, Made, Options
from slm.text.raw import json_line
from slm.tokens.from_file import FileTokenizer

ROWS = 1000  # documents of a row group
SHARD_BYTES = 250_000_000  # of text
VALIDATION = "validation"
PARQUET = ("train", VALIDATION)  # nanochat trains on all shards but the last


def refuse(bins: Bins, _options: Options) -> None:
    """Raises UserError if the reader would misread these bins."""
    lossy = sum(bins.manifest.get("lossy_documents", {}).values())
    check(
        not lossy,
        f"the ids of {lossy:,} documents do not give their text back; choose a tokenizer that is "
        "lossless on this text",
    )


def write_files(bins: Bins, out: Path, _options: Options) -> Iterator[Made]:
    """Yields each file that it makes in `out`."""
    number = 0
    for split in (*PARQUET, *(name for name in bins.manifest["splits"] if name not in PARQUET)):
        if split not in bins.manifest["splits"]:
            continue
        lines = out / _lines(split)
        lines.parent.mkdir()
        with lines.open("xb") as file:
            for shard in _shards(bins, split):
                if split in PARQUET:
                    name = f"shard_{number:05d}.parquet"
                    _write_shard(out / name, shard, bins, split, file)
                    yield Made(name, WRITTEN)
                    number += 1
                else:
                    for texts_ in _in_groups(bins, split, shard):
                        file.writelines(json_line("text", text) for text in texts_)
        yield Made(_lines(split), WRITTEN)


def _lines(split: str) -> str:
    return f"{split}/{split}.chunk.00.jsonl"  # lingua looks for *.chunk.*.jsonl in each source


def _in_groups(bins: Bins, split: str, shard: range) -> Iterator[list[str]]:
    """Yields the texts of a shard, a row group at a time."""
    for first in range(shard.start, shard.stop, ROWS):
        yield list(texts_of(bins, split, first, min(first + ROWS, shard.stop)))


def _write_shard(path: Path, shard: range, bins: Bins, split: str, lines: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for texts_ in _in_groups(bins, split, shard):
            writer.write_table(pa.table({"text": texts_}, schema))
            lines.writelines(json_line("text", text) for text in texts_)


def _shards(bins: Bins, split: str) -> Iterator[range]:
    """Yields the documents of each shard; at least one shard."""
    sizes, documents = bins.docs(split)[:, 1], bins.manifest["splits"][split]["documents"]
    cuts = [0]
    while cuts[-1] < documents:
        wanted = int(sizes[cuts[-1]]) + SHARD_BYTES
        end = int(np.searchsorted(sizes, wanted)) // ROWS * ROWS
        cuts.append(min(max(end, cuts[-1] + ROWS), documents))
    if len(cuts) == 2 and documents > 1 and VALIDATION not in bins.manifest["splits"]:
        cuts.insert(1, documents - max(1, documents // 10))  # or nothing would be left to train on
    yield from (range(*pair) for pair in pairwise(cuts if documents else [0, 0]))


def texts_of(bins: Bins, split: str, first: int, last: int) -> Iterator[str]:
    """Yields the texts of documents first … last - 1 of a split."""
    encoding, policy = bins.encoding, bins.manifest["end_of_text"]
    offsets = np.array(bins.docs(split)[first : last + 1, 0]).astype(np.int64)
    ids_ = ids_of(bins, split, int(offsets[0]), int(offsets[-1]))
    for start, end in pairwise((offsets - offsets[0]).tolist()):
        document = text_ids(ids_[start:end], policy).tolist()
        if isinstance(encoding, FileTokenizer):
            yield encoding.decode(document)
        else:
            yield encoding.decode_bytes(document).decode()


def texts(folder: Path, split: str) -> Iterator[str]:
    """Yields the texts of a split as a reader of the JSON Lines finds them."""
    import orjson

    with (folder / _lines(split)).open("rb") as file:
        for line in file:
            yield orjson.loads(line)["text"]


def parquet_texts(folder: Path) -> Iterator[str]:
    """Yields the texts of all shards in order: train, then validation."""
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("shard_*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS):
                yield from batch.column(0).to_pylist()
