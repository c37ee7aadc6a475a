"""How are ids kept in a file? End to end, little-endian, uint16 or uint32, and never wrapped."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from slm.core.files import HashedFile


def dtype_for(vocab_size: int) -> np.dtype:
    """The type of ids below `vocab_size`: little-endian uint16, or uint32 above 65,536 ids."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


def to_dtype(ids: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`ids` as `dtype`; raises ValueError where one does not fit, and never wraps."""
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= np.iinfo(dtype).max:
        raise ValueError(f"ids from {ids.min()} to {ids.max()} do not fit into {dtype.name}")
    return ids.astype(dtype)


def write_ids(path: Path, ids: Iterable[np.ndarray], dtype: np.dtype) -> dict:
    """Write arrays of ids end to end; return the manifest's entry for the file.

    Raises ValueError where an id does not fit into `dtype`.
    """
    with HashedFile(path) as file:
        for part in ids:
            file.write(to_dtype(part, dtype))
    return {"bytes": file.size, "sha256": file.hashes}
