"""How are ids read in order? From the files, a part at a time.

In: opened bins, in one piece or in shards. Out: arrays of ids. They are read and not mapped, since
the pages of a map count as the memory of the process that looked at them.
"""

from collections.abc import Iterator

import numpy as np

from slm.bins.manifest import shard_names
from slm.bins.opening import Bins


def id_parts(
    bins: Bins, split: str, first: int = 0, last: int | None = None, most: int = 2**23
) -> Iterator[np.ndarray]:
    """Yields ids first … last - 1 of a split, or all from `first`, in arrays of at most `most`."""
    entry, dtype = bins.manifest["splits"][split], np.dtype(bins.manifest["dtype"])
    bins.check_same()
    last = entry["tokens"] if last is None else last
    names, per_shard = shard_names(split, entry), bins.manifest.get("shard_tokens", entry["tokens"])
    while first < last:
        number, begin = divmod(first, per_shard)
        bins.need([f"{names[number]}.bin"])
        stop = min(last, (number + 1) * per_shard)
        with (bins.folder / f"{names[number]}.bin").open("rb", buffering=0) as file:
            file.seek(begin * dtype.itemsize)
            while first < stop:
                part = np.fromfile(file, dtype.newbyteorder("<"), min(most, stop - first))
                if not len(part):
                    return  # the file was cut; its hash, or its length, says so
                yield part
                first += len(part)


def ids_of(bins: Bins, split: str, first: int, last: int) -> np.ndarray:
    """Returns ids first … last - 1 of a split, (tokens,)."""
    none = np.empty(0, bins.manifest["dtype"])
    return np.concatenate([none, *id_parts(bins, split, first, last)])
