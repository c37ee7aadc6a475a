"""OLMo-core's layout, as the Dolma toolkit writes it: ids, and a table of documents.

    <split>.npy      uint16 or uint32, little-endian; no header, whatever the name says
    <split>.csv.gz   a line a document: start, end (in tokens), id, source file, row there (from 1)

Read in ai2-olmo-core 3.0.0, olmo_core/data/utils.py. It finds documents by the end-of-text after
each, unless it is told to read the table, so only `append` is right for it.
"""

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.bins.opening import Bins
from slm.core.errors import check
from slm.export.parts import Made, Options, bounds, link_ids, read, write
from slm.selection.wanted import TRAIN


def refuse(bins: Bins, _options: Options) -> None:
    """Raises UserError if the reader would misread these bins."""
    policy = bins.manifest["end_of_text"]
    check(
        policy == "append",
        f"bins.end_of_text is {policy}, and OLMo-core finds documents by the end-of-text after "
        "each; set it to append",
    )


def write_files(bins: Bins, out: Path, _options: Options) -> Iterator[Made]:
    """Yields each file that it makes in `out`."""
    for split in bins.manifest["splits"]:
        yield link_ids(bins, split, out / f"{split}.npy")
        yield write(out / f"{split}.csv.gz", _table(bins, split))


def _table(bins: Bins, split: str) -> Iterator[bytes]:
    packed = io.BytesIO()
    number = 0
    with gzip.GzipFile("", "wb", 1, packed, mtime=0) as file:  # no time, no name: the same bytes
        for start, end in bounds(bins, split):
            text = io.StringIO()
            rows = zip(start.tolist(), end.tolist(), *_places(bins, split, number, len(start)),
                       strict=True)  # fmt: skip
            named = ((a, b, f"{split}/{number + i}", *of) for i, (a, b, *of) in enumerate(rows))
            csv.writer(text, lineterminator="\n").writerows(named)
            file.write(text.getvalue().encode())
            yield packed.getvalue()
            packed.seek(0)
            packed.truncate()
            number += len(start)
    yield packed.getvalue()


def _places(bins: Bins, split: str, first: int, many: int) -> tuple[list[str], list[int]]:
    """Which file each of these documents came from, and which row of it, from 1."""
    files, rows = bins.manifest["dataset"]["files"], bins.rows(split)
    own = files[split if split in files else TRAIN]
    at = np.arange(first, first + many) if rows is None else np.array(rows[first : first + many])
    total = np.cumsum([0, *(file["rows"] for file in own)])
    number = np.searchsorted(total, at.astype(np.int64), side="right") - 1
    return [own[i]["name"] for i in number], (at.astype(np.int64) - total[number] + 1).tolist()


def ids(folder: Path, bins: Bins, split: str, _options: Options) -> Iterator[np.ndarray]:
    """Yields the ids of a split as the reader finds them."""
    return read(folder / f"{split}.npy", f"<u{np.dtype(bins.manifest['dtype']).itemsize}")


def ends(folder: Path, _bins: Bins, split: str) -> Iterator[np.ndarray]:
    """Yields where each document ends, as the reader finds it."""
    with gzip.open(folder / f"{split}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield np.array([int(row[1]) for row in csv.reader(file)], np.int64)
