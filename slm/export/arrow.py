"""An Arrow stream that Hugging Face's datasets maps: `Dataset.from_file("train.arrow")`.

<split>.arrow   a stream of record batches of 1,000 rows; input_ids: list<uint16 or uint32>, a
                row a document
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.bins.opening import Bins
from slm.bins.reading import ids_of
from slm.core.errors import check
from slm.export.parts import WRITTEN, Made, Options, longest

ROWS = 1000


def refuse(bins: Bins, _options: Options) -> None:
    """Raises UserError if the reader would misread these bins."""
    for split in bins.manifest["splits"]:
        most = longest(bins, split)
        check(most < 2**31, f"a document of {split} has {most:,} tokens, an Arrow list has 2^31")


def write_files(bins: Bins, out: Path, _options: Options) -> Iterator[Made]:
    """Yields each file that it makes in `out`."""
    import pyarrow as pa

    schema = pa.schema([("input_ids", pa.list_(pa.from_numpy_dtype(bins.manifest["dtype"])))])
    for split in bins.manifest["splits"]:
        path, offsets = out / f"{split}.arrow", bins.docs(split)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
            for first, last in _batches(offsets[:, 0]):
                bounds = np.array(offsets[first : last + 1, 0]).astype(np.int64)
                values = ids_of(bins, split, int(bounds[0]), int(bounds[-1]))
                lists = pa.ListArray.from_arrays((bounds - bounds[0]).astype(np.int32), values)
                stream.write_batch(pa.record_batch([lists], schema=schema))
        yield Made(path.name, WRITTEN)


def _batches(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields the first document of each batch, and one past its last: ROWS, or what int32 holds."""
    first, documents = 0, len(offsets) - 1
    while first < documents:
        last = min(first + ROWS, documents)
        while int(offsets[last]) - int(offsets[first]) >= 2**31:
            last = first + max(1, (last - first) // 2)
        yield first, last
        first = last


def ids(folder: Path, _bins: Bins, split: str, _options: Options) -> Iterator[np.ndarray]:
    """Yields the ids of a split as the reader finds them."""
    for lists in _lists(folder, split):
        yield lists.flatten().to_numpy()


def ends(folder: Path, _bins: Bins, split: str) -> Iterator[np.ndarray]:
    """Yields where each document ends, as the reader finds it."""
    end = 0
    for lists in _lists(folder, split):
        total = end + np.cumsum(lists.value_lengths().to_numpy().astype(np.int64))
        yield total
        end = int(total[-1])


def _lists(folder: Path, split: str) -> Iterator:
    import pyarrow as pa

    with pa.memory_map(str(folder / f"{split}.arrow")) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield batch.column(0)
