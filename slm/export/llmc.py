"""llm.c's layout, which modded-nanogpt reads, too: shards of ids behind a header.

    <dataset>_val_000000.bin, <dataset>_train_000001.bin, …   100,000,000 tokens each but the last
        256 int32, little-endian: 20240520, 1, tokens, zeros; then uint16
        of uint32 ids: 20240801, 7, tokens, zeros; then uint32
    <the same>.bytes       with BYTES=1: uint8 a token, how many bytes of text it stands for
    token_bytes.bin        with BYTES=1: the same for each id of the vocabulary

Read in llm.c's dev/data/data_common.py and llmc/dataloader.h. Nothing is inserted. Where bins have
a train split alone, the first shard is the validation one, cut amid a document, as llm.c's script
for FineWeb has it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.bins.opening import Bins
from slm.bins.reading import id_parts
from slm.core.errors import check
from slm.export.parts import Made, Options, read, write, write_ids

SHARD_TOKENS = 100_000_000
HEADERS = {"uint16": (20240520, 1), "uint32": (20240801, 7)}
HEADER_BYTES = 1024
VALIDATION, TRAIN = "validation", "train"


def refuse(bins: Bins, options: Options) -> None:
    """Raises UserError if the reader would misread these bins."""
    check(
        options.reader in (None, "modded"),
        f"READER is {options.reader!r}, expected modded, or none for llm.c",
    )
    per_shard = options.shard_tokens or SHARD_TOKENS
    check(per_shard < 2**31, f"SHARD_TOKENS is {per_shard:,}, and a header holds less than 2^31")
    if options.token_bytes:
        most = int(bins.token_bytes.max(initial=0))
        check(most < 256, f"a token stands for {most} bytes of text, and BYTES=1 writes uint8")
    if options.reader == "modded":
        policy = bins.manifest["end_of_text"]
        check(
            policy == "prepend",
            f"bins.end_of_text is {policy}, and modded-nanogpt finds documents by the end-of-text "
            "before them; set it to prepend",
        )
        shards = sum(split == TRAIN for split, *_ in _plan(bins, per_shard))
        check(
            shards >= 2,
            f"train is {shards} shards of {per_shard:,} tokens, and modded-nanogpt needs two; give "
            "a smaller SHARD_TOKENS=",
        )


def _plan(bins: Bins, per_shard: int) -> Iterator[tuple[str, int, str, int, int]]:
    """Yields of each shard: its split there and its number, and the ids, first to last, of ours."""
    splits = bins.manifest["splits"]
    alone = VALIDATION not in splits
    for split, entry in splits.items():
        starts = range(0, max(1, entry["tokens"]), per_shard)
        for number, first in enumerate(starts):
            last = min(first + per_shard, entry["tokens"])
            if split != TRAIN:
                yield split, number, split, first, last
            elif alone and not number:
                yield VALIDATION, 0, split, first, last
            else:
                yield TRAIN, number + (not alone), split, first, last


def write_files(bins: Bins, out: Path, options: Options) -> Iterator[Made]:
    """Yields each file that it makes in `out`."""
    table = bins.token_bytes.astype(np.uint8) if options.token_bytes else None
    if table is not None:
        yield write(out / "token_bytes.bin", [table])
    for split, number, ours, first, last in _plan(bins, options.shard_tokens or SHARD_TOKENS):
        path = out / _name(bins, split, number)
        yield write_ids(path, bins, ours, _header(bins, last - first), first, last)
        if table is not None:
            sizes = (table[part] for part in id_parts(bins, ours, first, last))
            yield write(path.with_suffix(".bytes"), sizes)


def _header(bins: Bins, tokens: int) -> bytes:
    header = np.zeros(HEADER_BYTES // 4, "<i4")
    header[:3] = (*HEADERS[bins.manifest["dtype"]], tokens)
    return header.tobytes()


def ids(folder: Path, bins: Bins, split: str) -> Iterator[np.ndarray]:
    """Yields the ids of a split as the reader finds them."""
    magics = {magic: f"<u{np.dtype(dtype).itemsize}" for dtype, (magic, _) in HEADERS.items()}
    names = {split: "val" if split == VALIDATION else split}
    alone = split == TRAIN and VALIDATION not in bins.manifest["splits"]
    start = bins.manifest["dataset"]["name"]
    paths = sorted(folder.glob(f"{start}_{names[split]}_*.bin"))
    for path in [*(folder.glob(f"{start}_val_*.bin") if alone else ()), *paths]:
        header = np.fromfile(path, "<i4", HEADER_BYTES // 4)
        dtype = magics[int(header[0])]
        size = HEADER_BYTES + int(header[2]) * np.dtype(dtype).itemsize
        check(path.stat().st_size == size, f"{path} has not the length that its header says")
        yield from read(path, dtype, HEADER_BYTES)


def _name(bins: Bins, split: str, number: int) -> str:
    called = "val" if split == VALIDATION else split
    return f"{bins.manifest['dataset']['name']}_{called}_{number:06d}.bin"
