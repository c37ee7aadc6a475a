"""How are ids stored in a file? End to end, little-endian, uint16 or uint32, and never wrapped."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from slm.core.files import write_hashed
from slm.core.formats import FileEntry


def dtype_for(vocab_size: int) -> np.dtype:
    """Returns the dtype of ids below `vocab_size`: "<u2", or "<u4" above 65,536 ids."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


def to_dtype(ids: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Returns a copy of `ids` with `dtype`; raises ValueError if an id does not fit."""
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= np.iinfo(dtype).max:
        raise ValueError(f"ids from {ids.min()} to {ids.max()} do not fit into {dtype.name}")
    return ids.astype(dtype)


def write_ids(path: Path, ids: Iterable[np.ndarray], dtype: np.dtype) -> FileEntry:
    """Writes arrays of ids end to end; raises ValueError if an id does not fit into `dtype`."""
    return write_hashed(path, (to_dtype(part, dtype) for part in ids))
