"""Has a file of the hub the column that params.yaml names? Told from a part of it.

In: a large file that is about to be downloaded. Out: a UserError that lists the columns there are,
where that one is none of them: of Parquet in its footer, of JSON Lines in the first line.
"""

import zlib
from contextlib import suppress

from slm.text.columnar import check_column
from slm.text.hub.cache import kind_of
from slm.text.hub.errors import as_user_error
from slm.text.hub.listing import File
from slm.text.json_lines import check_first_line

PART_BYTES = 2**20  # asked for at a time
GZIP = 16 + zlib.MAX_WBITS  # a header of gzip


def check_published(entry: dict, commit: str, file: File) -> None:
    """Raises UserError if a large file of a commit has no such column.

    Other faults of the file are said when it is here, those of a small file all.
    """
    if (file.bytes or PART_BYTES) < PART_BYTES:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    name, kind = file.name, kind_of(file.name)
    path = f"datasets/{entry['path']}@{commit}/{name}"
    with as_user_error(entry, name), HfFileSystem().open(path, "rb", PART_BYTES) as part:
        if kind == ".parquet":
            with suppress(pa.ArrowInvalid):
                check_column(pq.read_schema(part), name, entry["column"])
            return
        start = part.read(PART_BYTES)
    with suppress(zlib.error):
        start = zlib.decompressobj(GZIP).decompress(start) if kind == ".jsonl.gz" else start
        check_first_line(start, name, entry["column"])
