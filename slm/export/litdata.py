"""litdata's chunks for its TokensLoader, which litgpt reads.

    <split>/chunk-0-<i>.bin   uint32 1, uint32 12, uint32 end, then the tokens: one item
    <split>/index.json        each chunk's name, bytes, items (1) and tokens (dim), and the config;
                              data_format no_header_tensor:20 is uint16, :15 int32

Read from files that litdata 0.2.76 wrote. The reader cuts blocks from each chunk by itself, and
what is left at a chunk's end is not read: SHARD_TOKENS is a multiple of your block (2,049 · 8,012
unless told, litgpt's own).
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.bins.opening import Bins
from slm.core.errors import check
from slm.export.parts import Made, Options, read, write, write_ids

SHARD_TOKENS = 2049 * 8012
HEADER_BYTES = 12
FORMATS = {"uint16": "no_header_tensor:20", "uint32": "no_header_tensor:15"}
LEAF = '[1, {"type": null, "context": null, "children_spec": []}]'  # of torch.utils._pytree


def refuse(bins: Bins, options: Options) -> None:
    """Raises UserError if the reader would misread these bins."""
    check(bins.vocab_size <= 2**31, "ids of 2^31 and above are negative to litdata's int32")
    size = (options.shard_tokens or SHARD_TOKENS) * np.dtype(bins.manifest["dtype"]).itemsize
    check(size + HEADER_BYTES < 2**32, "a chunk's offsets are uint32; give a smaller SHARD_TOKENS=")


def write_files(bins: Bins, out: Path, options: Options) -> Iterator[Made]:
    """Yields each file that it makes in `out`."""
    per_chunk, width = (
        options.shard_tokens or SHARD_TOKENS,
        np.dtype(bins.manifest["dtype"]).itemsize,
    )
    for split, entry in bins.manifest["splits"].items():
        (out / split).mkdir()
        chunks = []
        for number, first in enumerate(range(0, entry["tokens"], per_chunk)):
            last = min(first + per_chunk, entry["tokens"])
            size = (last - first) * width
            name = f"chunk-0-{number}.bin"
            head = np.array([1, HEADER_BYTES, HEADER_BYTES + size], "<u4").tobytes()
            made = write_ids(out / split / name, bins, split, head, first, last)
            yield made._replace(name=f"{split}/{name}")
            about = {"chunk_bytes": size + HEADER_BYTES, "chunk_size": 1, "dim": last - first}
            chunks.append({**about, "filename": name})
        content = json.dumps({"chunks": chunks, "config": _config(bins)}, sort_keys=True)
        made = write(out / split / "index.json", [content.encode()])
        yield made._replace(name=f"{split}/index.json")


def _config(bins: Bins) -> dict:
    none = ("compression", "compression_batch_size", "compression_level", "encryption",
            "ipc_compression", "chunk_bytes")  # fmt: skip
    return {
        **dict.fromkeys(none),
        "chunk_size": 1,
        "data_format": [FORMATS[bins.manifest["dtype"]]],
        "data_spec": LEAF,
        "item_loader": "TokensLoader",
        "types": "tensor",
    }


def ids(folder: Path, bins: Bins, split: str, _options: Options) -> Iterator[np.ndarray]:
    """Yields the ids of a split as the reader finds them."""
    index = json.loads((folder / split / "index.json").read_bytes())
    dtype = {"uint16": "<u2", "uint32": "<i4"}[bins.manifest["dtype"]]
    for chunk in index["chunks"]:
        yield from read(folder / split / chunk["filename"], dtype, HEADER_BYTES)
