"""What do exports share? The options, and how ids and offsets are linked, copied and written.

In: opened bins, in one piece or in shards. Out: files, in memory that does not grow with the bins.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from slm.bins.manifest import shard_names
from slm.bins.opening import Bins
from slm.bins.reading import id_parts
from slm.core.errors import check

STEP = 2**20  # documents at a time
LINKED, COPIED, WRITTEN = "linked", "copied", "written"


class Options(NamedTuple):
    """What a user may ask for beside the format."""

    reader: str | None = None  # of llmc: modded
    shard_tokens: int | None = None  # of llmc and litdata: tokens of a file
    token_bytes: bool = False  # of llmc: how many bytes of text each token stands for, too


class Made(NamedTuple):
    """A file of an export."""

    name: str
    how: str  # linked | copied | written


def link_ids(bins: Bins, split: str, target: Path) -> Made:
    """Makes `target` the ids of a split: a hard link where they are one file on the same disk."""
    if "files" in bins.manifest["splits"][split]:
        bins.need([f"{split}.bin"])
        source = (bins.folder / f"{split}.bin").resolve()
        try:
            os.link(source, target)
            target.chmod(0o444)  # who writes into one name would change the bins, too
            return Made(target.name, LINKED)
        except OSError:
            shutil.copyfile(source, target)
    else:
        write(target, id_parts(bins, split))
    return Made(target.name, COPIED)


def write_ids(target: Path, bins: Bins, split: str, head: bytes, first: int, last: int) -> Made:
    """Writes `head` and ids first … last - 1 of a split, which the kernel copies where it can."""
    width, entry = np.dtype(bins.manifest["dtype"]).itemsize, bins.manifest["splits"][split]
    per_shard = bins.manifest.get("shard_tokens", max(1, entry["tokens"]))
    names = shard_names(split, entry)
    with target.open("xb", buffering=0) as file:
        file.write(head)
        while first < last:
            number, begin = divmod(first, per_shard)
            stop = min(last, (number + 1) * per_shard)
            bins.need([f"{names[number]}.bin"])
            size = (stop - first) * width
            _copy_range(bins.folder / f"{names[number]}.bin", file, begin * width, size)
            first = stop
    return Made(target.name, WRITTEN)


def _copy_range(source: Path, target: IO[bytes], at: int, size: int) -> None:
    """Appends `size` bytes of a file, from byte `at` on; raises UserError if it is shorter."""
    with source.open("rb", buffering=0) as file:
        while size:
            try:
                done = os.copy_file_range(file.fileno(), target.fileno(), size, at)
            except (AttributeError, OSError):  # another system, or another disk
                file.seek(at)
                done = target.write(file.read(min(size, 2**24)))
            check(done > 0, f"{source} is shorter than its manifest says; `make verify` says where")
            at, size = at + done, size - done


def write(target: Path, parts: Iterable[bytes | np.ndarray]) -> Made:
    """Writes the bytes of `parts` end to end."""
    with target.open("xb") as file:
        for part in parts:
            file.write(part if isinstance(part, bytes) else np.ascontiguousarray(part).data)
    return Made(target.name, WRITTEN)


def bounds(bins: Bins, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields where each document begins and ends, in parts of (documents,) int64."""
    offsets = bins.docs(split)
    cuts = [*range(0, len(offsets) - 1, STEP), len(offsets) - 1]
    for first, last in pairwise(cuts):
        part = np.array(offsets[first : last + 1, 0]).astype(np.int64)
        yield part[:-1], part[1:]


def longest(bins: Bins, split: str) -> int:
    """Returns how many tokens the longest document of a split has."""
    return max((int((end - start).max()) for start, end in bounds(bins, split)), default=0)


def read(path: Path, dtype: str, first: int = 0, last: int | None = None) -> Iterator[np.ndarray]:
    """Yields the values of a file from byte `first` to `last` (its end), in parts."""
    width, most = np.dtype(dtype).itemsize, 2**23
    left = ((path.stat().st_size if last is None else last) - first) // width
    with path.open("rb", buffering=0) as file:
        file.seek(first)
        while left:
            part = np.fromfile(file, dtype, min(most, left))
            if not len(part):
                return
            yield part
            left -= len(part)
