"""The notebook's way from text to a bin, to measure ours against; with --pool, llm.c's way.

In: a Parquet file with a column `text`, and the name of the bin to write (uint16, GPT-2's ids, no
end-of-text). Recipe: `datasets` loads and maps with tiktoken, on all cores where the notebook has
a fixed 8, then 1,024 contiguous pieces (as many as rows, where there are fewer) are joined and
copied into a memory map. Pool: processes encode, the parent writes what comes, in order.
Prints one line of JSON: the seconds of its parts, start-up and imports apart.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tiktoken

PIECES = 1024
CHUNK = 256  # documents that a process of the pool takes at a time
encoding = tiktoken.get_encoding("gpt2")


def main() -> None:
    """Write the bin that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parquet", type=Path)
    parser.add_argument("bin", type=Path)
    parser.add_argument("--pool", action="store_true", help="a process pool over tiktoken")
    args = parser.parse_args()
    parts = (pool if args.pool else recipe)(args.parquet, args.bin)
    seconds, last = {}, time.perf_counter()
    for name in parts:
        last, before = time.perf_counter(), last
        seconds[name] = round(last - before, 3)
    print(json.dumps(seconds))


def recipe(parquet: Path, out: Path) -> Iterator[str]:
    """Load, map, write; yields the name of each part as it ends."""
    from datasets import load_dataset

    dataset = load_dataset("parquet", data_files={"train": str(parquet)})["train"]
    yield "load"
    tokenized = dataset.map(process, remove_columns=["text"], num_proc=os.cpu_count())
    yield "map"
    write_pieces(tokenized, out)
    yield "write"


def process(example: dict) -> dict:
    ids = encoding.encode_ordinary(example["text"])
    return {"ids": ids, "len": len(ids)}


def write_pieces(dataset, out: Path) -> None:
    tokens = int(np.sum(dataset["len"], dtype=np.uint64))
    array = np.memmap(out, np.uint16, "w+", shape=(tokens,))
    pieces, position = min(PIECES, len(dataset)), 0
    for index in range(pieces):
        piece = dataset.shard(num_shards=pieces, index=index, contiguous=True).with_format("numpy")
        ids = np.concatenate(piece["ids"])
        array[position : position + len(ids)] = ids
        position += len(ids)
    array.flush()


def pool(parquet: Path, out: Path) -> Iterator[str]:
    """Read, encode and write; yields the name of each part as it ends."""
    import pyarrow.parquet as pq

    texts = pq.read_table(parquet, columns=["text"]).column("text").to_pylist()
    yield "load"
    with (
        multiprocessing.get_context("spawn").Pool(os.cpu_count()) as processes,
        out.open("wb") as file,
    ):
        for ids in processes.imap(encode, texts, CHUNK):
            file.write(ids.tobytes())
    yield "encode and write"


def encode(text: str) -> np.ndarray:
    return np.array(encoding.encode_ordinary(text), np.uint16)


if __name__ == "__main__":
    main()
