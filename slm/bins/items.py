"""The documents of a split, as a sequence that loaders index: `len`, `[i]`, slices.

In: opened bins. Out: documents with their ids and their text, read when they are asked for. It is
what PyTorch calls a map-style dataset and Grain a random-access source; it can be pickled, so that
each worker of a loader opens its own.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, overload

import numpy as np

from slm.bins.end_of_text import text_ids
from slm.core.errors import check


class Item(NamedTuple):
    """A document."""

    ids: np.ndarray  # (tokens,) uint16 or uint32, with end-of-text if the policy adds it
    bins: Any  # the Bins that it is from

    @property
    def text(self) -> str:
        """Its text, without end-of-text."""
        return self.bins.decode(text_ids(self.ids, self.bins.manifest["end_of_text"]))


class Documents:
    """The documents of a split."""

    def __init__(self, bins: Any, split: str) -> None:
        splits = bins.manifest["splits"]
        check(split in splits, f"split is {split!r}; {bins.folder} has {', '.join(splits)}")
        self._bins, self._split = bins, split
        self._open: Any = None
        self._len = splits[split]["documents"]

    def __len__(self) -> int:
        return self._len

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: Any) -> Any:
        """Returns document `index`, from 0 or from the end, or a list of those of a slice.

        Raises IndexError if there is none, TypeError if it is neither.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._len))]
        if isinstance(index, bool) or not isinstance(index, int | np.integer):
            raise TypeError(f"a document's number is a whole number or a slice, not {index!r}")
        index = int(index)
        if not -self._len <= index < self._len:
            raise IndexError(f"{self._split} has documents 0 to {self._len - 1}; {index} is none")
        ids, offsets = self._opened()
        start, end = offsets[index % self._len : index % self._len + 2, 0].tolist()
        return Item(np.array(ids[start:end]), self._bins)

    def __iter__(self) -> Iterator[Item]:
        return (self[i] for i in range(self._len))

    def __repr__(self) -> str:
        return f"<{self._len:,} documents of {self._split}: {self._bins.version}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}  # each process maps the files by itself

    def _opened(self) -> Any:
        if self._open is None:
            self._open = self._bins.ids(self._split), self._bins.docs(self._split)
        return self._open
