"""llm.c's layout, which modded-nanogpt reads, too: shards of ids behind a header.

    <dataset>_val_000000.bin, <dataset>_train_000001.bin, …   100,000,000 tokens each but the last
        256 int32, little-endian: 20240520, 1, tokens, zeros; then uint16
        of uint32 ids: 20240801, 7, tokens, zeros; then uint32 (train_llama3.py reads it)
    <the same>.bytes       with BYTES=1: uint8 a token, how many bytes of text it stands for
    token_bytes.bin        with BYTES=1: the same for each id of the vocabulary

Read in llm.c's dev/data/data_common.py and llmc/dataloader.h. Nothing is inserted. With
READER=modded the names begin with fineweb, as that program looks for them. Where bins have
a train split alone, the first shard is the validation one, cut amid a document, as llm.c's script
for FineWeb has it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slm.bins.opening import Bins
from slm.bins.reading import id_parts
from slm.core.errors import check
from slm.export.parts import Made, Options, read, write, write_ids

SHARD_TOKENS = 100_000_000
HEADERS = {"uint16": (20240520, 1), "uint32": (20240801, 7)}
HEADER_BYTES = 1024
TRAIN, HELD = "train", ("validation", "val")  # the splits that become train and val
MODDED = "fineweb"  # what modded-nanogpt's files are called, whatever is in them
GPT2_END = 50256  # the id by which it finds documents


class Shard(NamedTuple):
    """A shard that is written."""

    called: str  # the split there
    name: str
    split: str  # of ours
    first: int
    last: int


def refuse(bins: Bins, options: Options) -> None:
    """Raises UserError if the reader would misread these bins."""
    modded = options.reader == "modded"
    check(
        options.reader in (None, "modded"),
        f"READER is {options.reader!r}, expected modded, or none for llm.c",
    )
    per_shard = options.shard_tokens or SHARD_TOKENS
    check(per_shard < 2**31, f"SHARD_TOKENS is {per_shard:,}, and a header holds less than 2^31")
    if options.token_bytes:
        most = int(bins.token_bytes.max(initial=0))
        check(most < 256, f"a token stands for {most} bytes of text, and BYTES=1 writes uint8")
    held = [split for split in bins.manifest["splits"] if split in HELD]
    check(len(held) < 2, f"{' and '.join(held)} would both be val; choose one by `select:`")
    if modded:
        _refuse_modded(bins)
    shards = sum(shard.called == TRAIN for shard in _plan(bins, options))
    check(
        shards > modded,
        f"train is {shards} shards of {per_shard:,} tokens beside validation, expected "
        f"{1 + modded} at least; give a smaller SHARD_TOKENS=",
    )


def _refuse_modded(bins: Bins) -> None:
    policy = bins.manifest["end_of_text"]
    check(
        policy == "prepend",
        f"bins.end_of_text is {policy}, and modded-nanogpt finds documents by the end-of-text "
        "before them; set it to prepend",
    )
    known = bins.manifest["dtype"] == "uint16" and bins.end_of_text == GPT2_END
    check(known, "modded-nanogpt reads GPT-2's ids alone; set tokenizer.encoding to gpt2")


def _plan(bins: Bins, options: Options) -> Iterator[Shard]:
    """Yields each shard."""
    splits, per_shard = bins.manifest["splits"], options.shard_tokens or SHARD_TOKENS
    above = MODDED if options.reader == "modded" else bins.manifest["dataset"]["name"]
    alone = not any(split in HELD for split in splits)
    for split, entry in splits.items():
        for number, first in enumerate(range(0, max(1, entry["tokens"]), per_shard)):
            last = min(first + per_shard, entry["tokens"])
            called = "val" if split in HELD or (split == TRAIN and alone and not number) else split
            shift = split == TRAIN and not alone
            name = f"{above}_{called}_{number + shift:06d}.bin"
            yield Shard(called, name, split, first, last)


def write_files(bins: Bins, out: Path, options: Options) -> Iterator[Made]:
    """Yields each file that it makes in `out`."""
    table = bins.token_bytes.astype(np.uint8) if options.token_bytes else None
    if table is not None:
        yield write(out / "token_bytes.bin", [table])
    for _, name, split, first, last in _plan(bins, options):
        yield write_ids(out / name, bins, split, _header(bins, last - first), first, last)
        if table is not None:
            sizes = (table[part] for part in id_parts(bins, split, first, last))
            yield write((out / name).with_suffix(".bytes"), sizes)


def _header(bins: Bins, tokens: int) -> bytes:
    header = np.zeros(HEADER_BYTES // 4, "<i4")
    header[:3] = (*HEADERS[bins.manifest["dtype"]], tokens)
    return header.tobytes()


def ids(folder: Path, bins: Bins, split: str, options: Options) -> Iterator[np.ndarray]:
    """Yields the ids of a split as the reader finds them."""
    magics = {magic: f"<u{np.dtype(dtype).itemsize}" for dtype, (magic, _) in HEADERS.items()}
    for path in (folder / shard.name for shard in _plan(bins, options) if shard.split == split):
        header = np.fromfile(path, "<i4", HEADER_BYTES // 4)
        dtype = magics[int(header[0])]
        size = HEADER_BYTES + int(header[2]) * np.dtype(dtype).itemsize
        check(path.stat().st_size == size, f"{path} has not the length that its header says")
        yield from read(path, dtype, HEADER_BYTES)
