"""datatrove's tokenized files, which nanotron reads: ids, the ends of documents, and a note.

    <split>.ds            uint16 or uint32, little-endian, no header
    <split>.ds.index      uint64, where each document ends, in tokens
    <split>.ds.metadata   three lines: tokenizer|bytes of a token, tokens, the same for people

Read in datatrove 0.10.1, pipeline/tokens/tokenizer.py and utils/dataset.py.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.bins.opening import Bins
from slm.export.parts import Made, Options, bounds, link_ids, read, write


def refuse(_bins: Bins, _options: Options) -> None:
    """It takes any bins."""


def write_files(bins: Bins, out: Path, _options: Options) -> Iterator[Made]:
    """Yields each file that it makes in `out`."""
    width, encoding = np.dtype(bins.manifest["dtype"]).itemsize, bins.manifest["tokenizer"]
    for split, entry in bins.manifest["splits"].items():
        yield link_ids(bins, split, out / f"{split}.ds")
        ends_of = (end.astype("<u8") for _, end in bounds(bins, split))
        yield write(out / f"{split}.ds.index", ends_of)
        tokens = entry["tokens"]
        lines = f"{encoding['encoding']}|{width}", str(tokens), f"{tokens / 1e6:.3g} MT"
        yield write(out / f"{split}.ds.metadata", ["\n".join(lines).encode()])


def ids(folder: Path, bins: Bins, split: str, _options: Options) -> Iterator[np.ndarray]:
    """Yields the ids of a split as the reader finds them."""
    return read(folder / f"{split}.ds", f"<u{np.dtype(bins.manifest['dtype']).itemsize}")


def ends(folder: Path, _bins: Bins, split: str) -> Iterator[np.ndarray]:
    """Yields where each document ends, as the reader finds it."""
    return read(folder / f"{split}.ds.index", "<u8")
